"""Requant and Threshold against rational arithmetic and the literal text of the sources they follow."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from codesign.ir.ops import Arg, OpError, Requant, Rounding, Threshold
from codesign.ir.ops.rescale import round_shift, scaled_type, thresholds_of_requant
from codesign.ir.types import BIPOLAR, IntArray, IntType, TensorType
from codesign.testing.graphs import int_types

INT64 = st.integers(-(2**63), 2**63 - 1)
SHIFT = st.integers(0, 62)


def rounded(product: int, shift: int, rounding: Rounding) -> int:
    return int(round_shift(np.array([product]), np.array([shift]), rounding)[0])


@given(INT64, SHIFT)
@example(2**63 - 1, 62)
@example(-(2**63), 1)
def test_half_up(product: int, shift: int) -> None:
    assert rounded(product, shift, Rounding.HALF_UP) == floor(Fraction(product, 1 << shift) + Fraction(1, 2))


@given(INT64, SHIFT)
@example(3 << 61, 62)
@example(-(2**63), 62)
@example(7, 0)
def test_half_even(product: int, shift: int) -> None:
    assert rounded(product, shift, Rounding.HALF_EVEN) == round(Fraction(product, 1 << shift))


@pytest.mark.parametrize("rounding", [Rounding.HALF_UP, Rounding.HALF_EVEN])
def test_every_tie_of_small_shifts(rounding: Rounding) -> None:
    for shift in range(5):
        for product in range(-40, 41):
            exact = Fraction(product, 1 << shift)
            expected = round(exact) if rounding is Rounding.HALF_EVEN else floor(exact + Fraction(1, 2))
            assert rounded(product, shift, rounding) == expected


def gemmlowp_two_steps(x: int, multiplier: int, exponent: int) -> int:
    """MultiplyByQuantizedMultiplier as TFLite's reference kernels have it, with C's truncating division."""
    left, right = max(exponent, 0), max(-exponent, 0)
    product = (x << left) * multiplier
    nudged = product + (1 << 30 if product >= 0 else 1 - (1 << 30))
    high = abs(nudged) // (1 << 31) * (1 if nudged >= 0 else -1)
    mask = (1 << right) - 1
    return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))


@given(st.integers(-(2**31) + 1, 2**31 - 1), st.integers(1, 2**31 - 1), st.integers(-31, 0))
@example(-3 << 20, 1 << 30, -22)
def test_tflite_double_rounding(x: int, multiplier: int, exponent: int) -> None:
    expected = gemmlowp_two_steps(x, multiplier, exponent)
    assert rounded(x * multiplier, 31 - exponent, Rounding.TFLITE_DOUBLE) == expected


@given(st.integers(-(2**15), 2**15), st.integers(1 << 30, 2**31 - 1), st.integers(0, 15))
def test_tflite_double_rounding_with_left_shift(x: int, multiplier: int, exponent: int) -> None:
    expected = gemmlowp_two_steps(x, multiplier, exponent)
    assert rounded(x * multiplier, 31 - exponent, Rounding.TFLITE_DOUBLE) == expected


def test_roundings_of_mixed_shifts_are_those_of_each() -> None:
    """The nudge of the double rounding is for shifts above 31 only, channel by channel."""
    shifts = np.array([0, 1, 30, 31, 32, 33, 62])
    products = np.array([[-3, -1, 1, 3]]).T << np.maximum(shifts - 1, 0)
    for rounding in Rounding:
        each = [[rounded(int(p), int(s), rounding) for p, s in zip(row, shifts, strict=True)] for row in products]
        assert round_shift(products, shifts, rounding).tolist() == each


def run(op: Requant | Threshold, dtype: IntType, x: IntArray, *constants: IntArray) -> IntArray:
    types = [Arg(TensorType(x.shape[1:], dtype))]
    args = types + [Arg(TensorType(c.shape, IntType(32, True)), c) for c in constants]
    result = op.infer(args)
    y = op.evaluate([x, *constants], args).astype(np.int64)
    assert result.shape == x.shape[1:]
    assert result.dtype.holds(y)
    return y


def test_requant_limits_and_offsets() -> None:
    x = np.array([[-(2**31), -7, 0, 7, 2**31 - 1]])
    y = run(Requant(IntType(8, True), zero_point=3), IntType(32, True), x, np.array([3]), np.array([1]))
    assert y.tolist() == [[-128, -7, 3, 13, 127]]  # 10.5 goes to 10, -10.5 to -10


def test_requant_of_the_widest_product_does_not_overflow() -> None:
    x = np.array([[2**32 - 1]])
    for rounding in Rounding:
        op = Requant(IntType(32, True), rounding, zero_point=2**31 - 1)
        assert run(op, IntType(32, False), x, np.array([2**31 - 1]), np.array([0])).tolist() == [[2**31 - 1]]
        assert run(op, IntType(32, False), x, np.array([-(2**31)]), np.array([0])).tolist() == [[-(2**31)]]
        assert run(op, IntType(32, False), x, np.array([-(2**31)]), np.array([62])).tolist() == [[2**31 - 3]]


@given(data=st.data(), dtype=int_types(12), out=int_types(6, bipolar=False), rounding=st.sampled_from(Rounding))
def test_thresholds_of_requant_are_the_same_function(
    data: st.DataObject, dtype: IntType, out: IntType, rounding: Rounding
) -> None:
    multiplier = np.array(data.draw(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=3)))
    shift = np.array([data.draw(SHIFT)])
    op = Requant(out, rounding, data.draw(st.integers(-10, 10)))
    x = np.repeat(np.arange(dtype.lo, dtype.hi + 1, dtype.step)[:, None], multiplier.size, axis=1)
    levels = thresholds_of_requant(op, dtype, multiplier, shift)
    expected = run(op, dtype, x, multiplier, shift)
    np.testing.assert_array_equal(run(Threshold(out), dtype, x, levels), expected)


def test_thresholds_of_a_decreasing_requant_are_refused() -> None:
    with pytest.raises(OpError, match="a negative multiplier"):
        thresholds_of_requant(Requant(IntType(4, True)), IntType(8, True), np.array([-1]), np.array([0]))


@pytest.mark.parametrize("batch", [1, 300])
@given(data=st.data(), dtype=int_types(), out=int_types(5), rows=st.sampled_from([1, 3]))
def test_threshold_counts_levels(data: st.DataObject, dtype: IntType, out: IntType, rows: int, batch: int) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    count = data.draw(st.integers(1, out.count - 1))
    levels = np.sort(rng.integers(dtype.lo - 1, dtype.hi + 2, (rows, count)), axis=1)
    x = dtype.lo + dtype.step * rng.integers(0, dtype.count, (batch, 3))
    reached = (x[:, :, None] >= levels[None]).sum(axis=2)
    np.testing.assert_array_equal(run(Threshold(out), dtype, x, levels), out.lo + out.step * reached)


def test_sign_is_a_threshold_of_one_level() -> None:
    assert run(Threshold(BIPOLAR), IntType(4, True), np.array([[-1, 0, 1]]), np.array([[0]])).tolist() == [[-1, 1, 1]]


def test_scaled_type() -> None:
    assert scaled_type(IntType(4, True), -3) == IntType(6, True)
    assert scaled_type(IntType(4, False), 2) == IntType(5, False)
