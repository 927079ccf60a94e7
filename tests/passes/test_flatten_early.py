"""flatten_early, on the graph that it is for and on those that it must leave alone."""

from __future__ import annotations

import numpy as np

from codesign.ir.graph import Graph
from codesign.ir.ops import Dense, Reshape, Threshold
from codesign.ir.types import BIPOLAR, IntType
from codesign.passes.flatten_early import flatten_early
from codesign.testing.build import GraphBuilder


def binarised_image(levels: int) -> Graph:
    """A one-channel (or, with several level rows, a wider) image, binarised, flattened, weighed."""
    b = GraphBuilder()
    x = b.input((4, 4, levels), IntType(8, False))
    binary = b.threshold(x, np.arange(100, 100 + levels)[:, None], BIPOLAR, name="binary")
    flat = b.node(Reshape((16 * levels,)), binary, name="flat")
    return b.graph(b.dense(flat, np.ones((3, 16 * levels), np.int64), name="fc"))


def test_reshape_moves_before_a_threshold_per_tensor() -> None:
    graph = binarised_image(1)
    after = flatten_early(graph)
    assert [type(node.op) for node in after.nodes] == [Reshape, Threshold, Dense]
    assert after.type("flat").shape == (16,)
    frames = np.arange(5 * 16).reshape(5, 4, 4, 1) * 3
    np.testing.assert_array_equal(after.evaluate(frames)[0], graph.evaluate(frames)[0])


def test_levels_per_channel_stay_where_the_channels_are() -> None:
    graph = binarised_image(2)
    assert flatten_early(graph).digest() == graph.digest()
