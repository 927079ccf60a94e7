"""The streaming RTL backend against the conformance suite, and against random graphs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from codesign.backends.rtl.backend import RtlBackend
from codesign.ir.graph import Graph
from codesign.target import load_target
from codesign.testing.conformance import BackendConformance, verify
from codesign.testing.graphs import graphs


class TestRtl(BackendConformance):
    backend, target = RtlBackend(), load_target("pynq-z2")
    refused = {  # noqa: RUF012 the base class says ClassVar
        "avg_pool_mean_padded": "a mean over windows of unequal size is not built",
        "reshape_alone": "a graph that only reshapes its input is not built; a design needs an operator",
        "softmax": "Softmax is not built",
    }


@settings(max_examples=4, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(
    graph=graphs(max_nodes=7, max_bits=12).filter(lambda g: len(g.outputs) == 1 and len(g.nodes) > 3),
    stall=st.sampled_from([0.0, 0.3]),
)
def test_random_graphs_are_exact_or_refused(graph: Graph, stall: float) -> None:
    with tempfile.TemporaryDirectory() as out:
        verify(TestRtl.backend, TestRtl.target, graph, Path(out), frames=3, stall=stall)
