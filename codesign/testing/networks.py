"""Networks of MLPerf Tiny, and MobileNetV2, as integer graphs that TFLite could have made, with random weights.

    resnet8      32x32x3, three residual blocks of 16, 32 and 64 channels, 10 classes    12.5 million MACs
    ds_cnn       49x10x1, four depthwise-separable blocks of 64 channels, 12 classes      2.7 million MACs
    autoencoder  640-128-128-128-128-8-128-128-128-128-640                                0.3 million MACs
    mobilenet_v2 96x96x3, width 0.35, 17 inverted residuals, 1,000 classes               12 million MACs

Weights are Gaussian (He), quantised per channel (matrix products: per tensor) to 8 bits or fewer, activations to int8
with zero points. The scales of the activations are those that random frames need, layer by layer, so that every tensor
uses its range. Rescalings are those of TFLite's reference kernels: `export_tflite` takes the graphs as they are.
Sources: https://github.com/mlcommons/tiny, benchmark/training; Sandler et al., MobileNetV2, CVPR 2018, table 2, ReLU in
the place of ReLU6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from codesign.frontend.tflite.arithmetic import Summation
from codesign.frontend.tflite.params import Params, Rescale, rescale
from codesign.ir.graph import Graph
from codesign.ir.ops import Add, AvgPool2d, Conv2d, Dense, Op, Requant, Reshape, Rounding, Softmax
from codesign.ir.ops.base import Padding, range_type
from codesign.ir.types import IntArray, IntType, RealArray
from codesign.testing.build import GraphBuilder

INT8 = IntType(8, True)
FRAMES = 8  # that the scales are chosen for
OUTLIERS = 0.001  # of a layer's results, which its scale may leave out
CLIPPED = {2: 1.2, 3: 2.0, 4: 2.7}  # bits -> standard deviations that the largest weight stands for; 8: all of them
LEFT = 20  # how far TFLite's ADD shifts its inputs before it scales them

INVERTED_RESIDUALS = (  # of MobileNetV2: expansion, channels at width 1, repeats, stride of the first
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip


class Network(GraphBuilder):
    """A graph that grows by one quantised layer at a time.

    The layers take and return names of int8 tensors; `params` says what their integers mean, `frames` holds those
    of the random frames.

    weight_bits  of all layers but the first and the last, which keep 8: 8 down to 2
    """

    def __init__(self, shape: Sequence[int], weight_bits: int = 8, seed: int = 1) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)
        self.weight_bits = weight_bits
        self.params: dict[str, Params] = {}
        self.frames: dict[str, IntArray] = {}
        params = _params(-2.0, 2.0)
        self.x = self.input(shape, INT8, params.quant)
        self.params[self.x] = params
        reals = self.rng.normal(size=(FRAMES, *shape))
        self.frames[self.x] = params.quant.quantise(reals, INT8)

    def conv_layer(
        self, x: str, outputs: int, kernel: tuple[int, int] = (3, 3), stride: tuple[int, int] = (1, 1),
        relu: bool = True, bits: int = 0,
    ) -> str:  # fmt: skip
        """A convolution with TFLite's padding SAME. outputs 0: a depthwise one. bits: of the weights, if others."""
        height, width, channels = self.type(x).shape
        groups = 1 if outputs else channels
        padding = same_padding((height, width), kernel, stride)
        pad_value = self.params[x].zero_point if any(padding) else 0
        op = Conv2d(stride, padding, groups, (1, 1), pad_value)
        return self._linear(op, x, (outputs or channels, *kernel, channels // groups), True, relu, bits)

    def dense_layer(self, x: str, outputs: int, relu: bool = True, bits: int = 0) -> str:
        """A matrix product."""
        return self._linear(Dense(), x, (outputs, self.type(x).channels), False, relu, bits)

    def add_layer(self, a: str, b: str, relu: bool = True) -> str:
        """a + b, or relu(a + b): TFLite's ADD."""
        first, second = self.params[a], self.params[b]
        reals = sum(self.params[n].quant.dequantise(self.frames[n]) for n in (a, b))
        params = _fitting(np.maximum(np.asarray(reals), 0.0) if relu else np.asarray(reals))
        by = Summation.of(first, second, params, 1, LEFT)
        terms = []
        for name, meaning, factor in ((a, first, by.factors[0]), (b, second, by.factors[1])):
            shifted = self._emit(Requant(_shifted(meaning), Rounding.HALF_UP, -meaning.zero_point << LEFT), name,
                                 np.array([1 << LEFT]), np.array([0]))  # fmt: skip
            ends = factor(np.array([self.type(shifted).dtype.lo, self.type(shifted).dtype.hi]))
            scaled = Requant(range_type(int(ends[0]), int(ends[1])), factor.rounding)
            terms.append(self._emit(scaled, shifted, factor.multiplier, factor.shift))
        total = self._emit(Add(), terms[0], other=terms[1])
        return self._rescaled(total, by.result, params)

    def mean_layer(self, x: str) -> str:
        """The mean of each channel, as a vector: AVERAGE_POOL_2D and RESHAPE."""
        height, width, channels = self.type(x).shape
        op = AvgPool2d((height, width), (height, width), mean=True)
        pooled = self._emit(op, x, params=self.params[x])
        return self._emit(Reshape((channels,)), pooled, params=self.params[x])

    def softmax_layer(self, x: str) -> str:
        """The probability of each class."""
        return self._emit(Softmax.of(self.params[x].scale), x, params=Params(1 / 256, -128, INT8))

    def _linear(self, op: Op, x: str, shape: tuple[int, ...], per_channel: bool, relu: bool, bits: int) -> str:
        params, outputs = self.params[x], shape[0]
        dtype = IntType(bits or self.weight_bits, True)
        values = self.rng.normal(size=shape) * np.sqrt((2 if relu else 1) / np.prod(shape[1:]))
        largest = np.abs(values.reshape(outputs, -1)).max(axis=1)
        largest = np.minimum(largest, CLIPPED.get(dtype.bits, np.inf) * values.std())
        scales = ((largest if per_channel else largest.max(keepdims=True)) / dtype.hi).astype(np.float32)
        exact = scales.astype(np.float64)
        weights = np.rint(values / exact.reshape(-1, *(1,) * (len(shape) - 1)))
        weights = np.clip(weights, dtype.lo, dtype.hi).astype(np.int64)
        bias = np.rint(self.rng.normal(size=outputs) * 0.1 / (params.scale * exact)).astype(np.int64)
        folded = bias - params.zero_point * weights.reshape(outputs, -1).sum(axis=1)
        name = f"layer{len(self.nodes) + 1}"
        constants = self.const(weights, dtype), self.const(folded)
        acc = self.node(op, x, *constants, name=f"{name}.acc", origin=name)
        self.frames[acc] = self._evaluate(op, (x, *constants))
        reals = self.frames[acc] * (params.scale * exact)
        out = _fitting(np.maximum(reals, 0.0) if relu else reals)
        if per_channel:
            factors = (params.scale * exact / out.scale).tolist()
        else:  # FULLY_CONNECTED with one scale forms the product of the scales in single precision
            factors = [float(params.single * scales[0]) / out.scale]
        return self._rescaled(acc, rescale(factors), out)

    def _rescaled(self, x: str, by: Rescale, params: Params) -> str:
        return self._emit(Requant(INT8, by.rounding, params.zero_point), x, by.multiplier, by.shift, params=params)

    def _emit(self, op: Op, x: str, *arrays: IntArray, other: str = "", params: Params | None = None) -> str:
        inputs = (x, *([other] if other else []), *(self.const(array) for array in arrays))
        origin = next((node.origin for node in self.nodes if node.name == x and x.endswith(".acc")), "")
        name = origin or f"layer{len(self.nodes) + 1}"
        made = self.node(op, *inputs, name=name, origin=name, quant=params.quant if params else None)
        self.frames[made] = self._evaluate(op, inputs)
        if params:
            self.params[made] = params
        return made

    def _evaluate(self, op: Op, inputs: Sequence[str]) -> IntArray:
        args = [self._arg(name) for name in inputs]
        values = [self.frames[n] if n in self.frames else self.consts[n].value for n in inputs]
        return np.asarray(op.evaluate(values, args), dtype=np.int64)


def same_padding(size: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> Padding:
    """(top, left, bottom, right) of TFLite's SAME: ceil(size / stride) outputs, the odd pixel behind the image."""
    total = [max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in zip(size, kernel, stride, strict=True)]
    return total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2


def _params(low: float, high: float) -> Params:
    """The int8 scale and zero point for the reals low <= 0 … high >= 0."""
    scale = float(np.float32((high - low) / 255))
    return Params(scale, int(np.clip(np.rint(INT8.lo - low / scale), INT8.lo, INT8.hi)), INT8)


def _fitting(reals: RealArray) -> Params:
    """The scale and zero point for all of `reals` but the outliers at both ends."""
    low, high = np.quantile(reals, [OUTLIERS, 1 - OUTLIERS])
    return _params(min(float(low), 0.0), max(float(high), 1e-6))


def _shifted(params: Params) -> IntType:
    return range_type(*(q - params.zero_point << LEFT for q in (INT8.lo, INT8.hi)))


def resnet8(weight_bits: int = 8) -> Graph:
    """Image classification (CIFAR-10)."""
    n = Network((32, 32, 3), weight_bits)
    x = n.conv_layer(n.x, 16, bits=8)
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        y = n.conv_layer(n.conv_layer(x, channels, stride=(stride, stride)), channels, relu=False)
        shortcut = x if stride == 1 else n.conv_layer(x, channels, (1, 1), (stride, stride), relu=False)
        x = n.add_layer(y, shortcut)
    return n.graph(n.softmax_layer(n.dense_layer(n.mean_layer(x), 10, relu=False, bits=8)))


def ds_cnn(weight_bits: int = 8) -> Graph:
    """Keyword spotting (Speech Commands)."""
    n = Network((49, 10, 1), weight_bits)
    x = n.conv_layer(n.x, 64, (10, 4), (2, 2), bits=8)
    for _ in range(4):
        x = n.conv_layer(n.conv_layer(x, 0), 64, (1, 1))
    return n.graph(n.softmax_layer(n.dense_layer(n.mean_layer(x), 12, relu=False, bits=8)))


def autoencoder(weight_bits: int = 8) -> Graph:
    """Anomaly detection (ToyADMOS)."""
    n = Network((640,), weight_bits)
    x = n.dense_layer(n.x, 128, bits=8)
    for outputs in (128, 128, 128, 8, 128, 128, 128, 128):
        x = n.dense_layer(x, outputs)
    return n.graph(n.dense_layer(x, 640, relu=False, bits=8))


def mobilenet_v2(weight_bits: int = 8, width: float = 0.35, size: int = 96, classes: int = 1000) -> Graph:
    """Image classification (ImageNet)."""
    n = Network((size, size, 3), weight_bits)
    x = n.conv_layer(n.x, _multiple_of_8(32 * width), stride=(2, 2), bits=8)
    for expansion, channels, repeats, stride in INVERTED_RESIDUALS:
        for repeat in range(repeats):
            inputs, outputs = n.type(x).channels, _multiple_of_8(channels * width)
            y = n.conv_layer(x, expansion * inputs, (1, 1)) if expansion > 1 else x
            y = n.conv_layer(y, 0, stride=(stride, stride) if repeat == 0 else (1, 1))
            y = n.conv_layer(y, outputs, (1, 1), relu=False)
            x = n.add_layer(y, x, relu=False) if repeat > 0 else y
    x = n.conv_layer(x, max(1280, _multiple_of_8(1280 * width)), (1, 1))
    return n.graph(n.softmax_layer(n.dense_layer(n.mean_layer(x), classes, relu=False, bits=8)))


def _multiple_of_8(channels: float) -> int:
    """The nearest multiple of 8, but not less than nine tenths."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


NETWORKS: Mapping[str, Callable[..., Graph]] = {make.__name__: make for make in (resnet8, ds_cnn, autoencoder)}
