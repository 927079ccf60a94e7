"""The HLS backends against the conformance suite, in both io types, and against random graphs and schedules."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from codesign.backends.base import RunOptions
from codesign.backends.hls.backend import HlsBackend
from codesign.backends.hls.flows import FLOWS as FLOW_TABLE
from codesign.backends.hls.layers import Flatten
from codesign.backends.hls.lower import lower
from codesign.backends.hls.search import legal_loops
from codesign.errors import UnsupportedError
from codesign.ir.graph import Graph
from codesign.ir.ops import Reshape, Softmax
from codesign.ir.types import BIPOLAR, IntType
from codesign.schedule import HlsSchedule, IoType, Loop
from codesign.target import load_target
from codesign.testing.build import GraphBuilder
from codesign.testing.cases import CASES
from codesign.testing.conformance import BackendConformance, quiet, refusals, verify
from codesign.testing.graphs import feeds, graphs
from tests.hw.networks import I2, U8, Build

PYNQ = load_target("pynq-z2")
pytestmark = pytest.mark.usefixtures("cxx")


class TestVitisStream(BackendConformance):
    backend, target = HlsBackend("Vitis", ("io_stream",)), PYNQ


class TestVitisParallel(BackendConformance):
    backend, target = HlsBackend("Vitis", ("io_parallel",)), PYNQ


FLOWS = [
    (flow, io)
    for flow in ("Vivado", "VivadoAccelerator", "Quartus", "oneAPI", "Catapult")
    for io in FLOW_TABLE[flow].io_types
]  # fmt: skip


FLOW_CASES = ("conv_bipolar", "residual", "concat", "conv_depthwise", "max_pool", "requant_tflite_double", "softmax")


@pytest.mark.parametrize(("flow", "io"), FLOWS)
@pytest.mark.parametrize("case", FLOW_CASES)
def test_other_flows_are_exact(case: str, flow: str, io: IoType, tmp_path: Path) -> None:
    """The layers are the same in every flow, so a few cases that hold most of them stand for all."""
    target = load_target("arria10-gx") if flow in ("Quartus", "oneAPI") else PYNQ
    assert verify(HlsBackend(flow, (io,)), target, CASES[case](), tmp_path) == []


@pytest.mark.parametrize("reuse", [25, 400])
@pytest.mark.parametrize("flow", ["Quartus", "oneAPI"])
def test_weights_that_intel_flows_pad(flow: str, reuse: int, tmp_path: Path) -> None:
    """Above 2,048 weights, tables of reuse factors that are no power of two; 400 is more than there are terms."""
    b = Build((200,), U8)
    b.dense("fc0", 16, I2)
    graph, backend = b.graph(), HlsBackend(flow, ("io_parallel",))
    schedule = HlsSchedule("io_parallel", {"fc0": Loop(reuse, "resource")})
    backend.build(graph, schedule, load_target("arria10-gx"), tmp_path)  # raises when a bit differs


SOFTMAX = [(IntType(8, False), "i16", 0.3), (BIPOLAR, "u8", 2.0), (IntType(5, True), "i8", 8.0)]


@pytest.mark.parametrize(("x", "out", "scale"), SOFTMAX)
def test_softmax_of_other_types(x: IntType, out: str, scale: float, tmp_path: Path) -> None:
    b = GraphBuilder()
    graph = b.graph(b.node(Softmax.of(scale, out=IntType.parse(out)), b.input((3, 7), x)))
    assert verify(HlsBackend(), PYNQ, graph, tmp_path, frames=200) == []


def test_a_graph_without_an_operator_is_refused(tmp_path: Path) -> None:
    sentence = "nothing is computed between the input and the output; a design needs an operator"
    b = GraphBuilder()
    x = b.input((2, 3), IntType(4, False))
    backend = HlsBackend()
    with pytest.raises(UnsupportedError, match=f"^graph: {sentence}$"):
        backend.schedule(b.graph(x), PYNQ, "area", (), quiet)
    assert verify(backend, PYNQ, b.graph(b.node(Reshape((6,)), x)), tmp_path) == [sentence]


@settings(max_examples=6, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(
    graph=graphs(max_nodes=7, max_bits=12).filter(lambda g: len(g.outputs) == 1 and len(g.nodes) > 3),
    flow=st.sampled_from(["Vitis", "Vivado"]), io=st.sampled_from(["io_stream", "io_parallel"]), data=st.data(),
)  # fmt: skip
def test_random_graphs_and_loops_are_exact_or_refused(graph: Graph, flow: str, io: str, data: st.DataObject) -> None:
    backend = HlsBackend(flow, (io,))  # type: ignore[arg-type]
    if refusals(backend, PYNQ, graph):
        return
    loops = {
        layer.name: data.draw(st.sampled_from(legal_loops(layer, io)))  # type: ignore[arg-type]
        for layer in lower(graph, io).layers  # type: ignore[arg-type]
        if not isinstance(layer, Flatten)
    }
    schedule = HlsSchedule(io, loops)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as out:
        backend.build(graph, schedule, load_target("zcu104"), Path(out))
        x = feeds(graph, 3, 1)
        run = backend.run(Path(out), graph, x, RunOptions(), quiet)
        assert (run.outputs[0] == graph.evaluate(*x)[0]).all()
