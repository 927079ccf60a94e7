"""ADD, SUB and MUL: of two computed tensors, or of one and a constant, which then becomes a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from codesign.frontend.problems import Refusal, bad
from codesign.frontend.tflite.context import Layer, frame
from codesign.frontend.tflite.params import Params, Rescale, params_of, rescale
from codesign.ir.ops import Add, Mul, Take
from codesign.ir.types import IntArray, IntType

_INT32 = IntType(32, True)


@dataclass(frozen=True, eq=False)
class Summation:
    """round(round((a - zero_a) * 2^left * factor_a) + round((b - zero_b) * 2^left * factor_b)) * factor_y)."""

    left: int
    factors: tuple[Rescale, Rescale]
    result: Rescale

    @classmethod
    def of(cls, a: Params, b: Params, out: Params, sign: int, left: int) -> Summation:
        """What kernels/add.cc and sub.cc prepare from the scales; sign -1: SUB. Refusal for scales too far apart."""
        twice = 2 * max(a.scale, b.scale)
        total = twice / ((1 << left) * out.scale)
        if total >= 1:
            name = "ADD" if sign > 0 else "SUB"
            allowed = f"more than {twice / (1 << left):g}, which the kernel demands"
            raise bad(f"{name} to the scale {out.scale:g}", allowed)
        second = rescale(b.scale / twice)
        second = Rescale(sign * second.multiplier, second.shift, second.rounding)
        return cls(left, (rescale(a.scale / twice), second), rescale(total))


def add(layer: Layer) -> None:
    """ADD: reference_integer_ops::AddElementwise (integer_ops/add.h), prepared by kernels/add.cc.

    t = 2 max(s_a, s_b). Each input, less its zero point, is shifted left by 20 (15 for int16) and multiplied by s / t;
    the sum by t / (2^20 s_y). Every product is rounded twice, as in MultiplyByQuantizedMultiplierSmallerThanOneExp.
    """
    _sum(layer, 1)


def subtract(layer: Layer) -> None:
    """SUB: as ADD, the multiplier of the second input negated (kernels/sub.cc)."""
    _sum(layer, -1)


def _sum(layer: Layer, sign: int) -> None:
    a, b, out = (params_of(t) for t in (layer.tensor(0), layer.tensor(1), layer.result()))
    if {a.dtype, b.dtype} != {out.dtype}:
        raise Refusal(f"{layer.op.name} of {a.dtype} and {b.dtype} to {out.dtype}", "one type")
    wide = out.dtype.bits == 16
    if wide and layer.option("pot_scale_int16") and all(_is_power_of_two(p.scale) for p in (a, b, out)):
        found = f"{layer.op.name} of int16 with power-of-two scales and pot_scale_int16"
        raise Refusal(found, "pot_scale_int16=false", "convert again with a newer TensorFlow")
    left = 15 if wide else 20
    by = Summation.of(a, b, out, sign, left)

    def scaled(index: int, params: Params, q: IntArray) -> IntArray:
        return by.factors[index]((q - params.zero_point) << left)

    if layer.is_constant(0) or layer.is_constant(1):
        _by_table(layer, lambda x, y: by.result(scaled(0, a, x) + scaled(1, b, y)))
        return
    terms = []
    for index, (value, params) in enumerate(zip(_aligned(layer), (a, b), strict=True)):
        shifted = layer.exact(value, 1 << left, -params.zero_point << left, f"shifted{index + 1}")
        terms.append(layer.rescaled(shifted, by.factors[index], f"scaled{index + 1}"))
    layer.rescaled_result(layer.emit(Add(), terms, "sum"), by.result, layer.limits())


def _is_power_of_two(scale: float) -> bool:
    return bool(np.frexp(scale)[0] == 0.5)


def multiply(layer: Layer) -> None:
    """MUL: reference_integer_ops::MulElementwise (integer_ops/mul.h), prepared by kernels/mul.cc.

    y = clamp((a - zero_a) * (b - zero_b) * factor + zero_y), factor = s_a * s_b / s_y in single precision.
    """
    a, b, out = (params_of(t) for t in (layer.tensor(0), layer.tensor(1), layer.result()))
    if {a.dtype, b.dtype} != {out.dtype}:
        raise Refusal(f"MUL of {a.dtype} and {b.dtype} to {out.dtype}", "one type")
    by = rescale(float(a.single * b.single / out.single))
    if layer.is_constant(0) or layer.is_constant(1):
        _by_table(layer, lambda x, y: by((x - a.zero_point) * (y - b.zero_point)))
        return
    first, second = _aligned(layer)
    factors = [layer.centred(first, a, "centred1"), layer.centred(second, b, "centred2")]
    layer.rescaled_result(layer.emit(Mul(), factors, "product"), by, layer.limits())


def _by_table(layer: Layer, function: Callable[[IntArray, IntArray], IntArray]) -> None:
    """A constant operand makes it a function of one integer, per channel: evaluated for every one."""
    index = 1 if layer.is_constant(0) else 0
    value, x = layer.x(index)
    if x.dtype.bits > 8:
        raise Refusal(f"{layer.op.name} of {x.dtype} and a constant", "two computed tensors, or int8")
    array = layer.constant(1 - index, "the constant").astype(np.int64)
    shape = frame(layer.result().shape)
    value = _broadcast(layer, value, shape, "first")
    channels = np.broadcast_to(array, layer.result().shape).reshape(-1, shape[-1])
    if not (channels == channels[0]).all():
        raise Refusal(f"{layer.op.name} of a constant that differs between pixels", "one number, or one per channel")
    row = channels[0] if not (channels[0] == channels[0][0]).all() else channels[0][:1]
    domain, constant = np.arange(x.dtype.lo, x.dtype.hi + 1)[None, :], row[:, None]
    y = function(domain, constant) if index == 0 else function(constant, domain)
    low, high = layer.limits()
    layer.table_result(value, np.clip(y + layer.out.zero_point, low, high))


def _aligned(layer: Layer) -> list[str]:
    """Both inputs in the shape of the result: axes of length 1 are repeated."""
    shape = frame(layer.result().shape)
    return [_broadcast(layer, layer.value(i), shape, f"input{i + 1}") for i in (0, 1)]


def _broadcast(layer: Layer, value: str, shape: tuple[int, ...], helper: str) -> str:
    found = layer.type(value).shape
    if len(found) > len(shape):
        raise bad(f"an input of shape {found} for a result of {shape}", "shapes that broadcast together")
    value = layer.reshaped(value, (1,) * (len(shape) - len(found)) + found, f"{helper}.axes")
    for axis, (have, want) in enumerate(zip(layer.type(value).shape, shape, strict=True)):
        if have not in (1, want):
            raise bad(f"an input of shape {found} for a result of {shape}", "shapes that broadcast together")
        if have != want:
            value = layer.emit(Take(axis, (0,) * want), [value], f"{helper}.axis{axis}")
    return value
