"""The golden evaluation of 10,000 images, and the other operations on graphs that users wait for.

    pytest benchmarks/bench_golden.py --benchmark-columns=min,median

Processor time of all threads, so that other work on the machine does not count. `extra_info` holds the bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from codesign.ir.graph import Graph
from codesign.ir.ops import MaxPool2d, Reshape
from codesign.ir.text import parse_graph, print_graph
from codesign.ir.types import BIPOLAR, IntType
from codesign.passes import run_passes
from codesign.testing.cases import Case
from codesign.testing.graphs import feeds

pytestmark = pytest.mark.benchmark(timer=time.process_time, min_rounds=3)

IMAGES = 10_000
U2, U4, U8 = (IntType(bits, False) for bits in (2, 4, 8))
I2, I4 = (IntType(bits, True) for bits in (2, 4))


def mlp(weights: IntType, activations: IntType) -> Graph:
    """784-64-64-64-10 with a Threshold behind each hidden layer."""
    c = Case(activations, (784,))
    x = c.x
    for outputs in (64, 64, 64):
        x = c.dense(x, c.weights(weights, outputs, c.type(x).channels), weights)
        x = c.threshold(x, c.levels(x, activations), activations)
    return c.graph(c.dense(x, c.weights(weights, 10, 64), weights))


def cnn() -> Graph:
    """28x28: conv 16 - pool - conv 32 - pool - dense 10, 4 bits."""
    c = Case(U8, (28, 28, 1))
    x = c.x
    for outputs in (16, 32):
        x = c.conv(x, c.weights(I4, outputs, 3, 3, c.type(x).channels), I4, padding=(1, 1, 1, 1))
        x = c.node(MaxPool2d((2, 2), (2, 2)), c.threshold(x, c.levels(x, U4), U4))
    x = c.node(Reshape((7 * 7 * 32,)), x)
    return c.graph(c.dense(x, c.weights(I4, 10, 7 * 7 * 32), I4))


GRAPHS: dict[str, tuple[Callable[[], Graph], float]] = {
    "mlp_w1a1": (lambda: mlp(BIPOLAR, BIPOLAR), 0.5),
    "mlp_w2a2": (lambda: mlp(I2, U2), 0.5),
    "mlp_w4a4": (lambda: mlp(I4, U4), 0.5),
    "cnn_w4a4": (cnn, 4.0),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_evaluate(benchmark: BenchmarkFixture, name: str) -> None:
    make, bound_s = GRAPHS[name]
    graph = make()
    images = feeds(graph, IMAGES, seed=1)
    (y,) = benchmark(graph.evaluate, *images)
    assert y.shape == (IMAGES, 10)
    np.testing.assert_array_equal(graph.evaluate(images[0][:5])[0], y[:5])
    benchmark.extra_info.update(images=IMAGES, bound_s=bound_s)
    if benchmark.stats is not None:  # with --benchmark-disable there are none
        assert benchmark.stats.stats.min < bound_s


def test_text(benchmark: BenchmarkFixture) -> None:
    graph = cnn()
    text = benchmark(lambda: print_graph(parse_graph(print_graph(graph))))
    assert text == print_graph(graph)


def test_passes(benchmark: BenchmarkFixture) -> None:
    graph = cnn()
    made = benchmark(run_passes, graph)
    assert len(made.nodes) > len(graph.nodes)  # the padding has become nodes of its own
