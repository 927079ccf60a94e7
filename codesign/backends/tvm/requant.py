"""The cheapest exact form of a rescaling: from 32-bit accumulators to activations, proved over every value that occurs.

A Requant or Threshold that never decreases is a step function of an integer: y = lo + step * #{k : x >= T_k}. A form
computes the index #{k : x >= T_k} in another way. Affine and HighMul never decrease either, so it equals the function
everywhere if it does at T_k and at T_k - 1, for every level k inside the range of x: that is what is checked.

    Levels    sum over k of (x >= T_k)                      where there are few levels
    Search    the same by bisection                         many levels that lie on no line
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
SOME_LEVELS = 15  # up to here they are cheaper than a product of 64 bits, or a search
MOST_LEVELS = 1 << 8  # beyond it no level table is made: 8-bit results have 255
HALF_WORD = 16
MOST_RIGHT = 22  # beyond it the index of 8 bits itself would not fit
NUDGES = 8  # how far from the nearest multiplier to look
_INT32 = IntType(32, True)


__all__ = ["Affine", "Form", "HighMul", "Levels", "Narrow", "Search", "Wide", "cheapest", "evaluate"]


@dataclass(frozen=True, eq=False)
class Levels:
    """y = out.lo + out.step * sum over k of (x >= levels[c, k]); levels (1 or C, n)."""

    levels: IntArray


@dataclass(frozen=True, eq=False)
class Search:
    """y = out.lo + out.step * sum over k of (x >= levels[c, k]) by bisection: any levels, sorted.

    levels (1 or C, 2^n - 1), filled with `never`, which no x reaches; i = 0, then for b = 2^(n-1), …, 1:
    i += b * (x >= levels[c, i + b - 1])
    """

    levels: IntArray
    never: int


@dataclass(frozen=True, eq=False)
class HighMul:
    """y = out.lo + clamp((((x << left) * multiplier[c] >> 32) + offset[c]) >> right[c], 0, out.count - 1); step 1.

    below, pivot  what is added instead of the offset where x < pivot[c]; None: the offset
    """

    multiplier: NDArray[np.int32]
    offset: NDArray[np.int32]
    right: NDArray[np.int32]
    left: int
    below: NDArray[np.int32] | None = None
    pivot: NDArray[np.int32] | None = None

    @property
    def common_right(self) -> int | None:
        """The shift, where it is the same for every channel and leaves the upper half of a word, or less."""
        found = set(self.right.tolist())
        return int(self.right[0]) if len(found) == 1 and min(found) >= HALF_WORD else None


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


Form = Levels | Search | Affine | HighMul | Narrow | Wide
Bounds = tuple[IntArray, IntArray]


def cheapest(
    op: Requant | Threshold,
    x: IntType,
    constants: Sequence[IntArray],
    bias: IntArray | None = None,
    integers: bool = False,
    bounds: Bounds | None = None,
) -> Form:
    """The cheapest exact form of op(x).

    x         the type of the operator's input
    bias      (C): the result is a function of x - bias[c] instead. Raises ValueError where only a form that knows no
              bias is exact: the caller then adds it.
    bounds    (C) each: the smallest and the largest input that occur in a channel; None: all of its type may
    integers  whether the high half of a product is cheaper than a conversion to single precision and back
    """
    ends = None if bounds is None else (_frozen(bounds[0]), _frozen(bounds[1]))
    folded = None if bias is None else _frozen(bias)
    found = _cheapest(op, x, tuple(map(_frozen, constants)), folded, integers, ends)
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
    op: Requant | Threshold, x: IntType, frozen: Sequence[_Frozen], frozen_bias: _Frozen | None, integers: bool,
    ends: tuple[_Frozen, _Frozen] | None,
) -> Form | None:  # fmt: skip
    """`cheapest`; None where it raises ValueError."""
    constants, bias = [_thawed(values) for values in frozen], None if frozen_bias is None else _thawed(frozen_bias)
    table = None
    if op.out.count <= MOST_LEVELS:
        table = preimage(op, x, constants, op.out.lo + op.out.step * np.arange(1, op.out.count)[None, :])
    if table is not None:
        shift = np.zeros((1, 1), dtype=np.int64) if bias is None else bias[:, None]
        levels = table - shift
        lo, hi = _range(x, shift, len(levels), ends)
        if levels.shape[1] <= FEW_LEVELS:
            return Levels(levels)
        if op.out.step == 1:
            # Double rounding treats negative values in another way: two lines.
            signed = isinstance(op, Requant) and op.rounding is Rounding.TFLITE_DOUBLE and _on_both_sides(table, x)
            fitted = upper_mul if integers else affine
            found: Form | None = fitted(levels, lo, hi, pivot=-shift if signed else None) or high_mul(levels, lo, hi)
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
    if levels.shape[1] <= SOME_LEVELS:
        return Levels(levels)
    return _search(levels, x.hi + 1 - (0 if bias is None else int(bias.min())))


def _range(x: IntType, shift: IntArray, rows: int, ends: tuple[_Frozen, _Frozen] | None) -> tuple[IntArray, IntArray]:
    """The smallest and the largest x - shift per row (rows, 1)."""
    if ends is None:
        lo, hi = (np.full((1, 1), end) for end in (x.lo, x.hi))
    else:
        lo, hi = (_thawed(end)[:, None] for end in ends)
        if max(rows, len(shift)) == 1:  # one row for all channels
            lo, hi = lo.min(keepdims=True), hi.max(keepdims=True)
    return np.broadcast_to(lo - shift, (rows, 1)), np.broadcast_to(hi - shift, (rows, 1))


def _search(levels: IntArray, never: int) -> Search:
    levels = levels[:, : max(int((levels < never).any(axis=0).sum()), 1)]  # the last ones are never reached
    size = (1 << int(levels.shape[1]).bit_length()) - 1
    filled = np.pad(levels, ((0, 0), (0, size - levels.shape[1])), constant_values=never)
    return Search(np.minimum(filled, never), never)


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
    right = np.clip(right, 0, MOST_RIGHT)
    multiplier = np.rint(slope * 2.0 ** (32 + right - left)).astype(np.int64)
    if multiplier.max() >= 1 << 30:
        return None
    offsets, missing = np.zeros_like(multiplier), np.arange(len(multiplier))
    for nudge in (0, 1, -1):
        m = multiplier[missing] + nudge
        offset, held = _offsets(points.rows(missing), m, left, right[missing])
        held &= (m >= 0)[:, 0]  # else the form would decrease, and both sides of each level would prove nothing
        offsets[missing[held]], multiplier[missing[held]] = offset[held], m[held]
        missing = missing[~held]
        if not missing.size:
            return HighMul(_int32(multiplier[:, 0]), _int32(offsets[:, 0]), _int32(right[:, 0]), left)
    return None


def upper_mul(levels: IntArray, lo: IntArray, hi: IntArray, pivot: IntArray | None = None) -> HighMul | None:
    """`high_mul` with one shift of at least half a word for all rows: the halves are what ADDHN gives; None: not found.

    pivot  (rows, 1): with another offset below it
    """
    largest = int(max(np.abs(lo).max(), np.abs(hi).max(), 1))
    if largest >= 1 << 30:
        return None
    parts = [Points.of(levels, lo, hi)]
    if pivot is not None:
        pivot = np.broadcast_to(pivot, lo.shape)
        parts = [parts[0].within(np.maximum(lo, pivot), hi), parts[0].within(lo, np.minimum(hi, pivot - 1))]
    slope = best_slope(Points.of(levels, lo, hi), parts)
    left = 31 - largest.bit_length()
    right = int(np.floor(np.log2(2.0**31 / max(float(slope.max()), 2.0**-40)))) + left - 32
    right = min(right, MOST_RIGHT)
    if right < HALF_WORD:
        return None
    nearest = np.rint(slope * 2.0 ** (32 + right - left)).astype(np.int64)
    chosen, missing = [np.zeros_like(nearest) for _ in (nearest, *parts)], np.arange(len(nearest))
    for nudge in sorted(range(-NUDGES, NUDGES + 1), key=abs):
        m = nearest[missing] + nudge
        found = [_offsets(part.rows(missing), m, left, right) for part in parts]
        ok = np.logical_and.reduce([held for _, held in found]) & (m >= 0)[:, 0] & (m < 1 << 31)[:, 0]
        for table, values in zip(chosen, (m, *(offset for offset, _ in found)), strict=True):
            table[missing[ok]] = values[ok]
        missing = missing[~ok]
        if not missing.size:
            m, offset, *below = (_int32(table[:, 0]) for table in chosen)
            shifts = np.full(len(m), right, dtype=np.int32)
            ends = (below[0], _int32(pivot[:, 0])) if pivot is not None else ()
            return HighMul(m, offset, shifts, left, *ends)
    return None


def _offsets(points: Points, m: IntArray, left: int, right: int | IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
    """Per row: the least offset that is exact with multiplier m, and whether there is one below 2^30 (as products)."""
    big, k, under_k = np.int64(1) << 40, points.k << right, points.under_k << right
    at, under = ((x << left) * m >> 32 for x in (points.at, points.under))
    least = np.where(points.asked, k - at, -big).max(axis=1, keepdims=True)
    most = np.where(points.under_asked, under_k - under - 1, big).min(axis=1, keepdims=True)
    offset = np.where(least == -big, np.where(most == big, 0, most), least)
    return offset, ((least <= most) & (np.abs(offset) < 1 << 30))[:, 0]


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
    pivot = None if below is None else np.zeros_like(below)
    return HighMul(_int32(multiplier), _int32(offset), _int32(right), 2, below, pivot)


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
        case Search(levels):
            rows = np.arange(len(levels)) if len(levels) > 1 else 0
            i = np.zeros(x.shape, dtype=np.int64)
            for bit in reversed(range(int(levels.shape[1]).bit_length())):
                i += (1 << bit) * (x >= levels[rows, i + (1 << bit) - 1])
            return np.asarray(out.lo + out.step * i, dtype=np.int64)
        case Affine(multiplier, offset, below, pivot):
            constant = offset if below is None or pivot is None else np.where(x >= pivot, offset, below)
            index = (x.astype(np.float32) * multiplier + constant).astype(np.int32).astype(np.int64)
        case HighMul(multiplier, offset, right, left, below, pivot):
            shifted = (x << left).astype(np.int32).astype(np.int64)  # in 32 bits, as a kernel does
            added = offset if below is None or pivot is None else np.where(x < pivot, below, offset)
            index = ((shifted * multiplier.astype(np.int64) >> 32) + added) >> right
        case Narrow(op, multiplier, shift) | Wide(op, multiplier, shift):
            return op.apply(x, multiplier.astype(np.int64), shift.astype(np.int64))
    return np.clip(index, 0, out.count - 1) + out.lo
