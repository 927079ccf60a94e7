"""Models of one operator, random and at the limits, for comparing rules with where Vela places the operator."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from tflite_models import Writer

Made = tuple[str, bytes]
Shape = list[int]


def _made(text: str, w: Writer, *outputs: int) -> Made:
    return text, w.model(*outputs)


def _weights(w: Writer, shape: Shape, channels: int, axis: int, kind: str = "int8", value: int | None = None) -> int:
    data = np.full(shape, 1 if value is None else value, dtype=kind)
    return w.tensor(shape, [0.1] * channels, kind=kind, data=data, axis=axis)


def _bias(w: Writer, count: int, kind: str, value: int = 5) -> int:
    return w.tensor([count], [0.005] * count, kind=kind, data=np.full([count], value, dtype=kind))


def _span(size: int, kernel: int, stride: int, dilation: int, same: bool) -> int:
    return -(-size // stride) if same else (size - (kernel - 1) * dilation - 1) // stride + 1


def conv(
    h: int = 8, w: int = 8, i: int = 4, o: int = 8, kernel: tuple[int, int] = (3, 3), stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1), same: bool = True, kind: str = "int8", weight: str = "int8",
    bias: str = "int32", n: int = 1, depthwise: bool = False, value: int | None = None, bias_value: int = 5,
) -> Made:  # fmt: skip
    """A convolution, or a depthwise one with `o` outputs per input."""
    text = f"conv {locals()}"
    m = Writer()
    x = m.input([n, h, w, i], kind=kind)
    channels = i * o if depthwise else o
    shape = [1, *kernel, channels] if depthwise else [o, *kernel, i]
    inputs = [x, _weights(m, shape, channels, 3 if depthwise else 0, weight, value)]
    inputs.append(_bias(m, channels, bias, bias_value) if bias else -1)
    size = [_span(s, k, st, d, same) for s, k, st, d in zip((h, w), kernel, stride, dilation, strict=True)]
    y = m.tensor([n, *size, channels], kind=kind)
    more: dict[str, Any] = {"depthMultiplier": o} if depthwise else {}
    name, table = ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions") if depthwise else ("CONV_2D", "Conv2DOptions")
    m.op(
        name, inputs, [y], table, padding=0 if same else 1, strideH=stride[0], strideW=stride[1],
        dilationHFactor=dilation[0], dilationWFactor=dilation[1], **more,
    )  # fmt: skip
    return _made(text, m, y)


def dense(
    n: int = 1, i: int = 16, o: int = 8, kind: str = "int8", weight: str = "int8", bias: str = "int32",
    computed: bool = False, value: int | None = None, middle: int = 1,
) -> Made:  # fmt: skip
    """A fully connected layer; `computed`: weights that are an input."""
    text = f"dense {locals()}"
    m = Writer()
    x = m.input([n, i * middle], kind=kind)
    shape = [o, middle, i] if middle > 1 else [o, i]
    weights = m.input(shape, kind=weight) if computed else _weights(m, shape, 1, 0, weight, value)
    y = m.tensor([n, o], kind=kind)
    m.op("FULLY_CONNECTED", [x, weights, _bias(m, o, bias) if bias else -1], [y], "FullyConnectedOptions")
    return _made(text, m, y)


def pool(
    name: str, h: int = 8, w: int = 8, kernel: tuple[int, int] = (2, 2), stride: tuple[int, int] = (2, 2),
    same: bool = False, kind: str = "int8", n: int = 1, c: int = 3,
) -> Made:  # fmt: skip
    """An average or a maximum over windows."""
    text = f"pool {locals()}"
    m = Writer()
    x = m.input([n, h, w, c], kind=kind)
    size = [_span(s, k, st, 1, same) for s, k, st in zip((h, w), kernel, stride, strict=True)]
    y = m.tensor([n, *size, c], kind=kind)
    m.op(
        name, [x], [y], "Pool2DOptions", padding=0 if same else 1, strideH=stride[0], strideW=stride[1],
        filterHeight=kernel[0], filterWidth=kernel[1],
    )  # fmt: skip
    return _made(text, m, y)


def pair(
    name: str, a: Shape, b: Shape, kind: str = "int8", zero: int = 0, scales: tuple[float, float, float] = (0.05,) * 3,
    constant: bool = False, out: str = "",
) -> Made:  # fmt: skip
    """A sum, difference, product, minimum or maximum of two feature maps."""
    text = f"pair {locals()}"
    m = Writer()
    x = m.input(a, scales[0], zero, kind=kind)
    data = np.ones(b, dtype=kind) if constant else None
    other = m.tensor(b, scales[1], kind=kind, data=data, is_input=not constant)
    y = m.tensor(list(np.broadcast_shapes(tuple(a), tuple(b))), scales[2], kind=out or kind)
    table = "MaximumMinimumOptions" if name in ("MAXIMUM", "MINIMUM") else f"{name.title()}Options"
    m.op(name, [x, other], [y], table)
    return _made(text, m, y)


_TABLES = {"QUANTIZE": "QuantizeOptions", "HARD_SWISH": "HardSwishOptions", "LEAKY_RELU": "LeakyReluOptions"}


def values(
    name: str, shape: Shape, kind: str = "int8", out: str = "", scale: float | None = 0.05, free: int | None = None
) -> Made:
    """A function of every value; `free`: an axis of a size that is not fixed."""
    text = f"values {locals()}"
    m = Writer()
    signature = None if free is None else [-1 if a == free else s for a, s in enumerate(shape)]
    x = m.input(shape, scale, kind=kind, signature=signature)
    y = m.tensor(shape, 0.04, kind=out or kind, signature=signature)
    more: dict[str, Any] = {"beta": 1.0} if name == "SOFTMAX" else {"alpha": 0.1} if name == "LEAKY_RELU" else {}
    m.op(name, [x], [y], "SoftmaxOptions" if name == "SOFTMAX" else _TABLES.get(name, ""), **more)
    return _made(text, m, y)


def moved(
    name: str, shape: Shape, out: Shape, kind: str = "int8", parameters: tuple[Any, ...] = (), **more: Any
) -> Made:
    """An operator that moves or selects values: constant parameters after its input, or before it for SPLIT."""
    text = f"moved {locals()}"
    m = Writer()
    x = m.input(shape, kind=kind)
    constants = [m.ints(p) for p in parameters]
    count = more.get("numSplits", 1)
    outputs = [m.tensor(out, kind="int32" if name == "ARG_MAX" else kind) for _ in range(count)]
    if name == "PADV2":
        constants.append(m.tensor([1], kind=kind, data=np.zeros(1)))
    table = {
        "ARG_MAX": "ArgMaxOptions", "MEAN": "ReducerOptions", "PADV2": "PadV2Options", "SPLIT_V": "SplitVOptions",
    }.get(name, f"{name.title().replace('_', '')}Options")  # fmt: skip
    m.op(name, [*constants, x] if name == "SPLIT" else [x, *constants], outputs, table, **more)
    return _made(text, m, *outputs)


def transpose(shape: Shape, order: Shape, kind: str = "int8") -> Made:
    return moved("TRANSPOSE", shape, [shape[p] for p in order], kind, (order,))


def mean(shape: Shape, axes: Shape, kind: str = "int8", keep: bool = True) -> Made:
    out = [1 if a in axes else s for a, s in enumerate(shape) if keep or a not in axes]
    return moved("MEAN", shape, out, kind, (axes,), keepDims=keep)


def resize(
    name: str, size: tuple[int, int], out: tuple[int, int], corners: bool = False, centers: bool = False,
    kind: str = "int8", n: int = 1,
) -> Made:  # fmt: skip
    more = {"alignCorners": corners, "halfPixelCenters": centers}
    return moved(name, [n, *size, 3], [n, *out, 3], kind, (list(out),), **more)


def argmax(shape: Shape, axis: int, kind: str = "int8") -> Made:
    out = [s for a, s in enumerate(shape) if a != axis % len(shape)]
    return moved("ARG_MAX", shape, out, kind, (axis,), outputType=2)


def concat(shape: Shape, axis: int, count: int, kind: str = "int8") -> Made:
    m = Writer()
    parts = [m.input(shape, 0.05 + 0.01 * i, kind=kind) for i in range(count)]
    y = m.tensor([s * count if a == axis % len(shape) else s for a, s in enumerate(shape)], kind=kind)
    m.op("CONCATENATION", parts, [y], "ConcatenationOptions", axis=axis)
    return _made(f"concat {shape} {axis} {count} {kind}", m, y)


def strided(shape: Shape, begin: Shape, step: Shape, kind: str = "int8") -> Made:
    out = [-(-(s - b) // st) for s, b, st in zip(shape, begin, step, strict=True)]
    masks = {f"{name}Mask": 0 for name in ("begin", "end", "ellipsis", "newAxis", "shrinkAxis")}
    return moved("STRIDED_SLICE", shape, out, kind, (begin, shape, step), **masks)


def _shape(r: random.Random, least: int = 1, most: int = 4) -> Shape:
    return [r.choice((1, 1, 2, 3, 5, 8)) for _ in range(r.randint(least, most))]


def _kind(r: random.Random) -> str:
    return r.choice(("int8", "int8", "int8", "uint8", "int16", "int16", "int32"))


def _two(r: random.Random, *choices: int) -> tuple[int, int]:
    return r.choice(choices), r.choice(choices)


def _conv(r: random.Random) -> Made:
    kernel, dilation = _two(r, 1, 2, 3, 5), _two(r, 1, 1, 1, 2)
    h, w = (max(r.randint(1, 24), (k - 1) * d + 1) for k, d in zip(kernel, dilation, strict=True))
    return conv(
        h, w, r.choice((1, 2, 3, 8)), r.choice((1, 2, 4)), kernel, _two(r, 1, 2, 3, 4, 5, 8), dilation,
        r.random() < 0.5, _kind(r), r.choice(("int8", "int8", "int8", "uint8", "int16")),
        r.choice(("int32", "int32", "int64", "int16", "")), r.choice((1, 1, 2)), r.random() < 0.4,
    )  # fmt: skip


def _dense(r: random.Random) -> Made:
    kind, computed = r.choice(("int8", "int8", "uint8", "int16", "int32")), r.random() < 0.3
    weight = r.choice(("int8", "int8", "int16"))
    if computed:  # TensorFlow Lite has no such layer with types that differ
        weight = kind if kind in ("int8", "uint8") else "int8"
    bias = "" if computed else r.choice(("int32", "int32", "int64", "int16", ""))
    return dense(r.choice((1, 1, 4)), r.randint(1, 40), r.randint(1, 20), kind, weight, bias, computed)


def _pool(r: random.Random) -> Made:
    kernel = _two(r, 1, 2, 3, 8, 9, 11)
    h, w = (max(r.randint(1, 30), k) for k in kernel)
    name = r.choice(("AVERAGE_POOL_2D", "MAX_POOL_2D"))
    return pool(name, h, w, kernel, _two(r, 1, 2, 3, 4, 7), r.random() < 0.5, _kind(r), r.choice((1, 1, 2)))


def _pair(r: random.Random) -> Made:
    a = _shape(r)
    b = [s if r.random() < 0.7 else 1 for s in a][r.choice((0, 0, 0, len(a) - 1)) :]
    kind, name = _kind(r), r.choice(("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"))
    same = r.random() < 0.7
    zero = r.choice((0, 0, 3)) if kind != "uint8" else 3
    scales = (0.05, 0.05 if same else 0.07, 0.05)
    out = r.choice(("", "", "int32")) if name in ("ADD", "SUB", "MUL") else ""
    return pair(name, a, b, kind, zero, scales, r.random() < 0.3, out)


def _values(r: random.Random) -> Made:
    names = ("RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "SOFTMAX", "QUANTIZE")
    name = r.choice((*names, "QUANTIZE", "DEQUANTIZE", "SQRT", "LOG_SOFTMAX"))
    out = r.choice(("int8", "uint8", "int16", "int32")) if name == "QUANTIZE" else ""
    return values(name, _shape(r, 1, 5), _kind(r), out, 0.05 if r.random() < 0.9 else None, r.choice((None, None, 0)))


def _mean(r: random.Random) -> Made:
    shape = _shape(r, 2, 5)
    axes = sorted(r.sample(range(len(shape)), r.randint(1, len(shape) - 1)))
    return mean(shape, axes, _kind(r), r.random() < 0.5)


def _move(r: random.Random) -> Made:
    kind, shape = _kind(r), _shape(r)
    n = len(shape)
    which = r.randrange(7)
    if which == 0:
        pads = [[r.randint(0, 2), r.randint(0, 2)] for _ in shape]
        out = [s + sum(p) for s, p in zip(shape, pads, strict=True)]
        return moved(r.choice(("PAD", "PADV2")), shape, out, kind, (pads,))
    if which == 1:
        return concat(shape, r.randrange(-n, n), r.randint(2, 4), kind)
    if which == 2:
        out = [int(np.prod(shape[: r.randint(0, n)])), -1]
        out[1] = int(np.prod(shape)) // out[0]
        return moved("RESHAPE", shape, out, kind, (out,), newShape=out)
    if which == 3:
        begin = [r.randrange(s) for s in shape]
        size = [r.randint(1, s - b) for s, b in zip(shape, begin, strict=True)]
        return moved("SLICE", shape, size, kind, (begin, size))
    if which == 4:
        steps = [r.choice((1, 1, 1, 2, 3)) for _ in shape]
        return strided(shape, [r.randrange(s) for s in shape], steps, kind)
    if which == 5:
        axis, count = r.randrange(n), r.randint(1, 3)
        whole = [s * count if a == axis else s for a, s in enumerate(shape)]
        return moved("SPLIT", whole, shape, kind, (axis,), numSplits=count)
    axis = r.randint(0, n)
    return moved("EXPAND_DIMS", shape, [*shape[:axis], 1, *shape[axis:]], kind, (axis,))


def _transpose(r: random.Random) -> Made:
    shape = _shape(r, 2, 5)
    if r.random() < 0.3:
        for axis in r.sample(range(len(shape)), 2):
            shape[axis] = r.choice((200, 300, 400))
    return transpose(shape, r.sample(range(len(shape)), len(shape)), _kind(r))


def _resize(r: random.Random) -> Made:
    name = r.choice(("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"))
    size, corners = _two(r, 1, 2, 3, 4), r.random() < 0.4
    factor = r.choice((2, 2, 3, 4, 8, 16))
    out = [max(1, (s - 1) * factor + 1) if corners and r.random() < 0.7 else s * factor for s in size]
    if r.random() < 0.3:
        out[r.randrange(2)] = r.randint(1, 9)
    return resize(name, size, (out[0], out[1]), corners, r.random() < 0.3, _kind(r), r.choice((1, 1, 1, 2)))


def _argmax(r: random.Random) -> Made:
    shape = [*_shape(r, 1, 3), r.choice((2, 10, 126, 127, 128, 200))]
    axis = r.choice((-1, len(shape) - 1, len(shape) - 1, 0))
    return argmax(shape, axis, r.choice(("int8", "uint8")))


KINDS: tuple[Callable[[random.Random], Made], ...] = (
    _conv, _conv, _dense, _pool, _pair, _values, _mean, _move, _move, _transpose, _resize, _argmax,
)  # fmt: skip


def random_model(seed: int) -> Made:
    """The model of that seed, with a text that says what it is."""
    r = random.Random(seed)
    return KINDS[seed % len(KINDS)](r)
