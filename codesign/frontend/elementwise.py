"""Elementwise layers between two quantisers: they compose into the exact real, and cost nothing."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np

from codesign.frontend.context import Context, Item, OnnxNode
from codesign.frontend.join import add_reals
from codesign.frontend.problems import Refusal, bad
from codesign.frontend.quantisers import integer_range
from codesign.frontend.rational import INF, Rationals, constant, listed, rationals, square_root
from codesign.frontend.real import Real


def _operands(ctx: Context, node: OnnxNode) -> tuple[Real, str, bool]:
    """(the computed operand, the constant's name, whether the constant comes first)."""
    first, second = node.inputs
    if ctx.is_real(first) and not ctx.is_real(second):
        return ctx.real(first), second, False
    if ctx.is_real(second) and not ctx.is_real(first):
        return ctx.real(second), first, True
    raise Refusal(f"{node.op} of two computed tensors", f"{node.op} by a constant")


def multiply(ctx: Context, node: OnnxNode) -> list[Item]:
    """real * constant."""
    real, name, _ = _operands(ctx, node)
    real, factor = ctx.per_channel(real, name, "the factor", node.layer)
    return [real.scaled(factor)]


def divide(ctx: Context, node: OnnxNode) -> list[Item]:
    """real / constant."""
    real, name, swapped = _operands(ctx, node)
    if swapped:
        raise Refusal("a division by a computed tensor", "a division by a constant")
    real, divisor = ctx.per_channel(real, name, "the divisor", node.layer)
    if (divisor == 0).any():
        raise bad("a division by zero", "divisors other than 0")
    return [real.scaled(1 / divisor)]


def add(ctx: Context, node: OnnxNode) -> list[Item]:
    """real + constant, or the sum of two computed tensors."""
    if all(ctx.is_real(name) for name in node.inputs):
        first, second = (ctx.real(name) for name in node.inputs)
        return [add_reals(ctx, first, second, node.layer)]
    real, name, _ = _operands(ctx, node)
    real, offset = ctx.per_channel(real, name, "the addend", node.layer)
    return [real.shifted(offset)]


def subtract(ctx: Context, node: OnnxNode) -> list[Item]:
    """real - constant, constant - real, or the difference of two computed tensors."""
    minus = constant(-1)
    if all(ctx.is_real(name) for name in node.inputs):
        first, second = (ctx.real(name) for name in node.inputs)
        return [add_reals(ctx, first, second.scaled(minus), node.layer)]
    real, name, swapped = _operands(ctx, node)
    real, offset = ctx.per_channel(real, name, "the subtrahend", node.layer)
    return [real.scaled(minus).shifted(offset) if swapped else real.shifted(-offset)]


def negate(ctx: Context, node: OnnxNode) -> list[Item]:
    """-real."""
    return [ctx.real(node.inputs[0]).scaled(constant(-1))]


def batch_norm(ctx: Context, node: OnnxNode) -> list[Item]:
    """gamma * (real - mean) / sqrt(variance + epsilon) + beta, per channel (axis 1 of the model's tensor)."""
    real = ctx.real(node.inputs[0])
    if node.get("training_mode", 0):
        raise Refusal(
            "a BatchNormalization in training mode", "one in evaluation mode", "model.eval() before the export"
        )
    names = ("gamma", "beta", "the mean", "the variance")
    arrays = [ctx.constant(n, w).reshape(-1) for n, w in zip(node.inputs[1:5], names, strict=True)]
    channels = real.shape[0]
    if any(a.size != channels for a in arrays):
        found = f"constants of {', '.join(str(a.size) for a in arrays)} elements for {channels} channels"
        raise bad(found, "one per channel")
    gamma, beta, mean, variance = (rationals(a, w) for a, w in zip(arrays, names, strict=True))
    epsilon = Fraction(float(node.get("epsilon", 1e-5)))
    factor = gamma / listed(square_root(v + epsilon) for v in _positive(variance, epsilon))
    real, scale = _along_channels(ctx, real, factor, node.layer)
    real, offset = _along_channels(ctx, real, beta - factor * mean, node.layer)
    return [real.scaled(scale).shifted(offset)]


def _positive(variance: Rationals, epsilon: Fraction) -> Rationals:
    if (variance + epsilon <= 0).any():
        raise bad("a variance that is not positive", "variance + epsilon above 0")
    return variance


def _along_channels(ctx: Context, real: Real, values: Rationals, origin: str) -> tuple[Real, Rationals]:
    """Values along axis 0 of the model's tensor (without the batch), per channel of the graph's."""
    # The distinct numbers stand for the rationals while they are spread over the tensor.
    shape = (-1, *[1] * (len(real.shape) - 1))
    numbers = np.arange(values.size, dtype=np.int64).reshape(shape)
    index = real.per_channel(numbers, "the normalisation")
    if index is None and len(real.shape) == 1:
        real = real.reshaped(ctx.builder, (real.layout.size,), origin)
        index = real.per_channel(numbers, "the normalisation")
    if index is None:
        raise Refusal("a normalisation whose channels are not the graph's", "one constant per channel")
    return real, values[index.astype(np.int64)]


def relu(ctx: Context, node: OnnxNode) -> list[Item]:
    """max(real, 0)."""
    return [ctx.real(node.inputs[0]).clipped(constant(0), constant(INF))]


def clip(ctx: Context, node: OnnxNode) -> list[Item]:
    """min(max(real, lo), hi): Clip, HardTanh, ReLU6."""
    real = ctx.real(node.inputs[0])
    limits = []
    for index, name, default in ((1, "min", -INF), (2, "max", INF)):
        given = ctx.optional(node, index)
        value = float(ctx.constant(given, f"the {name}")) if given else float(node.get(name, default))
        if np.isnan(value):
            raise bad(f"a {name} of NaN", "a number")
        # ONNX files write "no limit" as the largest float32.
        limits.append(constant(default if abs(value) > 3e38 else Fraction(value)))
    if limits[0][0] > limits[1][0]:
        raise bad(f"a Clip from {float(limits[0][0])} to {float(limits[1][0])}", "min no greater than max")
    return [real.clipped(limits[0], limits[1])]


def identity(ctx: Context, node: OnnxNode) -> list[Item]:
    """The input itself: Identity, and Dropout in evaluation."""
    return [ctx.real(node.inputs[0])]


# The types that hold every number of the model, and the largest integer up to which the short ones hold all.
_FLOATS = ("FLOAT", "DOUBLE")
_SHORT_FLOATS = {"FLOAT16": 1 << 11, "BFLOAT16": 1 << 8}


def cast(ctx: Context, node: OnnxNode) -> list[Item]:
    """The input itself; Refusal where the type would change a value that can occur."""
    from onnx import TensorProto

    real = ctx.real(node.inputs[0])
    to = TensorProto.DataType.Name(int(node.get("to", TensorProto.FLOAT)))
    if to in _FLOATS:
        return [real]
    match = re.fullmatch(r"(U?)INT(\d+)", to)
    if match is None and to not in _SHORT_FLOATS:
        raise Refusal(f"a Cast to {to}", "a type of integers or floating-point numbers")
    whole = not real.raw and not real.is_clipped and (real.b == 0).all() and all((t.a == 1).all() for t in real.terms)
    low, high = (min(real.bounds()[0]), max(real.bounds()[1])) if whole else (-INF, INF)
    if match is None:
        most = _SHORT_FLOATS[to]
        if max(-low, high) > most:
            allowed = f"FLOAT, or integers from {-most} to {most}"
            raise Refusal(f"a Cast to {to} that rounds", allowed, "export the model in float32")
        return [real]
    if not whole:
        raise Refusal("a Cast of real numbers to integers", "a Quant or QuantizeLinear node")
    least, most = integer_range(int(match[2]), not match[1], narrow=False)
    if low < least or high > most:
        hint = "a Quant or QuantizeLinear node, which limits its values"
        raise Refusal(f"integers from {low} to {high} in a Cast to {to}", f"{least} to {most}", hint)
    return [real]
