"""Exported `.tflite` files in LiteRT's reference kernels: every tensor equals the golden evaluation, or is refused."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from tflite_models import Writer, schema

from codesign.cli import main
from codesign.errors import UnsupportedError
from codesign.export.tflite import Exported, export_tflite
from codesign.export.tflite.verify import differences
from codesign.frontend import import_model
from codesign.frontend.inputs import clamp_levels
from codesign.frontend.tflite.importer import import_parsed, import_tflite
from codesign.frontend.tflite.schema import parse_model
from codesign.frontend.tflite.spatial import mean_rescale
from codesign.ir.graph import Graph
from codesign.ir.ops import Add, AvgPool2d, MaxPool2d, Requant, Rounding, Take
from codesign.ir.text import print_graph
from codesign.ir.types import IntType, Quant
from codesign.testing.build import GraphBuilder
from codesign.testing.cases import CASES
from codesign.testing.graphs import feeds, graphs

FRAMES = 6
I4, I8 = IntType(4, True), IntType(8, True)
NO_RESCALING = "are no scale, offset and rounding as TFLite has them"
# The cases of the conformance suite have random levels, which are no scale and offset.
REFUSED = {
    **dict.fromkeys(
        (
            "conv", "conv_padded_strided", "conv_zero_point", "conv_bipolar", "conv_bipolar_padded", "conv_dilated",
            "conv_grouped", "conv_depthwise", "conv_depthwise_multiplier", "threshold", "threshold_shared",
            "threshold_few_levels", "requant_half_up", "requant_half_even", "requant_tflite_double", "requant_narrow",
            "requant_decreasing", "add", "add_unequal", "residual", "concat", "pad_activated",
        ),
        NO_RESCALING,
    ),
    "dense_wide": "of type i26 between two layers",
    "lookup": "a table of some other function",
    "lookup_per_channel": "a table of some other function",
    "mul": "a product of values of 8 and of 16 bits",
    "avg_pool_mean_padded": "a mean with padding (1, 1, 1, 1)",
    "softmax": "a softmax whose multiplier no float32 beta gives",
}  # fmt: skip


def verify(graph: Graph, folder: Path, frames: int = FRAMES, seed: int = 0) -> Exported:
    """Export, run in LiteRT, import again: every tensor and every output equal."""
    schema()
    exported = export_tflite(graph)
    inputs = feeds(graph, frames, seed)
    rows = differences(exported, graph, inputs)
    assert {row.name for row in rows} >= {port.name for port in graph.outputs}
    assert [row for row in rows if row.mismatches] == []
    path = folder / "exported.tflite"
    path.write_bytes(exported.content)
    back = import_tflite(path).graph
    again = back.evaluate(*back.quantise_inputs(*exported.feeds(inputs)))
    for i, port in enumerate(back.outputs):
        if port.source_axes:  # a TRANSPOSE at the end is the port's order of axes
            again[i] = again[i].transpose(0, *(axis + 1 for axis in np.argsort(port.source_axes)))
    for found, expected in zip(exported.results(again), graph.evaluate(*inputs), strict=True):
        np.testing.assert_array_equal(found, expected)
    return exported


@pytest.mark.parametrize("case", CASES)
def test_case_is_exact_or_refused(case: str, tmp_path: Path) -> None:
    graph = CASES[case]()
    if case in REFUSED:
        with pytest.raises(UnsupportedError) as caught:
            export_tflite(graph)
        assert any(REFUSED[case] in d.found for d in caught.value.diagnostics)
    else:
        verify(graph, tmp_path)


@settings(max_examples=60, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(graph=graphs(max_nodes=5, max_bits=8))
def test_random_graphs_are_exact_or_refused(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> None:
    with contextlib.suppress(UnsupportedError):
        verify(graph, tmp_path_factory.mktemp("random"))


def two_inputs(operator: str, table: str) -> Graph:
    """ADD, SUB or MUL of two tensors, as TFLite has it."""
    w = Writer()
    made = w.tensor((1, 3, 4, 5), 0.07, 1)
    inputs = [w.input((1, 3, 4, 5), 0.05, 3), w.input((1, 3, 4, 5), 0.031, -7)]
    w.op(operator, inputs, [made], table, fusedActivationFunction=0)
    return import_parsed(parse_model(w.model(made)), "model").graph


def narrowed(graph: Graph, name: str) -> Graph:
    """One Requant with a result of two bits less, which then limits."""
    node = graph.node(name)
    assert isinstance(node.op, Requant)
    less = replace(node.op, out=replace(node.op.out, bits=node.op.out.bits - 2))
    return replace(graph, nodes=tuple(replace(n, op=less) if n is node else n for n in graph.nodes))


@pytest.mark.parametrize("operator", ["ADD", "SUB", "MUL"])
def test_a_limit_inside_a_kernel_is_no_kernel(operator: str, tmp_path: Path) -> None:
    graph = two_inputs(operator, f"{operator.capitalize()}Options")
    verify(graph, tmp_path)
    inner = [node.name for node in graph.nodes if isinstance(node.op, Requant) and node.quant is None]
    assert len(inner) == (2 if operator == "MUL" else 4)
    for name in inner:
        with pytest.raises(UnsupportedError, match=r"that is (limited|rounded) before the"):
            export_tflite(narrowed(graph, name))


def repeated(b: GraphBuilder, x: str) -> str:
    return b.node(Take(1, (0, 0, 0)), b.node(Take(0, (0, 0)), x))


def test_a_repeated_term_of_a_weighted_sum(tmp_path: Path) -> None:
    b = GraphBuilder()
    three = b.requant(b.input((1, 1, 4), I4), [3], [0], IntType(6, True))
    exported = verify(b.graph(b.node(Add(), repeated(b, three), b.input((2, 3, 4), I4))), tmp_path)
    assert {op.name for op in parse_model(exported.content).operators} >= {"CONCATENATION", "RESIZE_NEAREST_NEIGHBOR"}


def test_a_sum_of_two_repeated_terms(tmp_path: Path) -> None:
    b = GraphBuilder()
    x, y = b.input((1, 1, 4), I4), b.input((1, 1, 4), I4)
    verify(b.graph(b.node(Add(), repeated(b, x), repeated(b, y))), tmp_path)


def test_what_is_behind_the_clamp_of_a_pool_is_computed(tmp_path: Path) -> None:
    b = GraphBuilder()
    pool = b.node(MaxPool2d((2, 2), (2, 2)), b.input((4, 4, 3), I8))
    clamp = b.threshold(pool, clamp_levels(I8, -128, 100), I8)
    verify(b.graph(b.requant(clamp, [1], [0], I8, zero_point=27)), tmp_path)


def test_clamps_limit_together(tmp_path: Path) -> None:
    b = GraphBuilder()
    pool = b.node(MaxPool2d((2, 2), (2, 2)), b.input((4, 4, 3), I8, Quant((1 / 16,), (0.0,))))
    first = b.threshold(pool, clamp_levels(I8, -16, 127), I8)
    verify(b.graph(b.threshold(first, clamp_levels(I8, -128, 16), I8)), tmp_path)


@pytest.mark.parametrize("rounding", [Rounding.TFLITE_DOUBLE, Rounding.HALF_UP])
def test_a_mean_is_one_only_with_its_rounding(rounding: Rounding, tmp_path: Path) -> None:
    b = GraphBuilder()
    total = b.node(AvgPool2d((1, 12), (1, 12)), b.input((1, 12, 3), I8, Quant((0.05,), (0.0,))))
    by = mean_rescale(float(np.float32(0.05)), float(np.float32(0.03)), 12)
    constants = b.const(by.multiplier), b.const(by.shift)
    out = b.node(Requant(I8, rounding), total, *constants, quant=Quant((0.03,), (0.0,)))
    exported = verify(b.graph(out), tmp_path)
    kinds = [op.name for op in parse_model(exported.content).operators]
    assert ("MEAN" in kinds) is (rounding is Rounding.TFLITE_DOUBLE)


@pytest.mark.parametrize("name", ["ad01_int8", "kws_ref_model"])
def test_mlperf_tiny_models_come_back_as_they_were(name: str, tmp_path: Path) -> None:
    folder = os.environ.get("CODESIGN_CASES")
    if not folder:
        pytest.skip("the folder of third-party cases is missing: set CODESIGN_CASES")
    graph = import_model(Path(folder) / "mlperf_tiny" / f"{name}.tflite").graph
    path = tmp_path / "exported.tflite"
    path.write_bytes(verify(graph, tmp_path).content)
    assert import_tflite(path).graph.digest() == graph.digest()


def test_finn_network_of_one_bit(tmp_path: Path) -> None:
    folder = os.environ.get("CODESIGN_CASES")
    if not folder:
        pytest.skip("the folder of third-party cases is missing: set CODESIGN_CASES")
    graph = import_model(Path(folder) / "finn" / "build_dataflow_model.onnx").graph
    verify(graph, tmp_path, frames=50)


# Where TFLite's rounding is not Brevitas': two roundings of 8-bit weights, ties to even, levels per pixel, sums of
# terms that are rounded themselves.
BREVITAS_REFUSED = {
    "w8_tensor", "w8_channel", "act_narrow", "act_ties", "act_8_bits_float_bias", "conv_stride_dilation",
    "pool_trunc_round", "flatten_after_norm", "residual_unequal", "residual_float", "one_by_one",
}  # fmt: skip


def brevitas_names() -> list[str]:
    try:
        from brevitas_nets import NETS
    except ImportError:
        return []
    return list(NETS)


@pytest.mark.parametrize("name", brevitas_names())
@pytest.mark.filterwarnings("ignore")
def test_brevitas_networks_are_exact_or_refused(name: str, tmp_path: Path) -> None:
    from brevitas_nets import make

    from codesign.frontend import import_brevitas

    graph = import_brevitas(*make(name)).graph
    if name in BREVITAS_REFUSED:
        with pytest.raises(UnsupportedError):
            export_tflite(graph)
    else:
        verify(graph, tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_the_nearest_form_says_what_is_not_exact() -> None:
    pytest.importorskip("brevitas")
    from brevitas_nets import make

    from codesign.frontend import import_brevitas

    schema()
    graph = import_brevitas(*make("w8_tensor")).graph
    exported = export_tflite(graph, nearest=True)
    assert exported.inexact == {"n2": f"6 of 6 channels {NO_RESCALING}"}
    rows = {row.name: row for row in differences(exported, graph, feeds(graph, 200, 0))}
    near = rows["n2"]
    assert 0 < near.mismatches < 0.02 * near.elements
    assert near.largest == 1


@pytest.mark.filterwarnings("ignore")
def test_the_table_says_beside_the_tensor_why_it_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("brevitas")
    from brevitas_nets import make

    from codesign.frontend import import_brevitas

    schema()
    source = tmp_path / "net.txt"
    source.write_text(print_graph(import_brevitas(*make("w8_tensor")).graph))
    assert main(["export", str(source), "-o", str(tmp_path / "net.tflite"), "--nearest"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("n2 ")]
    assert row.endswith(f"6 of 6 channels {NO_RESCALING}")
