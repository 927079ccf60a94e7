"""The model's inputs: real until a quantiser declares them, or integers from the start."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from codesign.frontend.absorb import Steps, meaning, reached
from codesign.frontend.context import Context, OnnxNode
from codesign.frontend.draft import Value, interval
from codesign.frontend.problems import Refusal
from codesign.frontend.rational import INF, constant, is_uniform
from codesign.frontend.real import Real
from codesign.ir.ops import Threshold
from codesign.ir.types import BIPOLAR, IntArray, IntType, TensorType

# Layers that say nothing about which axis holds the channels.
_NEUTRAL = (
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Quant",
    "IntQuant",
    "BipolarQuant",
    "QuantizeLinear",
    "DequantizeLinear",
    "Clip",
    "Relu",
    "Identity",
    "Cast",
    "Dropout",
    "MultiThreshold",
    "Sign",
    "Neg",
)


def channel_axes(ctx: Context, name: str, rank: int) -> tuple[int, ...]:
    """source_axes of an input of `rank` axes (without the batch): channels move last where the model has them first."""
    same = tuple(range(rank))
    first = _first_reader(ctx, name)
    if rank not in (2, 3) or first is None or first.op in ("MatMul", "Gemm"):
        return same
    if first.op == "Transpose" and (rank == 2 or first.get("perm") == [0, rank, *range(1, rank)]):
        return same
    if rank == 2 and first.op in ("Flatten", "Reshape"):
        return same
    return (*range(1, rank), 0)


def _first_reader(ctx: Context, name: str) -> OnnxNode | None:
    """The first layer behind an input for which the order of the axes matters."""
    pending, seen = [name], set()
    while pending:
        tensor = pending.pop(0)
        for node in ctx.readers.get(tensor, []):
            if node.op not in _NEUTRAL:
                return node
            if node.outputs[0] not in seen:
                seen.add(node.outputs[0])
                pending.append(node.outputs[0])
    return None


def input_real(ctx: Context, name: str, shape: tuple[int, ...], dtype: IntType | None) -> Real:
    """A model input of `shape` without the batch: integers of `dtype`, or real numbers until a quantiser reads them."""
    axes = channel_axes(ctx, name, len(shape))
    graph_shape = tuple(shape[a] for a in axes)
    layout = np.arange(int(np.prod(shape))).reshape(graph_shape).transpose(np.argsort(axes))
    value = Value(ctx.builder.name(name), graph_shape, *interval(0, 0), raw=True)
    ctx.axes[value.name] = axes
    if dtype is not None:
        value.raw, value.dtype = False, dtype
        value.lo, value.hi = interval(dtype.lo, dtype.hi)
        ctx.builder.add_input(value.name, TensorType(graph_shape, dtype, meaning(constant(1), constant(0))), axes)
    return Real.of(value, constant(1), constant(0), layout)


def declare_input(ctx: Context, real: Real, steps: Steps, origin: str) -> Real:
    """The quantiser of a real input becomes the declaration of an integer input.

    u = a x + b and q = clip(round(u / s + z)) give x = (q - (b / s + z)) * s / a, the meaning of the integers.
    """
    term = real.only
    if not _is_uniform_rounding(steps):
        found = "an input quantiser that does not round to nearest, ties to even"
        raise Refusal(found, "a Quant node with rounding_mode ROUND", "declare the input as integers (uint8)")
    if not steps.dtype.bipolar and len(steps.strict) and steps.strict[0] == ((steps.start + 1) % 2 == 0):
        # QuantizeLinear adds an odd zero point after rounding to even.
        ctx.notes.append(f"{origin}: a real input exactly between two integers becomes the even one, not the odd one")
    if (term.a == 0).any():
        raise Refusal("an input that is multiplied by 0", "a factor other than 0")
    quant = meaning(steps.a / term.a, (steps.b - real.b) / term.a)
    low, high = _reachable(real, steps)
    dtype = steps.dtype
    if not dtype.bipolar:
        narrow = IntType.smallest(low, high)
        if (narrow.lo, narrow.hi) == (low, high):
            dtype = narrow
    type_ = TensorType(term.value.shape, dtype, quant)
    known = ctx.declared.get(term.value.name)
    if known is None:
        ctx.builder.add_input(term.value.name, type_, ctx.axes[term.value.name])
        known = type_, Value(term.value.name, term.value.shape, *interval(dtype.lo, dtype.hi), dtype)
        ctx.declared[term.value.name] = known
    elif known[0] != type_:
        raise Refusal("an input with two different quantisers", "one quantiser for each input", "share the quantiser")
    value = known[1]
    if (low, high) != (dtype.lo, dtype.hi) and not dtype.bipolar:
        ctx.notes.append(f"{origin}: the input's integers are limited to {low} … {high} by a Threshold")
        levels = clamp_levels(dtype, low, high)
        value = ctx.builder.emit(
            Threshold(dtype),
            [value],
            origin,
            value.shape,
            interval(low, high),
            helper="clamp",
            consts={"levels": levels},
            dtype=dtype,
            quant=quant,
        )
    return Real.of(value, steps.a, steps.b, real.layout)


def _is_uniform_rounding(steps: Steps) -> bool:
    """Whether step k is at a * (k - 1/2) + b with ties to even, or at 0 for a bipolar result."""
    if steps.dtype == BIPOLAR:
        return bool((steps.t == 0).all()) and is_uniform(steps.a)
    ks = np.arange(steps.start + 1, steps.start + 1 + steps.t.shape[1])
    points = np.array([Fraction(2 * int(k) - 1, 2) for k in ks], dtype=object)
    expected = steps.a[:, None] * points + steps.b[:, None]
    zero = -steps.b / steps.a
    if any(z.denominator != 1 for z in zero):
        return False
    # A tie of u / s + z at k - 1/2 goes to the even of k - 1 and k, or to the odd one: see `declare_input`.
    odd = ks % 2 != 0
    return bool((steps.t == expected).all() and ((steps.strict == odd).all() or (steps.strict != odd).all()))


def _reachable(real: Real, steps: Steps) -> tuple[int, int]:
    """The integers that the limits of the real number (a ReLU before the quantiser) leave."""
    lows = {steps.start + (reached(v, steps.t[0], steps.strict) if v != -INF else 0) for v in real.lo}
    highs = {steps.start + (reached(v, steps.t[0], steps.strict) if v != INF else steps.t.shape[1]) for v in real.hi}
    if len(lows) > 1 or len(highs) > 1 or (steps.t.shape[0] > 1 and (real.lo[0], real.hi[0]) != (-INF, INF)):
        raise Refusal("an input with limits that differ between channels", "limits for the whole tensor")
    return min(lows), max(highs)


def clamp_levels(dtype: IntType, low: int, high: int) -> IntArray:
    """The identity on low … high and its ends outside, as one row of levels."""
    levels = np.arange(dtype.lo + 1, dtype.hi + 1)
    levels[levels <= low] = dtype.lo
    levels[levels > high] = dtype.hi + 1
    return levels[None]
