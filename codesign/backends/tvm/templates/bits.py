"""Integers of one or two bits as planes of bits, eight of a plane in a byte: what bit-serial products count.

    x = constant + sum over p of coefficients[p] * bit p

Two's complement has the coefficients (1, -2), an unsigned integer (1, 2), and {-1, 1} is 1 - 2 b.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from codesign.ir.types import IntArray, IntType

BYTE = 8
MOST_PLANES = 2


@dataclass(frozen=True)
class Planes:
    """An integer by its bits, those of its two's complement from number `first` on."""

    coefficients: tuple[int, ...]
    constant: int = 0
    first: int = 0

    @property
    def count(self) -> int:
        return len(self.coefficients)


SIGNS = Planes((-2,), 1, 1)  # -1 is ...11 and 1 is ...01: bit 1 differs


def planes_of(lo: int, hi: int) -> Planes | None:
    """Of the integers lo to hi; None where that takes more than `MOST_PLANES`."""
    bits = max(hi.bit_length(), 1) if lo >= 0 else max(hi.bit_length(), (-lo - 1).bit_length()) + 1
    if lo == -1 and hi <= 0:
        return Planes((-1,))
    if bits > MOST_PLANES:
        return None
    top = 1 << (bits - 1)
    return Planes((*(1 << p for p in range(bits - 1)), -top if lo < 0 else top))


def planes_of_type(dtype: IntType) -> Planes | None:
    """Of every value of a type."""
    return SIGNS if dtype.bipolar else planes_of(dtype.lo, dtype.hi)


def planes_of_weights(weights: IntArray) -> Planes | None:
    """Of constants: the fewest."""
    if bool((np.abs(weights) == 1).all()):
        return SIGNS
    return planes_of(int(weights.min()), int(weights.max()))


def pack_planes(values: IntArray, planes: Planes, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Values (..., C) as bytes (..., planes, size): bit i of byte g is of value i * size + g, or 0 where there is none."""
    missing = BYTE * size - values.shape[-1]
    numbers = np.arange(planes.first, planes.first + planes.count)[:, None]
    bits = (values[..., None, :] >> numbers) & 1
    padded = np.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, missing)])
    eighths = padded.reshape(*bits.shape[:-1], BYTE, size) << np.arange(BYTE)[:, None]
    return np.asarray(eighths.sum(axis=-2)).astype(np.uint8)
