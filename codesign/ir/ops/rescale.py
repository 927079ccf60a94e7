"""Requant and Threshold: from a wide accumulator to a narrow activation, in integers only."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign.ir.ops.base import Arg, OpError, Work, expect_inputs, range_type
from codesign.ir.types import IntArray, IntType, TensorType


class Rounding(enum.Enum):
    """How x * m / 2^s becomes an integer.

    HALF_UP              floor(v + 1/2): ties towards +infinity
    HALF_EVEN            ties to the even neighbour (IEEE 754, Brevitas, ONNX)
    TFLITE_DOUBLE        gemmlowp's saturating doubling high multiply, then a rounding shift: TFLite's reference kernels
    """

    HALF_UP = "half_up"
    HALF_EVEN = "half_even"
    TFLITE_DOUBLE = "tflite_double"


def round_shift(product: IntArray, shift: IntArray, rounding: Rounding) -> IntArray:
    """round(product / 2^shift), elementwise, for 0 <= shift <= 62.

    TFLITE_DOUBLE in closed form, s = shift: (p + 2^(s-1) + (s > 31 ? (p >= 0 ? 2^30 : -2^30) : 0)) >> s.
    """
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    if rounding is Rounding.HALF_UP:
        return (product + half) >> shift
    if rounding is Rounding.TFLITE_DOUBLE:
        nudge = np.where(shift > 31, np.where(product >= 0, 1 << 30, -(1 << 30)), 0)
        return (product + half + nudge) >> shift
    quotient = product >> shift
    rest = product - (quotient << shift)
    up = (rest > half) | ((rest == half) & (quotient & 1 == 1))
    return quotient + np.where(shift > 0, up, False)


@dataclass(frozen=True)
class Requant:
    """y = clamp(round(x * m / 2^s) + zero_point, out.lo, out.hi), with m and s per tensor or per channel.

    Inputs: x (…, C); multiplier (1) or (C), constant, of at most 32 bits signed; shift (1) or (C), constant, 0 … 62.
    The product is formed in 64 bits. A negative multiplier gives a decreasing function.
    """

    out: IntType
    rounding: Rounding = Rounding.HALF_EVEN
    zero_point: int = 0

    def infer(self, args: Sequence[Arg]) -> TensorType:
        expect_inputs(args, 3, 3)
        channels = args[0].type.channels
        for arg, name in ((args[1], "multiplier"), (args[2], "shift")):
            value = arg.constant(f"the {name}")
            if value.shape not in ((1,), (channels,)):
                raise OpError(f"a {name} of shape {value.shape}", f"(1,) or ({channels},)")
        shift = args[2].constant("the shift")
        if int(shift.min()) < 0 or int(shift.max()) > 62:
            raise OpError(f"shifts from {shift.min()} to {shift.max()}", "0 to 62")
        if self.out.bipolar:
            raise OpError("a bipolar result", "a Threshold with one level")
        return TensorType(args[0].type.shape, self.out)

    def evaluate(self, values: Sequence[IntArray], args: Sequence[Arg]) -> IntArray:
        x, multiplier, shift = values
        rounded = round_shift(x * multiplier, shift, self.rounding)
        return np.clip(rounded + self.zero_point, self.out.lo, self.out.hi)

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
        levels = args[1].constant("the level table")
        channels = args[0].type.channels
        if levels.ndim != 2 or levels.shape[0] not in (1, channels):
            raise OpError(f"levels of shape {levels.shape}", f"({channels}, levels) or (1, levels)")
        if levels.shape[1] > self.out.count - 1:
            raise OpError(f"{levels.shape[1]} levels for an output of type {self.out}", f"at most {self.out.count - 1}")
        if (np.diff(levels, axis=1) < 0).any():
            raise OpError("levels that decrease", "levels sorted along the last axis")
        return TensorType(args[0].type.shape, self.out)

    def evaluate(self, values: Sequence[IntArray], args: Sequence[Arg]) -> IntArray:
        return self.out.lo + self.out.step * count_reached(values[0], values[1], args[0].type.dtype)

    def work(self, args: Sequence[Arg]) -> Work:
        return Work(ops=args[0].type.size * self.out.bits, const_bits=args[1].type.bits)


_TABLE_LIMIT = 1 << 20


def count_reached(x: IntArray, levels: IntArray, dtype: IntType) -> IntArray:
    """#{i : x >= levels[c, i]} for x (…, C): a few comparisons, a table look-up or a search, whichever is cheapest."""
    rows, count = levels.shape
    if count <= 3:
        total = np.zeros(x.shape, dtype=np.int64)
        for i in range(count):
            total += x >= levels[:, i]
        return total
    span = dtype.hi - dtype.lo + 1
    if span * rows <= _TABLE_LIMIT and span * rows <= 4 * x.size:
        domain = np.arange(dtype.lo, dtype.hi + 1)
        table = np.stack([np.searchsorted(row, domain, side="right") for row in levels])
        index = x - dtype.lo
        if rows > 1:
            index = index + np.arange(rows) * span
        return np.asarray(table.reshape(-1)[index], dtype=np.int64)
    if rows == 1:
        return np.searchsorted(levels[0], x, side="right").astype(np.int64)
    out = np.empty(x.shape, dtype=np.int64)
    for c in range(rows):
        out[..., c] = np.searchsorted(levels[c], x[..., c], side="right")
    return out


def thresholds_of_requant(op: Requant, x: IntType, multiplier: IntArray, shift: IntArray) -> IntArray:
    """The level table (rows, out.count - 1) of a Requant with positive multipliers, found by bisection on the op itself.

    T[c, i] is the smallest x with y >= out.lo + i + 1; out of the range of `x`, x.hi + 1. Raises OpError for a
    multiplier below zero, since the function then decreases.
    """
    if int(multiplier.min()) < 0:
        raise OpError("a negative multiplier", "a non-decreasing Requant")
    rows = max(multiplier.size, shift.size)
    targets = np.arange(op.out.lo + 1, op.out.hi + 1)
    m = np.broadcast_to(multiplier, (rows,))[:, None]
    s = np.broadcast_to(shift, (rows,))[:, None]
    low = np.full((rows, targets.size), x.lo, dtype=np.int64)
    high = np.full((rows, targets.size), x.hi + 1, dtype=np.int64)
    while (low < high).any():
        middle = (low + high) >> 1
        reached = np.clip(round_shift(middle * m, s, op.rounding) + op.zero_point, op.out.lo, op.out.hi) >= targets
        high = np.where(reached, middle, high)
        low = np.where(reached, low, np.minimum(middle + 1, high))
    return low


def scaled_type(x: IntType, multiplier: int) -> IntType:
    """The narrowest type of x * multiplier: the exact form Requant(shift 0)."""
    ends = (x.lo * multiplier, x.hi * multiplier)
    return range_type(min(ends), max(ends))
