"""Forms of rescalings equal the operator whatever `cheapest` gives: dead channels, jumps, levels on no line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.backends.tvm.requant import Affine, HighMul, Levels, Search, cheapest, evaluate, high_mul
from codesign.backends.tvm.task import bounds_of, fuse
from codesign.ir.ops import Conv2d, Requant, Rounding, Threshold
from codesign.ir.ops.rescale import threshold_values
from codesign.ir.types import IntArray, IntType
from codesign.testing.build import GraphBuilder

U8 = IntType(8, False)


def expected(op: Requant | Threshold, x: IntArray, dtype: IntType, constants: tuple[IntArray, ...]) -> IntArray:
    if isinstance(op, Requant):
        return op.apply(x, *constants)
    return np.asarray(threshold_values(x, constants[0], dtype, op.out), dtype=np.int64)


def samples(rng: np.random.Generator, dtype: IntType, levels: IntArray | None, channels: int) -> IntArray:
    """Both sides of every level, the ends, and others; (n, channels)."""
    x = rng.integers(dtype.lo, dtype.hi + 1, (300, channels))
    x[0], x[1] = dtype.lo, dtype.hi
    if levels is not None:
        table = np.broadcast_to(levels, (channels, levels.shape[1])).T
        x = np.concatenate([x, *(np.clip(table + d, dtype.lo, dtype.hi) for d in (-1, 0, 1))])
    return x


@settings(max_examples=150)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from(list(Rounding)))
def test_requants_with_dead_channels(seed: int, integers: bool, rounding: Rounding) -> None:
    """A multiplier of 0 beside others: its form must not decrease, or both sides of a level prove nothing."""
    rng = np.random.default_rng(seed)
    channels, dtype = int(rng.integers(2, 17)), IntType(int(rng.integers(12, 24)), True)
    multiplier = rng.integers(1 << 29, 1 << 31, channels)
    multiplier[rng.random(channels) < 0.3] = 0
    shift = rng.integers(30, 46, channels)
    op = Requant(IntType(int(rng.integers(3, 9)), bool(rng.integers(2))), rounding, int(rng.integers(-9, 9)))
    form = cheapest(op, dtype, (multiplier, shift), None, integers)
    x = samples(rng, dtype, None, channels)
    np.testing.assert_array_equal(evaluate(form, x, op.out), op.apply(x, multiplier, shift))
    if isinstance(form, HighMul | Affine):
        assert (form.multiplier >= 0).all()


@settings(max_examples=150)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from(["any", "jump", "curve"]))
def test_any_levels(seed: int, integers: bool, kind: str) -> None:
    rng = np.random.default_rng(seed)
    channels, dtype, count = int(rng.integers(1, 6)), IntType(18, True), int(rng.integers(3, 256))
    if kind == "any":
        levels = np.sort(rng.integers(dtype.lo, dtype.hi + 2, (channels, count)), axis=1)
    elif kind == "jump":  # all levels that the type has at one value
        levels = np.repeat(rng.integers(dtype.lo, dtype.hi + 2, (channels, 1)), 255, axis=1)
    else:
        levels = np.sort(
            (np.linspace(-40, 40, count)[None, :] ** 3).astype(np.int64) + rng.integers(0, 9, (channels, 1)), axis=1
        )
    op = Threshold(U8)
    bias = rng.integers(-500, 500, channels) if seed % 2 else None
    form = cheapest(op, dtype, (levels,), bias, integers)
    x = samples(rng, dtype, levels, channels)
    added = 0 if bias is None else bias
    np.testing.assert_array_equal(evaluate(form, x - added, U8), expected(op, x, dtype, (levels,)))
    assert not isinstance(form, Levels) or form.levels.shape[1] <= 15
    if kind == "jump" and not integers:
        assert isinstance(form, Affine)


def test_levels_on_no_line_are_searched() -> None:
    levels = (np.arange(1, 101)[None, :] ** 2).astype(np.int64)
    form = cheapest(Threshold(U8), IntType(16, True), (levels,))
    assert isinstance(form, Search)
    assert form.levels.shape == (1, 127)
    x = np.arange(-100, 20000)[:, None]
    np.testing.assert_array_equal(evaluate(form, x, U8)[:, 0], np.searchsorted(levels[0], x[:, 0], side="right"))


def test_a_decreasing_multiplier_is_never_chosen() -> None:
    levels = np.concatenate([np.full((1, 255), 1 << 20), np.arange(1, 256)[None, :] * 317 + 3])
    form = high_mul(levels, np.full((2, 1), -(1 << 18)), np.full((2, 1), 1 << 18))
    assert form is None or (form.multiplier >= 0).all()


@pytest.mark.parametrize("bias", [False, True])
def test_bounds_are_those_of_each_channel(bias: bool) -> None:
    rng = np.random.default_rng(0)
    b = GraphBuilder()
    x = b.input((4, 4, 3), IntType(5, True))
    w = rng.integers(-7, 8, (6, 3, 3, 3))
    w[2] = 0
    extra = [b.const(rng.integers(-99, 99, 6))] if bias else []
    y = b.node(Conv2d(padding=(1, 1, 1, 1), pad_value=20), x, b.const(w), *extra)
    graph = b.graph(y)
    (task,) = fuse(graph)
    ends = bounds_of(task)
    assert ends is not None
    lo, hi = ends
    feeds = rng.choice([-16, 15], (2000, 4, 4, 3))
    found = graph.evaluate(feeds)[0].reshape(-1, 6)
    assert (found.min(axis=0) >= lo).all()
    assert (found.max(axis=0) <= hi).all()
    assert lo[2] == hi[2]
