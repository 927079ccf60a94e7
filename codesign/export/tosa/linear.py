"""Conv2d and Dense, and everything else that is a sum over a window: CONV2D and DEPTHWISE_CONV2D."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codesign.export.tosa import operators as t
from codesign.export.tosa.reach import Range, sums
from codesign.export.tosa.values import Lowering, Refused, Sums, Value, image, stored
from codesign.export.tosa.writer import Dtype, Tensor, Writer
from codesign.ir.graph import Node
from codesign.ir.ops import Conv2d, Dense
from codesign.ir.ops.base import Padding, padded_type
from codesign.ir.types import IntArray
from codesign.passes.groups_to_dense import ungrouped

MAX_BITS = 16  # of what is convolved


def conv2d(c: Lowering, node: Node) -> Value:
    """Conv2d -> CONV2D, or DEPTHWISE_CONV2D where every group is one channel; other groups as zero weights."""
    assert isinstance(node.op, Conv2d)
    return _sums(c, node, c.shaped(node), node.op, c.constant(node, 1))


def dense(c: Lowering, node: Node) -> Value:
    """Dense -> CONV2D with a kernel of one pixel."""
    assert isinstance(node.op, Dense)
    weights = c.constant(node, 1)
    return _sums(c, node, image(c.writer, c.input(node)), Conv2d(), weights[:, None, None, :])


def _sums(c: Lowering, node: Node, x: Value, op: Conv2d, weights: IntArray) -> Value:
    bias = c.constant(node, 2) if len(node.inputs) == 3 else np.zeros(len(weights), dtype=np.int64)
    value = c.result(node, convolved(c.writer, x, op, weights, bias))
    c.keep_sums(node, value, sums_of(c.writer, x, op, weights, bias, c.reach[node.inputs[0]]))
    return value


def sums_of(w: Writer, x: Value, op: Conv2d, weights: IntArray, bias: IntArray, reach: Range) -> Sums:
    """The sums of `convolved`, x between the ends of `reach`; with factors as far as the weights keep to 8 bits."""

    def make(factor: IntArray, more: IntArray) -> Tensor:
        return convolved(w, x, op, weights * factor[:, None, None, None], bias * factor + more)

    largest = np.abs(weights).reshape(len(weights), -1).max(axis=1)
    return Sums(make, np.maximum(1, 127 // np.maximum(largest, 1)), *sums(weights, bias, op, reach))


def convolved(w: Writer, x: Value, op: Conv2d, weights: IntArray, bias: IntArray) -> Tensor:
    """The sums of a Conv2d over an image x (batch, H, W, C), without an offset: of 32 bits, or 48 for an x of 16.

    An element is x - offset, and TOSA sums (element - zero point) * w with nothing for the padding. The bias takes the
    difference: for 8 bits the zero point is that of the padding, for 16 bits it is 0. Raises Refused for an x or
    weights that are too wide, and for sums that may leave their type on the way.
    """
    if x.dtype.bits > MAX_BITS:
        raise Refused(f"an input of type {x.dtype}", f"at most {MAX_BITS} bits")
    kernel = weights.shape[1], weights.shape[2]
    span = op.dilation[0] * (kernel[0] - 1) + 1, op.dilation[1] * (kernel[1] - 1) + 1
    x, padding = _padded(w, stored(w, x), op, span)
    source, window = fitted(w, x.tensor, kernel, op.stride, padding, op.dilation)
    zero = 0 if x.tensor.dtype is Dtype.I16 else (op.pad_value if any(padding) else 0) - x.offset
    bias = bias + (zero + x.offset) * weights.reshape(len(weights), -1).sum(axis=1)
    _check_sums(x, zero, weights, bias)
    low, high = int(weights.min()), int(weights.max())
    zero_weight = 0 if low >= -128 and high <= 127 else -128
    if low + zero_weight < -128 or high + zero_weight > 127:
        raise Refused(f"weights from {low} to {high}", "-128 to 127, or 0 to 255")
    channels = source.shape[3]
    total = w.const(bias, Dtype.I48 if source.dtype is Dtype.I16 else Dtype.I32)
    if op.groups == channels and op.groups > 1:
        taps = w.const(weights.reshape(channels, -1, *kernel).transpose(2, 3, 0, 1) + zero_weight, Dtype.I8)
        return t.depthwise(w, source, taps, total, (zero, zero_weight), window)
    taps = w.const(ungrouped(weights, op.groups) + zero_weight, Dtype.I8)
    return t.conv2d(w, source, taps, total, (zero, zero_weight), window)


def _padded(w: Writer, x: Value, op: Conv2d, span: tuple[int, int]) -> tuple[Value, Padding]:
    """x with its padding, where that cannot be left to the convolution; and the padding that is left to it.

    A convolution pads with its zero point: any element of 8 bits, only 0 of 16. `span` is the window's extent: with
    more padding than that some windows see nothing of the image.
    """
    element = op.pad_value - x.offset
    possible = -128 <= element <= 127 if x.tensor.dtype is Dtype.I8 else element == 0
    top, left, bottom, right = op.padding
    if not any(op.padding) or (possible and max(top, bottom) < span[0] and max(left, right) < span[1]):
        return x, op.padding
    if padded_type(x.dtype, op.pad_value).bits > MAX_BITS:
        raise Refused(f"an input of type {x.dtype} padded with {op.pad_value}", f"at most {MAX_BITS} bits for both")
    return padded(w, x, op.padding, op.pad_value), (0, 0, 0, 0)


def padded(w: Writer, x: Value, padding: Padding, value: int) -> Value:
    """PAD of an image x (batch, H, W, C) with `value`, in an element type that holds both."""
    dtype = padded_type(x.dtype, value)
    x = replace(stored(w, x, dtype), dtype=dtype)
    top, left, bottom, right = padding
    return replace(x, tensor=t.pad(w, x.tensor, (top, bottom, left, right), value - x.offset))


def fitted(
    w: Writer,
    x: Tensor,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: Padding,
    dilation: tuple[int, int] = (1, 1),
) -> tuple[Tensor, t.Window]:
    """The image and the window that end where the last window ends: TOSA leaves no pixel over.

    What is left over comes off the padding, else off the image.
    """
    top, left, bottom, right = padding
    pads = []
    for axis, (before, after) in enumerate(((top, bottom), (left, right))):
        size, span = x.shape[1 + axis], dilation[axis] * (kernel[axis] - 1) + 1
        rest = (size + before + after - span) % stride[axis]
        from_padding = min(rest, after)
        x = t.slice_axis(w, x, 1 + axis, 0, size - (rest - from_padding))
        pads += [before, after - from_padding]
    return x, t.Window(kernel, stride, (pads[0], pads[1], pads[2], pads[3]), dilation)


def _check_sums(x: Value, zero: int, weights: IntArray, bias: IntArray) -> None:
    """Raise Refused when the bias, or a sum on its way, may leave the accumulator: 32 bits, or 48 for an x of 16."""
    bits = 48 if x.tensor.dtype is Dtype.I16 else 32
    largest = max(abs(x.dtype.lo - x.offset - zero), abs(x.dtype.hi - x.offset - zero))
    bound = max(largest * int(np.abs(weights).reshape(len(weights), -1).sum(axis=1).max()), int(np.abs(bias).max()))
    if bound >= 1 << (bits - 1):
        raise Refused(f"sums, or a bias, of up to {bound}", f"below 2^{bits - 1} in any order of the terms")
