"""The quantisers of QONNX, QCDQ and FINN: Quant, BipolarQuant, Trunc, QuantizeLinear, MultiThreshold, Sign."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np

from codesign.frontend.absorb import Steps
from codesign.frontend.context import Array, Context, Item, OnnxNode, QuantConst
from codesign.frontend.inputs import declare_input
from codesign.frontend.join import quantise_sum
from codesign.frontend.problems import Refusal, bad
from codesign.frontend.rational import Rationals, compact, constant, listed, rationals
from codesign.frontend.real import Real
from codesign.ir.types import BIPOLAR, IntType

MAX_ACTIVATION_BITS = 16
ROUNDINGS = ("ROUND", "HALF_EVEN", "FLOOR", "CEIL", "UP", "DOWN", "ROUND_TO_ZERO", "HALF_UP", "HALF_DOWN")


def step_at(k: int, rounding: str) -> tuple[Fraction, bool]:
    """(t, strict): round(u) >= k exactly when u >= t, or u > t where strict. Rounding names as in QONNX."""
    half = Fraction(2 * k - 1, 2)
    match rounding:
        case "ROUND" | "HALF_EVEN":
            return half, k % 2 != 0
        case "FLOOR":
            return Fraction(k), False
        case "CEIL":
            return Fraction(k - 1), True
        case "UP":
            return (Fraction(k - 1), True) if k > 0 else (Fraction(k), False)
        case "DOWN" | "ROUND_TO_ZERO":
            return (Fraction(k), False) if k > 0 else (Fraction(k - 1), True)
        case "HALF_UP":
            return half, k <= 0
        case "HALF_DOWN":
            return half, k > 0
        case _:
            raise Refusal(f"the rounding mode {rounding}", ", ".join(ROUNDINGS))


def read_scale(ctx: Context, name: str, what: str = "scale") -> Array:
    """A scale: finite, positive; Refusal (bad input) otherwise."""
    scale = _plain(ctx, name, f"the {what}")
    if not np.isfinite(scale).all():
        raise bad(f"a {what} of NaN or infinity", "finite scales above 0", "look for a layer that was never calibrated")
    if (scale <= 0).any():
        raise bad(f"a {what} of {float(scale.min())}", "scales above 0", "look for a layer that was never calibrated")
    return scale


def _plain(ctx: Context, name: str, what: str) -> Array:
    """A constant of a quantiser; Refusal when another quantiser computes it."""
    if isinstance(ctx.item(name), QuantConst):
        raise Refusal(f"{what} is itself quantised", "a constant", "export the model with a constant there")
    return ctx.constant(name, what)


def _integer(ctx: Context, name: str, what: str) -> int:
    value = _plain(ctx, name, what).reshape(-1)
    if value.size != 1 or not np.isfinite(value).all() or value[0] != np.rint(value[0]):
        raise bad(f"{what} of {value.tolist()}", "one integer")
    return int(value[0])


def integer_range(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    """The least and greatest integer of a QONNX quantiser."""
    if signed:
        return -(1 << (bits - 1)) + int(narrow), (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1 - int(narrow)


def quant(ctx: Context, node: OnnxNode) -> list[Item]:
    """real = (clip(round(x / s + z), lo, hi) - z) * s."""
    scale = read_scale(ctx, node.inputs[1])
    bits = _integer(ctx, node.inputs[3], "a bit width")
    signed, narrow = bool(node.get("signed", 1)), bool(node.get("narrow", 0))
    rounding = str(node.get("rounding_mode", "ROUND")).upper()
    zero = _plain(ctx, node.inputs[2], "the zero point")
    if not np.isfinite(zero).all() or (zero != np.rint(zero)).any():
        raise Refusal("a zero point that is no integer", "integer zero points")
    if np.abs(zero).max(initial=0) >= 1 << 31:
        raise bad(f"a zero point of {np.abs(zero).max():g}", "one of at most 32 bits")
    if bits < 1 or bits > 32:
        raise Refusal(f"a quantiser to {bits} bits", "1 to 32 bits")
    if bits == 1 and signed:
        if zero.any():
            raise Refusal("a bipolar quantiser with a zero point", "zero point 0")
        return _bipolar(ctx, node, scale)
    lo, hi = integer_range(bits, signed, narrow)
    if not ctx.is_real(node.inputs[0]):
        return [_constant(ctx, node.inputs[0], scale, zero, lo, hi, bits, rounding)]
    if bits > MAX_ACTIVATION_BITS:
        raise Refusal(f"an activation of {bits} bits", f"1 to {MAX_ACTIVATION_BITS} bits", "a narrower quantiser")
    return [apply_quantiser(ctx, node, scale, zero, lo, hi, IntType(bits, signed), rounding)]


def _constant(ctx: Context, name: str, scale: Any, zero: Any, lo: int, hi: int, bits: int, rounding: str) -> QuantConst:
    """A constant quantised in float32, as the source framework does it."""
    values = ctx.constant(name, "the quantised constant").astype(np.float32)
    if not np.isfinite(values).all():
        raise bad("weights that hold NaN or infinity", "finite values", "look for a layer that diverged in training")
    u = values / scale.astype(np.float32) + zero.astype(np.float32)
    functions = {"ROUND": np.rint, "HALF_EVEN": np.rint, "FLOOR": np.floor, "CEIL": np.ceil}
    if rounding not in functions:
        raise Refusal(f"a constant quantised with the rounding mode {rounding}", ", ".join(functions))
    q = functions[rounding](np.clip(u, lo, hi)).astype(np.int64) - np.rint(zero).astype(np.int64)
    return QuantConst(q, rationals(scale).reshape(_rank(scale, q.ndim)), bits)


def _rank(array: Any, rank: int) -> tuple[int, ...]:
    """The shape of a scale at the rank of its tensor."""
    return tuple([1] * (rank - array.ndim) + list(array.shape)) if array.size > 1 else (1,) * rank


def apply_quantiser(
    ctx: Context,
    node: OnnxNode,
    scale: Any,
    zero: Any,
    lo: int,
    hi: int,
    dtype: IntType,
    rounding: str,
    zero_last: bool = False,
) -> Real:
    """A computed tensor quantised to lo … hi: the input's declaration, or a Requant or Threshold.

    zero_last  the zero point is added after rounding (QuantizeLinear), not before (Quant): an odd one moves the ties
    """
    real = ctx.real(node.inputs[0])
    real, s = _channelwise(ctx, real, scale, "the scale", node)
    real, z = _channelwise(ctx, real, zero, "the zero point", node)
    if dtype.bits > MAX_ACTIVATION_BITS:
        raise Refusal(f"an activation of {dtype.bits} bits", f"1 to {MAX_ACTIVATION_BITS} bits", "a narrower quantiser")
    if zero_last and z.size > 1:
        raise Refusal("an activation with a zero point per channel", "one zero point for the tensor")
    steps = uniform_steps(s, z, lo, hi, dtype, rounding, int(z[0]) if zero_last else 0)
    return finish(ctx, node, real, steps)


def uniform_steps(s: Rationals, z: Rationals, lo: int, hi: int, dtype: IntType, rounding: str, after: int = 0) -> Steps:
    """The steps of q = clip(round(u / s + z - after) + after, lo, hi), meaning (q - z) * s."""
    points = [step_at(k - after, rounding) for k in range(lo + 1, hi + 1)]
    positions = listed(p + after for p, _ in points)
    rows = max(s.size, z.size)
    t = np.stack([(positions - z[min(c, z.size - 1)]) * s[min(c, s.size - 1)] for c in range(rows)])
    strict = np.array([p for _, p in points], dtype=bool)
    return Steps(t, strict, dtype, lo, s, -z * s, int(z[0]))


def _channelwise(ctx: Context, real: Real, array: Any, what: str, node: OnnxNode) -> tuple[Real, Rationals]:
    values = real.per_channel(array, what)
    if values is None:
        raise Refusal(f"{what} that differs between pixels", "one per tensor or per channel")
    return real, compact(values)


def finish(ctx: Context, node: OnnxNode, real: Real, steps: Steps) -> Real:
    """Quantise, and remember the place for the comparison with the source."""
    quantise = declare_input if real.raw else quantise_sum
    result = quantise(ctx, real, steps, node.layer)
    ctx.probe(node, result)
    return result


def bipolar_quant(ctx: Context, node: OnnxNode) -> list[Item]:
    """real = s where x >= 0, else -s."""
    return _bipolar(ctx, node, read_scale(ctx, node.inputs[1]))


def _bipolar(ctx: Context, node: OnnxNode, scale: Any) -> list[Item]:
    if not ctx.is_real(node.inputs[0]):
        values = ctx.constant(node.inputs[0], "the quantised constant")
        q = np.where(values >= 0, 1, -1).astype(np.int64)
        return [QuantConst(q, rationals(scale).reshape(_rank(scale, q.ndim)), 1)]
    real, s = _channelwise(ctx, ctx.real(node.inputs[0]), scale, "the scale", node)
    return [finish(ctx, node, real, bipolar_steps(s, constant(0)))]


def bipolar_steps(s: Rationals, t: Rationals) -> Steps:
    """q = +1 where u >= t, else -1; meaning s * q."""
    return Steps(t.reshape(-1, 1), np.array([False]), BIPOLAR, -1, s, constant(0))


def sign(ctx: Context, node: OnnxNode) -> list[Item]:
    """-1, 0 or +1 in two bits: unlike BipolarQuant, ONNX's Sign has a 0."""
    t = np.array([[Fraction(0), Fraction(0)]], dtype=object)
    steps = Steps(t, np.array([False, True]), IntType(2, True), -1, constant(1), constant(0))
    return [finish(ctx, node, ctx.real(node.inputs[0]), steps)]


