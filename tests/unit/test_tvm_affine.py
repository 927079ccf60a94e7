"""Rescalings by one multiply-add in single precision: exact for every value, however it is rounded, or not used."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.backends.tvm.affine import Affine, affine, multiply_add
from codesign.backends.tvm.requant import HighMul, cheapest, evaluate
from codesign.ir.ops import Requant, Rounding, Threshold
from codesign.ir.types import IntArray, IntType

INT8 = IntType(8, True)


def around(op: Requant, x: IntType, multiplier: IntArray, shift: IntArray, rng: np.random.Generator) -> IntArray:
    """Values (n, C) of x: at both sides of every change of the result, at its ends, around 0, and random ones."""
    k = np.arange(op.out.lo - op.zero_point, op.out.hi - op.zero_point + 1)
    edges = np.rint((k[:, None] + 0.5) * 2.0**shift / multiplier).astype(np.int64)
    near = [edges + step for step in (-2, -1, 0, 1, 2)]
    zero, drawn = np.arange(-4, 5), rng.integers(x.lo, x.hi + 1, 400)
    others = np.concatenate([zero, drawn, [x.lo, x.hi]])[:, None] + np.zeros(len(multiplier), np.int64)
    return np.clip(np.concatenate([*near, others]), x.lo, x.hi)


@settings(max_examples=40)
@given(
    st.integers(0, 2**32), st.integers(14, 26), st.sampled_from(list(Rounding)), st.integers(-128, 127), st.booleans()
)
def test_exact(seed: int, bits: int, rounding: Rounding, zero_point: int, biased: bool) -> None:
    """Whatever form is chosen equals the operator, of either sign, with a bias that is still to be added or without."""
    rng, x = np.random.default_rng(seed), IntType(bits, True)
    channels = int(rng.integers(1, 6))
    reach = 2.0 ** (8 - bits) * rng.uniform(0.5, 8, channels)
    shift = np.clip(30 - np.floor(np.log2(reach)).astype(np.int64), 31, 62)
    multiplier = np.clip(reach * 2.0**shift, 1, 2**31 - 1).astype(np.int64)
    op = Requant(INT8, rounding, zero_point)
    bias = rng.integers(-(1 << bits - 2), 1 << bits - 2, channels) if biased else None
    try:
        form = cheapest(op, x, (multiplier, shift), bias)
    except ValueError:
        return
    values = around(op, x, multiplier, shift, rng)
    expected = op.apply(values, multiplier, shift)
    raw = values if bias is None else values - bias
    np.testing.assert_array_equal(evaluate(form, raw, INT8), expected)
    if isinstance(form, Affine):
        index = in_one_rounding(form, raw)
        np.testing.assert_array_equal(np.clip(np.trunc(index), 0, 255) - 128, expected)


def in_one_rounding(form: Affine, x: IntArray) -> np.ndarray:
    """The product and the sum rounded at once: in exact rationals, then to the nearest single-precision number."""
    m, c = (np.broadcast_to(table, x.shape[1:]) for table in (form.multiplier, form.offset))
    if form.below is not None:
        c = np.where(x >= form.pivot, c, form.below)
    m, c = np.broadcast_to(m, x.shape), np.broadcast_to(c, x.shape)
    flat = zip(x.reshape(-1), m.reshape(-1), c.reshape(-1), strict=True)
    return np.array([nearest(Fraction(float(np.float32(q))) * Fraction(float(a)) + Fraction(float(b)))
                     for q, a, b in flat]).reshape(x.shape)  # fmt: skip


def nearest(exact: Fraction) -> float:
    """The single-precision number nearest to a rational, ties to even."""
    guess = np.float32(float(exact))
    around = [np.nextafter(guess, np.float32(-np.inf)), guess, np.nextafter(guess, np.float32(np.inf))]
    return float(min(around, key=lambda f: (abs(Fraction(float(f)) - exact), int(f.view(np.int32)) & 1)))


def test_double_rounding_of_both_signs_takes_two_lines() -> None:
    op, x = Requant(INT8, Rounding.TFLITE_DOUBLE, 2), IntType(20, True)
    constants = np.array([1518500250, 1700000001]), np.array([40, 40])
    form = cheapest(op, x, constants)
    assert isinstance(form, Affine)
    assert form.below is not None
    assert (form.below != form.offset).all()
    values = np.arange(x.lo, x.hi + 1)[:, None] + np.zeros(2, np.int64)
    np.testing.assert_array_equal(evaluate(form, values, INT8), op.apply(values, *constants))


def test_one_line_where_only_one_sign_is_reached() -> None:
    """A rectification leaves the positive values alone."""
    form = cheapest(
        Requant(INT8, Rounding.TFLITE_DOUBLE, -128), IntType(20, True), (np.array([1518500250]), np.array([40]))
    )
    assert isinstance(form, Affine)
    assert form.below is None


def test_integers_first_where_they_are_cheaper() -> None:
    op, constants = Requant(INT8, Rounding.TFLITE_DOUBLE, -128), (np.array([1518500250]), np.array([40]))
    assert isinstance(cheapest(op, IntType(20, True), constants, integers=True), HighMul)


def test_levels_on_no_line_are_refused() -> None:
    ends = np.array([[-1000]]), np.array([[1000]])
    assert affine(np.array([[0, 1, 500, 501, 900]]), *ends) is None


@pytest.mark.parametrize("beyond", [False, True])
def test_a_threshold_with_even_levels(beyond: bool) -> None:
    """Levels below and above all values of x included."""
    x, op = IntType(16, True), Threshold(IntType(4, False))
    levels = np.arange(-7, 8)[None, :] * (1 << 14 if beyond else 1000) + np.array([[0], [333]])
    form = cheapest(op, x, (levels,))
    assert isinstance(form, Affine)
    values = np.arange(x.lo, x.hi + 1)[:, None] + np.zeros(2, np.int64)
    expected = np.stack([(values[:, c, None] >= levels[c]).sum(axis=1) for c in range(2)], axis=1)
    np.testing.assert_array_equal(evaluate(form, values, op.out), expected)


def test_multiply_add_rounds_as_it_says() -> None:
    m, b = np.array([[np.float32(1 + 2**-23)]]), np.array([[np.float32(-1)]])
    x = np.array([[(1 << 23) + 1]])
    twice, once = (float(multiply_add(m, x, b, fused)[0, 0]) for fused in (False, True))
    assert twice == float(np.float32(np.float32(m[0, 0] * np.float32(x[0, 0])) + b[0, 0]))
    assert once == nearest(Fraction(float(m[0, 0])) * int(x[0, 0]) - 1)
