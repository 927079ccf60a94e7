"""Arrays of exact rationals: NumPy object arrays of `Fraction`, one element per tensor or one per channel.

Every float32 is a rational, so the constants of a model and all sums, products and quotients of them are exact here.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.frontend.problems import bad

Rationals = NDArray[np.object_]
INF = float("inf")

# Bits after the point of a square root that has no finite form: far beyond what float32 constants can resolve.
_SQRT_BITS = 128


def rationals(values: Any, what: str = "a constant") -> Rationals:
    """The exact values of an array of numbers, same shape. Raises Refusal for NaN and infinity."""
    array = np.asarray(values)
    if array.dtype == object:
        return array
    if not np.isfinite(array).all():
        raise bad(f"{what} holds NaN or infinity", "finite values", "look for a layer that diverged in training")
    out = np.empty(array.shape, dtype=object)
    flat = out.reshape(-1)
    convert = float if np.issubdtype(array.dtype, np.floating) else int
    for i, value in enumerate(array.reshape(-1)):
        flat[i] = Fraction(convert(value))
    return out


def constant(value: Fraction | int | float) -> Rationals:
    """One value for the whole tensor: shape (1,). Infinity stays a float, which compares correctly with Fractions."""
    out = np.empty(1, dtype=object)
    out[0] = value if isinstance(value, float) and value in (INF, -INF) else Fraction(value)
    return out


def listed(values: Iterable[Any]) -> Rationals:
    """A one-dimensional array of the given Fractions."""
    items = list(values)
    out = np.empty(len(items), dtype=object)
    out[:] = items
    return out


def is_uniform(values: NDArray[Any]) -> bool:
    """Whether all elements are equal."""
    return bool((values == values.reshape(-1)[0]).all())


def compact(values: Rationals) -> Rationals:
    """Shape (1,) when all elements are equal, else unchanged."""
    return values[:1] if values.size > 1 and is_uniform(values) else values


def regroup(values: NDArray[Any], size: int, channels: int) -> NDArray[Any]:
    """Per-channel values under another last axis of the same `size` elements; raises ValueError when they then vary.

    (H, W, C) flattened to (H*W*C): the C values repeat H*W times; the way back demands that they repeat.
    """
    if values.size == 1:
        return values
    rows = np.tile(values, size // values.size).reshape(-1, channels)
    if not (rows == rows[0]).all():
        raise ValueError("the values differ between pixels")
    first: NDArray[Any] = rows[0]
    return first


def square_root(value: Fraction) -> Fraction:
    """The square root: sqrt(n / d) = sqrt(n * d) / d, exact when it is rational, else to 128 bits, rounded down."""
    if value < 0:
        raise bad(f"a variance of {float(value)}", "0 or more")
    root = isqrt(value.numerator * value.denominator << (2 * _SQRT_BITS))
    return Fraction(root, value.denominator << _SQRT_BITS)
