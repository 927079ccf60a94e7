"""The issue's promises on TFC-size networks: 64 cycles a frame, no wrong bit, with and without stalls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import codesign
from codesign.report import Basis
from codesign.resources import resource_dir

pytest.importorskip("brevitas")
pytestmark = pytest.mark.usefixtures("cxx")


@pytest.mark.parametrize("name", ["tfc_w1a1", "tfc_w2a2"])
def test_tfc(name: str, tmp_path: Path) -> None:
    graph = codesign.load(f"{resource_dir('examples') / 'tfc.py'}:{name}")
    report = codesign.compile(graph, "pynq-z2", tmp_path / "out", require=["interval_cycles<=64"])
    assert report.value("interval_cycles", Basis.MODEL) == 64
    images = np.random.default_rng(0).integers(0, 256, (1000, 28, 28, 1)).astype(np.uint8)
    result = codesign.simulate(tmp_path / "out", inputs=[images])
    assert result.failures == []
    assert result.report.value("interval_cycles", Basis.RTL_SIM) == 64
    assert result.report.verification is not None
    assert (result.report.verification.samples, result.report.verification.mismatches) == (1000, 0)
    assert len(np.unique(result.outputs[0], axis=0)) > 900
    stalled = codesign.simulate(tmp_path / "out", inputs=[images[:100]], stall=0.4)
    assert stalled.failures == []
    assert stalled.details["completed"] != result.details["completed"][:100]
