"""Requant and Threshold: from a wide accumulator to a narrow activation, in integers only."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign.ir.ops.base import Arg, OpError, Work, expect_data, expect_inputs, range_type
from codesign.ir.types import IntArray, IntType, TensorType, Values

MAX_SHIFT = 62
_BLOCK = 1 << 14  # elements at once: what a rescaling keeps in between, 64 bits each, stays in the cache
_INT32 = IntType(32, True)


class Rounding(enum.Enum):
    """How x * m / 2^s becomes an integer.

    HALF_UP              floor(v + 1/2): ties towards +infinity
    HALF_EVEN            ties to the even neighbour (IEEE 754, Brevitas, ONNX)
    TFLITE_DOUBLE        gemmlowp's saturating doubling high multiply, then a rounding shift: TFLite's reference kernels
    """

    HALF_UP = "half_up"
    HALF_EVEN = "half_even"
    TFLITE_DOUBLE = "tflite_double"


def round_shift(product: Values, shift: Values, rounding: Rounding) -> IntArray:
    """round(product / 2^shift), elementwise, for every 64-bit product and 0 <= shift <= 62.

    With q = product >> shift and r = product - q * 2^shift (so 0 <= r < 2^shift), h = 2^(shift-1), or 0 for shift 0:
    HALF_UP        q + ((r + h) >> shift)
    HALF_EVEN      q + (r > h or (r == h and q is odd)), q for shift 0
    TFLITE_DOUBLE  q + ((r + h + n) >> shift), n = 2^30 for a product >= 0, -2^30 below; 0 where shift <= 31
    The remainder, not the product, meets the rounding constant: nothing overflows.
    """
    product, shift = np.asarray(product, dtype=np.int64), np.asarray(shift, dtype=np.int64)
    quotient: IntArray = product >> shift
    rest = product & ((np.int64(1) << shift) - 1)
    half = (np.int64(1) << shift) >> 1
    if rounding is Rounding.HALF_EVEN:
        up = rest + (quotient & 1) > half
        return quotient + (up & (shift > 0))
    rest += half
    if rounding is Rounding.TFLITE_DOUBLE and int(shift.max(initial=0)) > 31:
        rest += np.where(shift > 31, np.where(product >= 0, 1 << 30, -(1 << 30)), 0)
    return quotient + (rest >> shift)


@dataclass(frozen=True)
class Requant:
    """y = clamp(round(x * m / 2^s) + zero_point, out.lo, out.hi), with m and s per tensor or per channel.

    Inputs: x (…, C); multiplier (1) or (C), constant, -2^31 … 2^31 - 1; shift (1) or (C), constant, 0 … 62.
    The product is formed in 64 bits and cannot overflow. A negative multiplier gives a decreasing function.
    """

    out: IntType
    rounding: Rounding = Rounding.HALF_EVEN
    zero_point: int = 0

    def infer(self, args: Sequence[Arg]) -> TensorType:
        expect_inputs(args, 3, 3)
        expect_data(args[0])
        channels = args[0].type.channels
        for arg, name, lo, hi in ((args[1], "multiplier", _INT32.lo, _INT32.hi), (args[2], "shift", 0, MAX_SHIFT)):
            value = arg.constant(f"the {name}")
            if value.shape not in ((1,), (channels,)):
                raise OpError(f"a {name} of shape {value.shape}", f"(1,) or ({channels},)")
            if int(value.min()) < lo or int(value.max()) > hi:
                raise OpError(f"a {name} from {value.min()} to {value.max()}", f"{lo} to {hi}")
        if not _INT32.lo <= self.zero_point <= _INT32.hi:
            raise OpError(f"the zero point {self.zero_point}", f"{_INT32.lo} to {_INT32.hi}")
        if self.out.bipolar:
            raise OpError("a bipolar result", "a Threshold with one level")
        return TensorType(args[0].type.shape, self.out)

    def evaluate(self, values: Sequence[Values], args: Sequence[Arg]) -> Values:
        x, multiplier, shift = values
        rows = x.reshape(-1, x.shape[-1])
        y = np.empty(rows.shape, dtype=self.out.storage)
        step = max(1, _BLOCK // rows.shape[1])
        for start in range(0, len(rows), step):
            y[start : start + step] = self.apply(rows[start : start + step], multiplier, shift)
        return y.reshape(x.shape)

    def apply(self, x: Values, multiplier: Values, shift: Values) -> IntArray:
        """The function itself, for arrays that broadcast together."""
        rounded = round_shift(np.multiply(x, multiplier, dtype=np.int64), shift, self.rounding)
        # Limited before the zero point is added: a rounded product of 64 bits has no room for it.
        y: IntArray = np.clip(rounded, self.out.lo - self.zero_point, self.out.hi - self.zero_point) + self.zero_point
        return y

    def work(self, args: Sequence[Arg]) -> Work:
        return Work(ops=args[0].type.size, const_bits=args[1].type.bits + args[2].type.bits)


@dataclass(frozen=True)
class Threshold:
    """y = out.lo + out.step * #{i : x >= T[c, i]}: any non-decreasing function of an integer, per channel.

    Inputs: x (…, C); levels (1, L) or (C, L), constant, sorted along L, L <= out.count - 1.
    A level above the largest x is never reached; one at or below the smallest always is.
    """

    out: IntType

    def infer(self, args: Sequence[Arg]) -> TensorType:
        expect_inputs(args, 2, 2)
        expect_data(args[0])
        levels = args[1].constant("the level table")
        channels = args[0].type.channels
        if levels.ndim != 2 or levels.shape[0] not in (1, channels):
            raise OpError(f"levels of shape {levels.shape}", f"({channels}, levels) or (1, levels)")
        if levels.shape[1] > self.out.count - 1:
            raise OpError(f"{levels.shape[1]} levels for an output of type {self.out}", f"at most {self.out.count - 1}")
        if (np.diff(levels, axis=1) < 0).any():
            raise OpError("levels that decrease", "levels sorted along the last axis")
        return TensorType(args[0].type.shape, self.out)

    def evaluate(self, values: Sequence[Values], args: Sequence[Arg]) -> Values:
        return threshold_values(values[0], values[1], args[0].type.dtype, self.out)

    def work(self, args: Sequence[Arg]) -> Work:
        return Work(ops=args[0].type.size * self.out.bits, const_bits=args[1].type.bits)


_TABLE_LIMIT = 1 << 20


def threshold_values(x: Values, levels: Values, dtype: IntType, out: IntType) -> Values:
    """out.lo + out.step * #{i : x >= levels[c, i]} for x (…, C) of type `dtype`.

    By a few comparisons, a table over the values of `dtype`, or a search per channel, whichever is cheapest.
    """
    rows, count = levels.shape
    if count <= 3:
        y = np.full(x.shape, out.lo, dtype=out.storage)
        for i in range(count):
            y += out.storage.type(out.step) * (x >= levels[:, i])
        return y
    span = dtype.hi - dtype.lo + 1
    if span * rows <= _TABLE_LIMIT and span * rows <= 4 * x.size:
        domain = np.arange(dtype.lo, dtype.hi + 1)
        reached = np.stack([np.searchsorted(row, domain, side="right") for row in levels])
        table = (out.lo + out.step * reached).astype(out.storage).reshape(-1)
        first = np.arange(rows) * span - dtype.lo  # of each channel's part of the table, at x = 0
        return np.asarray(table[np.add(x, first, dtype=np.int64)])
    y = np.empty(x.shape, dtype=out.storage)
    if rows == 1:
        y[...] = out.lo + out.step * np.searchsorted(levels[0], x, side="right")
        return y
    for c in range(rows):
        y[..., c] = out.lo + out.step * np.searchsorted(levels[c], x[..., c], side="right")
    return y


def thresholds_of_requant(op: Requant, x: IntType, multiplier: IntArray, shift: IntArray) -> IntArray:
    """The level table (rows, out.count - 1) of a Requant with multipliers >= 0, for a Threshold of the same type.

    Raises OpError for a multiplier below zero, since the function then decreases.
    """
    return requant_preimage(op, x, multiplier, shift, np.arange(op.out.lo + 1, op.out.hi + 1)[None, :])


def requant_preimage(op: Requant, x: IntType, multiplier: IntArray, shift: IntArray, targets: IntArray) -> IntArray:
    """The smallest input that gives at least each target (1 or rows, L), by bisection on the operator itself.

    The result is (rows, L): x.lo where every input gives the target, x.hi + 1 where none does. Exact because a
    Requant with a multiplier >= 0 never decreases; raises OpError for any other.
    """
    if int(multiplier.min()) < 0:
        raise OpError("a negative multiplier", "a non-decreasing Requant")
    m, s = multiplier[:, None], shift[:, None]
    shape = np.broadcast_shapes(m.shape, s.shape, targets.shape)
    low, high = np.full(shape, x.lo, dtype=np.int64), np.full(shape, x.hi + 1, dtype=np.int64)
    while (low < high).any():
        middle = (low + high) >> 1
        reached = op.apply(middle, m, s) >= targets
        low = np.where(reached | (low == high), low, middle + 1)
        high = np.where(reached, middle, high)
    return low


def scaled_type(x: IntType, multiplier: int) -> IntType:
    """The narrowest type of x * multiplier: the exact form Requant(shift 0)."""
    ends = (x.lo * multiplier, x.hi * multiplier)
    return range_type(min(ends), max(ends))
