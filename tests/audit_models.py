"""Models for the Ethos-U backend: whole networks in small, and one operator of every kind, with random constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from tflite_models import Writer

_SAME, _VALID = 0, 1
_NONE, _RELU, _RELU6 = 0, 1, 3
_INPUT = (1, 12, 10, 24)

Shape = tuple[int, int, int, int]


class _Net:
    """A network being written: tensors by index, shapes beside them, constants from one generator."""

    def __init__(self, seed: int = 1) -> None:
        self.w = Writer()
        self.rng = np.random.default_rng(seed)

    def conv(
        self, x: int, shape: Shape, outputs: int, size: int, stride: int = 1, padding: int = _SAME, act: int = _RELU,
        dilation: int = 1, depthwise: bool = False, scale: float = 0.05, zero: int = -128, name: str = "",
    ) -> tuple[int, Shape]:  # fmt: skip
        w, rng = self.w, self.rng
        span = dilation * (size - 1) + 1
        height, width = (-(-n // stride) if padding == _SAME else (n - span) // stride + 1 for n in shape[1:3])
        dims = (1, size, size, outputs) if depthwise else (outputs, size, size, shape[3])
        weight = w.tensor(
            dims, rng.uniform(0.001, 0.01, outputs), data=rng.integers(-127, 128, dims), axis=3 if depthwise else 0
        )
        bias = w.tensor((outputs,), None, kind="int32", data=rng.integers(-5000, 5000, outputs))
        y = w.tensor((1, height, width, outputs), scale, zero, name=name)
        options = {
            "padding": padding, "strideW": stride, "strideH": stride, "fusedActivationFunction": act,
            "dilationWFactor": dilation, "dilationHFactor": dilation,
        }  # fmt: skip
        if depthwise:
            options["depthMultiplier"] = outputs // shape[3]
        kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        w.op(kind, [x, weight, bias], [y], "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions", **options)
        return y, (1, height, width, outputs)

    def dense(self, x: int, inputs: int, outputs: int) -> int:
        w, rng = self.w, self.rng
        weight = w.tensor((outputs, inputs), 0.004, data=rng.integers(-127, 128, (outputs, inputs)))
        bias = w.tensor((outputs,), None, kind="int32", data=rng.integers(-5000, 5000, outputs))
        y = w.tensor((1, outputs), 0.1, 3)
        w.op("FULLY_CONNECTED", [x, weight, bias], [y], "FullyConnectedOptions", fusedActivationFunction=_NONE)
        return y

    def two(self, op: str, a: int, b: int, shape: Shape, act: int = _NONE, scale: float = 0.07, zero: int = 2) -> int:
        y = self.w.tensor(shape, scale, zero)
        self.w.op(op, [a, b], [y], f"{op.title()}Options", fusedActivationFunction=act)
        return y

    def pool(self, op: str, x: int, shape: Shape, size: int, stride: int, padding: int, act: int = _NONE) -> int:
        y = self.w.tensor(shape, 0.05, -7)
        self.w.op(
            op, [x], [y], "Pool2DOptions", padding=padding, strideW=stride, strideH=stride, filterWidth=size,
            filterHeight=size, fusedActivationFunction=act,
        )  # fmt: skip
        return y

    def softmax(self, x: int, classes: int) -> int:
        y = self.w.tensor((1, classes), 1 / 256, -128)
        self.w.op("SOFTMAX", [x], [y], "SoftmaxOptions", beta=1.0)
        return y

    def mean(self, x: int, channels: int, zero: int = -128) -> int:
        y = self.w.tensor((1, channels), 0.04, zero)
        self.w.op("MEAN", [x, self.w.ints([1, 2])], [y], "ReducerOptions", keepDims=False)
        return y

    def input(self, shape: Shape = _INPUT, scale: float = 0.05, zero: int = -7) -> int:
        return self.w.input(shape, scale, zero)


def _resnet() -> bytes:
    n = _Net()
    x, shape = n.conv(n.input((1, 32, 32, 3), 0.02, -5), (1, 32, 32, 3), 16, 3)
    for outputs, stride in ((16, 1), (32, 2), (64, 2)):
        y, inner = n.conv(x, shape, outputs, 3, stride)
        y, inner = n.conv(y, inner, outputs, 3, act=_NONE, scale=0.09, zero=4)
        if stride > 1:
            x, _ = n.conv(x, shape, outputs, 1, stride, act=_NONE, scale=0.06, zero=-3)
        x, shape = n.two("ADD", x, y, inner, _RELU, 0.05, -7), inner
    y = n.pool("AVERAGE_POOL_2D", x, (1, 1, 1, 64), 8, 8, _VALID)
    flat = n.w.tensor((1, 64), 0.05, -7)
    n.w.op("RESHAPE", [y, n.w.ints([1, 64])], [flat], "ReshapeOptions", newShape=np.array([1, 64], dtype=np.int32))
    return n.w.model(n.softmax(n.dense(flat, 64, 10), 10))


def _mobilenet(size: int, residual: bool) -> bytes:
    n = _Net()
    x, shape = n.conv(n.input((1, size, size, 3), 0.02, -5), (1, size, size, 3), 8, 3, 2, act=_RELU6)
    for outputs, stride in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
        start, before = x, shape
        if residual:
            x, shape = n.conv(x, shape, shape[3] * 6, 1, act=_RELU6)
        x, shape = n.conv(x, shape, shape[3], 3, stride, act=_RELU6, depthwise=True)
        x, shape = n.conv(x, shape, outputs, 1, act=_NONE if residual else _RELU6, zero=1 if residual else -128)
        if residual and before == shape:
            x = n.two("ADD", start, x, shape, zero=1)
    return n.w.model(n.softmax(n.dense(n.mean(x, shape[3]), shape[3], 5), 5))


def _single(build: Callable[[_Net, int], int]) -> Callable[[], bytes]:
    def made() -> bytes:
        n = _Net()
        return n.w.model(build(n, n.input()))

    return made


def _function(name: str, scale: float, zero: int, table: str = "") -> Callable[[_Net, int], int]:
    def build(n: _Net, x: int) -> int:
        y = n.w.tensor(_INPUT, scale, zero)
        n.w.op(name, [x], [y], table)
        return y

    return build


def _fused_logistic(n: _Net, x: int) -> int:
    y, _ = n.conv(x, _INPUT, 24, 3, act=_NONE, zero=-3)
    return _function("LOGISTIC", 1 / 256, -128)(n, y)


def _concat(n: _Net, x: int) -> int:
    a, _ = n.conv(x, _INPUT, 20, 3)
    b, _ = n.conv(x, _INPUT, 12, 1)
    joined = n.w.tensor((1, 12, 10, 32), 0.05, -128)
    n.w.op("CONCATENATION", [a, b], [joined], "ConcatenationOptions", axis=3, fusedActivationFunction=_NONE)
    return n.conv(joined, (1, 12, 10, 32), 8, 3)[0]


def _split(n: _Net, x: int) -> int:
    halves = [n.w.tensor((1, 12, 10, 12), 0.05, -7) for _ in range(2)]
    n.w.op("SPLIT", [n.w.ints(3), x], halves, "SplitOptions", numSplits=2)
    a, b = (n.conv(half, (1, 12, 10, 12), 8, 3)[0] for half in halves)
    return n.two("ADD", a, b, (1, 12, 10, 8))


def _pad(n: _Net, x: int) -> int:
    y = n.w.tensor((1, 15, 14, 24), 0.05, -7)
    n.w.op("PAD", [x, n.w.ints([[0, 0], [1, 2], [3, 1], [0, 0]])], [y], "PadOptions")
    return n.conv(y, (1, 15, 14, 24), 8, 3, 2, _VALID)[0]


def _pad_in_window(n: _Net, x: int) -> int:
    """The NPU's own padding replaces this PAD."""
    y = n.w.tensor((1, 14, 12, 24), 0.05, -7)
    n.w.op("PAD", [x, n.w.ints([[0, 0], [1, 1], [1, 1], [0, 0]])], [y], "PadOptions")
    return n.conv(y, (1, 14, 12, 24), 8, 3, 2, _VALID)[0]


