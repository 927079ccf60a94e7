"""QCDQ and QDQ: QuantizeLinear, Clip and DequantizeLinear, on computed tensors and on integer constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from codesign.frontend.context import Array, Context, Item, OnnxNode, QuantConst
from codesign.frontend.problems import Refusal, bad
from codesign.frontend.quantisers import apply_quantiser, integer_range, read_scale
from codesign.frontend.rational import constant, rationals
from codesign.frontend.real import Real
from codesign.ir.types import IntType


def quantize_linear(ctx: Context, node: OnnxNode) -> list[Item]:
    """q = saturate(round(x / s) + z); a Clip that alone reads it narrows the range. The result is the integer."""
    scale = read_scale(ctx, node.inputs[1])
    zero_name = ctx.optional(node, 2)
    zero = ctx.constant(zero_name, "the zero point") if zero_name else np.zeros(1, dtype=np.uint8)
    axis = int(node.get("axis", 1))
    bits, signed = zero.dtype.itemsize * 8, np.issubdtype(zero.dtype, np.signedinteger)
    lo, hi = integer_range(bits, signed, False)
    if not ctx.is_real(node.inputs[0]):
        shape = _axis_shape(scale, axis, ctx.constant(node.inputs[0], "it").ndim)
        values = ctx.constant(node.inputs[0], "the quantised constant").astype(np.float32)
        u = np.rint(values / scale.reshape(shape)) + zero.reshape(_axis_shape(zero, axis, values.ndim))
        return [np.clip(u, lo, hi).astype(zero.dtype)]
    lo, hi, tensor = _narrowed(ctx, node.outputs[0], lo, hi)
    dtype = IntType.smallest(lo, hi)
    rank = len(ctx.real(node.inputs[0]).shape) + 1
    scale, zero = (x.reshape(_axis_shape(x, axis, rank)) for x in (scale, zero))
    result = apply_quantiser(ctx, node, scale, zero.astype(np.int64), lo, hi, dtype, "ROUND")
    # Downstream of QuantizeLinear the user's tensor is the integer itself.
    ctx.probes[-1] = replace(ctx.probes[-1], tensor=tensor, a=constant(1), b=constant(0))
    return [Real.of(result.value, constant(1), constant(0), result.layout)]


def _narrowed(ctx: Context, tensor: str, lo: int, hi: int) -> tuple[int, int, str]:
    """The range left by a Clip with constant limits that alone reads the integers, and the tensor that has it."""
    readers = ctx.readers.get(tensor, [])
    if len(readers) != 1 or readers[0].op != "Clip":
        return lo, hi, tensor
    names = [ctx.optional(readers[0], i) for i in (1, 2)]
    low, high = (ctx.items.get(n) if n else None for n in names)
    if isinstance(low, np.ndarray):
        lo = max(lo, int(low))
    if isinstance(high, np.ndarray):
        hi = min(hi, int(high))
    return lo, hi, readers[0].outputs[0]


def _axis_shape(values: Array, axis: int, rank: int) -> Sequence[int]:
    if values.size == 1:
        return [1] * rank
    shape = [1] * rank
    shape[axis % rank] = values.size
    return shape


def dequantize_linear(ctx: Context, node: OnnxNode) -> list[Item]:
    """real = (q - z) * s, of a computed tensor or of an integer constant (a weight or a bias)."""
    scale = read_scale(ctx, node.inputs[1])
    zero_name = ctx.optional(node, 2)
    zero = ctx.constant(zero_name, "the zero point") if zero_name else np.zeros(1, dtype=np.int64)
    axis = int(node.get("axis", 1))
    if not ctx.is_real(node.inputs[0]):
        values = ctx.constant(node.inputs[0], "the integers")
        if not np.issubdtype(values.dtype, np.integer):
            raise bad(f"a DequantizeLinear of {values.dtype}", "integers")
        shape = _axis_shape(scale, axis, values.ndim)
        q = values.astype(np.int64) - zero.astype(np.int64).reshape(_axis_shape(zero, axis, values.ndim))
        return [QuantConst(q, rationals(scale.reshape(shape)), values.dtype.itemsize * 8)]
    real = ctx.real(node.inputs[0])
    rank = len(real.shape) + 1
    z = real.per_channel(zero.astype(np.int64).reshape(_axis_shape(zero, axis, rank)), "the zero point")
    s = real.per_channel(scale.reshape(_axis_shape(scale, axis, rank)), "the scale")
    if z is None or s is None:
        raise Refusal("a scale that differs between pixels", "one per tensor or per channel")
    return [real.shifted(-z).scaled(s)]
