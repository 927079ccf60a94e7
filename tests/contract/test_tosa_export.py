"""Graphs as TOSA files: in the reference model every output bit equals the golden evaluation."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tosa_files import assert_exact, operators, ports, tosa_tools

from codesign.errors import UnsupportedError
from codesign.export.tosa import evaluate_reference, export_tosa, write_tosa
from codesign.frontend import import_model
from codesign.ir.graph import Graph
from codesign.ir.ops import ArgMax, Softmax
from codesign.ir.types import IntType
from codesign.passes import run_passes
from codesign.testing.build import GraphBuilder
from codesign.testing.cases import CASES
from codesign.testing.graphs import feeds, graphs

U8, I8, I16 = IntType(8, False), IntType(8, True), IntType(16, True)


@pytest.fixture(autouse=True)
def tools() -> None:
    tosa_tools()


@pytest.mark.parametrize("case", CASES)
def test_every_case_is_exact(case: str) -> None:
    assert_exact(CASES[case](), batch=8)


@pytest.mark.parametrize("case", CASES)
def test_every_case_is_exact_as_the_streaming_design_has_it(case: str) -> None:
    """The same functions in other operators: level tables instead of multipliers, padding on its own."""
    assert_exact(run_passes(CASES[case]()), batch=8)


@settings(max_examples=100)
@given(graph=graphs(), seed=st.integers(0, 2**32 - 1))
def test_random_graphs_are_exact_or_refused(graph: Graph, seed: int) -> None:
    with contextlib.suppress(UnsupportedError):  # its sentences: tests/errors/test_tosa_errors.py
        assert_exact(graph, seed=seed)


@settings(max_examples=60)
@given(
    graph=graphs(max_bits=8, max_nodes=2, steps=("Conv2d", "Requant", "Pool", "Pad"), argmax=False),
    seed=st.integers(0, 2**32 - 1),
)
def test_two_operators_on_narrow_images_are_exact(graph: Graph, seed: int) -> None:
    """Any stride, dilation, grouping and padding; none of these is refused."""
    if all(graph.type(node.inputs[0]).dtype.bits <= 16 for node in graph):
        assert_exact(graph, seed=seed)


@pytest.mark.parametrize("dtype", [U8, I8, I16, IntType(16, False)])
@pytest.mark.parametrize("pad_value", [0, 3, 300])
@pytest.mark.parametrize("padding", [(1, 0, 1, 1), (3, 2, 0, 4)])
def test_padding_with_any_value(dtype: IntType, pad_value: int, padding: tuple[int, int, int, int]) -> None:
    """The zero point's value, and others; windows that see nothing of the image."""
    b = GraphBuilder()
    weights = np.random.default_rng(3).integers(-128, 128, (3, 2, 3, 2))
    y = b.conv(b.input((5, 4, 2), dtype), weights, stride=(2, 1), padding=padding, pad_value=pad_value)
    assert_exact(b.graph(y))


@pytest.mark.parametrize("out", [I8, U8, I16])
@pytest.mark.parametrize("scale", [1e-4, 0.05, 0.2, 3.0])
@pytest.mark.parametrize(("dtype", "channels"), [(I8, 2), (U8, 11), (IntType(4, True), 300), (I8, 4095)])
def test_softmax_is_exact(dtype: IntType, channels: int, scale: float, out: IntType) -> None:
    """From one dominant class to all classes equal; with many of them the final shift exceeds 31."""
    b = GraphBuilder()
    rng = np.random.default_rng(channels)
    rows = 32
    x = rng.integers(dtype.lo, dtype.hi + 1, (rows, channels))
    spread = np.geomspace(1, dtype.count, rows).astype(int)
    x = dtype.hi - (x - dtype.lo) % spread[:, None]
    assert_exact(b.graph(b.node(Softmax.of(scale, out=out), b.input((channels,), dtype))), x)


