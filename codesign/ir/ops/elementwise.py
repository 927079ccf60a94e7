"""Add and Mul: the elementwise sum and product of two tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign.ir.ops.base import Arg, OpError, Work, expect_data, expect_inputs, range_type
from codesign.ir.types import TensorType, Values


def _expect_pair(args: Sequence[Arg]) -> tuple[TensorType, TensorType]:
    """The types of two computed inputs of one shape; raises OpError for anything else."""
    expect_inputs(args, 2, 2)
    expect_data(args[0])
    expect_data(args[1])
    a, b = args[0].type, args[1].type
    if a.shape != b.shape:
        raise OpError(f"inputs of shapes {a.shape} and {b.shape}", "two inputs of one shape")
    return a, b


@dataclass(frozen=True)
class Add:
    """y = a + b, elementwise, in the narrowest type that holds every sum.

    Inputs: a and b of one shape. Unequal scales are brought to a common one by a Requant before the Add.
    """

    def infer(self, args: Sequence[Arg]) -> TensorType:
        a, b = _expect_pair(args)
        return TensorType(a.shape, range_type(a.dtype.lo + b.dtype.lo, a.dtype.hi + b.dtype.hi))

    def evaluate(self, values: Sequence[Values], args: Sequence[Arg]) -> Values:
        return np.add(values[0], values[1], dtype=self.infer(args).dtype.storage)

    def work(self, args: Sequence[Arg]) -> Work:
        return Work(ops=args[0].type.size)


@dataclass(frozen=True)
class Mul:
    """y = a * b, elementwise, in the narrowest type that holds every product.

    Inputs: a and b of one shape. Zero points are subtracted by a Requant before the Mul.
    """

    def infer(self, args: Sequence[Arg]) -> TensorType:
        a, b = _expect_pair(args)
        ends = [x * y for x in (a.dtype.lo, a.dtype.hi) for y in (b.dtype.lo, b.dtype.hi)]
        return TensorType(a.shape, range_type(min(ends), max(ends)))

    def evaluate(self, values: Sequence[Values], args: Sequence[Arg]) -> Values:
        return np.multiply(values[0], values[1], dtype=self.infer(args).dtype.storage)

    def work(self, args: Sequence[Arg]) -> Work:
        return Work(ops=args[0].type.size)
