"""The fixed-point functions of gemmlowp (public/…/fixedpoint.h), which TFLite's reference Softmax is made of.

A value in Qm.n is a raw int32 that stands for raw / 2^n, m + n = 31. Everything is vectorised over NumPy int64 arrays
whose values stay in int32, so that no intermediate overflows.
"""

from __future__ import annotations

import numpy as np

from codesign.ir.types import IntArray

_MAX, _MIN = (1 << 31) - 1, -(1 << 31)


def doubling_high_mul(a: IntArray, b: IntArray | int) -> IntArray:
    """SaturatingRoundingDoublingHighMul: round(a * b / 2^31), ties towards +infinity, limited to int32."""
    return np.minimum((a * b + (1 << 30)) >> 31, _MAX)


def rounding_divide_by_pot(x: IntArray, exponent: IntArray | int) -> IntArray:
    """round(x / 2^exponent), ties away from zero."""
    mask = (np.int64(1) << np.asarray(exponent, dtype=np.int64)) - 1
    up = (x & mask) > (mask >> 1) + (x < 0)
    quotient: IntArray = (x >> exponent) + up
    return quotient


def _saturating_shift_left(x: IntArray, exponent: int) -> IntArray:
    return np.clip(x << exponent, _MIN, _MAX)


def _exp_between_minus_quarter_and_0(a: IntArray) -> IntArray:
    """exp(a) for -1/4 <= a < 0, Q0.31: a Taylor polynomial of degree 4 around -1/8."""
    constant = 1895147668  # exp(-1/8)
    x = a + (1 << 28)
    x2 = doubling_high_mul(x, x)
    x3, x4 = doubling_high_mul(x2, x), doubling_high_mul(x2, x2)
    third = 715827883  # 1/3
    higher = doubling_high_mul(rounding_divide_by_pot(x4, 2) + x3, third) + x2
    return constant + doubling_high_mul(x + rounding_divide_by_pot(higher, 1), constant)


# exp(-2^k) in Q0.31 for k = -2 … 4
_EXP_OF_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def exp_on_negative_values(a: IntArray) -> IntArray:
    """exp(a) in Q0.31 for a <= 0 in Q5.26: the polynomial on the last quarter, times exp(-2^k) for each bit above."""
    quarter = 1 << 24
    last = (a & (quarter - 1)) - quarter
    result = _exp_between_minus_quarter_and_0(last << 5)
    rest = last - a
    for bit, constant in enumerate(_EXP_OF_POWERS, start=24):
        result = np.where(rest & (1 << bit), doubling_high_mul(result, constant), result)
    return np.where(a == 0, _MAX, result)


def one_over_one_plus_x(a: IntArray) -> IntArray:
    """1 / (1 + a) for 0 <= a < 1, Q0.31: three Newton steps for the reciprocal of (1 + a) / 2, in Q2.29."""
    half_denominator = (a + _MAX + 1) >> 1
    x = 1515870810 + doubling_high_mul(half_denominator, -1010580540)  # 48/17 - 32/17 * half_denominator
    for _ in range(3):
        error = (1 << 29) - doubling_high_mul(half_denominator, x)
        x = x + _saturating_shift_left(doubling_high_mul(x, error), 2)
    return _saturating_shift_left(x, 1)


def reciprocal(x: IntArray, integer_bits: int) -> tuple[IntArray, IntArray]:
    """(r, k) with 1 / x = r / 2^k, r in Q0.31 and at least 1/2, for x > 0 with `integer_bits` bits before the point."""
    headroom = 32 - np.frexp(x.astype(np.float64))[1].astype(np.int64)  # leading zeros of a 32-bit word
    return one_over_one_plus_x((x << headroom) - (1 << 31)), integer_bits - headroom