def _narrowed() -> bytes:
    """A convolution of int16, and a QUANTIZE that only limits its results."""
    w, rng = Writer(), np.random.default_rng(1)
    x = w.input((1, 6, 5, 4), 1.0, 0, kind="int16")
    weight = w.tensor((1, 1, 1, 4), rng.uniform(0.001, 0.01, 4), data=rng.integers(-127, 128, (1, 1, 1, 4)), axis=3)
    bias = w.tensor((4,), None, kind="int64", data=rng.integers(-5000, 5000, 4))
    wide, y = w.tensor((1, 6, 5, 4), 1.0, 0, kind="int16"), w.tensor((1, 6, 5, 4), 1.0, 5)
    options = {"strideW": 1, "strideH": 1, "depthMultiplier": 1, "dilationWFactor": 1, "dilationHFactor": 1}
    w.op("DEPTHWISE_CONV_2D", [x, weight, bias], [wide], "DepthwiseConv2DOptions", **options)
    w.op("QUANTIZE", [wide], [y])
    return w.model(y)


def _resize(n: _Net, x: int) -> int:
    y = n.w.tensor((1, 24, 20, 24), 0.05, -7)
    n.w.op("RESIZE_NEAREST_NEIGHBOR", [x, n.w.ints([24, 20])], [y], "ResizeNearestNeighborOptions")
    return n.conv(y, (1, 24, 20, 24), 8, 3)[0]


