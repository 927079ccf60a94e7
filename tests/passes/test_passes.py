"""Every pass, and the whole pipeline, gives the same outputs on random graphs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.ir.graph import Graph
from codesign.passes import PIPELINE, Pass, describe, run_passes
from codesign.testing.graphs import feeds, graphs


def same(before: Graph, after: Graph, seed: int) -> None:
    """Both graphs give the same outputs under the same names on the same inputs."""
    assert [p.name for p in before.outputs] == [p.name for p in after.outputs]
    assert before.inputs == after.inputs
    inputs = feeds(before, 5, seed)
    for expected, found in zip(before.evaluate(*inputs), after.evaluate(*inputs), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("step", PIPELINE, ids=lambda s: describe(s)[0])
@settings(max_examples=60)
@given(graph=graphs(), seed=st.integers(0, 1000))
def test_pass_changes_no_output(step: Pass, graph: Graph, seed: int) -> None:
    same(graph, step(graph), seed)


@settings(max_examples=200)
@given(graph=graphs(max_nodes=8), seed=st.integers(0, 1000))
def test_pipeline_changes_no_output(graph: Graph, seed: int) -> None:
    same(graph, run_passes(graph), seed)
