"""ArgMax and Softmax: the end of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign.ir.ops.base import Arg, Work, expect_data, expect_inputs
from codesign.ir.types import IntArray, IntType, TensorType


@dataclass(frozen=True)
class ArgMax:
    """y = the smallest index of the largest x along the last axis. Input (…, C), output (…, 1), unsigned."""

    def infer(self, args: Sequence[Arg]) -> TensorType:
        expect_inputs(args, 1, 1)
        expect_data(args[0])
        return TensorType((*args[0].type.shape[:-1], 1), IntType.smallest(0, args[0].type.channels - 1))

    def evaluate(self, values: Sequence[IntArray], args: Sequence[Arg]) -> IntArray:
        return np.asarray(np.argmax(values[0], axis=-1)[..., None], dtype=np.int64)

    def work(self, args: Sequence[Arg]) -> Work:
        return Work(ops=args[0].type.size)
