"""Whole TFLite models: the MLPerf Tiny cases, networks with branches, real inputs and outputs, other axis orders."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from test_import_tflite import exact
from tflite_models import Writer, interpreter, schema

from codesign.cli import main
from codesign.errors import InputError
from codesign.frontend import gap, import_model
from codesign.ir.graph import Graph
from codesign.ir.ops import AvgPool2d, Conv2d, Dense, Lookup, Requant, Reshape, Softmax, Threshold
from codesign.testing.graphs import feeds


@pytest.fixture
def cases() -> Path:
    folder = os.environ.get("CODESIGN_CASES")
    if not folder or not (Path(folder) / "mlperf_tiny").is_dir():
        pytest.skip("the folder of third-party cases is missing: set CODESIGN_CASES")
    return Path(folder) / "mlperf_tiny"


@pytest.mark.parametrize("name", ["ad01_int8", "kws_ref_model"])
def test_mlperf_tiny_models_give_the_stored_answers(cases: Path, name: str) -> None:
    graph = import_model(cases / f"{name}.tflite").graph
    answers = np.load(cases / f"{name}.ref.npz")
    (found,) = graph.evaluate(answers["x"].reshape(-1, *graph.type(graph.inputs[0].name).shape))
    np.testing.assert_array_equal(found, answers["y"].reshape(found.shape))


@pytest.mark.parametrize(("name", "tensors"), [("ad01_int8", 10), ("kws_ref_model", 13)])
def test_every_tensor_of_the_mlperf_tiny_models(cases: Path, name: str, tensors: int) -> None:
    schema()
    rows = gap(import_model(cases / f"{name}.tflite"), count=100)
    assert [row.mismatches for row in rows] == [0] * (tensors + 1)
    assert rows[-1].layer == "output Identity"
    assert rows[-1].argmax_agreement == 1.0


def test_the_layers_of_keyword_spotting(cases: Path) -> None:
    graph = import_model(cases / "kws_ref_model.tflite").graph
    kinds = Counter(type(node.op) for node in graph)
    assert kinds == {Conv2d: 9, Requant: 10, AvgPool2d: 1, Reshape: 1, Dense: 1, Softmax: 1}
    assert graph.nodes[1].where == "functional_1/activation/Relu"
    assert sum(w.macs for w in graph.work().values()) == 2_656_768


def network(w: Writer) -> int:
    """An inverted residual with a squeeze-and-excitation gate, as MobileNetV3 has it, and a classifier."""
    rng = np.random.default_rng(5)

    def conv(
        x: int, shape: tuple[int, ...], result: tuple[int, ...], op: str, scale: float, activation: int = 0
    ) -> int:
        outputs, depthwise = result[-1], op.startswith("DEPTHWISE")
        scales = rng.uniform(0.002, 0.02, outputs)
        weight = w.tensor(shape, scales, data=rng.integers(-127, 128, shape), axis=3 if depthwise else 0)
        si = float(w.tensors[x].quantization.scale[0])
        bias = w.tensor((outputs,), scales * si, kind="int32", data=rng.integers(-500, 500, outputs))
        y = w.tensor(result, scale, int(rng.integers(-30, 30)))
        table = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
        more = {"depthMultiplier": 1} if depthwise else {}
        w.op(op, [x, weight, bias], [y], table, strideH=1, strideW=1, fusedActivationFunction=activation, **more)
        return y

    x = w.input((1, 8, 8, 4), 0.05, 3)
    wide = conv(x, (8, 1, 1, 4), (1, 8, 8, 8), "CONV_2D", 0.06, 3)
    act = w.tensor((1, 8, 8, 8), 0.05, -100)
    w.op("HARD_SWISH", [wide], [act])
    spread = conv(act, (1, 3, 3, 8), (1, 8, 8, 8), "DEPTHWISE_CONV_2D", 0.1)
    squeezed = w.tensor((1, 1, 1, 8), 0.07, 5)
    w.op("MEAN", [spread, w.ints([1, 2])], [squeezed], "ReducerOptions", keepDims=True)
    gate = conv(squeezed, (8, 1, 1, 8), (1, 1, 1, 8), "CONV_2D", 0.05)
    sigmoid = w.tensor((1, 1, 1, 8), 1 / 256, -128)
    w.op("LOGISTIC", [gate], [sigmoid])
    gated = w.tensor((1, 8, 8, 8), 0.06, 4)
    w.op("MUL", [spread, sigmoid], [gated], "MulOptions")
    narrow = conv(gated, (4, 1, 1, 8), (1, 8, 8, 4), "CONV_2D", 0.08)
    residual = w.tensor((1, 8, 8, 4), 0.09, -11)
    w.op("ADD", [narrow, x], [residual], "AddOptions")
    flat = w.tensor((1, 256), 0.09, -11)
    w.op("RESHAPE", [residual, w.ints([1, 256])], [flat])
    weight = w.tensor((10, 256), 0.004, data=rng.integers(-127, 128, (10, 256)))
    logits = w.tensor((1, 10), 0.3, 2)
    w.op("FULLY_CONNECTED", [flat, weight], [logits], "FullyConnectedOptions")
    y = w.tensor((1, 10), 1 / 256, -128)
    w.op("SOFTMAX", [logits], [y], "SoftmaxOptions", beta=1.0)
    return y


def test_a_network_with_branches(tmp_path: Path) -> None:
    w = Writer()
    imported = exact(w.model(network(w)), tmp_path, frames=20)
    kinds = {type(node.op) for node in imported.graph}
    assert {Lookup, Softmax, Threshold} < kinds
    rows = gap(imported, count=20)
    assert [row.mismatches for row in rows] == [0] * 13
    assert imported.notes == ()


def test_real_inputs_and_outputs_are_the_meaning_of_integers(tmp_path: Path) -> None:
    w = Writer()
    x = w.input((1, 4, 6), None, kind="float32", name="image")
    q, r = w.tensor((1, 4, 6), 0.25, -3), w.tensor((1, 4, 6), 0.5, 7)
    y = w.tensor((1, 4, 6), None, kind="float32", name="scores")
    w.op("QUANTIZE", [x], [q])
    w.op("RELU", [q], [r])
    w.op("DEQUANTIZE", [r], [y])
    path = tmp_path / "net.tflite"
    path.write_bytes(w.model(y))
    imported = import_model(path)
    graph = imported.graph
    assert str(graph.type("image")) == "i8[4,6]"
    assert [(row.layer, row.mismatches) for row in gap(imported)] == [("t2", 0), ("output t2", 0)]
    (note,) = imported.notes
    assert note.startswith("image: a real input, its QUANTIZE is left to whoever feeds the integers")
    real = np.random.default_rng(0).uniform(-40, 40, (5, 4, 6)).astype(np.float32)
    found = graph.dequantise_outputs(graph.evaluate(*graph.quantise_inputs(real)))[0]
    run = interpreter(path.read_bytes())
    for frame, expected in zip(real, found, strict=True):
        run.set_tensor(0, frame[None])
        run.invoke()
        np.testing.assert_array_equal(run.get_tensor(3)[0], expected)


def test_transposes_at_the_edges_become_axes_of_the_ports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    w = Writer()
    x = w.input((1, 3, 4, 6), 0.25, -3, name="x")
    inside, pooled = w.tensor((1, 4, 6, 3), 0.25, -3), w.tensor((1, 2, 3, 3), 0.25, -3)
    y = w.tensor((1, 3, 2, 3), 0.25, -3, name="y")
    w.op("TRANSPOSE", [x, w.ints([0, 2, 3, 1])], [inside])
    options = {"padding": 1, "strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}
    w.op("MAX_POOL_2D", [inside], [pooled], "Pool2DOptions", **options)
    w.op("TRANSPOSE", [pooled, w.ints([0, 3, 1, 2])], [y])
    path = tmp_path / "net.tflite"
    path.write_bytes(w.model(y))
    imported = import_model(path)
    assert len(imported.graph.nodes) == 1
    assert imported.graph.inputs[0].source_axes == imported.graph.outputs[0].source_axes == (1, 2, 0)
    assert [row.mismatches for row in gap(imported)] == [0, 0]
    assert imported.notes == (
        "input x: wanted as (4, 6, 3), the model has (3, 4, 6); its TRANSPOSE is left to the application",
        "output y: given as (2, 3, 3), the model has (3, 2, 3); its TRANSPOSE is left to the application",
    )
    assert main(["export", str(path), "-o", str(tmp_path / "again.tflite")]) == 0
    assert [f"note: {note}" for note in imported.notes] == capsys.readouterr().out.splitlines()[-2:]


def test_layers_are_named_after_the_first_of_fused_layers(tmp_path: Path) -> None:
    w = Writer()
    x = w.input((1, 4), 0.25, name="serving_default_x:0")
    y = w.tensor((1, 4), 0.5, name="net/relu/Relu;net/dense/MatMul")
    z = w.tensor((1, 4), 0.5)
    w.tensors[z].name = None
    w.op("RELU", [x], [y])
    w.op("RELU", [y], [z])
    path = tmp_path / "net.tflite"
    path.write_bytes(w.model(z))
    graph = import_model(path).graph
    assert [(node.name, node.where) for node in graph] == [
        ("net/relu/Relu.unlimited", "net/relu/Relu"),
        ("net/relu/Relu", "net/relu/Relu"),
        ("tensor_2.unlimited", "tensor 2"),
        ("tensor_2", "tensor 2"),
    ]


def test_without_litert_it_is_imported_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    w = Writer()
    x, y = w.input((1, 4)), w.tensor((1, 4))
    w.op("RELU", [x], [y])
    path = tmp_path / "net.tflite"
    path.write_bytes(w.model(y))
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    imported = import_model(path)
    assert imported.source is None
    sentence = "not compared with LiteRT's reference kernels, which are not installed; pip install 'codesign[ethosu]'"
    assert imported.notes == (sentence,)


def test_another_litert_is_said_to_be_no_exact_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema()
    w = Writer()
    x, y = w.input((1, 4)), w.tensor((1, 4))
    w.op("RELU", [x], [y])
    path = tmp_path / "net.tflite"
    path.write_bytes(w.model(y))
    monkeypatch.setattr("codesign.frontend.tflite.source.version", lambda _: "2.3.0")
    expected = "LiteRT 2.3.0 rescales FULLY_CONNECTED in float; 1.2.0 is exact: pip install 'codesign[ethosu]'"
    assert import_model(path).notes == (expected,)


def test_a_model_that_litert_refuses(tmp_path: Path) -> None:
    w = Writer()
    x, y = w.input((1, 4), 0.1), w.tensor((1, 2), 0.5)
    bias = w.tensor((2,), 9.0, kind="int32", data=np.ones(2))
    w.op("FULLY_CONNECTED", [x, w.tensor((2, 4), 0.1, data=np.ones((2, 4))), bias], [y], "FullyConnectedOptions")
    path = tmp_path / "net.tflite"
    path.write_bytes(w.model(y))
    with pytest.raises(InputError) as caught:
        gap(import_model(path))
    assert str(caught.value).startswith("LiteRT: refuses the model: ")
    assert str(caught.value).endswith("failed to prepare.; allowed: a model that LiteRT runs")


def test_evaluation_does_not_depend_on_the_batch(cases: Path) -> None:
    graph: Graph = import_model(cases / "kws_ref_model.tflite").graph
    (feed,) = feeds(graph, 9, 2)
    (together,) = graph.evaluate(feed)
    alone = [graph.evaluate(feed[i : i + 1])[0] for i in range(9)]
    np.testing.assert_array_equal(together, np.concatenate(alone))