def trunc(ctx: Context, node: OnnxNode) -> list[Item]:
    """n = round(x / s + z), y = clip(R(n / 2^k)): Brevitas' TruncAvgPool2d after the average.

    Six inputs (version 2): k = log2(output scale / s), real = (y - z / 2^k) * output scale.
    Five inputs (version 1): k = input bits - output bits, real = (y - z) * s, no clipping: y has the type that holds
    every value which occurs.
    """
    scale = read_scale(ctx, node.inputs[1])
    zero = _plain(ctx, node.inputs[2], "the zero point").reshape(-1)
    if scale.size != 1 or zero.size != 1 or zero[0] != np.rint(zero[0]):
        raise Refusal("a Trunc with a scale per channel", "one scale and one integer zero point")
    bits = _integer(ctx, node.inputs[-1], "a bit width")
    rounding = str(node.get("rounding_mode", "FLOOR")).upper()
    s, z = Fraction(float(scale.reshape(-1)[0])), int(zero[0])
    real = ctx.real(node.inputs[0])
    if len(node.inputs) >= 6:
        signed = bool(node.get("signed", 1))
        out_scale = read_scale(ctx, node.inputs[4], "output scale").reshape(-1)
        k = round(float(np.log2(float(out_scale[0]) / float(s))))
        a = Fraction(float(out_scale[0]))
        b = -Fraction(z) / Fraction(2) ** k * a
        lo, hi = integer_range(bits, signed, bool(node.get("narrow", 0)))
        dtype = IntType(bits, signed)
    else:
        k = _integer(ctx, node.inputs[3], "a bit width") - bits
        a, b = s, -z * s
        lo, hi = _unlimited(real, s, z, Fraction(2) ** k, rounding)
        dtype = IntType.smallest(lo, hi)
    points = [_trunc_step(y, Fraction(2) ** k, rounding) for y in range(lo + 1, hi + 1)]
    t, strict = listed((t - z) * s for t, _ in points), np.array([o for _, o in points], dtype=bool)
    return [finish(ctx, node, real, Steps(t.reshape(1, -1), strict, dtype, lo, constant(a), constant(b)))]


