"""Networks of the usual shapes as int8 `.tflite` files, with random weights: MobileNet, ResNet, DS-CNN, autoencoder.

Weights are Gaussian, quantised per channel (matrix products: per tensor), which compresses as trained weights do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from codesign.export.tflite.file import ModelFile

_SAME, _VALID = 0, 1
_NONE, _RELU = 0, 1
_SCALE = 0.05


class Network:
    """A file that grows at `last`, one layer at a time; every method returns the tensor of its result."""

    def __init__(self, shape: tuple[int, ...], seed: int = 1) -> None:
        self.file = ModelFile()
        self.rng = np.random.default_rng(seed)
        self.layers = 0
        self.last = self.file.tensor("image", (1, *shape), "int8", _SCALE, 3)
        self.file.inputs.append(self.last)

    def conv(
        self, outputs: int, kernel: tuple[int, int] = (3, 3), stride: tuple[int, int] = (1, 1), relu: bool = True,
        padding: int = _SAME, x: int | None = None,
    ) -> int:  # fmt: skip
        """A convolution; 0 outputs: a depthwise one."""
        x = self.last if x is None else x
        name = self._name("depthwise" if not outputs else "conv")
        _, height, width, channels = self.file.shape(x)
        shape = (outputs, *kernel, channels) if outputs else (1, *kernel, channels)
        w, b = self._weights(name, shape, 0 if outputs else 3)
        size = [
            -(-(n if padding == _SAME else n - k + 1) // s)
            for n, k, s in zip((height, width), kernel, stride, strict=True)
        ]
        options = {
            "stride_h": stride[0], "stride_w": stride[1], "padding": padding, "dilation_h": 1, "dilation_w": 1,
        }  # fmt: skip
        if not outputs:
            options["depth_multiplier"] = 1
        operator = "CONV_2D" if outputs else "DEPTHWISE_CONV_2D"
        return self._linear(operator, name, [x, w, b], (*size, outputs or channels), relu, options)

    def dense(self, outputs: int, relu: bool = True) -> int:
        """A matrix product."""
        name = self._name("dense")
        w, b = self._weights(name, (outputs, self.file.shape(self.last)[-1]), None)
        return self._linear("FULLY_CONNECTED", name, [self.last, w, b], (outputs,), relu, {"keep_num_dims": False})

    def add(self, a: int, b: int) -> int:
        """A residual sum with a ReLU."""
        self.last = self.file.tensor(self._name("add"), self.file.shape(a), "int8", _SCALE, -128)
        self.file.operator("ADD", [a, b], self.last, activation=_RELU)
        return self.last

    def pool(self, size: int) -> int:
        """A max pool without overlap."""
        _, height, width, channels = self.file.shape(self.last)
        x, shape = self.last, (1, height // size, width // size, channels)
        self.last = self.file.tensor(self._name("pool"), shape, "int8", _SCALE, -128)
        sizes = {"stride_h": size, "stride_w": size, "filter_height": size, "filter_width": size}
        self.file.operator("MAX_POOL_2D", [x], self.last, padding=_VALID, activation=_NONE, **sizes)
        return self.last

    def mean(self) -> int:
        """The mean of each channel, as a vector."""
        _, height, width, channels = self.file.shape(self.last)
        mean = self.file.tensor("mean", (1, 1, 1, channels), "int8", _SCALE, -128)
        sizes = {"stride_h": height, "stride_w": width, "filter_height": height, "filter_width": width}
        self.file.operator("AVERAGE_POOL_2D", [self.last], mean, padding=_VALID, activation=_NONE, **sizes)
        return self._flat(mean)

    def flat(self) -> int:
        """The image as a vector."""
        return self._flat(self.last)

    def content(self) -> bytes:
        """The file, whose output is `last`."""
        self.file.outputs = [self.last]
        return self.file.content()

    def _name(self, kind: str) -> str:
        self.layers += 1
        return f"{kind}{self.layers}"

    def _flat(self, x: int) -> int:
        size = int(np.prod(self.file.shape(x)))
        self.last = self.file.tensor(self._name("flat"), (1, size), "int8", _SCALE, -128)
        self.file.operator("RESHAPE", [x, self.file.integers("size", [1, size])], self.last)
        return self.last

    def _weights(self, name: str, shape: tuple[int, ...], axis: int | None) -> tuple[int, int]:
        """Weights along `axis` (None: one scale) and bias; the scale keeps the results in range."""
        values = self.rng.normal(size=shape)
        others = tuple(i for i in range(len(shape)) if i != axis) if axis is not None else None
        largest = np.abs(values).max(axis=others, keepdims=True)
        terms = values.size // shape[axis or 0]
        scale = (largest / 127 / np.sqrt(terms)).reshape(-1).astype(np.float32)
        w = self.file.tensor(
            f"{name}.weight", shape, "int8", scale, 0, axis or 0, np.rint(values / largest * 127).astype(np.int8)
        )
        bias = self.rng.integers(-2000, 2000, shape[axis or 0]).astype(np.int32)
        b = self.file.tensor(f"{name}.bias", bias.shape, "int32", _SCALE * scale, 0, 0, bias)
        return w, b

    def _linear(
        self, operator: str, name: str, inputs: list[int], shape: tuple[int, ...], relu: bool, options: dict[str, int]
    ) -> int:
        self.last = self.file.tensor(name, (1, *shape), "int8", _SCALE, -128 if relu else 4)
        self.file.operator(operator, inputs, self.last, activation=_RELU if relu else _NONE, **options)
        return self.last


def ds_cnn() -> bytes:
    """Keyword spotting: one convolution with a large kernel, four depthwise-separable layers."""
    n = Network((49, 10, 1))
    n.conv(64, (10, 4), (2, 2))
    for _ in range(4):
        n.conv(0)
        n.conv(64, (1, 1))
    n.mean()
    n.dense(12, relu=False)
    return n.content()


def autoencoder() -> bytes:
    """Anomaly detection: ten matrix products."""
    n = Network((640,))
    for outputs in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        n.dense(outputs)
    n.dense(640, relu=False)
    return n.content()


def resnet8() -> bytes:
    """Image classification, 32x32."""
    n = Network((32, 32, 3))
    x = n.conv(16)
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        n.conv(channels, stride=(stride, stride), x=x)
        y = n.conv(channels, relu=False)
        x = n.add(y, x if stride == 1 else n.conv(channels, (1, 1), (stride, stride), relu=False, x=x))
    n.mean()
    n.dense(10, relu=False)
    return n.content()


def mobilenet_v1(size: int = 96, width: float = 0.25, classes: int = 2) -> bytes:
    """Visual wake words."""
    n = Network((size, size, 3))
    n.conv(int(32 * width), stride=(2, 2))
    blocks = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
    for channels, stride in blocks:
        n.conv(0, stride=(stride, stride))
        n.conv(int(channels * width), (1, 1))
    n.mean()
    n.dense(classes, relu=False)
    return n.content()


def mobilenet_v2(size: int = 224, classes: int = 1000) -> bytes:
    """Image classification, 3.5 million weights."""
    n = Network((size, size, 3))
    n.conv(32, stride=(2, 2))
    n.conv(0)
    n.conv(16, (1, 1), relu=False)
    channels = 16
    blocks = ((6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, outputs, count, first in blocks:
        for index in range(count):
            x = n.last
            n.conv(expansion * channels, (1, 1))
            stride = first if index == 0 else 1
            n.conv(0, stride=(stride, stride))
            y = n.conv(outputs, (1, 1), relu=False)
            if index:
                n.add(y, x)
            channels = outputs
    n.conv(1280, (1, 1))
    n.mean()
    n.dense(classes, relu=False)
    return n.content()


def small_cnn() -> bytes:
    """The demo's shape: three convolutions with pools on a 28x28 image of one channel, and a matrix product."""
    n = Network((28, 28, 1))
    for outputs in (16, 32, 32):
        n.conv(outputs)
        n.pool(2)
    n.flat()
    n.dense(10, relu=False)
    return n.content()


NETWORKS: dict[str, Callable[[], bytes]] = {
    make.__name__: make for make in (ds_cnn, autoencoder, resnet8, mobilenet_v1, small_cnn, mobilenet_v2)
}
