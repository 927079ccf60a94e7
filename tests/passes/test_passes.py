"""Every pass, and the whole pipeline, gives the same outputs on random graphs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.ir.graph import Graph
from codesign.ir.ops import AvgPool2d, Conv2d, Dense, MaxPool2d, Op, Rounding, Softmax
from codesign.ir.ops.rescale import round_shift
from codesign.ir.types import IntType, TensorType
from codesign.passes import HLS_PIPELINE, Pass, run_passes
from codesign.passes.mean_to_sum import exact_division
from codesign.passes.split_padding import split_padding
from codesign.testing.build import GraphBuilder
from codesign.testing.cases import CASES
from codesign.testing.graphs import feeds, graphs, int_types


def same(before: Graph, after: Graph, seed: int) -> None:
    """Both graphs give the same outputs under the same names on the same inputs."""
    assert [p.name for p in before.outputs] == [p.name for p in after.outputs]
    assert before.inputs == after.inputs
    inputs = feeds(before, 5, seed)
    for expected, found in zip(before.evaluate(*inputs), after.evaluate(*inputs), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("step", HLS_PIPELINE, ids=lambda s: s.__name__)
@settings(max_examples=60)
@given(graph=graphs(), seed=st.integers(0, 1000))
def test_pass_changes_no_output(step: Pass, graph: Graph, seed: int) -> None:
    same(graph, step(graph), seed)


@settings(max_examples=200)
@given(graph=graphs(max_nodes=8), seed=st.integers(0, 1000))
def test_pipeline_changes_no_output(graph: Graph, seed: int) -> None:
    same(graph, run_passes(graph), seed)


def test_pipeline_leaves_what_the_hardware_builds() -> None:
    """On every case of the conformance suite, but for the means whose windows differ and what has no form at all."""
    for name, make in CASES.items():
        graph = run_passes(make())
        for node in graph.nodes:
            assert buildable(node.op, graph.type(node.inputs[0]), graph.type(node.name)) != (
                name in ("avg_pool_mean_padded", "softmax")
            ), name


def buildable(op: Op, x: TensorType, y: TensorType) -> bool:
    """What a streaming design is made of."""
    match op:
        case Conv2d():
            depthwise = op.groups == x.channels == y.channels
            return not any(op.padding) and op.dilation == (1, 1) and (op.groups == 1 or depthwise)
        case Dense():
            return len(x.shape) == 1
        case MaxPool2d():
            return not any(op.padding)
        case AvgPool2d():
            return not any(op.padding) and not op.mean
    return not isinstance(op, Softmax)


@settings(max_examples=100)
@given(graph=graphs(max_nodes=8), seed=st.integers(0, 1000))
def test_pipeline_is_idempotent(graph: Graph, seed: int) -> None:
    once = run_passes(graph)
    twice = run_passes(once)
    same(once, twice, seed)
    assert len(twice.nodes) <= len(once.nodes)


@given(dtype=int_types(16), n=st.integers(1, 500))
def test_exact_division_of_every_sum(dtype: IntType, n: int) -> None:
    """round_half_away(v / n) for sums at and around every tie, and at both ends."""
    found = exact_division(dtype, n)
    assert found is not None
    multiplier, shift = found
    ties = (np.arange(-50, 51) * n) // 2
    sums = np.concatenate([ties - 1, ties, ties + 1, [n * dtype.lo, n * dtype.hi]])
    sums = sums[(sums >= n * dtype.lo) & (sums <= n * dtype.hi)]
    expected = np.sign(sums) * ((2 * np.abs(sums) + n) // (2 * n))
    np.testing.assert_array_equal(round_shift(sums * multiplier, np.array([shift]), Rounding.HALF_UP), expected)


def test_names_that_are_taken_are_not_used_again() -> None:
    b = GraphBuilder()
    x = b.input((3, 3, 1), IntType(4, True), name="pool.pad")
    graph = b.graph(b.node(MaxPool2d((2, 2), (1, 1), (1, 1, 0, 0)), x, name="pool"))
    assert [node.name for node in split_padding(graph).nodes] == ["pool.pad2", "pool"]
