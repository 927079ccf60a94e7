"""A rule and what it looks at: one operator with its tensors, for one family of Ethos-U."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from codesign.backends.ethosu.vela import Family
from codesign.frontend.tflite.schema import Model, Operator, Tensor

FAMILIES: tuple[Family, ...] = ("ethos-u55", "ethos-u65", "ethos-u85")
OLDER: tuple[Family, ...] = ("ethos-u55", "ethos-u65")
U85: tuple[Family, ...] = ("ethos-u85",)

LINEAR = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")
_PAIRS = ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "DIV", "PRELU", "BATCH_MATMUL")
_LISTS = ("CONCATENATION", "PACK")


@dataclass(frozen=True, eq=False)
class View:
    """An operator as the rules see it; shapes are those of the file, with the batch."""

    op: Operator
    model: Model
    family: Family

    def input(self, number: int) -> Tensor | None:
        """The tensor of that input; None when it is left out."""
        there = number < len(self.op.inputs) and self.op.inputs[number] >= 0
        return self.model.tensors[self.op.inputs[number]] if there else None

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The feature maps that are read: not weights, axes, paddings or shapes."""
        if self.op.name in _LISTS:
            numbers = tuple(range(len(self.op.inputs)))
        elif self.op.name in _PAIRS:
            numbers = (0, 1)
        else:
            numbers = (1,) if self.op.name == "SPLIT" else (0,)
        return tuple(t for t in map(self.input, numbers) if t is not None)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return tuple(self.model.tensors[i] for i in self.op.outputs)

    @property
    def feature_maps(self) -> tuple[Tensor, ...]:
        return self.inputs + self.outputs

    @property
    def ifm(self) -> Tensor:
        """The first feature map that is read."""
        return self.inputs[0]

    @property
    def ofm(self) -> Tensor:
        """The first feature map that is written."""
        return self.outputs[0]

    @property
    def weights(self) -> Tensor | None:
        return self.input(1) if self.op.name in LINEAR else None

    @property
    def bias(self) -> Tensor | None:
        return self.input(2) if self.op.name in LINEAR else None


Predicate = Callable[[View], str]
"""What is there that is not allowed, '' when all is well; the docstring says what is allowed."""


@dataclass(frozen=True)
class Rule:
    """A predicate for some operators (empty: for all but those in `exempt`) of some families."""

    predicate: Predicate
    operators: tuple[str, ...] = ()
    families: tuple[Family, ...] = FAMILIES
    exempt: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        return " ".join((self.predicate.__doc__ or "").split())

    def covers(self, operator: str, family: Family) -> bool:
        there = operator in self.operators if self.operators else operator not in self.exempt
        return there and family in self.families


def shape_text(shape: tuple[int, ...]) -> str:
    """`1x8x8x4`; a scalar is `a scalar`."""
    return "x".join(map(str, shape)) or "a scalar"


def nhwc(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """(N, H, W, C) with ones in front; what is beyond four axes counts as N."""
    four = (1,) * (4 - len(shape)) + shape
    return math.prod(four[:-3]), four[-3], four[-2], four[-1]
