"""QUANTIZE, RELU and its relatives, SOFTMAX, and the functions of one integer that become tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from codesign.frontend.problems import Refusal, bad
from codesign.frontend.tflite import sigmoid
from codesign.frontend.tflite.context import Layer, frame
from codesign.frontend.tflite.params import DTYPES, Params, limits, quantize_multiplier, rescale
from codesign.ir.ops import ArgMax, Requant, Rounding, Softmax
from codesign.ir.ops.fixed_point import rounding_divide_by_pot
from codesign.ir.types import IntArray, TensorType


def quantize(layer: Layer) -> None:
    """QUANTIZE from integers to integers: reference_ops::Requantize (internal/reference/requantize.h).

    y = clamp((x - zero_x) * (s_x / s_y) + zero_y), the factor in double precision.
    From a real model input it is what the integers of the graph's input mean.
    """
    if layer.tensor(0).kind in DTYPES:
        if layer.out.dtype.bits > layer.x()[1].dtype.bits:
            raise Refusal(f"a QUANTIZE of {layer.x()[1].dtype} to {layer.out.dtype}", "a result that is no wider")
        _requantize(layer, (layer.out.dtype.lo, layer.out.dtype.hi))
        return
    ctx, index = layer.ctx, layer.op.inputs[0]
    if index not in ctx.model.inputs or ctx.readers[index] != 1 or layer.tensor(0).kind != "float32":
        found = f"a QUANTIZE of the {layer.tensor(0).kind} tensor {layer.tensor(0).where!r}"
        raise Refusal(found, "integers, or a float32 input that nothing else reads")
    out, shape = layer.out, layer.tensor(0).shape
    ctx.values[layer.op.outputs[0]] = ctx.add_input(index, TensorType(shape[1:] or (1,), out.dtype, out.quant))
    note = (
        "its QUANTIZE is left to whoever feeds the integers; ties are rounded to even there, by LiteRT away from zero"
    )
    ctx.notes.append(f"{layer.tensor(0).where}: a real input, {note}")


def dequantize(layer: Layer) -> None:
    """DEQUANTIZE of a model output: the graph's output is the integers, with their meaning."""
    index = layer.op.outputs[0]
    if index not in layer.ctx.model.outputs or layer.ctx.readers.get(index):
        found = f"a DEQUANTIZE inside the model, to {layer.result().where!r}"
        raise Refusal(found, "one whose result is only an output", "a model that computes in integers throughout")
    layer.x()
    layer.ctx.values[index] = layer.value(0)


def _requantize(layer: Layer, ends: tuple[int, int]) -> None:
    value, x = layer.x()
    by = rescale(x.scale / layer.out.scale)
    layer.rescaled_result(layer.centred(value, x), by, ends)


