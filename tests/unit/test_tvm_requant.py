"""The cheapest form of a rescaling where x reaches far beyond the levels: there it must not overflow either."""

from __future__ import annotations

import numpy as np
import pytest

from codesign.backends.tvm.requant import HighMul, cheapest, evaluate, upper_mul
from codesign.ir.ops import Requant, Rounding
from codesign.ir.types import IntType


@pytest.mark.parametrize("bits", [24, 28, 29, 30, 32])
@pytest.mark.parametrize("levels_bits", [20, 23, 27])
def test_a_form_is_exact_where_x_is_far_beyond_all_levels(bits: int, levels_bits: int) -> None:
    """Rescaled to 8 bits from about `levels_bits`, the accumulator having `bits`."""
    x = IntType(bits, True)
    op = Requant(IntType(8, True), Rounding.TFLITE_DOUBLE, -128)
    constants = (np.array([1623163062]), np.array([31 + levels_bits - 8]))
    form = cheapest(op, x, constants)
    if isinstance(form, HighMul):
        assert x.largest << form.left < 1 << 31
    values = np.linspace(x.lo, x.hi, 100_001).astype(np.int64)[:, None]
    values = np.concatenate([values, values // 64])
    assert (evaluate(form, values, op.out) == op.apply(values, *constants)).all()


@pytest.mark.parametrize("zero_point", [-128, -12, 0])
@pytest.mark.parametrize("bias", [None, np.array([5000, -70000, 3])])
def test_the_upper_halves_of_words_are_enough(zero_point: int, bias: np.ndarray | None) -> None:
    """One shift for channels with several; both signs of double rounding, and the bias taken in."""
    x, op = IntType(20, True), Requant(IntType(8, True), Rounding.TFLITE_DOUBLE, zero_point)
    constants = np.array([1823163062, 1123456789, 2123456789]), np.array([39, 39, 40])
    form = cheapest(op, x, constants, bias, integers=True)
    assert isinstance(form, HighMul)
    assert form.common_right is not None
    assert (form.below is None) == (zero_point == -128)
    shift = np.zeros(3, np.int64) if bias is None else bias
    values = np.arange(x.lo, x.hi + 1)[:, None] - shift
    np.testing.assert_array_equal(evaluate(form, values, op.out), op.apply(values + shift, *constants))


def test_a_common_shift_leaves_too_few_bits_for_a_flat_channel() -> None:
    """Steep and flat channels of a wide accumulator: each keeps its own shift."""
    x, op = IntType(22, True), Requant(IntType(8, True), Rounding.TFLITE_DOUBLE, -128)
    constants = np.array([1823163062, 1823163062]), np.array([39, 44])
    form = cheapest(op, x, constants, integers=True)
    assert isinstance(form, HighMul)
    assert form.common_right is None
    values = np.arange(x.lo, x.hi + 1)[:, None] + np.zeros(2, np.int64)
    np.testing.assert_array_equal(evaluate(form, values, op.out), op.apply(values, *constants))


def test_no_shift_by_half_a_word() -> None:
    ends = np.array([[-(1 << 29)]]), np.array([[(1 << 29) - 1]])
    levels = np.arange(1, 256)[None, :] * 1000
    assert upper_mul(levels, *ends) is None  # x alone takes 30 bits
