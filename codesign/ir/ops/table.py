"""Lookup: any function of an integer of few bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign.ir.ops.base import Arg, OpError, Work, expect_data, expect_inputs
from codesign.ir.types import IntType, TensorType, Values

MAX_BITS = 16


@dataclass(frozen=True)
class Lookup:
    """y = table[c, (x - lo) / step], lo and step those of the type of x: any function of an integer, per channel.

    Inputs: x (…, C) of at most 16 bits; table (1, N) or (C, N), constant, N the number of values of x, each of `out`.
    """

    out: IntType

    def infer(self, args: Sequence[Arg]) -> TensorType:
        expect_inputs(args, 2, 2)
        expect_data(args[0])
        x = args[0].type
        table = args[1].constant("the table")
        if x.dtype.bits > MAX_BITS:
            raise OpError(f"an input of type {x.dtype}", f"at most {MAX_BITS} bits")
        if table.shape not in ((1, x.dtype.count), (x.channels, x.dtype.count)):
            raise OpError(f"a table of shape {table.shape}", f"(1, {x.dtype.count}) or ({x.channels}, {x.dtype.count})")
        if not self.out.holds(table):
            raise OpError(f"a table with values from {table.min()} to {table.max()}", f"{self.out}")
        return TensorType(x.shape, self.out)

    def evaluate(self, values: Sequence[Values], args: Sequence[Arg]) -> Values:
        dtype = args[0].type.dtype
        index = np.asarray(values[0], dtype=np.int32) - dtype.lo
        if dtype.step > 1:
            index //= dtype.step
        rows, count = values[1].shape
        table = values[1].astype(self.out.storage).reshape(-1)
        found = table[index + np.arange(rows) * count] if rows > 1 else table[index]
        return np.asarray(found)

    def work(self, args: Sequence[Arg]) -> Work:
        return Work(ops=args[0].type.size, const_bits=args[1].type.bits)
