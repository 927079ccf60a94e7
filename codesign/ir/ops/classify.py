"""ArgMax and Softmax: the end of a classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign.ir.ops.base import Arg, OpError, Work, expect_data, expect_inputs
from codesign.ir.ops.fixed_point import doubling_high_mul, exp_on_negative_values, reciprocal, rounding_divide_by_pot
from codesign.ir.types import IntType, TensorType, Values


@dataclass(frozen=True)
class ArgMax:
    """y = the smallest index of the largest x along the last axis. Input (…, C), output (…, 1), unsigned."""

    def infer(self, args: Sequence[Arg]) -> TensorType:
        expect_inputs(args, 1, 1)
        expect_data(args[0])
        return TensorType((*args[0].type.shape[:-1], 1), IntType.smallest(0, args[0].type.channels - 1))

    def evaluate(self, values: Sequence[Values], args: Sequence[Arg]) -> Values:
        return np.asarray(np.argmax(values[0], axis=-1)[..., None], dtype=np.int64)

    def work(self, args: Sequence[Arg]) -> Work:
        return Work(ops=args[0].type.size)


_INT8 = IntType(8, True)
_DIFF_BITS, SUM_BITS = 5, 12  # integer bits of the scaled difference (Q5.26) and of the sum of exponentials (Q12.19)


@dataclass(frozen=True)
class Softmax:
    """y = round(2^bits * exp(beta*s*x_c) / sum over k of exp(beta*s*x_k)) + out.lo, limited to `out`; s the scale of x.

    TFLite's reference kernel for 8-bit inputs, bit by bit (gemmlowp fixed point). Along the last axis, of at most 4095
    channels. Input (…, C), output the same shape; y stands for (y - out.lo) / 2^bits.

    multiplier, left_shift  beta * s * 2^26 = multiplier / 2^31 * 2^left_shift, 2^30 <= multiplier < 2^31
    out                     i8 or u8; i16 as TFLite has it for an int16 result of an int8 input
    """

    multiplier: int
    left_shift: int
    out: IntType

    @classmethod
    def of(cls, scale: float, beta: float = 1.0, out: IntType = _INT8) -> Softmax:
        """The operator for inputs of `scale`, as TFLite derives it. Raises ValueError where TFLite cannot."""
        real = min(beta * scale * (1 << 31 - _DIFF_BITS), (1 << 31) - 1.0)
        if not real > 1:
            raise ValueError(f"a softmax needs beta * scale above 2^-26, not {beta * scale:g}")
        fraction, left_shift = math.frexp(real)
        multiplier = math.floor(fraction * (1 << 31) + 0.5)
        return cls(multiplier // 2, left_shift + 1, out) if multiplier == 1 << 31 else cls(multiplier, left_shift, out)

    @property
    def diff_min(self) -> int:
        """The smallest difference to the largest x that still fits Q5.26; below it the result is out.lo."""
        return -((((1 << _DIFF_BITS) - 1) << (31 - _DIFF_BITS)) >> self.left_shift)

    def infer(self, args: Sequence[Arg]) -> TensorType:
        expect_inputs(args, 1, 1)
        expect_data(args[0])
        x = args[0].type
        if x.dtype.bits > 8:
            raise OpError(f"an input of type {x.dtype}", "at most 8 bits")
        if self.out not in (_INT8, IntType(8, False), IntType(16, True)):
            raise OpError(f"a result of type {self.out}", "i8, u8 or i16")
        if not 1 << 30 <= self.multiplier < 1 << 31 or not 0 <= self.left_shift <= 31:
            found = f"multiplier {self.multiplier} and left shift {self.left_shift}"
            raise OpError(found, "2^30 to 2^31 - 1 and 0 to 31")
        if x.channels > 4095:
            raise OpError(f"{x.channels} channels", "at most 4095")
        return TensorType(x.shape, self.out)

    def evaluate(self, values: Sequence[Values], args: Sequence[Arg]) -> Values:
        x = np.asarray(values[0], dtype=np.int64)
        diff = x - x.max(axis=-1, keepdims=True, initial=args[0].type.dtype.lo)
        inside = diff >= self.diff_min
        scaled = doubling_high_mul(np.where(inside, diff, 0) << self.left_shift, self.multiplier)
        exp = np.where(inside, exp_on_negative_values(scaled), 0)
        total = rounding_divide_by_pot(exp, SUM_BITS).sum(axis=-1, keepdims=True)
        scale, over_unit = reciprocal(total, SUM_BITS)
        y = rounding_divide_by_pot(doubling_high_mul(exp, scale), over_unit + 31 - self.out.bits) + self.out.lo
        return np.where(inside, np.clip(y, self.out.lo, self.out.hi), self.out.lo)

    def work(self, args: Sequence[Arg]) -> Work:
        return Work(ops=args[0].type.size * 40)
