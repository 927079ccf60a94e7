"""Scales and zero points as the reference kernels turn them into integers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codesign.frontend.problems import Refusal, bad
from codesign.frontend.tflite.schema import Tensor
from codesign.ir.ops import Rounding
from codesign.ir.ops.rescale import round_shift
from codesign.ir.types import IntArray, IntType, Quant

DTYPES = {"int8": IntType(8, True), "uint8": IntType(8, False), "int16": IntType(16, True)}


@dataclass(frozen=True)
class Params:
    """real = (q - zero_point) * scale for a whole tensor; scale is the float32 of the file, exactly."""

    scale: float
    zero_point: int
    dtype: IntType

    @property
    def quant(self) -> Quant:
        """The same as the graph's metadata."""
        return Quant((self.scale,), (float(self.zero_point),))

    @property
    def single(self) -> np.float32:
        """The scale for what the kernels compute in single precision."""
        return np.float32(self.scale)


def params_of(tensor: Tensor) -> Params:
    """Scale and zero point of an activation. Refusal for a type that is none, or a wrong number of them."""
    where = f"the tensor {tensor.where!r}"
    if tensor.kind not in DTYPES:
        raise Refusal(f"{where} of type {tensor.kind}", "int8 or int16 activations", CONVERT)
    if tensor.scale.size == 0:
        raise bad(f"{where} of type {tensor.kind} without quantisation", "a scale and a zero point")
    if tensor.scale.size != 1 or tensor.zero_point.size != 1:
        found = f"{where} with {tensor.scale.size} scales and {tensor.zero_point.size} zero points"
        raise bad(found, "one scale and one zero point for an activation")
    scale, zero, dtype = float(tensor.scale[0]), int(tensor.zero_point[0]), DTYPES[tensor.kind]
    if not (math.isfinite(scale) and scale > 0):
        raise bad(f"{where} with the scale {scale:g}", "a finite scale above 0")
    if not dtype.lo <= zero <= dtype.hi or (dtype.bits == 16 and zero):
        raise bad(f"{where} with the zero point {zero}", "0" if dtype.bits == 16 else f"{dtype.lo} to {dtype.hi}")
    return Params(scale, zero, dtype)


CONVERT = "full-integer quantisation: TFLiteConverter with a representative_dataset"


def weight_scales(tensor: Tensor, outputs: int, axis: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The scales of a weight: one, or one per output along `axis`. bad for any other number, or zero points but 0."""
    scales = tensor.scale.astype(np.float64)
    where = f"the weight {tensor.where!r}"
    if scales.size not in (1, outputs) or tensor.zero_point.size != scales.size:
        found = f"{where} with {scales.size} scales and {tensor.zero_point.size} zero points"
        raise bad(found, f"1 or {outputs} of each, one for each output")
    if scales.size > 1 and tensor.axis != axis:
        raise bad(f"{where} with scales along axis {tensor.axis}", f"axis {axis}, the outputs")
    if not np.isfinite(scales).all() or (scales < 0).any():
        raise bad(f"{where} with a scale of {scales.min():g}", "finite scales, 0 or more")
    return scales


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(m, e) with real ~ m / 2^31 * 2^e and 2^30 <= m < 2^31; (0, 0) for what is below 2^-32.

    TFLite's QuantizeMultiplier (tensorflow/lite/kernels/internal/quantization_util.cc).
    """
    fraction, exponent = math.frexp(real)
    m = math.floor(fraction * (1 << 31) + 0.5)
    if m == 1 << 31:
        m, exponent = m // 2, exponent + 1
    return (0, 0) if exponent < -31 else (m, exponent)


@dataclass(frozen=True, eq=False)
class Rescale:
    """round(x * multiplier / 2^shift): multiplier and shift one or one per channel each, as Requant takes them.

    left  the largest shift to the left that the kernel does first, in 32 bits
    """

    multiplier: IntArray
    shift: IntArray
    rounding: Rounding
    left: int = 0

    def __call__(self, x: IntArray) -> IntArray:
        """The rescaled integers, before any limit."""
        return round_shift(x * self.multiplier, self.shift, self.rounding)


def rescale(reals: float | Sequence[float], left: int = 0) -> Rescale:
    """x * real in TFLite's double rounding: MultiplyByQuantizedMultiplier for int32 (kernels/internal/common.h).

    With `left` the kernel gets x * 2^left, and shifts nothing to the left itself.
    Refusal for a factor of 2^31 or more, or one that is no number.
    """
    pairs = [quantize_multiplier(r) for r in _finite(reals)]
    exponents = [e for _, e in pairs]
    return Rescale(
        np.array([m for m, _ in pairs]),
        np.array([31 - e for e in exponents]),
        Rounding.TFLITE_DOUBLE,
        max(0, *exponents),
    )


def rescale_wide(reals: float | Sequence[float]) -> Rescale:
    """x * real for a sum of 64 bits: a multiplier of 16 bits and a single rounding, half up.

    MultiplyByQuantizedMultiplier for int64 (kernels/internal/common.cc), which int16 activations go through.
    """
    pairs = [quantize_multiplier(r) for r in _finite(reals)]
    reduced = [(m + (1 << 15)) >> 16 if m < 0x7FFF0000 else 0x7FFF for m, _ in pairs]
    if any(e > 15 for _, e in pairs):
        raise Refusal("a factor of 2^15 or more between two scales", "a factor below 2^15")
    return Rescale(np.array(reduced), np.array([15 - e for _, e in pairs]), Rounding.HALF_UP)


def _finite(reals: float | Sequence[float]) -> list[float]:
    listed = [float(r) for r in np.atleast_1d(np.asarray(reals, dtype=np.float64))]
    if any(not math.isfinite(r) or abs(r) >= 1 << 31 for r in listed):
        raise Refusal("a factor of 2^31 or more between two scales", "a factor below 2^31")
    return listed


NONE, RELU, RELU_N1_TO_1, RELU6 = 0, 1, 2, 3
_LIMITS = {NONE: (-math.inf, math.inf), RELU: (0.0, math.inf), RELU_N1_TO_1: (-1.0, 1.0), RELU6: (0.0, 6.0)}
_NAMES = {4: "TANH", 5: "SIGN_BIT"}


def activation_range(activation: int, out: Params) -> tuple[int, int]:
    """The integers that a fused activation leaves: CalculateActivationRangeQuantized (kernels/kernel_util.cc).

    zero_point + round_half_away(limit / scale), the division in single precision, within the type.
    """
    if activation not in _LIMITS:
        name = _NAMES.get(activation, f"number {activation}")
        raise Refusal(f"the fused activation {name}", "NONE, RELU, RELU_N1_TO_1 or RELU6")
    return limits(_LIMITS[activation], out)


def limits(reals: tuple[float, float], out: Params) -> tuple[int, int]:
    """The integers that stand for a range of real numbers, within the type; see `activation_range`."""
    low, high = out.dtype.lo, out.dtype.hi
    if math.isfinite(reals[0]):
        low = max(low, out.zero_point + away(np.float32(reals[0]) / out.single))
    if math.isfinite(reals[1]):
        high = min(high, out.zero_point + away(np.float32(reals[1]) / out.single))
    if low > high:
        raise Refusal(f"an activation that leaves {low} to {high} of {out.dtype}", "at least one value")
    return low, high


def away(real: np.floating[Any]) -> int:
    """Round to nearest, ties away from zero: C's round()."""
    value = float(real)
    return int(math.copysign(math.floor(abs(value) + 0.5), value))
