"""Pooling, elementwise and shape operators against plain loops and rational arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.ir.ops import Add, Arg, ArgMax, AvgPool2d, Concat, MaxPool2d, Op, Pad, Reshape
from codesign.ir.types import BIPOLAR, IntArray, IntType, TensorType
from codesign.testing.graphs import int_types, values


def run(op: Op, dtype: IntType | Sequence[IntType], *inputs: IntArray) -> IntArray:
    """The result, checked against the type that `infer` promises."""
    dtypes = [dtype] * len(inputs) if isinstance(dtype, IntType) else list(dtype)
    args = [Arg(TensorType(x.shape[1:], t)) for x, t in zip(inputs, dtypes, strict=True)]
    stored = [x.astype(t.storage) for x, t in zip(inputs, dtypes, strict=True)]
    result, y = op.infer(args), op.evaluate(stored, args).astype(np.int64)
    assert y.shape[1:] == result.shape
    assert result.dtype.holds(y)
    np.testing.assert_array_equal(op.evaluate(list(inputs), args), y)  # as narrow as possible, or as int64
    return y


def inside(x: IntArray, oy: int, ox: int, op: MaxPool2d | AvgPool2d) -> IntArray:
    """The pixels of one window that are inside the image, (N, pixels, C)."""
    rows = [r for k in range(op.kernel[0]) if 0 <= (r := oy * op.stride[0] + k - op.padding[0]) < x.shape[1]]
    cols = [c for k in range(op.kernel[1]) if 0 <= (c := ox * op.stride[1] + k - op.padding[1]) < x.shape[2]]
    return x[:, rows][:, :, cols].reshape(len(x), -1, x.shape[3])


def round_half_away(value: Fraction) -> int:
    return floor(abs(value) + Fraction(1, 2)) * (1 if value >= 0 else -1)


POOLS = st.tuples(st.integers(1, 3), st.integers(1, 3)).flatmap(
    lambda kernel: st.tuples(
        st.just(kernel),
        st.tuples(st.integers(1, 3), st.integers(1, 3)),
        st.tuples(*[st.integers(0, kernel[i % 2] - 1) for i in range(4)]),
    )
)


@settings(max_examples=60)
@given(pool=POOLS, dtype=int_types(26), seed=st.integers(0, 1000), pad_value=st.integers(-3, 3))
def test_pools_are_their_equations(
    pool: tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]], dtype: IntType, seed: int, pad_value: int
) -> None:
    x = values(np.random.default_rng(seed), dtype, (2, 4, 5, 3))
    largest, total = MaxPool2d(*pool), AvgPool2d(*pool, mean=False, pad_value=pad_value)
    mean = AvgPool2d(*pool, mean=True)
    found = run(largest, dtype, x), run(total, dtype, x), run(mean, dtype, x)
    for oy, ox in np.ndindex(*found[0].shape[1:3]):
        window = inside(x, oy, ox, largest)
        outside = pool[0][0] * pool[0][1] - window.shape[1]
        np.testing.assert_array_equal(found[0][:, oy, ox], window.max(axis=1))
        np.testing.assert_array_equal(found[1][:, oy, ox], window.sum(axis=1) + outside * pad_value)
        sums = window.sum(axis=1)
        expected = [[round_half_away(Fraction(int(s), window.shape[1])) for s in row] for row in sums]
        np.testing.assert_array_equal(found[2][:, oy, ox], expected)
        assert mean.counts((4, 5, 3))[oy, ox, 0] == window.shape[1]


@given(first=int_types(31), second=int_types(31), seed=st.integers(0, 1000))
def test_add_holds_every_sum(first: IntType, second: IntType, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = values(rng, first, (2, 20)), values(rng, second, (2, 20))
    if min(first.lo + second.lo, 0) < 0 and first.hi + second.hi >= 1 << 31:
        return  # the range of the sums needs 33 bits
    np.testing.assert_array_equal(run(Add(), (first, second), a, b), a + b)


@given(dtype=int_types(), value=st.integers(-9, 9), seed=st.integers(0, 1000))
def test_pad(dtype: IntType, value: int, seed: int) -> None:
    if value < 0 and dtype.hi >= 1 << 31:
        return  # the two need 33 bits
    x = values(np.random.default_rng(seed), dtype, (2, 2, 3, 1))
    y = run(Pad((1, 2, 0, 3), value), dtype, x)
    assert y.shape == (2, 3, 8, 1)
    np.testing.assert_array_equal(y[:, 1:, 2:5], x)
    assert y.sum() == x.sum() + value * (3 * 8 - 6) * 2
    assert (y[:, 0] == value).all()


def test_reshape_concat_and_argmax() -> None:
    x = np.arange(24).reshape(2, 2, 3, 2)
    dtype = IntType(5, False)
    np.testing.assert_array_equal(run(Reshape((12,)), dtype, x), x.reshape(2, 12))
    np.testing.assert_array_equal(run(Concat(), dtype, x, x), np.concatenate([x, x], axis=3))
    scores = np.array([[3, 7, 7, 1], [-8, -8, -8, -8]])
    assert run(ArgMax(), IntType(4, True), scores).tolist() == [[1], [0]]
    assert run(ArgMax(), BIPOLAR, np.array([[-1, 1]])).tolist() == [[1]]


def test_the_widest_values() -> None:
    """A mean whose sum needs more than 32 bits, and padding that is wider than the image."""
    wide = IntType(32, False)
    x = np.full((1, 3, 1, 1), wide.hi)
    assert run(AvgPool2d((3, 1), (1, 1), mean=True), wide, x).tolist() == [[[[wide.hi]]]]
    narrow = IntType(30, False)
    x = np.full((1, 1, 1, 1), narrow.hi)
    y = run(AvgPool2d((2, 1), (1, 1), (1, 0, 1, 0), pad_value=-1), narrow, x)
    assert y.tolist() == [[[[narrow.hi - 1]], [[narrow.hi - 1]]]]


def test_no_frames_give_no_results() -> None:
    none = np.zeros((0, 4, 4, 2), dtype=np.int64)
    for op in (MaxPool2d((2, 2), (2, 2)), AvgPool2d((2, 2), (2, 2), mean=True), Pad((1, 1, 1, 1)), Reshape((32,))):
        assert len(run(op, IntType(4, True), none)) == 0