def _slice(n: _Net, x: int) -> int:
    y = n.w.tensor((1, 8, 7, 16), 0.05, -7)
    n.w.op("SLICE", [x, n.w.ints([0, 1, 2, 4]), n.w.ints([1, 8, 7, 16])], [y], "SliceOptions")
    return n.conv(y, (1, 8, 7, 16), 8, 3)[0]


def _across_the_cpu(n: _Net, x: int) -> int:
    """What is added waits in memory while a depthwise convolution is computed that of the NPUs only U85 can."""
    kept, _ = n.conv(x, _INPUT, 8, 3)
    a, _ = n.conv(kept, (1, 12, 10, 8), 8, 1)
    b, shape = n.conv(a, (1, 12, 10, 8), 8, 3, 4, depthwise=True, act=_NONE, zero=5)
    part = n.w.tensor(shape, 0.05, -128)
    n.w.op("SLICE", [kept, n.w.ints([0, 4, 2, 0]), n.w.ints(shape)], [part], "SliceOptions")
    return n.two("ADD", b, part, shape)


def _large_pool(n: _Net, x: int) -> int:
    y, _ = n.conv(x, _INPUT, 8, 3, act=_NONE, zero=-7)
    return n.pool("MAX_POOL_2D", y, (1, 3, 2, 8), 5, 5, _SAME)


def _int16() -> bytes:
    n = _Net()
    x = n.w.input(_INPUT, 0.001, 0, kind="int16")
    weight = n.w.tensor((20, 3, 3, 24), n.rng.uniform(0.001, 0.01, 20), data=n.rng.integers(-127, 128, (20, 3, 3, 24)))
    bias = n.w.tensor((20,), None, kind="int64", data=n.rng.integers(-5000, 5000, 20))
    y = n.w.tensor((1, 12, 10, 20), 0.005, 0, kind="int16")
    options = {"padding": _SAME, "strideW": 1, "strideH": 1, "fusedActivationFunction": _RELU}
    n.w.op("CONV_2D", [x, weight, bias], [y], "Conv2DOptions", dilationWFactor=1, dilationHFactor=1, **options)
    return n.w.model(y)


def _left_to_the_cpu() -> bytes:
    """A convolution behind a QUANTIZE of real numbers, which no Ethos-U has."""
    n = _Net()
    real = n.w.input(_INPUT, None, kind="float32")
    x = n.w.tensor(_INPUT, 0.05, -7)
    n.w.op("QUANTIZE", [real], [x], "QuantizeOptions")
    return n.w.model(n.conv(x, _INPUT, 8, 1)[0])


