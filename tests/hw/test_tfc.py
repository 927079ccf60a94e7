"""TFC, the MNIST network of FINN: its interval at FINN's folding, and every bit of a thousand frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codesign.backends.base import RunOptions
from codesign.backends.rtl.backend import RtlBackend
from codesign.ir.types import BIPOLAR, IntType
from codesign.target import load_target
from codesign.testing.graphs import feeds
from tests.hw.networks import I2, TFC, U2, finn_schedule, mlp
from tests.hw.test_rtl_exact import quiet

FINN_INTERVAL = 64


@pytest.mark.parametrize(("weights", "activations"), [(BIPOLAR, BIPOLAR), (I2, U2)], ids=["w1a1", "w2a2"])
def test_a_thousand_frames_at_finns_folding(weights: IntType, activations: IntType, tmp_path: Path) -> None:
    graph = mlp(weights, activations, TFC)
    backend = RtlBackend()
    backend.build(graph, finn_schedule(graph), load_target("pynq-z2"), tmp_path)
    frames = feeds(graph, 1000, 3)[0]
    golden = graph.evaluate(frames)[0]
    assert len(np.unique(golden, axis=0)) > 500  # not a network that answers the same to everything

    run = backend.run(tmp_path, graph, [frames], RunOptions(), quiet)
    assert (run.outputs[0] == golden).all()
    assert run.details["completed"] == run.details["predicted"]
    assert {m.name: m.value for m in run.report.metrics}["interval_cycles"] <= FINN_INTERVAL

    stalled = backend.run(tmp_path, graph, [frames[:100]], RunOptions(stall=0.25, seed=9), quiet)
    assert (stalled.outputs[0] == golden[:100]).all()
