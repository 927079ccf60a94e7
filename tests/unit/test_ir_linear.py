"""Conv2d and Dense against plain loops over Python integers; accumulators against every possible input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.ir.ops import Arg, Conv2d, Dense
from codesign.ir.ops.linear import accumulator_type, exact_dtypes
from codesign.ir.types import BIPOLAR, IntArray, IntType, TensorType
from codesign.testing.graphs import int_types, values


def convolve(x: IntArray, w: IntArray, b: IntArray, op: Conv2d) -> IntArray:
    """The equation of Conv2d, one product after the other."""
    batch, height, width, _ = x.shape
    outputs, kh, kw, per_group = w.shape
    top, left, bottom, right = op.padding
    oh = (height + top + bottom - op.dilation[0] * (kh - 1) - 1) // op.stride[0] + 1
    ow = (width + left + right - op.dilation[1] * (kw - 1) - 1) // op.stride[1] + 1
    y = np.zeros((batch, oh, ow, outputs), dtype=np.int64)
    for n, oy, ox, o in np.ndindex(*y.shape):
        total = int(b[o])
        for ky, kx, i in np.ndindex(kh, kw, per_group):
            iy = oy * op.stride[0] + ky * op.dilation[0] - top
            ix = ox * op.stride[1] + kx * op.dilation[1] - left
            inside = 0 <= iy < height and 0 <= ix < width
            channel = o // (outputs // op.groups) * per_group + i
            total += int(x[n, iy, ix, channel] if inside else op.pad_value) * int(w[o, ky, kx, i])
        y[n, oy, ox, o] = total
    return y


@settings(max_examples=60)
@given(data=st.data(), x_type=int_types(16), w_type=int_types(8), seed=st.integers(0, 1000))
def test_conv_is_its_equation(data: st.DataObject, x_type: IntType, w_type: IntType, seed: int) -> None:
    rng, draw = np.random.default_rng(seed), data.draw
    groups, per_group, per_out = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    pairs = st.tuples(st.integers(1, 2), st.integers(1, 2))
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    op = Conv2d(draw(pairs), padding, groups, draw(pairs), draw(st.integers(-2, 2)))
    x = values(rng, x_type, (2, 4, 6, groups * per_group))
    w = values(rng, w_type, (groups * per_out, draw(st.integers(1, 2)), draw(st.integers(1, 3)), per_group))
    b = rng.integers(-1000, 1000, groups * per_out)
    args = [Arg(TensorType(x.shape[1:], x_type))] + [Arg(TensorType(c.shape, IntType(32, True)), c) for c in (w, b)]
    result = op.infer(args)
    y = op.evaluate([x, w, b], args)
    assert y.shape[1:] == result.shape
    assert result.dtype.holds(y)
    np.testing.assert_array_equal(y, convolve(x, w, b, op))
    np.testing.assert_array_equal(op.evaluate([x, w], args[:2]), convolve(x, w, 0 * b, op))


@settings(max_examples=60)
@given(x_type=int_types(), w_type=int_types(16), rows=st.integers(0, 2), seed=st.integers(0, 1000))
def test_dense_is_its_equation(x_type: IntType, w_type: IntType, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = values(rng, x_type, (3, *[2] * rows, 5))
    w, b = values(rng, w_type, (4, 5)), rng.integers(-1000, 1000, 4)
    args = [Arg(TensorType(x.shape[1:], x_type))] + [Arg(TensorType(c.shape, IntType(32, True)), c) for c in (w, b)]
    expected = x.astype(object) @ w.T.astype(object) + b
    if x_type.bits + w_type.bits + 3 > 32:  # five terms and a bias
        return
    result = Dense().infer(args)
    assert result.shape == expected.shape[1:]
    np.testing.assert_array_equal(Dense().evaluate([x, w, b], args), expected.astype(np.int64))


@given(x_type=int_types(3), w_type=int_types(4), seed=st.integers(0, 1000), bias=st.booleans())
def test_accumulator_is_the_tightest(x_type: IntType, w_type: IntType, seed: int, bias: bool) -> None:
    rng = np.random.default_rng(seed)
    w = values(rng, w_type, (2, 3))
    b = rng.integers(-20, 20, 2) if bias else None
    every = np.array(list(itertools.product(range(x_type.lo, x_type.hi + 1, x_type.step), repeat=3)))
    sums = every @ w.T + (0 if b is None else b)
    assert accumulator_type(x_type, w, b) == IntType.smallest(int(sums.min()), int(sums.max()))


def test_accumulator_counts_the_padding() -> None:
    w = np.array([[3, -2]])
    assert accumulator_type(IntType(2, False), w, None) == IntType.smallest(-6, 9)
    assert accumulator_type(IntType(2, False), w, None, extra=-4) == IntType.smallest(-18, 17)
    assert accumulator_type(IntType(2, False), w, None, extra=9) == IntType.smallest(-18, 27)
    assert accumulator_type(BIPOLAR, w, None, extra=0) == IntType.smallest(-5, 5)


@pytest.mark.parametrize(("x_type", "weight"), [(IntType(8, False), 255), (IntType(15, False), 40), (BIPOLAR, 1 << 20)])
def test_the_largest_sums_are_exact(x_type: IntType, weight: int) -> None:
    """The largest odd sums that float32 holds, the first that it does not, and wide ones: no bit is lost."""
    for total in ((1 << 24) - 1, (1 << 24) + 1, (1 << 30) - 1):
        count, rest = divmod(total, weight * x_type.hi)
        w = np.array([[weight] * count + [rest // x_type.hi, *([1] if x_type is BIPOLAR else [])]])
        x = np.full((1, w.size), x_type.hi)
        bias = np.array([total - int((x * w).sum())])
        args = [Arg(TensorType((w.size,), x_type))]
        args += [Arg(TensorType(c.shape, IntType(32, True)), c) for c in (w, bias)]
        assert int(Dense().evaluate([x, w, bias], args)[0, 0]) == total


def test_exact_dtypes_at_their_bounds() -> None:
    w, bias = np.array([[1 << 20, -(1 << 20)]]), np.array([-1])
    assert exact_dtypes(8, w, None)[0] == np.float32  # 8 * 2^21 = 2^24
    assert exact_dtypes(8, w, bias)[0] == np.float64
    assert exact_dtypes(1 << 31, w, None)[0] == np.float64  # 2^31 * 2^21 = 2^52
    assert exact_dtypes(1 << 31, 2 * w, bias)[0] == np.int64


def test_work_counts_products_and_constant_bits() -> None:
    w, b = np.ones((4, 3, 3, 2), dtype=np.int64), np.ones(4, dtype=np.int64)
    args = [Arg(TensorType((8, 8, 2), IntType(4, False))), Arg(TensorType(w.shape, IntType(2, True)), w)]
    args.append(Arg(TensorType(b.shape, IntType(8, True)), b))
    work = Conv2d(padding=(1, 1, 1, 1)).work(args)
    assert (work.macs, work.ops, work.const_bits) == (8 * 8 * 4 * 18, 8 * 8 * 4, 4 * 18 * 2 + 4 * 8)
    dense = Dense().work([Arg(TensorType((5, 3), IntType(4, False))), Arg(TensorType((2, 3), BIPOLAR), w[:2, 0, :, 0])])
    assert (dense.macs, dense.ops, dense.const_bits) == (30, 0, 6)