def _trunc_step(y: int, divisor: Fraction, rounding: str) -> tuple[Fraction, bool]:
    """(t, strict): R(round(u) / divisor) >= y exactly when u >= t, or u > t where strict."""
    point, strict = step_at(y, rounding)
    n = point * divisor
    return step_at(floor(n) + 1 if strict else ceil(n), "ROUND")


def _unlimited(real: Real, s: Fraction, z: int, divisor: Fraction, rounding: str) -> tuple[int, int]:
    """The least and greatest R(round(x / s + z) / divisor) that the values of `real` give."""
    if real.raw:
        raise Refusal("a Trunc of the unquantised input", "a quantised input", "a QuantIdentity first")
    low, high = (np.clip(v, real.lo, real.hi) for v in real.bounds())
    ends = []
    for u in (min(low) / s + z, max(high) / s + z):
        y = floor(u / divisor) - 2
        while _reaches(u, *_trunc_step(y + 1, divisor, rounding)):
            y += 1
        ends.append(y)
    if ends[1] - ends[0] >= 1 << MAX_ACTIVATION_BITS:
        raise Refusal(
            f"a Trunc to {ends[0]} … {ends[1]}", f"at most {MAX_ACTIVATION_BITS} bits", "a narrower quantiser"
        )
    return ends[0], max(ends[1], ends[0] + 1)


