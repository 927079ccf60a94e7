"""QCDQ and QDQ: QuantizeLinear, Clip and DequantizeLinear, on computed tensors and on integer constants."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from codesign.frontend.context import Array, Context, Item, OnnxNode, QuantConst
from codesign.frontend.problems import Refusal
from codesign.frontend.quantisers import apply_quantiser, integer_range, read_scale
from codesign.frontend.rational import constant, rationals
from codesign.frontend.real import Real
from codesign.ir.types import IntType


def integer_type(array: Array) -> tuple[int, bool]:
    """(bits, signed) of an integer array, also of ONNX's types of less than 8 bits; Refusal for other types."""
    match = re.fullmatch(r"(u?)int(\d+)", array.dtype.name)
    if match is None:
        raise Refusal(f"numbers of type {array.dtype.name}", "integers")
    return int(match[2]), not match[1]


def _zero_point(ctx: Context, node: OnnxNode) -> Array:
    name = ctx.optional(node, 2)
    return ctx.constant(name, "the zero point") if name else np.zeros(1, dtype=np.uint8)


def quantize_linear(ctx: Context, node: OnnxNode) -> list[Item]:
    """q = saturate(round(x / s) + z); a Clip that alone reads it narrows the range. The result is the integer."""
    scale, zero = read_scale(ctx, node.inputs[1]), _zero_point(ctx, node)
    bits, signed = integer_type(zero)
    lo, hi = integer_range(bits, signed, False)
    axis = int(node.get("axis", 1))
    rank = len(ctx.real(node.inputs[0]).shape) + 1 if ctx.is_real(node.inputs[0]) else None
    if rank is None:
        values = ctx.constant(node.inputs[0], "the quantised constant").astype(np.float32)
        s, z = (x.reshape(_axis_shape(x, axis, values.ndim)) for x in (scale, zero))
        return [np.clip(np.rint(values / s) + z.astype(np.int64), lo, hi).astype(zero.dtype)]
    scale, zero = (x.reshape(_axis_shape(x, axis, rank)) for x in (scale, zero))
    lo, hi, tensor = _narrowed(ctx, node.outputs[0], lo, hi)
    dtype = IntType.smallest(lo, hi)
    result = apply_quantiser(ctx, node, scale, zero.astype(np.int64), lo, hi, dtype, "ROUND", zero_last=True)
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
    scale, zero = read_scale(ctx, node.inputs[1]), _zero_point(ctx, node).astype(np.int64)
    axis = int(node.get("axis", 1))
    if not ctx.is_real(node.inputs[0]):
        values = ctx.constant(node.inputs[0], "the integers")
        bits, _ = integer_type(values)
        s, z = (x.reshape(_axis_shape(x, axis, values.ndim)) for x in (scale, zero))
        return [QuantConst(values.astype(np.int64) - z, rationals(s), bits)]
    real = ctx.real(node.inputs[0])
    rank = len(real.shape) + 1
    offset = real.per_channel(zero.reshape(_axis_shape(zero, axis, rank)), "the zero point")
    factor = real.per_channel(scale.reshape(_axis_shape(scale, axis, rank)), "the scale")
    if offset is None or factor is None:
        raise Refusal("a scale that differs between pixels", "one per tensor or per channel")
    return [real.shifted(-offset).scaled(factor)]
