"""Pooling and padding."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from codesign.frontend.absorb import orient
from codesign.frontend.context import Context, Item, OnnxNode
from codesign.frontend.join import resolve
from codesign.frontend.linear import zero_of
from codesign.frontend.problems import Refusal
from codesign.frontend.rational import Rationals, constant, is_uniform
from codesign.frontend.real import Real, Term
from codesign.frontend.shapes import Window, as_image, padding_of, spatial
from codesign.ir.ops import AvgPool2d, MaxPool2d, Pad
from codesign.ir.ops.base import output_extent
from codesign.ir.types import IntArray

_Padding = tuple[int, int, int, int]


def _integers(ctx: Context, real: Real, axes: int, origin: str) -> Real:
    if real.raw:
        raise Refusal("an input that is not quantised", "a quantiser on the model's input", "a QuantIdentity first")
    return as_image(ctx, resolve(ctx, real, origin), axes, origin)


def _extents(shape: tuple[int, ...], window: Window, padding: _Padding) -> tuple[int, int]:
    (kh, kw), (sh, sw) = window.kernel, window.stride
    top, left, bottom, right = padding
    return output_extent(shape[0], kh, sh, top, bottom), output_extent(shape[1], kw, sw, left, right)


def _ceil_mode(node: OnnxNode, shape: tuple[int, ...], window: Window, padding: _Padding) -> _Padding:
    """The padding that makes the floor of ceil_mode=0 give the sizes of ceil_mode=1."""
    if not node.get("ceil_mode", 0):
        return padding
    top, left, bottom, right = padding
    ends = []
    for size, k, s, before, after in zip(
        shape, window.kernel, window.stride, (top, left), (bottom, right), strict=False
    ):
        extra = -(size + before + after - k) % s
        # A window that would start in the padding behind the image does not exist.
        starts_outside = (size + before + after + extra - k) // s * s >= size + before
        ends.append(after if starts_outside else after + extra)
    return top, left, ends[0], ends[1]


def _layout(shape: tuple[int, ...], axes: int) -> IntArray:
    layout = np.arange(int(np.prod(shape))).reshape(shape).transpose(2, 0, 1)
    return layout.reshape(shape[2], -1) if axes == 1 else layout


def _window(node: OnnxNode) -> tuple[Window, int]:
    kernel = [int(k) for k in node.get("kernel_shape", [])]
    if len(kernel) not in (1, 2):
        raise Refusal(f"a pooling over {len(kernel)} axes", "one or two spatial axes")
    window = spatial(node, kernel)
    if window.dilation != (1, 1):
        raise Refusal(f"a pooling with dilation {window.dilation}", "dilation 1")
    return window, len(kernel)


def max_pool(ctx: Context, node: OnnxNode) -> list[Item]:
    """The largest real of each window: the largest integer, since the real is a non-decreasing function of it."""
    window, axes = _window(node)
    real = orient(ctx.builder, _integers(ctx, ctx.real(node.inputs[0]), axes, node.layer), node.layer)
    x = real.value
    padding = _ceil_mode(node, x.shape, window, padding_of(node, window, x.shape))
    shape = (*_extents(x.shape, window, padding), x.channels)
    op = MaxPool2d(window.kernel, window.stride, padding)
    y = ctx.builder.emit(op, [x], node.layer, shape, (x.lo, x.hi), suffix="pool", dtype=x.dtype)
    return [Real((Term(y, real.only.a),), real.b, real.lo, real.hi, _layout(shape, axes))]


def average_pool(ctx: Context, node: OnnxNode) -> list[Item]:
    """The mean of each window: the integer sum, with 1 / (height * width) in the scale."""
    window, axes = _window(node)
    real = _integers(ctx, ctx.real(node.inputs[0]), axes, node.layer)
    padding = padding_of(node, window, real.value.shape)
    if any(padding) and not node.get("count_include_pad", 0):
        raise Refusal("an average that leaves out the padding", "no padding, or count_include_pad=1")
    if node.get("ceil_mode", 0) and _ceil_mode(node, real.value.shape, window, padding) != padding:
        raise Refusal("an average over windows that reach beyond the image (ceil_mode)", "ceil_mode=0")
    return [_average(ctx, node, real, window, padding, axes)]


def global_average(ctx: Context, node: OnnxNode) -> list[Item]:
    """The mean over all pixels."""
    source = ctx.real(node.inputs[0])
    axes = len(source.shape) - 1
    if axes not in (1, 2):
        raise Refusal(f"an average over {axes} axes", "one or two spatial axes")
    real = _integers(ctx, source, axes, node.layer)
    height, width, _ = real.value.shape
    return [_average(ctx, node, real, Window((height, width), (1, 1), (1, 1)), (0, 0, 0, 0), axes)]


def reduce_mean(ctx: Context, node: OnnxNode) -> list[Item]:
    """ReduceMean over all spatial axes."""
    name = ctx.optional(node, 1)
    given = ctx.constant(name, "the axes").reshape(-1).tolist() if name else node.get("axes", [])
    rank = len(ctx.real(node.inputs[0]).shape) + 1
    if sorted(a % rank for a in given) != list(range(2, rank)):
        raise Refusal(f"a mean over the axes {given}", "the mean over all spatial axes")
    (real,) = global_average(ctx, node)
    assert isinstance(real, Real)
    if not node.get("keepdims", 1):
        real = real.with_layout(real.layout.reshape(-1))
    return [real]


def _average(ctx: Context, node: OnnxNode, real: Real, window: Window, padding: _Padding, axes: int) -> Real:
    real = real.settled()
    if real.is_clipped:
        raise Refusal(
            "an average of a ReLU or Clip without a quantiser", "a quantised activation", "a QuantReLU before it"
        )
    x, area = real.value, window.kernel[0] * window.kernel[1]
    pad_value = zero_of(real) if any(padding) else 0
    shape = (*_extents(x.shape, window, padding), x.channels)
    lo, hi = (np.minimum(x.lo, pad_value), np.maximum(x.hi, pad_value)) if any(padding) else (x.lo, x.hi)
    op = AvgPool2d(window.kernel, window.stride, padding, False, pad_value)
    y = ctx.builder.emit(op, [x], node.layer, shape, (lo * area, hi * area), suffix="pool")
    a: Rationals = real.only.a * constant(Fraction(1, area))
    return Real.of(y, a, real.b, _layout(shape, axes))


def pad(ctx: Context, node: OnnxNode) -> list[Item]:
    """Constant padding of the spatial axes by a real number that the integers can express."""
    if str(node.get("mode", "constant")) != "constant":
        raise Refusal(f"padding in the mode {node.get('mode')}", "constant padding")
    source = ctx.real(node.inputs[0])
    name = ctx.optional(node, 1)
    pads = [int(p) for p in (ctx.constant(name, "the pads").reshape(-1) if name else node.get("pads", []))]
    rank = len(source.shape) + 1
    if len(pads) != 2 * rank or any(pads[i] or pads[i + rank] for i in (0, 1)) or min(pads) < 0 or rank not in (3, 4):
        raise Refusal(f"padding {pads}", "padding of the spatial axes, 0 or more")
    value_name = ctx.optional(node, 2)
    fill = float(ctx.constant(value_name, "the padding value")) if value_name else float(node.get("value", 0.0))
    real = _integers(ctx, source, rank - 2, node.layer)
    integers = (Fraction(fill) - real.b) / real.only.a
    if real.is_clipped or not is_uniform(integers) or integers[0].denominator != 1:
        raise Refusal(f"padding with {fill}, which is no value of the quantised input", "a value on the input's grid")
    q = int(integers[0])
    before, after = pads[2:rank], pads[rank + 2 :]
    top, bottom = (before[0], after[0]) if rank == 4 else (0, 0)
    padding = (top, before[-1], bottom, after[-1])
    x = real.value
    shape = (x.shape[0] + top + bottom, x.shape[1] + before[-1] + after[-1], x.channels)
    dtype = x.dtype if x.dtype is not None and x.dtype.holds(np.array([q])) else None
    bounds = np.minimum(x.lo, q), np.maximum(x.hi, q)
    y = ctx.builder.emit(Pad(padding, q), [x], node.layer, shape, bounds, suffix="pad", dtype=dtype)
    return [Real.of(y, real.only.a, real.b, _layout(shape, rank - 2))]
