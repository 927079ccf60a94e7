"""Small integer graphs that together use every operator and width that the RTL backend builds."""

from __future__ import annotations

import numpy as np

from codesign.ir.graph import Const, Graph, Node, Port
from codesign.ir.ops import (
    Add,
    ArgMax,
    AvgPool2d,
    Concat,
    Conv2d,
    Dense,
    MaxPool2d,
    Op,
    Requant,
    Reshape,
    Rounding,
    Threshold,
)
from codesign.ir.types import BIPOLAR, IntArray, IntType, TensorType

U1, U2, U4, U8 = (IntType(bits, False) for bits in (1, 2, 4, 8))
I2, I4, I8 = (IntType(bits, True) for bits in (2, 4, 8))


class Build:
    """Adds one node after the other; weights and levels are drawn from a seeded generator."""

    def __init__(self, shape: tuple[int, ...], dtype: IntType, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.inputs = (Port("x", TensorType(shape, dtype)),)
        self.consts: dict[str, Const] = {}
        self.nodes: list[Node] = []
        self.last = "x"

    def add(self, name: str, op: Op, *inputs: str) -> str:
        """Append a node; without inputs it reads the value before it."""
        self.nodes.append(Node(name, op, inputs or (self.last,), origin=f"net.{name}"))
        self.last = name
        return name

    def const(self, name: str, value: IntArray, dtype: IntType | None = None) -> str:
        self.consts[name] = Const.of(value, dtype)
        return name

    def draw(self, shape: tuple[int, ...], dtype: IntType) -> IntArray:
        return dtype.lo + dtype.step * self.rng.integers(0, dtype.count, shape)

    def graph(self, output: str | None = None) -> Graph:
        return Graph(self.inputs, self.consts, tuple(self.nodes), (Port(output or self.last),))

    def type(self) -> TensorType:
        return self.graph().type(self.last)

    def dense(self, name: str, outputs: int, weights: IntType, bias: bool = False) -> None:
        channels = self.type().channels if self.nodes else self.graph_input().channels
        args = [self.last, self.const(f"{name}.w", self.draw((outputs, channels), weights), weights)]
        if bias:
            args.append(self.const(f"{name}.b", self.draw((outputs,), I8)))
        self.add(name, Dense(), *args)

    def graph_input(self) -> TensorType:
        type_ = self.inputs[0].type
        assert type_ is not None
        return type_

    def conv(self, name: str, outputs: int, kernel: int, weights: IntType, op: Conv2d | None = None) -> None:
        op = op or Conv2d()
        channels = (self.type() if self.nodes else self.graph_input()).channels // op.groups
        w = self.draw((outputs, kernel, kernel, channels), weights)
        self.add(name, op, self.last, self.const(f"{name}.w", w, weights))

    def threshold(self, name: str, out: IntType) -> None:
        """Levels spread over the values that the accumulator really takes."""
        type_ = self.type()
        spread = max(1, int(0.25 * (type_.dtype.hi - type_.dtype.lo)))
        centre = (type_.dtype.hi + type_.dtype.lo) // 2
        levels = centre + self.rng.integers(-spread, spread + 1, (type_.channels, out.count - 1))
        self.add(name, Threshold(out), self.last, self.const(f"{name}.t", np.sort(levels, axis=1)))

    def requant(self, name: str, out: IntType, rounding: Rounding) -> None:
        type_ = self.type()
        m = self.rng.integers(1 << 14, 1 << 15, type_.channels)
        shift = np.full(type_.channels, 15 + max(0, type_.dtype.bits - out.bits - 1))
        inputs = (self.last, self.const(f"{name}.m", m), self.const(f"{name}.s", shift))
        self.add(name, Requant(out, rounding, zero_point=3), *inputs)


def mlp(weights: IntType, activations: IntType, sizes: tuple[int, ...] = (49, 16, 12, 10), seed: int = 0) -> Graph:
    """Dense and Threshold in turn, the last Dense without."""
    b = Build((sizes[0],), activations, seed)
    for i, size in enumerate(sizes[1:]):
        b.dense(f"fc{i}", size, weights, bias=i == len(sizes) - 2)
        if i < len(sizes) - 2:
            b.threshold(f"act{i}", activations)
    return b.graph()


def cnn() -> Graph:
    """conv (padded) - pool - conv (stride 2) - average pool - flatten - dense, 4 bits."""
    b = Build((10, 10, 1), U8)
    b.conv("conv1", 8, 3, I4, Conv2d(padding=(1, 1, 1, 1)))
    b.threshold("act1", U4)
    b.add("pool1", MaxPool2d((2, 2), (2, 2)))
    b.conv("conv2", 6, 2, I4, Conv2d(stride=(2, 1)))
    b.threshold("act2", U4)
    b.add("pool2", AvgPool2d((2, 2), (1, 2)))
    b.requant("scale2", U4, Rounding.HALF_EVEN)
    b.add("flat", Reshape((b.type().size,)))
    b.dense("fc", 5, I4, bias=True)
    return b.graph()


def residual() -> Graph:
    """A fork, a 3x3 branch and a plain branch, unequal types, an Add, a depthwise convolution, an ArgMax."""
    b = Build((6, 6, 4), I4)
    b.conv("stem", 8, 1, I4)
    b.threshold("act0", U4)
    fork = b.last
    b.conv("branch", 8, 3, I2, Conv2d(padding=(1, 1, 1, 1)))
    b.threshold("act1", I4)
    b.add("sum", Add(), b.last, fork)
    b.threshold("act2", U4)
    b.conv("dw", 8, 3, I4, Conv2d(groups=8, padding=(1, 0, 1, 0)))
    b.requant("act3", U4, Rounding.HALF_UP)
    b.add("flat", Reshape((b.type().size,)))
    b.dense("fc", 7, I4)
    b.add("class", ArgMax())
    return b.graph()


def concat() -> Graph:
    """Two branches of different width concatenated; overlapping max pool; bipolar weights on unsigned data."""
    b = Build((7, 5, 3), U2)
    b.conv("stem", 6, 3, BIPOLAR)
    b.threshold("act0", U2)
    fork = b.last
    b.conv("left", 4, 1, BIPOLAR)
    b.threshold("act1", U2)
    left = b.last
    b.add("pool", MaxPool2d((2, 2), (1, 1), (0, 0, 1, 1)), fork)
    b.add("cat", Concat(), left, b.last)
    b.conv("head", 4, 2, I2)
    b.requant("scale", I8, Rounding.TFLITE_DOUBLE)
    return b.graph()
