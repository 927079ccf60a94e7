"""The cheapest exact form of a rescaling: from 32-bit accumulators to activations, proved over every value that occurs.

A Requant or Threshold that never decreases is a step function of an integer: y = lo + step * #{k : x >= T_k}. A form
computes the index #{k : x >= T_k} in another way. The first three never decrease either, so it equals the function
everywhere if it does at T_k and at T_k - 1, for every level k inside the range of x: that is what is checked.

    Levels    sum over k of (x >= T_k)                      where there are few levels
    Affine    clamp(trunc(m * float32(x) + b), 0, n)        one multiply-add in single precision, see affine.py
    HighMul   clamp(((x << left) * m >> 32) + b >> right)   the high half of a 32-bit product; b of x >= 0 and of x < 0
    Narrow    Requant's definition in 32 bits               ties to even at powers of two, for example
    Wide      Requant's definition in 64 bits               everything else
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from codesign.backends.tvm.affine import Affine, Points, affine, best_slope
from codesign.ir.ops import Requant, Rounding, Threshold
from codesign.ir.ops.rescale import MAX_SHIFT
from codesign.ir.types import IntArray, IntType
from codesign.passes.levels import preimage

FEW_LEVELS = 2  # up to here comparisons are cheaper than a conversion to floating point and back
SOME_LEVELS = 15  # up to here they are cheaper than a product of 64 bits
MOST_LEVELS = 1 << 8  # beyond it no level table is made: 8-bit results have 255
_INT32 = IntType(32, True)


__all__ = ["Affine", "Form", "HighMul", "Levels", "Narrow", "Wide", "cheapest", "evaluate"]


@dataclass(frozen=True, eq=False)
class Levels:
    """y = out.lo + out.step * sum over k of (x >= levels[c, k]); levels (1 or C, n)."""

    levels: IntArray


@dataclass(frozen=True, eq=False)
class HighMul:
    """y = out.lo + clamp((((x << left) * multiplier[c] >> 32) + offset[c]) >> right[c], 0, out.count - 1); step 1.

    below  what is added instead of the offset where x < 0; None: the offset
    """

    multiplier: NDArray[np.int32]
    offset: NDArray[np.int32]
    right: NDArray[np.int32]
    left: int
    below: NDArray[np.int32] | None = None


@dataclass(frozen=True, eq=False)
class Wide:
    """Requant by its definition, in 64-bit integers."""

    op: Requant
    multiplier: IntArray
    shift: IntArray


@dataclass(frozen=True, eq=False)
class Narrow:
    """Requant by its definition, in 32-bit integers: no product is larger."""

    op: Requant
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int32]


Form = Levels | Affine | HighMul | Narrow | Wide


def cheapest(
    op: Requant | Threshold,
    x: IntType,
    constants: Sequence[IntArray],
    bias: IntArray | None = None,
    integers: bool = False,
) -> Form:
    """The cheapest exact form of op(x).

    x         the type of the operator's input
    bias      (C): the result is a function of x - bias[c] instead. Raises ValueError where only a form that knows no
              bias is exact: the caller then adds it.
    integers  whether the high half of a product is cheaper than a conversion to single precision and back
    """
    found = _cheapest(op, x, tuple(map(_frozen, constants)), None if bias is None else _frozen(bias), integers)
    if found is None:
        raise ValueError("no exact form takes the bias in")
    return found


_Frozen = tuple[tuple[int, ...], bytes]


def _frozen(values: IntArray) -> _Frozen:
    return values.shape, np.asarray(values, dtype=np.int64).tobytes()


def _thawed(frozen: _Frozen) -> IntArray:
    return np.frombuffer(frozen[1], dtype=np.int64).reshape(frozen[0])


@lru_cache(maxsize=512)  # every schedule that is tried asks again
def _cheapest(
    op: Requant | Threshold, x: IntType, frozen: Sequence[_Frozen], frozen_bias: _Frozen | None, integers: bool
) -> Form | None:
    """`cheapest`; None where it raises ValueError."""
    constants, bias = [_thawed(values) for values in frozen], None if frozen_bias is None else _thawed(frozen_bias)
    table = None
    if op.out.count <= MOST_LEVELS:
        table = preimage(op, x, constants, op.out.lo + op.out.step * np.arange(1, op.out.count)[None, :])
    if table is not None:
        shift = np.zeros((1, 1), dtype=np.int64) if bias is None else bias[:, None]
        levels = table - shift
        lo, hi = (np.broadcast_to(end - shift, (len(levels), 1)) for end in (x.lo, x.hi))
        if levels.shape[1] <= FEW_LEVELS:
            return Levels(levels)
        if op.out.step == 1:
            # Double rounding treats negative values in another way: two lines.
            signed = isinstance(op, Requant) and op.rounding is Rounding.TFLITE_DOUBLE and _on_both_sides(table, x)
            lines = None if integers else affine(levels, lo, hi, pivot=-shift if signed else None)
            found: Form | None = lines or high_mul(levels, lo, hi)
            if found is not None:
                return found
    if isinstance(op, Requant):
        if bias is not None:
            return None
        multiplier, shift = constants
        found = narrow(op, x, multiplier, shift) or doubled(op, x, multiplier, shift)
        if found is not None:
            return found
        if table is None or levels.shape[1] > SOME_LEVELS:
            return Wide(op, multiplier, shift)
    if table is None:
        (table,) = constants
        levels = table if bias is None else table - bias[:, None]
    return Levels(levels)


def _on_both_sides(levels: IntArray, x: IntType) -> bool:
    """Whether some row has levels that x reaches among the negative values and among the others."""
    reached = (levels > x.lo) & (levels <= x.hi)
    return bool(((reached & (levels <= 0)).any(axis=1) & (reached & (levels > 0)).any(axis=1)).any())


def _int32(values: IntArray) -> NDArray[np.int32]:
    return np.clip(values, _INT32.lo, _INT32.hi).astype(np.int32)


def high_mul(levels: IntArray, lo: IntArray, hi: IntArray) -> HighMul | None:
    """HighMul coefficients for levels (rows, n) of an x from lo to hi (rows, 1); None: none were found."""
    largest = int(max(np.abs(lo).max(), np.abs(hi).max(), 1))  # what lies beyond all levels is computed with, too
    if largest >= 1 << 30:
        return None
    points = Points.of(levels, lo, hi)
    slope = best_slope(points, [points])
    left = 30 - largest.bit_length()
    # slope = m * 2^(left - 32 - right) with m < 2^30: products stay below 2^60, sums below 2^31.
    right = np.floor(np.log2(2.0**30 / np.maximum(slope, 2.0**-40))).astype(np.int64) + left - 32
    right = np.clip(right, 0, 22)  # beyond 22 the index of 8 bits itself would not fit
    multiplier = np.rint(slope * 2.0 ** (32 + right - left)).astype(np.int64)
    if multiplier.max() >= 1 << 30:
        return None
    big, k = np.int64(1) << 40, points.k << right
    for nudge in (0, 1, -1):
        m = multiplier + nudge
        at, under = ((x << left) * m >> 32 for x in (points.at, points.under))
        least = np.where(points.asked, k - at, -big).max(axis=1, keepdims=True)
        most = np.where(points.under_asked, k - under - 1, big).min(axis=1, keepdims=True)
        offset = np.where(least == -big, np.where(most == big, 0, most), least)
        if (least <= most).all() and int(np.abs(offset).max()) < 1 << 30:
            return HighMul(_int32(m[:, 0]), _int32(offset[:, 0]), _int32(right[:, 0]), left)
    return None


def doubled(op: Requant, x: IntType, multiplier: IntArray, shift: IntArray) -> HighMul | None:
    """TFLite's double rounding in 32 bits, for shifts s > 31 and multipliers m >= 0; None: one of them is not.

    With h = x * m >> 30, the high half of 4x * m, its definition (see `round_shift`) is
    y = (x * m + 2^30 - 2^31 * [x < 0] + 2^(s-1)) >> s = (h + 1 - 2 * [x < 0] + 2^(s-31)) >> (s - 30),
    because the bits of the product below 2^30 meet no carry: what is added to it is a multiple of 2^30. Where the zero
    point is the smallest result, every x < 0 gives that, and the offset need not tell the signs apart.
    """
    multiplier, shift = np.broadcast_arrays(multiplier, shift)
    right = shift - 30
    if op.rounding is not Rounding.TFLITE_DOUBLE or op.out.step != 1 or x.largest >= 1 << 29:
        return None
    if int(multiplier.min()) < 0 or int(right.min()) < 2 or int(right.max()) > 30:
        return None
    offset = 1 + (np.int64(1) << (right - 1)) + ((op.zero_point - op.out.lo) << right)
    if int(np.abs(offset).max()) >= 1 << 30:  # h itself is below 2^30
        return None
    below = None if op.zero_point <= op.out.lo else _int32(offset - 2)
    return HighMul(_int32(multiplier), _int32(offset), _int32(right), 2, below)


def narrow(op: Requant, x: IntType, multiplier: IntArray, shift: IntArray) -> Narrow | None:
    """The definition in 32 bits, common powers of two taken out; None where a product might need more."""
    if op.rounding is Rounding.TFLITE_DOUBLE and int(shift.max()) > 31:
        return None  # its second rounding is more than a shift
    common = np.minimum(shift, [(int(m) & -int(m)).bit_length() - 1 if m else MAX_SHIFT for m in multiplier])
    multiplier, shift = np.broadcast_arrays(multiplier, shift)
    multiplier, shift = multiplier >> common, shift - common
    if int(shift.max()) > 30 or x.largest * int(np.abs(multiplier).max()) + (1 << int(shift.max())) >= 1 << 31:
        return None
    return Narrow(op, _int32(multiplier), _int32(shift))


def evaluate(form: Form, x: IntArray, out: IntType) -> IntArray:
    """The form as a kernel computes it, for x (…, C): what tests compare with the operator."""
    match form:
        case Levels(levels):
            count = (x[..., None] >= levels.astype(np.int64)).sum(axis=-1)
            return np.asarray(out.lo + out.step * count, dtype=np.int64)
        case Affine(multiplier, offset, below, pivot):
            constant = offset if below is None or pivot is None else np.where(x >= pivot, offset, below)
            index = (x.astype(np.float32) * multiplier + constant).astype(np.int32).astype(np.int64)
        case HighMul(multiplier, offset, right, left, below):
            shifted = (x << left).astype(np.int32).astype(np.int64)  # in 32 bits, as a kernel does
            added = offset if below is None else np.where(x < 0, below, offset)
            index = ((shifted * multiplier.astype(np.int64) >> 32) + added) >> right
        case Narrow(op, multiplier, shift) | Wide(op, multiplier, shift):
            return op.apply(x, multiplier.astype(np.int64), shift.astype(np.int64))
    return np.clip(index, 0, out.count - 1) + out.lo
