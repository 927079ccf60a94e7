"""Conv, Gemm and MatMul: quantised weights times exact integers, in one Conv2d or Dense."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from codesign.frontend.context import Context, Item, OnnxNode, QuantConst
from codesign.frontend.draft import Value
from codesign.frontend.join import resolve
from codesign.frontend.problems import Refusal
from codesign.frontend.rational import Rationals, compact, is_uniform, listed, rationals
from codesign.frontend.real import Real
from codesign.frontend.shapes import as_image, padding_of, spatial
from codesign.ir.ops import Conv2d, Dense
from codesign.ir.ops.base import output_extent
from codesign.ir.types import IntArray

MAX_WEIGHT_BITS = 8
_HINT = "a quantiser (QuantIdentity, QuantReLU) before this layer"


def weights_of(ctx: Context, name: str) -> QuantConst:
    """A weight tensor as integers and scales; Refusal unless it is quantised to 1 … 8 bits."""
    item = ctx.item(name)
    if isinstance(item, QuantConst):
        if item.bits > MAX_WEIGHT_BITS:
            raise Refusal(f"weights of {item.bits} bits", f"1 to {MAX_WEIGHT_BITS} bits", "a narrower weight quantiser")
        return item
    if not isinstance(item, np.ndarray):
        raise Refusal("weights that another layer computes", "constant weights")
    whole = np.isfinite(item).all() and (item == np.rint(item)).all() and np.abs(item).max(initial=0) <= 128
    if not whole:
        hint = "QuantConv2d or QuantLinear with a weight_quant, or a Quant node"
        raise Refusal("weights that are not quantised", f"weights quantised to 1 to {MAX_WEIGHT_BITS} bits", hint)
    return QuantConst(item.astype(np.int64), rationals(np.ones([1] * item.ndim)), MAX_WEIGHT_BITS)


def exact_input(ctx: Context, real: Real, origin: str) -> Real:
    """The integers that a layer multiplies, unclipped, as one value; Refusal where the input is not that."""
    if real.raw:
        raise Refusal("an input that is not quantised", "a quantiser on the model's input", _HINT)
    real = resolve(ctx, real.settled(), origin)
    if real.is_clipped:
        raise Refusal("a ReLU or Clip without a quantiser before this layer", "a quantised activation", _HINT)
    if (real.only.a == 0).any():
        raise Refusal("an input that is multiplied by 0", "a factor other than 0", _HINT)
    return real


def _scales(real: Real, outputs: int, groups: int) -> Rationals:
    """The input's scale as each output sees it; Refusal where an output adds up inputs of different scales."""
    a = compact(real.only.a)
    if a.size > 1 and groups != a.size:
        raise Refusal("an input with a scale per channel", "one scale for the tensor", _HINT)
    return np.repeat(a, outputs // a.size)


def _per_output(scale: Rationals, axis: int, outputs: int) -> Rationals:
    """The weight scales along the output axis; Refusal when they vary along another one."""
    if any(n > 1 for i, n in enumerate(scale.shape) if i != axis):
        raise Refusal(f"weight scales of shape {scale.shape}", "one scale, or one per output channel")
    return listed(np.broadcast_to(scale.reshape(-1), outputs))


def _bias(ctx: Context, name: str | None, scales: Rationals) -> Rationals:
    """The bias as rationals, one per output.

    A bias quantised in the accumulator's own scale is an integer there: exporters write that scale rounded to float32,
    and the importer takes it for what it stands for, so that the bias stays an integer.
    """
    outputs = scales.size
    if name is None:
        return listed([Fraction(0)] * outputs)
    item = ctx.item(name)
    if isinstance(item, QuantConst):
        q = np.broadcast_to(item.q.reshape(-1), outputs)
        declared = np.broadcast_to(item.scale.reshape(-1), outputs)
        own = [np.float32(float(d)) == np.float32(float(s)) for d, s in zip(declared, scales, strict=True)]
        return listed(int(n) * (s if same else d) for n, d, s, same in zip(q, declared, scales, own, strict=True))
    values = ctx.constant(name, "the bias").reshape(-1)
    if values.size not in (1, outputs):
        raise Refusal(f"a bias of {values.size} elements", f"one per output: {outputs}")
    return listed(np.broadcast_to(rationals(values, "the bias"), outputs))


def _accumulated(x: Value, weights: IntArray, groups: int, extra: int | None) -> tuple[IntArray, IntArray]:
    """The least and greatest sum of products per output; weights (O, …, inputs per group)."""
    lo, hi = x.lo, x.hi
    if extra is not None:
        lo, hi = np.minimum(lo, extra), np.maximum(hi, extra)
    outputs = weights.shape[0]
    positive, negative = np.maximum(weights, 0), np.minimum(weights, 0)
    if lo.size > 1 and groups > 1:
        per_group = weights.shape[-1]
        shape = (groups, *[1] * (weights.ndim - 2), per_group)
        lo, hi = (np.repeat(r.reshape(shape), outputs // groups, axis=0) for r in (lo, hi))
    axes = tuple(range(1, weights.ndim))
    return (positive * lo + negative * hi).sum(axis=axes), (positive * hi + negative * lo).sum(axis=axes)


def _offset(real: Real, weights: IntArray, groups: int) -> Rationals:
    """sum over all taps of weight * b / a: what the input's own offset adds to each output, in units of a."""
    ratio = compact(real.b / real.only.a)
    if ratio.size == 1:
        total = weights.reshape(weights.shape[0], -1).sum(axis=1)
        return listed(ratio[0] * int(n) for n in total)
    if groups > 1:
        per_out = np.repeat(ratio.reshape(groups, -1), weights.shape[0] // groups, axis=0)
    else:
        per_out = np.broadcast_to(ratio, (weights.shape[0], ratio.size))
    taps = weights.reshape(weights.shape[0], -1, weights.shape[-1]).sum(axis=1)
    return listed(
        sum(f * int(n) for f, n in zip(row, tap, strict=True)) for row, tap in zip(per_out, taps, strict=True)
    )


def conv(ctx: Context, node: OnnxNode) -> list[Item]:
    """Conv with one or two spatial axes, groups, strides, dilations and any padding."""
    weights = weights_of(ctx, node.inputs[1])
    outputs, per_group, *kernel = weights.q.shape
    if len(kernel) not in (1, 2):
        raise Refusal(f"a convolution over {len(kernel)} axes", "one or two spatial axes")
    real = exact_input(ctx, ctx.real(node.inputs[0]), node.layer)
    real = as_image(ctx, real, len(kernel), node.layer)
    x = real.value
    groups = int(node.get("group", 1))
    if per_group * groups != x.channels or outputs % groups:
        raise Refusal(
            f"{x.channels} input channels, {groups} groups, a weight of {weights.q.shape}", "matching channels"
        )
    window = spatial(node, kernel)
    padding = padding_of(node, window, x.shape)
    pad_value = zero_of(real) if any(padding) else 0
    q = np.ascontiguousarray(weights.q.reshape(outputs, per_group, *window.kernel).transpose(0, 2, 3, 1))
    out = (
        output_extent(x.shape[0], window.kernel[0], window.stride[0], padding[0], padding[2], window.dilation[0]),
        output_extent(x.shape[1], window.kernel[1], window.stride[1], padding[1], padding[3], window.dilation[1]),
        outputs,
    )
    op = Conv2d(window.stride, padding, groups, window.dilation, pad_value)
    bounds = _accumulated(x, q, groups, pad_value if any(padding) else None)
    y = ctx.builder.emit_linear(op, x, q, node.layer, out, bounds)
    a = _per_output(weights.scale, 0, outputs) * _scales(real, outputs, groups)
    b = _offset(real, q, groups) * a + _bias(ctx, ctx.optional(node, 2), a)
    layout = np.arange(int(np.prod(out))).reshape(out).transpose(2, 0, 1)
    return [Real.of(y, a, b, layout.reshape(outputs, -1) if len(kernel) == 1 else layout)]


def zero_of(real: Real) -> int:
    """The integer that stands for the real 0, which padding needs; Refusal when there is none."""
    ratios = -real.b / real.only.a
    if not is_uniform(ratios) or ratios[0].denominator != 1:
        raise Refusal("padding of an input that has no integer for 0", "an integer zero point, one for the tensor")
    return int(ratios[0])


def gemm(ctx: Context, node: OnnxNode) -> list[Item]:
    """alpha * x @ W + beta * bias, the weight constant."""
    if node.get("transA", 0):
        raise Refusal("a Gemm with a transposed input", "transA=0")
    weights = weights_of(ctx, node.inputs[1])
    if not node.get("transB", 0):
        weights = QuantConst(weights.q.T, weights.scale.T, weights.bits)
    alpha, beta = (Fraction(float(node.get(k, 1.0))) for k in ("alpha", "beta"))
    weights = QuantConst(weights.q, weights.scale * alpha, weights.bits)
    return [_dense(ctx, node, ctx.real(node.inputs[0]), weights, ctx.optional(node, 2), beta)]


def matmul(ctx: Context, node: OnnxNode) -> list[Item]:
    """x @ W, W constant of shape (inputs, outputs)."""
    if ctx.is_real(node.inputs[1]):
        raise Refusal("a product of two computed tensors", "a product with a constant weight")
    weights = weights_of(ctx, node.inputs[1])
    if weights.q.ndim != 2:
        raise Refusal(f"a weight of shape {weights.q.shape}", "(inputs, outputs)")
    weights = QuantConst(weights.q.T, weights.scale.T, weights.bits)
    return [_dense(ctx, node, ctx.real(node.inputs[0]), weights, None, Fraction(1))]


def _dense(ctx: Context, node: OnnxNode, source: Real, weights: QuantConst, bias: str | None, beta: Fraction) -> Real:
    real = exact_input(ctx, source, node.layer)
    outputs, inputs = weights.q.shape
    *leading, last = real.shape
    if last != inputs:
        raise Refusal(f"an input of shape {real.shape} for a weight of {inputs} inputs", f"(…, {inputs})")
    q = weights.q
    if int(np.prod(leading, dtype=np.int64)) == 1:
        # One row: the order of the graph's elements is undone in the columns of the weights.
        real = real.reshaped(ctx.builder, (inputs,), node.layer)
        columns = np.empty_like(q)
        columns[:, real.layout.reshape(-1)] = q
        q, shape = columns, (outputs,)
    else:
        if not (real.layout.reshape(-1) == np.arange(real.layout.size)).all():
            raise Refusal("a matrix product along another axis than the channels", "channels last")
        real = real.reshaped(ctx.builder, real.shape, node.layer)
        shape = (*leading, outputs)
    y = ctx.builder.emit_linear(Dense(), real.value, q, node.layer, shape, _accumulated(real.value, q, 1, None))
    a = _per_output(weights.scale, 0, outputs) * _scales(real, outputs, 1)
    b = _offset(real, q, 1) * a + _bias(ctx, bias, a / beta if beta else a) * beta
    layout: Any = np.arange(int(np.prod(shape))).reshape(*leading, outputs)
    return Real.of(y, a, b, layout)
