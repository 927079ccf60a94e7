"""Lookup, Mul, Take and Transpose against their definition, element by element."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign.ir.ops import Lookup, Mul, OpError, Take, Transpose
from codesign.ir.types import BIPOLAR, IntType
from codesign.testing.build import GraphBuilder
from codesign.testing.graphs import int_types, values


@given(dtype=int_types(8), rows=st.sampled_from([1, 3]), seed=st.integers(0, 1000))
def test_lookup_is_its_table(dtype: IntType, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    b = GraphBuilder()
    x = b.input((2, 4, 3), dtype)
    table = rng.integers(-128, 128, (rows, dtype.count))
    graph = b.graph(b.node(Lookup(IntType(8, True)), x, b.const(table)))
    feed = values(rng, dtype, (2, 2, 4, 3))
    (found,) = graph.evaluate(feed)
    for place, q in np.ndenumerate(feed):
        row = table[place[-1] if rows > 1 else 0]
        assert found[place] == row[list(range(dtype.lo, dtype.hi + 1, dtype.step)).index(q)]


@given(a=int_types(15), b=int_types(15), seed=st.integers(0, 1000))
def test_mul_holds_every_product(a: IntType, b: IntType, seed: int) -> None:
    rng = np.random.default_rng(seed)
    build = GraphBuilder()
    names = build.input((4,), a), build.input((4,), b)
    graph = build.graph(build.node(Mul(), *names))
    feeds = [values(rng, t, (9, 4)) for t in (a, b)]
    (found,) = graph.evaluate(*feeds)
    np.testing.assert_array_equal(found, feeds[0] * feeds[1])
    ends = [x * y for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
    assert graph.type(graph.outputs[0].name).dtype == IntType.smallest(min(ends), max(ends))


@pytest.mark.parametrize(("axis", "indices"), [(0, (1, 1, 0)), (1, (3, 2, 1, 0)), (2, (2,))])
def test_take_picks_in_order(axis: int, indices: tuple[int, ...]) -> None:
    b = GraphBuilder()
    graph = b.graph(b.node(Take(axis, indices), b.input((2, 4, 3), BIPOLAR)))
    feed = values(np.random.default_rng(0), BIPOLAR, (5, 2, 4, 3))
    (found,) = graph.evaluate(feed)
    columns = [np.take(feed, [i], axis + 1) for i in indices]
    np.testing.assert_array_equal(found, np.concatenate(columns, axis + 1))


@pytest.mark.parametrize("axes", [(2, 0, 1), (0, 2, 1), (1, 0, 2)])
def test_transpose_moves_axes(axes: tuple[int, ...]) -> None:
    b = GraphBuilder()
    graph = b.graph(b.node(Transpose(axes), b.input((2, 4, 3), BIPOLAR)))
    feed = values(np.random.default_rng(0), BIPOLAR, (5, 2, 4, 3))
    (found,) = graph.evaluate(feed)
    for index in np.ndindex(found.shape[1:]):
        source = [0, 0, 0]
        for place, axis in zip(index, axes, strict=True):
            source[axis] = place
        np.testing.assert_array_equal(found[(slice(None), *index)], feed[(slice(None), *source)])


def test_transpose_takes_every_axis_once() -> None:
    b = GraphBuilder()
    with pytest.raises(OpError, match=r"axes \(0, 0\) of shape \(2, 4\)"):
        b.node(Transpose((0, 0)), b.input((2, 4), BIPOLAR))


def test_work_of_tables_and_products() -> None:
    b = GraphBuilder()
    x = b.input((2, 3), IntType(4, True))
    y = b.node(Lookup(IntType(8, True)), x, b.const(np.arange(16)[None], IntType(8, True)))
    graph = b.graph(b.node(Take(0, (1,)), b.node(Mul(), y, y)))
    assert [(w.ops, w.const_bits) for w in graph.work().values()] == [(6, 128), (6, 0), (0, 0)]
