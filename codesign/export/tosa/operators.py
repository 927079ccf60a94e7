"""The operators of TOSA that are emitted, one function each: shapes and types follow from the inputs.

Names and argument order are those of the TOSA 1.0 specification. What an operator requires of its values is the
caller's to prove; the reference model calls a violation UNPREDICTABLE.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from codesign.export.tosa.writer import Dtype, Mode, Tensor, Writer
from codesign.ir.types import IntArray

_MANY = 4  # times that a constant is read, from which on a copy in SRAM pays

Pad = tuple[int, int, int, int]  # top, bottom, left, right: the order of TOSA


@dataclass(frozen=True)
class Window:
    """How a kernel moves over an image (N, H, W, C)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: Pad
    dilation: tuple[int, int] = (1, 1)

    def extent(self, shape: Sequence[int]) -> tuple[int, int]:
        """(OH, OW); the division by the stride leaves no rest, as TOSA demands."""
        result = []
        for axis in range(2):
            before, after = self.pad[2 * axis : 2 * axis + 2]
            span = shape[1 + axis] + before + after - self.dilation[axis] * (self.kernel[axis] - 1) - 1
            assert span % self.stride[axis] == 0, "a window that does not end at the edge"
            result.append(span // self.stride[axis] + 1)
        return result[0], result[1]


def conv2d(w: Writer, x: Tensor, weights: Tensor, bias: Tensor, zero_points: tuple[int, int], window: Window) -> Tensor:
    """CONV2D: sums of (x - zx) * (w - zw) over windows, plus bias; weights (O, KH, KW, I)."""
    return _convolution(w, "CONV2D", "Conv2d", x, weights, bias, zero_points, window)


def depthwise(
    w: Writer, x: Tensor, weights: Tensor, bias: Tensor, zero_points: tuple[int, int], window: Window
) -> Tensor:
    """DEPTHWISE_CONV2D: the same per channel; weights (KH, KW, C, M), output channel c * M + m."""
    return _convolution(w, "DEPTHWISE_CONV2D", "DepthwiseConv2d", x, weights, bias, zero_points, window)


def _convolution(
    w: Writer, kind: str, attribute: str, x: Tensor, weights: Tensor, bias: Tensor, zeros: tuple[int, int], at: Window
) -> Tensor:
    total = Dtype.I48 if x.dtype is Dtype.I16 else Dtype.I32
    points = (w.const([zeros[0]], x.dtype), w.const([zeros[1]], weights.dtype))
    shape = (x.shape[0], *at.extent(x.shape), bias.shape[0])
    geometry = list(at.pad), list(at.stride), list(at.dilation)
    return w.add(kind, (x, weights, bias, *points), shape, total, attribute, *geometry, False, total)


def avg_pool2d(w: Writer, x: Tensor, zero_point: int, window: Window) -> Tensor:
    """AVG_POOL2D: zero_point + the mean of x - zero_point over the pixels of each window that are inside the image."""
    zero = w.const([zero_point], x.dtype)
    shape = (x.shape[0], *window.extent(x.shape), x.shape[3])
    geometry = list(window.kernel), list(window.stride), list(window.pad)
    return w.add("AVG_POOL2D", (x, zero, zero), shape, x.dtype, "AvgPool2d", *geometry, Dtype.I32)


def max_pool2d(w: Writer, x: Tensor, window: Window) -> Tensor:
    """MAX_POOL2D: the largest x of each window."""
    shape = (x.shape[0], *window.extent(x.shape), x.shape[3])
    geometry = list(window.kernel), list(window.stride), list(window.pad)
    return w.add("MAX_POOL2D", (x,), shape, x.dtype, "MaxPool2d", *geometry, Mode.PROPAGATE)


def rescale(
    w: Writer,
    x: Tensor,
    dtype: Dtype,
    multiplier: ArrayLike,
    shift: ArrayLike,
    zero_points: tuple[int, int] = (0, 0),
    double: bool = False,
) -> Tensor:
    """RESCALE: saturate(round((x - zx) * m / 2^s) + zy), m and s (1) or (C); round is floor(v + 1/2), or TFLite's.

    Multipliers are 0 … 2^31 - 1, or 0 … 2^15 - 1 for an x of 48 bits; shifts 2 … 62; |x - zx| < 2^(s - 1).
    """
    wide = x.dtype is not Dtype.I48
    m, s = np.atleast_1d(multiplier), np.atleast_1d(shift)
    m, s = np.broadcast_arrays(m, s)
    inputs = (
        x,
        w.const(m, Dtype.I32 if wide else Dtype.I16),
        w.const(s, Dtype.I8),
        w.const([zero_points[0]], x.dtype),
        w.const([zero_points[1]], dtype),
    )
    mode = Mode.DOUBLE_ROUND if double else Mode.SINGLE_ROUND
    return w.add("RESCALE", inputs, x.shape, dtype, "Rescale", wide, mode, m.size > 1, False, False)


def clamp(w: Writer, x: Tensor, lo: int, hi: int) -> Tensor:
    """CLAMP of 8 or 16 bits to lo … hi."""
    ends = [list(np.array([end], dtype=x.dtype.numpy).tobytes()) for end in (lo, hi)]
    return w.add("CLAMP", (x,), x.shape, x.dtype, "Clamp", *ends, Mode.PROPAGATE)


def elementwise(w: Writer, kind: str, a: Tensor, b: Tensor) -> Tensor:
    """ADD, SUB, MAXIMUM, MINIMUM or LOGICAL_LEFT_SHIFT: one value for each pair; an axis of size 1 is repeated."""
    attribute = "".join(word.title() for word in kind.split("_"))
    modes = (Mode.PROPAGATE,) if kind in ("MAXIMUM", "MINIMUM") else ()
    return w.add(kind, (a, b), _broadcast(a, b), a.dtype, attribute, *modes)


def with_const(w: Writer, kind: str, x: Tensor, values: ArrayLike) -> Tensor:
    """An elementwise operator with a constant, one value or one per channel, as its second input."""
    return elementwise(w, kind, x, channel_const(w, x, values))


def channel_const(w: Writer, x: Tensor, values: ArrayLike) -> Tensor:
    """A constant of the type of x, one value or one per channel, with as many axes as x has."""
    array = np.atleast_1d(np.asarray(values))
    made = w.const(array.reshape([1] * (len(x.shape) - 1) + [array.size]), x.dtype)
    return made if array.size == 1 else repeated(w, made, math.prod(x.shape[:-1]))


def repeated(w: Writer, const: Tensor, times: int) -> Tensor:
    """A constant of 32 bits that an operator reads many times: plus 0.

    Vela leaves a constant in flash, and has a pixel at a time read from there, but puts what an operator computes into
    SRAM: of 32 channels and 256 pixels an ADD takes 28,354 cycles of Ethos-U55-128 instead of 83,542 (Vela 5.2).
    """
    return (
        elementwise(w, "ADD", const, w.const(np.zeros([1] * len(const.shape)), Dtype.I32)) if times >= _MANY else const
    )


def mul(w: Writer, a: Tensor, b: Tensor, shift: int = 0) -> Tensor:
    """MUL: a * b in 32 bits, or floor(a * b / 2^shift + 1/2) of inputs of 32 bits; the result must fit."""
    inputs = (a, b, w.const([shift], Dtype.I8))
    return w.add("MUL", inputs, _broadcast(a, b), Dtype.I32, "Mul")


def mul_const(w: Writer, x: Tensor, values: ArrayLike, shift: int = 0) -> Tensor:
    """MUL by a constant, one value or one per channel."""
    return mul(w, x, channel_const(w, x, values), shift)


def shift_right(w: Writer, x: Tensor, amount: Tensor | int, rounded: bool) -> Tensor:
    """ARITHMETIC_RIGHT_SHIFT: floor(x / 2^amount), or floor(x / 2^amount + 1/2) when rounded; amount 0 … 31."""
    amount = channel_const(w, x, amount) if isinstance(amount, int) else amount
    shape = _broadcast(x, amount)
    return w.add("ARITHMETIC_RIGHT_SHIFT", (x, amount), shape, x.dtype, "ArithmeticRightShift", rounded)


def unary(w: Writer, kind: str, x: Tensor) -> Tensor:
    """CLZ or IDENTITY: one value for each."""
    return w.add(kind, (x,), x.shape, x.dtype, kind.title())


def reduce(w: Writer, kind: str, x: Tensor) -> Tensor:
    """REDUCE_SUM or REDUCE_MAX along the last axis, which stays with size 1."""
    axis = len(x.shape) - 1
    attribute = "".join(word.title() for word in kind.split("_"))
    modes = () if kind == "REDUCE_SUM" else (Mode.PROPAGATE,)
    return w.add(kind, (x,), (*x.shape[:-1], 1), x.dtype, attribute, axis, *modes)


def argmax(w: Writer, x: Tensor) -> Tensor:
    """ARGMAX along the last axis, which goes: the smallest index of the largest value, in 32 bits."""
    return w.add("ARGMAX", (x,), x.shape[:-1], Dtype.I32, "ArgMax", len(x.shape) - 1, Mode.PROPAGATE)


def table(w: Writer, x: Tensor, values: ArrayLike) -> Tensor:
    """TABLE: values[x + 128], both of 8 bits."""
    return w.add("TABLE", (x, w.const(values, x.dtype)), x.shape, x.dtype, "Table")


def gather(w: Writer, values: Tensor, indices: Tensor) -> Tensor:
    """GATHER: y[n, i, c] = values[n, indices[n, i], c]."""
    shape = (*indices.shape, values.shape[2])
    return w.add("GATHER", (values, indices), shape, values.dtype, "Gather")


def concat(w: Writer, tensors: Sequence[Tensor], axis: int) -> Tensor:
    """CONCAT along `axis`."""
    shape = list(tensors[0].shape)
    shape[axis] = sum(t.shape[axis] for t in tensors)
    return w.add("CONCAT", tensors, shape, tensors[0].dtype, "Concat", axis)


def reshape(w: Writer, x: Tensor, shape: Sequence[int]) -> Tensor:
    """RESHAPE, of what came before another one; nothing when the shape stays."""
    x = w.unshaped(x)
    return x if x.shape == tuple(shape) else w.add("RESHAPE", (x,), shape, x.dtype, "Reshape", extents=[shape])


def transpose(w: Writer, x: Tensor, order: Sequence[int]) -> Tensor:
    """TRANSPOSE: axis i of the result is axis order[i] of x."""
    return w.add("TRANSPOSE", (x,), [x.shape[axis] for axis in order], x.dtype, "Transpose", list(order))


def slice_axis(w: Writer, x: Tensor, axis: int, start: int, size: int) -> Tensor:
    """SLICE of `size` elements along one axis; nothing when these are all."""
    if start == 0 and size == x.shape[axis]:
        return x
    begin, shape = [0] * len(x.shape), list(x.shape)
    begin[axis], shape[axis] = start, size
    return w.add("SLICE", (x,), shape, x.dtype, "Slice", extents=[begin, shape])


def pad(w: Writer, x: Tensor, pads: Pad, value: int) -> Tensor:
    """PAD of an image (N, H, W, C) with `value`."""
    top, bottom, left, right = pads
    shape = (x.shape[0], x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3])
    extent = (0, 0, top, bottom, left, right, 0, 0)
    return w.add("PAD", (x, w.const([value], x.dtype)), shape, x.dtype, "Pad", extents=[extent])


def per_channel(values: IntArray, rows: int) -> IntArray:
    """One value per row, or one for all when they are equal."""
    values = np.broadcast_to(values, (rows,))
    return values[:1] if (values == values[0]).all() else values


def _broadcast(a: Tensor, b: Tensor) -> tuple[int, ...]:
    return tuple(np.broadcast_shapes(a.shape, b.shape))
