"""The closed set of operators. `Op` is what a node may hold; `OPERATORS` finds one by name for the text form."""

from __future__ import annotations

from codesign.ir.ops.base import Arg, OpError, Work
from codesign.ir.ops.classify import ArgMax, Softmax
from codesign.ir.ops.elementwise import Add, Mul
from codesign.ir.ops.linear import Conv2d, Dense
from codesign.ir.ops.pool import AvgPool2d, MaxPool2d
from codesign.ir.ops.rescale import Requant, Rounding, Threshold
from codesign.ir.ops.shape import Concat, Pad, Reshape, Take, Transpose
from codesign.ir.ops.table import Lookup

Op = (
    Conv2d | Dense | Requant | Threshold | Lookup | Add | Mul | MaxPool2d | AvgPool2d
    | Reshape | Concat | Pad | Take | Transpose | Softmax | ArgMax
)  # fmt: skip

OPERATORS: dict[str, type[Op]] = {
    op.__name__: op
    for op in (
        Conv2d, Dense, Requant, Threshold, Lookup, Add, Mul, MaxPool2d, AvgPool2d,
        Reshape, Concat, Pad, Take, Transpose, Softmax, ArgMax,
    )
}  # fmt: skip

__all__ = [
    "OPERATORS",
    "Add",
    "Arg",
    "ArgMax",
    "AvgPool2d",
    "Concat",
    "Conv2d",
    "Dense",
    "Lookup",
    "MaxPool2d",
    "Mul",
    "Op",
    "OpError",
    "Pad",
    "Requant",
    "Reshape",
    "Rounding",
    "Softmax",
    "Take",
    "Threshold",
    "Transpose",
    "Work",
]
