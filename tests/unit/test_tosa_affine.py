"""Levels on a line: the integers that are found compute exactly these levels, at every sum; and quickly."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign.export.affine import Levels
from codesign.export.tosa.affine import FixedPoint, Folded, Lines
from codesign.ir.types import IntArray


def levels_on_lines(
    rng: np.random.Generator, channels: int, count: int, distance: float, reach: int, first: int
) -> Levels:
    """What a quantiser behind a batch normalisation gives: levels at a real distance, from a real offset on."""
    d = rng.uniform(0.5, 1, (channels, 1)) * distance
    offset = rng.uniform(-reach, reach, (channels, 1)) / 4
    at = np.ceil((np.arange(count) - count / 2) * d + offset).astype(np.int64)
    lo, hi = (np.full(channels, end) for end in (-reach, reach))
    return Levels(np.clip(at, -reach, reach + 1), first + np.arange(count), lo, hi, first - 1, first + count - 1)


def expected(levels: Levels, sums: IntArray) -> IntArray:
    """(C, sums): the result for every sum."""
    reached = [levels.low + np.searchsorted(row, sums, side="right") for row in levels.at]
    return np.stack(reached)


def folded(found: Folded, levels: Levels, sums: IntArray) -> IntArray:
    """The form's definition, in integers of any size."""
    k, b, m, s = (np.array(v[:, None], dtype=object) for v in (found.factor, found.bias, found.multiplier, found.shift))
    total = k * sums.astype(object) + b
    assert (np.abs(total) < 2 ** (s - 1)).all(), "a RESCALE takes no more"
    return np.clip((total * m + 2 ** (s - 1)) // 2**s, levels.low, levels.high).astype(np.int64)


def fixed_point(found: FixedPoint, levels: Levels, sums: IntArray, single_shift: bool) -> IntArray:
    """The form's definition, in integers of any size."""
    m, s, b = (np.array(v[:, None], dtype=object) for v in (found.multiplier, found.shift, found.bias))
    assert (np.abs(sums.astype(object)) < 2 ** (s - 1)).all() or single_shift
    raised = (sums.astype(object) * m + 2 ** (s - 1)) // 2**s
    assert max(np.abs(raised).max(), np.abs(raised + b).max()) < 1 << 31
    rounded = (raised + b + 2 ** (found.fraction - 1)) // 2**found.fraction
    return np.clip(rounded, levels.low, levels.high).astype(np.int64)


def near(levels: Levels) -> IntArray:
    """All sums of a short range; of a long one both sides of every level of every channel, and the ends."""
    reach = int(levels.hi[0])
    if reach <= 3000:
        return np.arange(-reach, reach + 1)
    return np.unique(
        np.clip(np.concatenate([[-reach, reach], *(levels.at + d for d in (-1, 0))], axis=None), -reach, reach)
    )


@given(
    count=st.sampled_from([1, 2, 3, 7, 15, 100, 255]),
    distance=st.floats(0.3, 3000),
    reach=st.sampled_from([5, 300, 3000, 1 << 20]),
    factor=st.sampled_from([1, 2, 18, 127]),
    first=st.sampled_from([1, -127, 0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_found_is_exact(count: int, distance: float, reach: int, factor: int, first: int, seed: int) -> None:
    levels = levels_on_lines(np.random.default_rng(seed), 3, count, distance, reach, first)
    lines, sums = Lines(levels), near(levels)
    in_weights = lines.folded(np.array([factor, max(1, factor // 2), factor]))
    if in_weights is not None:
        np.testing.assert_array_equal(folded(in_weights, levels, sums), expected(levels, sums))
        assert (in_weights.factor <= [factor, max(1, factor // 2), factor]).all()
    for single_shift in (False, True):
        added = lines.fixed_point(single_shift)
        if added is not None:
            np.testing.assert_array_equal(fixed_point(added, levels, sums, single_shift), expected(levels, sums))


@given(count=st.sampled_from([1, 3, 15, 255]), distance=st.floats(4, 200), seed=st.integers(0, 2**32 - 1))
def test_levels_of_a_quantiser_are_found(count: int, distance: float, seed: int) -> None:
    levels = levels_on_lines(np.random.default_rng(seed), 8, count, distance, 1 << 15, 1)
    assert Lines(levels).fixed_point(single_shift=True) is not None
    if count <= 15:
        assert Lines(levels).folded(np.full(8, 127)) is not None


def test_the_smallest_factor_is_taken() -> None:
    """round(A / 4), and round((2 * A + 1) / 9), whose offset is half a step of the sum."""
    at = np.array([[2, 6, 10, 14, 18, 22], [2, 7, 11, 16, 20, 25]])
    levels = Levels(at, np.arange(1, 7), np.full(2, -50), np.full(2, 50), 0, 6)
    found = Lines(levels).folded(np.full(2, 127))
    assert found is not None
    assert found.factor.tolist() == [1, 2]
    assert Lines(levels).folded(np.array([127, 1])) is None


@pytest.mark.parametrize("single_shift", [False, True])
def test_a_channel_that_never_changes(single_shift: bool) -> None:
    """Its result is another than that of the clamp's ends; its distance must not cost the others their resolution."""
    at = np.array([[-100, 0, 100], [-201, -201, 201], [-201, -201, -201], [201, 201, 201]])
    at = np.clip(at, -200, 201)
    levels = Levels(at, np.array([1, 2, 3]), np.full(4, -200), np.full(4, 200), 0, 3)
    sums = near(levels)
    found = Lines(levels).fixed_point(single_shift)
    assert found is not None
    np.testing.assert_array_equal(fixed_point(found, levels, sums, single_shift), expected(levels, sums))
    in_weights = Lines(levels).folded(np.full(4, 127))
    assert in_weights is not None
    np.testing.assert_array_equal(folded(in_weights, levels, sums), expected(levels, sums))


def test_levels_on_no_line_are_not_found() -> None:
    levels = Levels(np.array([[-40, 0, 1, 41]]), np.arange(1, 5), np.array([-50]), np.array([50]), 0, 4)
    lines = Lines(levels)
    assert not lines.exist
    assert lines.folded(np.array([127])) is None
    assert lines.fixed_point(single_shift=True) is None


def test_the_ends_between_which_results_change() -> None:
    at = np.array([[-7, 3, 51], [-50, -50, 51], [-50, 9, 9]])
    first, last = Levels(at, np.arange(3), np.full(3, -50), np.full(3, 50), -1, 2).changing()
    assert (first.tolist(), last.tolist()) == ([-8, 50, 8], [3, 50, 9])


def test_a_wide_layer_of_eight_bits_takes_seconds() -> None:
    levels = levels_on_lines(np.random.default_rng(0), 1280, 255, 400, 1 << 19, 1)
    start = time.monotonic()
    lines = Lines(levels)
    assert lines.folded(np.full(1280, 1)) is None
    assert lines.fixed_point(single_shift=False) is not None
    assert time.monotonic() - start < 15
