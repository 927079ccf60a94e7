"""LOGISTIC and TANH of int16: TFLite's sigmoid of 256 points, with straight lines between them."""

from __future__ import annotations

import math

import numpy as np

from codesign.frontend.problems import bad
from codesign.frontend.tflite.params import Params
from codesign.ir.types import IntArray

_RAISED = (
    4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46, 49,
    50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255,
)  # fmt: skip
"""Points that TFLite's sigmoid_table_uint16 (kernels/internal/common.h) has one above the rounded sigmoid."""

_INTEGER_BITS = 3  # of a power-of-two input: it reaches from -8 to 8
_FRACTION = 15  # of the result: kernels/activations.cc takes no other scale than 2^-15


def logistic(x: Params, out: Params) -> IntArray:
    """y = sigmoid(x s_x) 2^15 for every int16 x, ascending (internal/reference/integer_ops/logistic.h).

    |x| in steps of 1/(24·2^9) lies between two points; the line between them has 9 fractional bits more.
    """
    distance, line = _interpolated(x, out, "LOGISTIC", step=9, last=0x7FFF << 10)
    one = 1 << 25
    return np.asarray(np.where(distance >= 0, line + 512, one - line + 511) >> 10)


def tanh(x: Params, out: Params) -> IntArray:
    """y = tanh(x s_x) 2^15 = (2 sigmoid(2 x s_x) - 1) 2^15 for every int16 x, ascending (integer_ops/tanh.h)."""
    distance, line = _interpolated(x, out, "TANH", step=8, last=0xFFFF << 8)
    half = 1 << 23
    return np.asarray(np.where(distance >= 0, line - half + 128, half - line + 127) >> 8)


def _interpolated(x: Params, out: Params, operator: str, step: int, last: int) -> tuple[IntArray, IntArray]:
    """(x in steps of 1/(24·2^step), the sigmoid of its magnitude with 16 + step fractional bits)."""
    if out.scale != 2.0**-_FRACTION:
        raise bad(f"{operator} of int16 to the scale {out.scale:g}", "1/32768, the only one of its kernel")
    multiplier, shift = _multiplier(x.scale)
    distance = (np.arange(-(1 << 15), 1 << 15) * multiplier + ((1 << shift) >> 1)) >> shift
    magnitude = np.abs(distance)
    points = _points()
    index = np.minimum(magnitude >> step, 254)
    line = (points[index] << step) + (magnitude & ((1 << step) - 1)) * (points[index + 1] - points[index])
    return distance, np.where(magnitude >> step >= 255, last, line)


def _points() -> IntArray:
    """sigmoid(i/24) 2^16 at i from 0 to 255."""
    points = np.array([round(65536 / (1 + math.exp(-i / 24))) for i in range(256)], dtype=np.int64)
    points[list(_RAISED)] += 1
    return points


def _multiplier(scale: float) -> tuple[int, int]:
    """(multiplier, shift) that bring x to 3·2^12 steps a unit: 3 for the scale 2^-12, else 15 bits, cut off."""
    if scale == 2.0 ** (_INTEGER_BITS - 15):
        return 3, 0
    multiplier, shift = scale * 4096 * 3, 0
    while multiplier <= 32767 / 2 and shift <= 30:
        multiplier, shift = multiplier * 2, shift + 1
    return int(multiplier), shift
