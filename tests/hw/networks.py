"""Small integer graphs that together use every operator and width that the RTL backend builds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codesign.backends.rtl.backend import prepare
from codesign.backends.rtl.lower import lower
from codesign.backends.rtl.plan import size_design
from codesign.ir.graph import Graph
from codesign.ir.ops import Add, ArgMax, AvgPool2d, Concat, Conv2d, Dense, MaxPool2d, Op, Requant, Reshape, Threshold
from codesign.ir.ops import Rounding as Rounding
from codesign.ir.types import BIPOLAR, IntArray, IntType, TensorType
from codesign.schedule import Fold, RtlSchedule
from codesign.testing.build import GraphBuilder
from codesign.testing.graphs import feeds, values

U1, U2, U4, U8 = (IntType(bits, False) for bits in (1, 2, 4, 8))
I2, I4, I8 = (IntType(bits, True) for bits in (2, 4, 8))


TFC = (784, 64, 64, 64, 10)
# FINN's folding of its TFC networks, 64 cycles a frame: (PE, SIMD) of the four layers.
FINN_FOLDS = (Fold(16, 49), Fold(8, 8), Fold(8, 8), Fold(10, 8))


def finn_schedule(graph: Graph) -> RtlSchedule:
    """FINN's folds for an `mlp` of the sizes `TFC`, with the depths that the sizing chooses."""
    loose = RtlSchedule({f"fc{i}": fold for i, fold in enumerate(FINN_FOLDS)}, levels=3)
    return replace(loose, depths=size_design(lower(prepare(graph), loose)).depths)


class Build:
    """A chain that grows by one node after the other, with random weights and levels of a seed."""

    def __init__(self, shape: tuple[int, ...], dtype: IntType, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.builder = GraphBuilder()
        self.last = self.builder.input(shape, dtype)

    def type(self) -> TensorType:
        """The type of the value that the next node reads."""
        return self.builder.type(self.last)

    def add(self, name: str, op: Op, *inputs: str) -> str:
        """Append a node; without inputs it reads the value before it."""
        self.last = self.builder.node(op, *(inputs or (self.last,)), name=name, origin=f"net.{name}")
        return self.last

    def graph(self) -> Graph:
        """The graph so far."""
        return self.builder.graph(self.last)

    def dense(self, name: str, outputs: int, weights: IntType, bias: bool = False) -> None:
        args = [self.builder.const(values(self.rng, weights, (outputs, self.type().channels)), weights)]
        if bias:
            args.append(self.builder.const(values(self.rng, I8, (outputs,))))
        self.add(name, Dense(), self.last, *args)

    def conv(self, name: str, outputs: int, kernel: int, weights: IntType, op: Conv2d | None = None) -> None:
        op = op or Conv2d()
        w = values(self.rng, weights, (outputs, kernel, kernel, self.type().channels // op.groups))
        self.add(name, op, self.last, self.builder.const(w, weights))

    def seen(self) -> IntArray:
        """What the last value takes on random inputs: (samples, channels)."""
        graph = self.graph()
        return graph.evaluate(*feeds(graph, 64, seed=5))[0].reshape(-1, self.type().channels)

    def threshold(self, name: str, out: IntType) -> None:
        """Levels between which the accumulator's values are spread evenly, a little off in every channel."""
        shares = np.arange(1, out.count) / out.count
        levels = np.quantile(self.seen(), shares, axis=0).T + self.rng.uniform(-2, 2, (self.type().channels, 1))
        self.add(name, Threshold(out), self.last, self.builder.const(np.rint(levels).astype(np.int64)))

    def requant(self, name: str, out: IntType, rounding: Rounding) -> None:
        """Scales that bring the largest value seen to about the end of `out`."""
        m = self.rng.integers(1 << 14, 1 << 15, self.type().channels)
        largest = max(1, int(np.abs(self.seen()).max()))
        shift = np.full(m.size, 15 + max(0, largest.bit_length() - out.bits))
        constants = (self.builder.const(m), self.builder.const(shift))
        self.add(name, Requant(out, rounding, zero_point=3), self.last, *constants)


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
    b.requant("act2", U4, Rounding.HALF_UP)
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
    b.requant("act2", U4, Rounding.HALF_UP)
    b.conv("dw", 8, 3, I4, Conv2d(groups=8, padding=(1, 0, 1, 0)))
    b.threshold("act3", I4)
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
