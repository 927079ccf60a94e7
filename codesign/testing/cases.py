"""One small graph per operator and variant: what every backend either computes on every bit or refuses in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from codesign.ir.graph import Graph
from codesign.ir.ops import (
    Add,
    ArgMax,
    AvgPool2d,
    Concat,
    Lookup,
    MaxPool2d,
    Mul,
    Pad,
    Reshape,
    Rounding,
    Softmax,
    Take,
    Transpose,
)
from codesign.ir.types import BIPOLAR, IntArray, IntType
from codesign.testing.build import GraphBuilder
from codesign.testing.graphs import values

U1, U2, U4, U8 = (IntType(bits, False) for bits in (1, 2, 4, 8))
I2, I4, I8, I16 = (IntType(bits, True) for bits in (2, 4, 8, 16))
IMAGE = (6, 5, 4)


class Case(GraphBuilder):
    """A graph builder with random weights and levels of a fixed seed, and one input."""

    def __init__(self, dtype: IntType = U4, shape: Sequence[int] = IMAGE) -> None:
        super().__init__()
        self.rng = np.random.default_rng(1)
        self.x = self.input(shape, dtype)

    def weights(self, dtype: IntType, *shape: int) -> IntArray:
        return values(self.rng, dtype, shape)

    def levels(self, x: str, out: IntType, rows: int = 0) -> IntArray:
        """Levels over the middle half of the type of `x`; per channel, or `rows` of them."""
        type_ = self.type(x)
        span = type_.dtype.hi - type_.dtype.lo
        shape = (rows or type_.channels, out.count - 1)
        low, high = type_.dtype.lo + span // 4, type_.dtype.hi - span // 4
        return np.sort(self.rng.integers(low, high + 1, shape), axis=1)

    def activated(self, x: str, out: IntType = U2) -> Graph:
        """The graph that ends in a Threshold of `x`."""
        return self.graph(self.threshold(x, self.levels(x, out), out))


def _conv(weights: IntType = I4, dtype: IntType = U4, groups: int = 1, outputs: int = 6, **options: object) -> Graph:
    c = Case(dtype)
    bias = c.rng.integers(-20, 21, outputs)
    w = c.weights(weights, outputs, 3, 2, IMAGE[2] // groups)
    return c.activated(c.conv(c.x, w, weights, bias, groups=groups, **options))  # type: ignore[arg-type]


def _dense(weights: IntType, dtype: IntType, shape: Sequence[int] = (12,)) -> Graph:
    c = Case(dtype, shape)
    return c.graph(c.dense(c.x, c.weights(weights, 5, shape[-1]), weights, c.rng.integers(-9, 10, 5)))


def _threshold(out: IntType, dtype: IntType = I8, rows: int = 0) -> Graph:
    c = Case(dtype)
    return c.graph(c.threshold(c.x, c.levels(c.x, out, rows), out))


def _requant(rounding: Rounding, out: IntType = I8, multiplier: Sequence[int] = (23171, 30000, 16384, 9001)) -> Graph:
    c = Case(I16)
    return c.graph(c.requant(c.x, multiplier, [23, 22, 23, 22], out, rounding, zero_point=min(3, out.hi)))


def _add(first: IntType, second: IntType) -> Graph:
    c = Case(I8)
    branches = [c.threshold(c.x, c.levels(c.x, dtype), dtype) for dtype in (first, second)]
    return c.graph(c.node(Add(), *branches))


def _double() -> Graph:
    c = Case(I4)
    return c.graph(c.node(Add(), c.x, c.x))


def _residual() -> Graph:
    c = Case(U4)
    w = c.weights(I4, 4, 3, 3, 4)
    y = c.conv(c.x, w, I4, padding=(1, 1, 1, 1))
    y = c.threshold(y, c.levels(y, U4), U4)
    return c.activated(c.node(Add(), y, c.x))


def _concat() -> Graph:
    c = Case(I8)
    first = c.threshold(c.x, c.levels(c.x, U2), U2)
    second = c.conv(c.x, c.weights(I2, 2, 1, 1, 4), I2)
    second = c.threshold(second, c.levels(second, U2), U2)
    return c.graph(c.node(Concat(), first, second))


def _pool(op: MaxPool2d | AvgPool2d, dtype: IntType = I4) -> Graph:
    c = Case(dtype)
    return c.graph(c.node(op, c.x))


def _pad(dtype: IntType, value: int) -> Graph:
    c = Case(dtype)
    return c.graph(c.node(Pad((1, 0, 2, 1), value), c.x))


def _pad_activated() -> Graph:
    """The value needs a wider type than the image has, and something narrow follows."""
    c = Case(U1)
    return c.activated(c.node(Pad((1, 0, 2, 1), -1), c.x))


def _reshape() -> Graph:
    c = Case(U4)
    flat = c.node(Reshape((6 * 5 * 4,)), c.x)
    return c.graph(c.dense(flat, c.weights(I4, 3, 6 * 5 * 4), I4))


def _argmax() -> Graph:
    c = Case(I8, (10,))
    return c.graph(c.node(ArgMax(), c.x))


def _softmax() -> Graph:
    c = Case(I8, (10,))
    return c.graph(c.node(Softmax.of(0.05), c.x))


def _lookup(rows: int) -> Graph:
    c = Case(I4)
    return c.graph(c.node(Lookup(I8), c.x, c.const(c.rng.integers(-128, 128, (rows, 16)))))


def _mul() -> Graph:
    c = Case(I8)
    return c.graph(c.node(Mul(), c.x, c.x))


def _take(axis: int, indices: tuple[int, ...]) -> Graph:
    c = Case(U4)
    return c.graph(c.node(Take(axis, indices), c.x))


def _transpose(axes: tuple[int, ...]) -> Graph:
    c = Case()
    return c.graph(c.node(Transpose(axes), c.x))


def _few_levels() -> Graph:
    """Fewer levels than the type has room for, one that every input reaches and one that none does."""
    c = Case(I4)
    return c.graph(c.threshold(c.x, np.array([[-100, -8, 0, 3, 8, 100]]), I4))


def _requant_shared() -> Graph:
    c = Case(I16)
    return c.graph(c.requant(c.x, [19661], [24], I8, zero_point=-5))


PAD1 = (1, 1, 1, 1)
CASES: dict[str, Callable[[], Graph]] = {
    "conv": _conv,
    "conv_padded_strided": lambda: _conv(padding=(1, 0, 1, 1), stride=(2, 1)),
    "conv_zero_point": lambda: _conv(padding=PAD1, pad_value=3),
    "conv_bipolar": lambda: _conv(BIPOLAR, BIPOLAR),
    "conv_bipolar_padded": lambda: _conv(BIPOLAR, BIPOLAR, padding=PAD1),
    "conv_dilated": lambda: _conv(dilation=(2, 1)),
    "conv_grouped": lambda: _conv(groups=2),
    "conv_depthwise": lambda: _conv(groups=4, outputs=4, padding=PAD1),
    "conv_depthwise_multiplier": lambda: _conv(groups=4, outputs=8),
    "dense": lambda: _dense(I4, U4),
    "dense_bipolar": lambda: _dense(BIPOLAR, BIPOLAR),
    "dense_one_bit": lambda: _dense(U1, IntType(1, True)),
    "dense_wide": lambda: _dense(I8, I16),
    "dense_on_image": lambda: _dense(I4, U4, (3, 2, 4)),
    "dense_on_rows": lambda: _dense(I4, U4, (3, 4)),
    "threshold": lambda: _threshold(U4),
    "threshold_shared": lambda: _threshold(I4, rows=1),
    "threshold_bipolar": lambda: _threshold(BIPOLAR),
    "threshold_few_levels": _few_levels,
    "requant_half_up": lambda: _requant(Rounding.HALF_UP),
    "requant_half_even": lambda: _requant(Rounding.HALF_EVEN),
    "requant_tflite_double": lambda: _requant(Rounding.TFLITE_DOUBLE),
    "requant_shared": _requant_shared,
    "requant_narrow": lambda: _requant(Rounding.HALF_EVEN, U4),
    "requant_decreasing": lambda: _requant(Rounding.HALF_EVEN, I8, (-23171, 30000, -16384, 9001)),
    "add": lambda: _add(I4, I4),
    "add_unequal": lambda: _add(U2, I4),
    "add_bipolar": lambda: _add(BIPOLAR, BIPOLAR),
    "add_to_itself": _double,
    "residual": _residual,
    "lookup": lambda: _lookup(1),
    "lookup_per_channel": lambda: _lookup(4),
    "mul": _mul,
    "take_rows": lambda: _take(0, (0, 0, 1, 1, 2, 2)),
    "take_channels": lambda: _take(2, (3, 1)),
    "transpose": lambda: _transpose((1, 2, 0)),
    "concat": _concat,
    "max_pool": lambda: _pool(MaxPool2d((2, 2), (2, 2))),
    "max_pool_overlapping": lambda: _pool(MaxPool2d((3, 2), (1, 2))),
    "max_pool_padded": lambda: _pool(MaxPool2d((3, 3), (2, 2), PAD1)),
    "max_pool_bipolar": lambda: _pool(MaxPool2d((2, 2), (2, 2)), BIPOLAR),
    "avg_pool_sum": lambda: _pool(AvgPool2d((2, 2), (2, 2))),
    "avg_pool_sum_padded": lambda: _pool(AvgPool2d((3, 3), (2, 2), PAD1, pad_value=-2)),
    "avg_pool_mean": lambda: _pool(AvgPool2d((2, 3), (2, 1), mean=True)),
    "avg_pool_mean_wide": lambda: _pool(AvgPool2d((6, 5), (1, 1), mean=True), I8),
    "avg_pool_mean_padded": lambda: _pool(AvgPool2d((3, 3), (2, 2), PAD1, mean=True)),
    "pad": lambda: _pad(U4, 3),
    "pad_activated": _pad_activated,
    "pad_bipolar": lambda: _pad(BIPOLAR, 0),
    "reshape": _reshape,
    "argmax": _argmax,
    "softmax": _softmax,
}