def relu(layer: Layer) -> None:
    """RELU, RELU6, RELU_N1_TO_1: reference_ops::ReluX (internal/reference/reference_ops.h), as QUANTIZE with limits."""
    ends = {"RELU": (0.0, math.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}[layer.op.name]
    if layer.x()[1].dtype != layer.out.dtype:
        raise Refusal(f"{layer.op.name} to another type", "one type for input and output")
    _requantize(layer, limits(ends, layer.out))


def softmax(layer: Layer) -> None:
    """SOFTMAX: reference_ops::Softmax (internal/reference/softmax.h), in gemmlowp's fixed point; see ir.ops.Softmax."""
    value, x = layer.x()
    out, beta = layer.out, float(layer.option("beta"))
    if x.dtype.bits != 8 or not x.dtype.signed:
        raise Refusal(f"a SOFTMAX of {x.dtype}", "int8")
    expected = (1 / 256, -128) if out.dtype.bits == 8 else (1 / 32768, 0)
    if abs(out.scale - expected[0]) > 0.001 * expected[0] or out.zero_point != expected[1]:
        found = f"a SOFTMAX to scale {out.scale:g}, zero point {out.zero_point}"
        raise bad(found, f"scale 1/{round(1 / expected[0])}, zero point {expected[1]}")
    try:
        op = Softmax.of(x.scale, beta, out.dtype)
    except ValueError as error:
        raise bad(str(error), "a larger beta or scale") from error
    layer.final(op, [value])


def arg_max(layer: Layer) -> None:
    """ARG_MAX along the last axis: reference_ops::ArgMinMax (internal/reference/arg_min_max.h), the first of equals."""
    shape = layer.tensor(0).shape
    (axis,) = layer.integers(1, "the axis of ARG_MAX", 1)
    if layer.axis(axis, shape) != len(layer.type(layer.value(0)).shape) - 1:
        raise Refusal(f"an ARG_MAX along axis {axis} of {shape}", "the last axis")
    index = layer.emit(ArgMax(), [layer.value(0)], "index")
    layer.ctx.values[layer.op.outputs[0]] = layer.reshaped(index, frame(layer.result().shape), "reduced")


def cast(layer: Layer) -> None:
    """CAST of int8 to int16: the same integers (kernels/cast.cc), in a type whose zero point is 0."""
    if layer.tensor(0).kind != "int8" or layer.result().kind != "int16":
        raise Refusal(f"a CAST of {layer.tensor(0).kind} to {layer.result().kind}", "int8 to int16")
    one, zero = np.array([1]), np.array([0])
    layer.final(Requant(layer.out.dtype, Rounding.HALF_UP), [layer.value(0)], multiplier=one, shift=zero)


# -- tables ----------------------------------------------------------------------------------------------------------


def logistic(layer: Layer) -> None:
    """LOGISTIC: a table; of int8 in single precision, LUTPopulateInt8 (internal/common.h), of int16 see sigmoid.py."""
    _tabulated(layer)


def tanh(layer: Layer) -> None:
    """TANH: a table; of int8 in single precision, LUTPopulateInt8 (internal/common.h), of int16 see sigmoid.py."""
    _tabulated(layer)


def hard_swish(layer: Layer) -> None:
    """HARD_SWISH of int8: a table of x * relu6(x + 3) / 6 as reference_ops::HardSwish computes it in 16 bits.

    Source: internal/reference/hard_swish.h, prepared by kernels/activations.cc. The input times 128 is multiplied
    by s_x / (128 s_y), rounded; relu6(x + 3) / 6 is a Q0.15 number from s_x / 128 over 3 / 2^15, saturated; their
    product is truncated, then shifted right, rounding half away from zero.
    """
    _tabulated(layer)


def _tabulated(layer: Layer) -> None:
    value, x = layer.x()
    operator, kinds = layer.op.name, (layer.tensor(0).kind, layer.result().kind)
    allowed = [kind for kind, tables in TABLES.items() if operator in tables]
    if kinds[0] != kinds[1] or kinds[0] not in allowed:
        raise Refusal(f"{operator} of {kinds[0]} to {kinds[1]}", " or ".join(f"{kind} to {kind}" for kind in allowed))
    layer.table_result(value, TABLES[kinds[0]][operator](x, layer.out))


_Single = NDArray[np.float32]


def _exactly_rounded(function: Callable[[NDArray[np.float64]], NDArray[np.float64]], x: _Single) -> _Single:
    """The function in single precision, rounded correctly: computed in double."""
    with np.errstate(over="ignore"):
        return function(x.astype(np.float64)).astype(np.float32)


def _populated(function: Callable[[_Single], _Single], x: Params, out: Params) -> IntArray:
    """round_half_away(f((x - zero_x) * s_x) * (1 / s_y)) + zero_y for every x, all in single precision."""
    domain = np.arange(x.dtype.lo, x.dtype.hi + 1)
    real = x.single * (domain - x.zero_point).astype(np.float32)
    rescaled = function(real) * (np.float32(1) / out.single)
    rounded = np.sign(rescaled) * np.floor(np.abs(rescaled).astype(np.float64) + 0.5) + out.zero_point
    return np.asarray(np.clip(rounded, out.dtype.lo, out.dtype.hi), dtype=np.int64)


def _logistic_table(x: Params, out: Params) -> IntArray:
    return _populated(lambda r: np.float32(1) / (np.float32(1) + _exactly_rounded(np.exp, -r)), x, out)


def _tanh_table(x: Params, out: Params) -> IntArray:
    return _populated(lambda r: _exactly_rounded(np.tanh, r), x, out)


def _hard_swish_table(x: Params, out: Params) -> IntArray:
    fine = (_int16(np.arange(x.dtype.lo, x.dtype.hi + 1) - x.zero_point)) << 7
    hires = np.float32(1 / 128) * x.single
    output, output_exponent = _half_multiplier(float(hires / out.single))
    reluish, exponent = _half_multiplier(float(hires / np.float32(3.0 / 32768.0)))
    if output_exponent > 0:
        raise bad(f"HARD_SWISH to the scale {out.scale:g}", f"at least {x.scale / 128:g}, which the kernel demands")
    preshift = _high_mul_rounded(fine, output)
    gate = _int16(fine << (exponent - 1)) if exponent > 0 else fine
    gate = _high_mul_rounded(gate, reluish)
    if exponent > 0:
        gate = _int16(gate << 1)
    if exponent < 0:
        gate = rounding_divide_by_pot(gate, -exponent)
    gate = (gate + (1 << 15)) >> 1
    product = gate * preshift
    y = _int16(np.where(product < 0, -(-product >> 15), product >> 15))
    y = rounding_divide_by_pot(y, -output_exponent) + out.zero_point
    return np.asarray(np.clip(y, out.dtype.lo, out.dtype.hi))


TABLES: Mapping[str, Mapping[str, Callable[[Params, Params], IntArray]]] = {
    "int8": {"LOGISTIC": _logistic_table, "TANH": _tanh_table, "HARD_SWISH": _hard_swish_table},
    "int16": {"LOGISTIC": sigmoid.logistic, "TANH": sigmoid.tanh},
}
"""The operators that are tables, by the type of input and result: the stored result for every input, ascending."""


def _int16(values: IntArray) -> IntArray:
    return np.clip(values, -(1 << 15), (1 << 15) - 1)


def _high_mul_rounded(a: IntArray, b: int) -> IntArray:
    """SaturatingRoundingDoublingHighMul of 16 bits: round(a * b / 2^15), ties towards +infinity."""
    return _int16((a * b + (1 << 14)) >> 15)


def _half_multiplier(real: float) -> tuple[int, int]:
    """QuantizeMultiplier, then DownScaleInt32ToInt16Multiplier: 16 bits, rounded."""
    m, exponent = quantize_multiplier(real)
    return ((m + (1 << 15)) >> 16 if m < 0x7FFF8000 else 0x7FFF), exponent
