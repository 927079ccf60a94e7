"""The ranges of values: nothing lies outside, and a narrow one stays narrow through what keeps it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codesign.export.tosa.reach import reaches
from codesign.ir.graph import Graph
from codesign.ir.ops import MaxPool2d, Reshape, Rounding
from codesign.ir.types import BIPOLAR, IntType
from codesign.testing.build import GraphBuilder
from codesign.testing.cases import CASES
from codesign.testing.graphs import feeds, graphs


def assert_inside(graph: Graph, seed: int = 0) -> None:
    found = reaches(graph)
    for name, value in graph.evaluate_all(*feeds(graph, 16, seed)).items():
        least, most = found[name]
        assert least <= value.min(), name
        assert value.max() <= most, name
        assert graph.type(name).dtype.lo <= least <= most <= graph.type(name).dtype.hi, name


@given(graph=graphs(), seed=st.integers(0, 2**32 - 1))
def test_every_value_is_inside(graph: Graph, seed: int) -> None:
    assert_inside(graph, seed)


def test_every_value_of_every_case_is_inside() -> None:
    for make in CASES.values():
        assert_inside(make())


def test_ranges_follow_from_the_operators() -> None:
    b = GraphBuilder()
    x = b.input((4, 4, 2), IntType(4, True), name="x")
    clamped = b.threshold(x, np.array([[-8, *range(-6, 8)]]), IntType(4, True), name="clamped")
    pooled = b.node(MaxPool2d((2, 2), (2, 2)), clamped, name="pooled")
    weights = np.array([[[[1, -2]]], [[[3, 0]]]])
    plain = b.conv(pooled, weights, bias=np.array([5, -1]), name="plain")
    padded = b.conv(pooled, weights, padding=(1, 0, 0, 0), pad_value=9, name="padded")
    falling = b.requant(plain, [-1, 1], [1], IntType(8, True), Rounding.HALF_UP, zero_point=10, name="falling")
    signs = b.threshold(falling, np.array([[-200], [100]]), BIPOLAR, name="signs")
    flat = b.dense(b.node(Reshape((8,)), signs, name="reshaped"), np.ones((1, 8), dtype=np.int64), name="flat")
    assert reaches(b.graph(padded, flat)) == {
        "x": (-8, 7),
        "clamped": (-7, 7),
        "pooled": (-7, 7),
        "plain": (-22, 26),  # -21 … 21 and 5, -21 … 21 and -1
        "padded": (-25, 27),  # -7 … 9
        "falling": (-3, 23),
        "signs": (-1, 1),
        "reshaped": (-1, 1),
        "flat": (-8, 8),
    }
