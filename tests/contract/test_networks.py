"""The networks of MLPerf Tiny: the shapes they are known for, ranges that are used, and TFLite's own arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import missing

from codesign.export.tflite import export_tflite
from codesign.export.tflite.verify import differences
from codesign.frontend.tflite.importer import import_tflite
from codesign.frontend.tflite.source import litert_version
from codesign.ir.graph import Graph
from codesign.ir.ops import Add, Conv2d, Dense, Requant
from codesign.ir.text import parse_graph, print_graph
from codesign.testing.networks import INT8, NETWORKS, mobilenet_v2

MACS = {"resnet8": 12_501_632, "ds_cnn": 2_656_768, "autoencoder": 264_192}


def frames(graph: Graph, count: int) -> np.ndarray:
    quant = graph.inputs[0].type.quant
    reals = np.random.default_rng(7).normal(size=(count, *graph.inputs[0].type.shape))
    return quant.quantise(reals, INT8)


@pytest.mark.parametrize("name", NETWORKS)
def test_size_and_text(name: str) -> None:
    graph = NETWORKS[name]()
    assert sum(work.macs for work in graph.work().values()) == MACS[name]
    assert parse_graph(print_graph(graph)).digest() == graph.digest() == NETWORKS[name]().digest()


def test_mobilenet_v2_has_its_17_inverted_residuals() -> None:
    graph = mobilenet_v2(classes=10)
    convolutions = [node.op for node in graph.nodes if isinstance(node.op, Conv2d)]
    assert len(convolutions) == 52
    assert sum(op.groups > 1 for op in convolutions) == 17
    assert [op.stride for op in convolutions].count((2, 2)) == 5
    assert sum(isinstance(node.op, Add) for node in graph.nodes) == 10
    assert graph.type(graph.nodes[-1].name).shape == (10,)
    assert sum(work.macs for work in graph.work().values()) == 10_654_128 + 1280 * 10


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_fill_their_type(name: str, bits: int) -> None:
    graph = NETWORKS[name](bits)
    layers = [node for node in graph.nodes if isinstance(node.op, Conv2d | Dense)]
    weights = [graph.consts[node.inputs[1]] for node in layers]
    assert [w.type.dtype.bits for w in weights] == [8, *[bits] * (len(weights) - 2), 8]
    for weight in weights:
        dtype = weight.type.dtype
        assert dtype.holds(weight.value)
        assert int(weight.value.max()) == dtype.hi or int(weight.value.min()) <= -dtype.hi


@pytest.mark.parametrize("name", NETWORKS)
def test_activations_use_their_range(name: str) -> None:
    graph = NETWORKS[name]()
    results = [n.name for n in graph.nodes if isinstance(n.op, Requant) and graph.type(n.name).dtype == INT8]
    values = graph.evaluate_all(frames(graph, 4), names=dict.fromkeys(results))
    for result in results:
        assert np.ptp(values[result]) > 150, result
        assert (values[result] == INT8.hi).mean() < 0.05, result


@pytest.mark.parametrize("bits", [2, 8])
@pytest.mark.parametrize("name", NETWORKS)
def test_tflite_computes_the_same(name: str, bits: int, tmp_path: Path) -> None:
    if not litert_version():
        missing("LiteRT")
    graph = NETWORKS[name](bits)
    exported, feeds = export_tflite(graph), frames(graph, 2)
    rows = differences(exported, graph, [feeds])
    assert not exported.inexact
    assert [row.name for row in rows if row.mismatches] == []
    path = tmp_path / f"{name}.tflite"
    path.write_bytes(exported.content)
    again = import_tflite(path).graph
    np.testing.assert_array_equal(again.evaluate(feeds)[0], graph.evaluate(feeds)[0])