MODELS: Mapping[str, Callable[[], bytes]] = {
    "resnet": _resnet,
    "mobilenet": lambda: _mobilenet(96, False),
    "mobilenet_v2": lambda: _mobilenet(64, True),
    "convolution": _single(lambda n, x: n.conv(x, _INPUT, 24, 3, 2, name="answer")[0]),
    "pointwise_convolution": _single(lambda n, x: n.conv(x, _INPUT, 200, 1)[0]),
    "large_kernel": _single(lambda n, x: n.conv(x, _INPUT, 40, 9, act=_NONE, zero=5)[0]),
    "dilated": _single(lambda n, x: n.conv(x, _INPUT, 40, 3, dilation=2)[0]),
    "dilated_by_3": _single(lambda n, x: n.conv(x, _INPUT, 20, 3, padding=_VALID, dilation=3)[0]),
    "dilated_by_4": _single(lambda n, x: n.conv(x, _INPUT, 24, 3, dilation=4, depthwise=True)[0]),
    "stride_3": _single(lambda n, x: n.conv(x, _INPUT, 33, 3, 3, _VALID)[0]),
    "depthwise_multiplier": _single(lambda n, x: n.conv(x, _INPUT, 48, 3, depthwise=True)[0]),
    "across_the_cpu": _single(_across_the_cpu),
    "large_pool": _single(_large_pool),
    "large_stride": _single(lambda n, x: n.conv(x, _INPUT, 8, 3, 8, _VALID)[0]),
    "depthwise": _single(lambda n, x: n.conv(x, _INPUT, 24, 5, 2, depthwise=True)[0]),
    "int16": _int16,
    "average": _single(lambda n, x: n.pool("AVERAGE_POOL_2D", x, (1, 4, 3, 24), 3, 3, _VALID)),
    "average_same": _single(lambda n, x: n.pool("AVERAGE_POOL_2D", x, (1, 6, 5, 24), 3, 2, _SAME)),
    "maximum": _single(lambda n, x: n.pool("MAX_POOL_2D", x, (1, 6, 5, 24), 3, 2, _SAME, _RELU)),
    "mean": _single(lambda n, x: n.mean(x, 24, 3)),
    "add": _single(lambda n, x: n.two("ADD", x, n.input(zero=4, scale=0.03), _INPUT)),
    "add_equal_scales": _single(lambda n, x: n.two("ADD", x, n.input(zero=4), _INPUT, scale=0.1)),
    "add_itself": _single(lambda n, x: n.two("ADD", x, x, _INPUT)),
    "add_repeated": _single(lambda n, x: n.two("ADD", x, n.input((1, 1, 1, 24), 0.03, 4), _INPUT)),
    "add_constant": _single(
        lambda n, x: n.two("ADD", x, n.w.tensor((1, 1, 1, 24), 0.03, 4, data=n.rng.integers(-128, 128, 24)), _INPUT)
    ),
    "subtract": _single(lambda n, x: n.two("SUB", x, n.input(zero=4, scale=0.03), _INPUT)),
    "multiply": _single(lambda n, x: n.two("MUL", x, n.input(zero=4, scale=0.03), _INPUT)),
    "logistic": _single(_function("LOGISTIC", 1 / 256, -128)),
    "tanh": _single(_function("TANH", 1 / 128, 0)),
    "hard_swish": _single(_function("HARD_SWISH", 0.04, -110, "HardSwishOptions")),
    "quantize": _single(_function("QUANTIZE", 0.08, 3, "QuantizeOptions")),
    "relu6": _single(_function("RELU6", 0.025, -128)),
    "fused_logistic": _single(_fused_logistic),
    "concat": _single(_concat),
    "split": _single(_split),
    "pad": _single(_pad),
    "pad_in_window": _single(_pad_in_window),
    "narrowed": _narrowed,
    "resize": _single(_resize),
    "slice": _single(_slice),
    "left_to_the_cpu": _left_to_the_cpu,
}
