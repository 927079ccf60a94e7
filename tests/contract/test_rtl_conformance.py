"""The streaming RTL backend against the conformance suite, and against random graphs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from codesign.backends.rtl.backend import RtlBackend
from codesign.errors import UnsupportedError
from codesign.ir.graph import Graph
from codesign.ir.ops import Reshape
from codesign.ir.types import IntType
from codesign.target import load_target
from codesign.testing.build import GraphBuilder
from codesign.testing.conformance import BackendConformance, quiet, verify
from codesign.testing.graphs import graphs


class TestRtl(BackendConformance):
    backend, target = RtlBackend(), load_target("pynq-z2")
    refused = {  # noqa: RUF012 the base class says ClassVar
        "avg_pool_mean_padded": "a mean over windows of unequal size is not built",
        "softmax": "Softmax is not built",
        "lookup": "Lookup is not built",
        "lookup_per_channel": "Lookup is not built",
        "mul": "Mul is not built",
        "take_rows": "Take is not built",
        "take_channels": "Take is not built",
        "transpose": "Transpose is not built",
    }


def test_a_graph_without_an_operator_is_refused(tmp_path: Path) -> None:
    sentence = "nothing is computed between the input and the output; a design needs an operator"
    b = GraphBuilder()
    x = b.input((2, 3), IntType(4, False))
    bare = b.graph(x)
    with pytest.raises(UnsupportedError, match=f"^graph: {sentence}$"):
        TestRtl.backend.schedule(bare, TestRtl.target, "area", (), quiet)
    assert verify(TestRtl.backend, TestRtl.target, b.graph(b.node(Reshape((6,)), x)), tmp_path) == [sentence]


@settings(max_examples=4, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(
    graph=graphs(max_nodes=7, max_bits=12).filter(lambda g: len(g.outputs) == 1 and len(g.nodes) > 3),
    stall=st.sampled_from([0.0, 0.3]),
)
def test_random_graphs_are_exact_or_refused(graph: Graph, stall: float) -> None:
    with tempfile.TemporaryDirectory() as out:
        verify(TestRtl.backend, TestRtl.target, graph, Path(out), frames=3, stall=stall)
