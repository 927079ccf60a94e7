"""The search for weight factor, bias and scale: what it returns computes exactly the levels that it was given."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codesign.export.affine import Levels
from codesign.export.tflite.affine import kernel_factors, realise, same_multiplier
from codesign.frontend.tflite.params import DTYPES, Params, quantize_multiplier, rescale
from codesign.ir.types import IntArray

INT8 = DTYPES["int8"]


def kernel(sums: IntArray, factor: int, bias: int, scale: float, x: Params, out: Params) -> IntArray:
    """TFLite's rescaling of every sum, limited to int8."""
    by = rescale(float(kernel_factors(x, np.array([scale]), out, False)[0]))
    return np.clip(by(factor * sums + bias) + out.zero_point, -128, 127)


def levels_of(values: IntArray, sums: IntArray) -> Levels:
    """The levels of a non-decreasing function that is given by its value for every sum."""
    targets = np.arange(values.min(), values.max() + 2)
    at = sums[0] + np.searchsorted(values, targets)
    return Levels(at[None], targets, sums[:1], sums[-1:], -128, 127)


@given(
    factor=st.integers(1, 3),
    bias=st.integers(-400, 400),
    real=st.floats(0.002, 1.5),
    reach=st.integers(1, 600),
    zero=st.integers(-128, 127),
)
def test_every_function_of_a_kernel_is_found_again(factor: int, bias: int, real: float, reach: int, zero: int) -> None:
    x, out = Params(1.0, 0, INT8), Params(1.0, zero, INT8)
    sums = np.arange(-reach, reach + 1)
    scale = float(np.float32(real / factor))
    values = kernel(sums, factor, bias, scale, x, out)
    found = realise(levels_of(values, sums), np.array([factor]), x, out)
    # The function comes from a kernel with this factor, so that one exists; a search in floating point may miss it
    # only where the levels leave no room at all.
    if not found.failed.size:
        again = kernel(sums, int(found.factor[0]), int(found.bias[0]), float(found.scale[0]), x, out)
        np.testing.assert_array_equal(again, values)
    else:
        assert real > 0.25, "a function with long steps leaves room"


@given(st.data())
def test_what_is_not_reported_as_failed_is_exact(data: st.DataObject) -> None:
    count, span = data.draw(st.integers(1, 12)), data.draw(st.integers(5, 300))
    seed = data.draw(st.integers(0, 1 << 30))
    rng = np.random.default_rng(seed)
    sums = np.arange(-span, span + 1)
    zero = int(rng.integers(-100, 100))
    x, out = Params(0.37, 3, INT8), Params(0.05, zero, INT8)
    thresholds = np.sort(rng.integers(-span, span + 1, count))
    values = np.minimum(int(rng.integers(-128, 110)) + np.searchsorted(thresholds, sums, side="right"), 127)
    levels = levels_of(values, sums)
    found = realise(levels, np.array([20]), x, out)
    if not found.failed.size:
        again = kernel(sums, int(found.factor[0]), int(found.bias[0]), float(found.scale[0]), x, out)
        np.testing.assert_array_equal(again, values)


def test_evenly_spaced_levels_of_many_channels_are_found() -> None:
    rng = np.random.default_rng(0)
    channels, j = 64, np.arange(0, 17)
    spacing, offset = rng.uniform(20, 90, channels), rng.uniform(-200, 200, channels)
    at = np.ceil((j - 0.5) * spacing[:, None] + offset[:, None]).astype(np.int64)
    lo, hi = np.full(channels, -2000), np.full(channels, 2000)
    at[:, 0], at[:, -1] = -2000, 2001
    levels = Levels(np.clip(at, -2000, 2001), 112 + j, lo, hi, 112, 127)
    x, out = Params(0.1, 0, INT8), Params(0.2, 112, INT8)
    assert realise(levels, np.full(channels, 18), x, out).failed.size == 0


def test_uneven_levels_fail() -> None:
    at = np.array([[-50, -40, 0, 1, 51]])
    levels = Levels(at, np.arange(0, 5), np.array([-50]), np.array([50]), -128, 127)
    found = realise(levels, np.array([127]), Params(1.0, 0, INT8), Params(1.0, 0, INT8))
    assert found.failed.tolist() == [0]


@given(st.floats(1e-6, 100.0), st.floats(1e-6, 100.0), st.floats(1e-6, 1.0), st.booleans())
def test_the_multiplier_of_a_kernel_gives_its_weight_scale(x: float, y: float, weight: float, single: bool) -> None:
    a, b = Params(float(np.float32(x)), 0, INT8), Params(float(np.float32(y)), 0, INT8)
    real = float(kernel_factors(a, np.array([np.float32(weight)], dtype=np.float64), b, single)[0])
    m, exponent = quantize_multiplier(real)
    if not m or exponent > 20:
        return
    found = same_multiplier(np.array([m]), np.array([31 - exponent]), a, b, single)
    assert found is not None
    assert quantize_multiplier(float(kernel_factors(a, found, b, single)[0])) == (m, exponent)


def test_a_multiplier_between_two_float32_scales_has_none() -> None:
    a = Params(1.0, 0, INT8)
    assert same_multiplier(np.array([(1 << 30) + 1]), np.array([31]), a, a, False) is None