@pytest.mark.parametrize("channels", [1, 2, 7, 10])
@pytest.mark.parametrize("dtype", [U8, I16, IntType(17, False), IntType(31, True)])
def test_the_first_of_equal_values_is_the_largest(dtype: IntType, channels: int) -> None:
    b = GraphBuilder()
    x = dtype.hi - np.random.default_rng(channels).integers(0, 3, (256, channels)) * (dtype.count // 2 - 1)
    assert_exact(b.graph(b.node(ArgMax(), b.input((channels,), dtype))), x)


@pytest.fixture
def cases() -> Path:
    folder = os.environ.get("CODESIGN_CASES")
    if not folder or not (Path(folder) / "mlperf_tiny").is_dir():
        pytest.skip("the folder of third-party cases is missing: set CODESIGN_CASES")
    return Path(folder)


def test_keyword_spotting_gives_the_stored_answers(cases: Path) -> None:
    """LiteRT's own answers, not only the golden evaluation: one convolution and one RESCALE for each layer."""
    graph = import_model(cases / "mlperf_tiny" / "kws_ref_model.tflite").graph
    answers = np.load(cases / "mlperf_tiny" / "kws_ref_model.ref.npz")
    x = answers["x"].reshape(-1, *graph.type(graph.inputs[0].name).shape)
    (found,) = evaluate_reference(graph, x)
    np.testing.assert_array_equal(found, answers["y"].reshape(found.shape))
    layers = ["CONV2D", "RESCALE"] + ["DEPTHWISE_CONV2D", "RESCALE", "CONV2D", "RESCALE"] * 4
    layers += ["AVG_POOL2D", "CONV2D", "RESCALE"]
    assert operators(export_tosa(graph))[: len(layers)] == layers


def test_anomaly_detection_gives_the_stored_answers(cases: Path) -> None:
    graph = import_model(cases / "mlperf_tiny" / "ad01_int8.tflite").graph
    answers = np.load(cases / "mlperf_tiny" / "ad01_int8.ref.npz")
    (found,) = evaluate_reference(graph, answers["x"].reshape(-1, *graph.type(graph.inputs[0].name).shape))
    np.testing.assert_array_equal(found, answers["y"].reshape(found.shape))
    assert operators(export_tosa(graph)) == ["RESHAPE", *["CONV2D", "RESCALE"] * 10, "RESHAPE"]


def test_the_tfc_of_finn_is_exact(cases: Path) -> None:
    assert_exact(import_model(cases / "finn" / "build_dataflow_model.onnx").graph, batch=16)


NETS = ["w4_channel", "act_zero_point", "act_ties", "conv_bipolar_padding", "conv_groups", "residual_unequal", "concat"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*NETS, "pool_trunc_round", "flatten_after_norm"])
def test_brevitas_networks_are_exact(name: str) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("brevitas")
    from brevitas_nets import make

    from codesign.frontend import import_brevitas

    assert_exact(import_brevitas(*make(name)).graph, batch=16)


def test_names_and_shapes_are_the_graphs() -> None:
    """Two outputs, one of them an input; an input that nothing reads."""
    b = GraphBuilder()
    x, _ = b.input((4,), U8, name="image"), b.input((2, 3), I16, name="unused")
    y = b.requant(x, [3], [2], I8, name="scaled")
    graph = b.graph(y, x)
    assert_exact(graph)
    inputs, outputs = ports(export_tosa(graph, 5))
    assert inputs == {"image": ([5, 4], "INT8"), "unused": ([5, 2, 3], "INT16")}
    assert outputs == {"scaled": ([5, 4], "INT8"), "image/output": ([5, 4], "INT8")}


def test_the_file_is_the_same_every_time(tmp_path: Path) -> None:
    graph = CASES["residual"]()
    write_tosa(graph, tmp_path / "model.tosa")
    assert (tmp_path / "model.tosa").read_bytes() == export_tosa(graph)
    assert [p.name for p in tmp_path.iterdir()] == ["model.tosa"]


def test_the_reference_model_in_a_process_of_its_own() -> None:
    graph = CASES["residual"]()
    given = feeds(graph, 3, 7)
    for found, expected in zip(evaluate_reference(graph, *given), graph.evaluate(*given), strict=True):
        np.testing.assert_array_equal(found, expected)
