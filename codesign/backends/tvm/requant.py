"""The cheapest exact form of a rescaling: from 32-bit accumulators to activations, proved over every value that occurs.

A Requant or Threshold that never decreases is a step function of an integer: y = lo + step * #{k : x >= T_k}. A form
computes the index #{k : x >= T_k} in another way. The first three never decrease either, so it equals the function
everywhere if it does at T_k and at T_k - 1, for every level k inside the range of x: that is what is checked.

    Levels    sum over k of (x >= T_k)                      where there are few levels
    Affine    clamp(trunc(m * float32(x) + b), 0, n)        one fused or unfused multiply-add in single precision
    HighMul   clamp(((x << left) * m >> 32) + b >> right)   the high half of a 32-bit product; b of x >= 0 and of x < 0
    Narrow    Requant's definition in 32 bits               ties to even at powers of two, for example
    Wide      Requant's definition in 64 bits               everything else
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.ir.ops import Requant, Rounding, Threshold
from codesign.ir.ops.rescale import MAX_SHIFT
from codesign.ir.types import IntArray, IntType, RealArray
from codesign.passes.levels import preimage

FEW_LEVELS = 2  # up to here comparisons are cheaper than a conversion to floating point and back
SOME_LEVELS = 15  # up to here they are cheaper than a product of 64 bits
SEARCH_STEPS = 48  # thirds of an interval of 1/32: to the last bit of a double
MOST_LEVELS = 1 << 8  # beyond it no level table is made: 8-bit results have 255
_INT32 = IntType(32, True)


@dataclass(frozen=True, eq=False)
class Levels:
    """y = out.lo + out.step * sum over k of (x >= levels[c, k]); levels (1 or C, n)."""

    levels: IntArray


@dataclass(frozen=True, eq=False)
class Affine:
    """y = out.lo + clamp(trunc(multiplier[c] * float32(x) + offset[c]), 0, out.count - 1); step 1.

    Exact with one rounding (fused) or two; trunc is the conversion to int32, rounding towards zero.
    """

    multiplier: NDArray[np.float32]
    offset: NDArray[np.float32]


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


def cheapest(op: Requant | Threshold, x: IntType, constants: Sequence[IntArray], bias: IntArray | None = None) -> Form:
    """The cheapest exact form of op(x).

    x     the type of the operator's input
    bias  (C): the result is a function of x - bias[c] instead. Raises ValueError where only a form that knows no bias
          is exact: the caller then adds it.
    """
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
            steps = _Steps.of(levels, lo, hi)
            slope = steps.slope()
            found: Form | None = affine(steps, slope) or high_mul(steps, slope)
            if found is not None:
                return found
    if isinstance(op, Requant):
        if bias is not None:
            raise ValueError("no exact form takes the bias in")
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


def _int32(values: IntArray) -> NDArray[np.int32]:
    return np.clip(values, _INT32.lo, _INT32.hi).astype(np.int32)


@dataclass(frozen=True, eq=False)
class _Steps:
    """A step function on lo … hi, per row: where T_k (`at`) and T_k - 1 (`below`) are values of x, and k itself.

    extent  the largest magnitude of x, per row: what lies beyond all levels is computed with, too
    """

    at: IntArray
    below: IntArray
    k: IntArray
    reached: NDArray[np.bool_]
    missed: NDArray[np.bool_]
    extent: IntArray

    @classmethod
    def of(cls, levels: IntArray, lo: IntArray, hi: IntArray) -> _Steps:
        clipped = np.clip(levels, lo, hi + 1)
        k, extent = np.arange(1, levels.shape[1] + 1)[None, :], np.maximum(np.abs(lo), np.abs(hi))[:, 0]
        return cls(clipped, clipped - 1, k, clipped <= hi, clipped > lo, extent)

    def room(self, slope: RealArray) -> tuple[RealArray, RealArray]:
        """The offsets b between which slope * T_k + b >= k and slope * (T_k - 1) + b < k for every level, per row."""
        least = np.where(self.reached, self.k - slope * self.at, -np.inf).max(axis=1, keepdims=True)
        most = np.where(self.missed, self.k - slope * self.below, np.inf).min(axis=1, keepdims=True)
        least = np.where(np.isinf(least), most - 1.0, least)
        return least, np.where(np.isinf(most), least + 1.0, most)

    def width(self, slope: RealArray) -> RealArray:
        """How much room the offset has, concave in the slope; negative: none."""
        least, most = self.room(slope)
        return np.asarray(most - least)

    def slope(self) -> RealArray:
        """The slope that leaves the offset the most room, per row (rows, 1)."""
        inside = self.reached & self.missed
        some, last = inside.any(axis=1, keepdims=True), inside.shape[1] - 1
        ends = [inside.argmax(axis=1)[:, None], last - inside[:, ::-1].argmax(axis=1)[:, None]]
        run = np.subtract(*[np.take_along_axis(self.at, end, axis=1) for end in ends[::-1]])
        slope = np.where(some, np.where(run > 0, (ends[1] - ends[0]) / np.maximum(run, 1), 1.0), 0.0)
        low, high = slope * (1 - 2.0**-6), slope * (1 + 2.0**-6)
        for _ in range(SEARCH_STEPS):
            left, right = (2 * low + high) / 3, (low + 2 * high) / 3
            better = self.width(left) < self.width(right)
            low, high = np.where(better, left, low), np.where(better, high, right)
        return np.asarray((low + high) / 2)


def affine(steps: _Steps, slope: RealArray) -> Affine | None:
    """Affine coefficients near `slope` whose index is the number of levels reached; None: there are none."""
    nearest = slope.astype(np.float32)
    multiplier, widest = nearest, steps.width(nearest.astype(np.float64))
    for away in (-np.inf, np.inf):  # the neighbours in single precision, which may leave more room
        candidate = np.nextafter(nearest, np.float32(away))
        width = steps.width(candidate.astype(np.float64))
        multiplier = np.where(width > widest, candidate, multiplier)
        widest = np.maximum(width, widest)
    least, most = steps.room(multiplier.astype(np.float64))
    offset = ((least + most) / 2).astype(np.float32)
    if not _holds(multiplier, offset, steps):
        return None
    # What lies outside the levels must still fit the conversion to int32.
    extremes = np.abs(multiplier[:, 0].astype(np.float64)) * steps.extent + np.abs(offset[:, 0])
    return Affine(multiplier[:, 0], offset[:, 0]) if float(extremes.max()) < 2.0**30 else None


def _holds(multiplier: NDArray[np.float32], offset: NDArray[np.float32], steps: _Steps) -> bool:
    """Whether no rounding in single precision, fused or not, can take a value across its level.

    x beyond 2^24, the product and the sum are each rounded, with a relative error of at most 2^-24.
    """
    m, b = multiplier.astype(np.float64), offset.astype(np.float64)

    def value(x: IntArray) -> tuple[RealArray, RealArray]:
        product = m * x
        rounded = np.where(np.abs(x) > 1 << 24, 2.0, 1.0) * np.abs(product)
        return product + b, (rounded + np.abs(product + b)) * 2.0**-24 * 1.001 + 2.0**-100

    high, error = value(steps.at)
    ok = np.where(steps.reached, high - error >= steps.k, True)
    low, error = value(steps.below)
    return bool((ok & np.where(steps.missed, low + error < steps.k, True)).all())


def high_mul(steps: _Steps, slope: RealArray) -> HighMul | None:
    """HighMul coefficients near `slope`, as `affine`."""
    largest = int(max(steps.extent.max(), 1))
    if largest >= 1 << 30:
        return None
    left = 30 - largest.bit_length()
    # slope = m * 2^(left - 32 - right) with m < 2^30: products stay below 2^60, sums below 2^31.
    right = np.floor(np.log2(2.0**30 / np.maximum(slope, 2.0**-40))).astype(np.int64) + left - 32
    right = np.clip(right, 0, 22)  # beyond 22 the index of 8 bits itself would not fit
    multiplier = np.rint(slope * 2.0 ** (32 + right - left)).astype(np.int64)
    if multiplier.max() >= 1 << 30:
        return None
    big, k = np.int64(1) << 40, steps.k << right
    for nudge in (0, 1, -1):
        m = multiplier + nudge
        at, below = ((x << left) * m >> 32 for x in (steps.at, steps.below))
        least = np.where(steps.reached, k - at, -big).max(axis=1, keepdims=True)
        most = np.where(steps.missed, k - below - 1, big).min(axis=1, keepdims=True)
        offset = np.where(least == -big, np.where(most == big, 0, most), least)
        if (least <= most).all() and int(np.abs(offset).max()) < 1 << 30:
            return HighMul(_int32(m[:, 0]), _int32(offset[:, 0]), _int32(right[:, 0]), left)
    return None


def doubled(op: Requant, x: IntType, multiplier: IntArray, shift: IntArray) -> HighMul | None:
    """TFLite's double rounding in 32 bits, for shifts s > 31 and multipliers m >= 0; None: one of them is not.

    With h = x * m >> 30, the high half of 4x * m, its definition (see `round_shift`) is
    y = (x * m + 2^30 - 2^31 * [x < 0] + 2^(s-1)) >> s = (h + 1 - 2 * [x < 0] + 2^(s-31)) >> (s - 30),
    because the bits of the product below 2^30 meet no carry: what is added to it is a multiple of 2^30.
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
    return HighMul(_int32(multiplier), _int32(offset), _int32(right), 2, _int32(offset - 2))


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
        case Affine(multiplier, offset):
            index = (x.astype(np.float32) * multiplier + offset).astype(np.int32).astype(np.int64)
        case HighMul(multiplier, offset, right, left, below):
            shifted = (x << left).astype(np.int32).astype(np.int64)  # in 32 bits, as a kernel does
            added = offset if below is None else np.where(x < 0, below, offset)
            index = ((shifted * multiplier.astype(np.int64) >> 32) + added) >> right
        case Narrow(op, multiplier, shift) | Wide(op, multiplier, shift):
            return op.apply(x, multiplier.astype(np.int64), shift.astype(np.int64))
    return np.clip(index, 0, out.count - 1) + out.lo