def _reaches(u: Fraction, t: Fraction, strict: bool) -> bool:
    return u > t or (u == t and not strict)


def multi_threshold(ctx: Context, node: OnnxNode) -> list[Item]:
    """FINN: real = out_scale * #{i : x >= T[c, i]} + out_bias."""
    real = ctx.real(node.inputs[0])
    table = np.sort(ctx.constant(node.inputs[1], "the thresholds"), axis=1)
    if str(node.get("data_layout", "")) not in ("", "NCHW", "NC"):
        raise Refusal(f"thresholds in the layout {node.get('data_layout')}", "NCHW or NC")
    rows = rationals(table, "the thresholds")
    if rows.shape[0] > 1:
        real, rows = _threshold_rows(real, rows)
    count = rows.shape[1]
    gain, offset = _attribute(node, "out_scale", 1.0), _attribute(node, "out_bias", 0.0)
    if gain == 0:
        raise bad("an out_scale of 0", "an out_scale other than 0", "look for a layer that was never calibrated")
    if str(node.get("out_dtype", "")) == "BIPOLAR" and count == 1 and gain == 2 and offset == -1:
        return [finish(ctx, node, real, bipolar_steps(constant(1), rows.reshape(-1)))]
    start = int(offset / gain) if (offset / gain).denominator == 1 else 0
    a, b = gain, offset - gain * start
    dtype = IntType.smallest(start, start + count)
    strict = np.zeros(count, dtype=bool)
    return [finish(ctx, node, real, Steps(rows, strict, dtype, start, constant(a), constant(b)))]


def _attribute(node: OnnxNode, name: str, default: float) -> Fraction:
    value = float(node.get(name, default))
    if not np.isfinite(value):
        raise bad(f"an {name} of {value}", "a finite number", "look for a layer that diverged in training")
    return Fraction(value)


def _threshold_rows(real: Real, rows: Rationals) -> tuple[Real, Rationals]:
    """Thresholds per channel (axis 0 of the user's tensor) in the order of the graph's channels."""
    numbers = np.arange(rows.shape[0]).reshape(-1, *[1] * (len(real.shape) - 1))
    index = real.per_channel(numbers, "the thresholds")
    if index is None:
        raise Refusal("thresholds that differ between pixels", "one row per channel")
    return real, rows[index.astype(np.int64)]
