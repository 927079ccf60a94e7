"""The two promises on real RTL: every bit equals the golden evaluation, every frame ends in the predicted cycle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codesign.backends.base import RunOptions
from codesign.backends.rtl.backend import RtlBackend, prepare
from codesign.backends.rtl.lower import lower
from codesign.backends.rtl.plan import size_design
from codesign.backends.rtl.units import cut
from codesign.ir.graph import Graph
from codesign.ir.types import BIPOLAR
from codesign.schedule import RtlSchedule
from codesign.target import load_target
from tests.hw import networks
from tests.hw.networks import I2, I4, U1, U2

FRAMES = 12
CASES = {
    "mlp_w1a1": lambda: networks.mlp(BIPOLAR, BIPOLAR),
    "mlp_w2a2": lambda: networks.mlp(I2, U2),
    "mlp_w4a1": lambda: networks.mlp(I4, U1),
    "cnn": networks.cnn,
    "residual": networks.residual,
    "concat": networks.concat,
}


def quiet(_what: str, _done: int, _total: int) -> None:
    """No progress wanted."""


def schedule_of(graph: Graph, pick: int) -> RtlSchedule:
    """A legal schedule of medium folds: the pick-th of four kinds, with the depths that the sizing chooses."""
    units = cut(prepare(graph))
    folds = {}
    for i, unit in enumerate(units):
        legal = unit.legal_folds()
        if pick == 3:  # whole kernels at once, where there are kernels
            legal = [fold for fold in legal if fold.taps > 1] or legal
        folds[unit.name] = legal[(len(legal) * (pick + 1) // 4 + i * pick) % len(legal)]
    loose = RtlSchedule(folds, multiply=dict.fromkeys(folds, "dsp" if pick == 2 else "auto"), levels=pick)
    return replace(loose, depths=size_design(lower(prepare(graph), loose)).depths)


@pytest.mark.parametrize("pick", [0, 1, 2, 3])
@pytest.mark.parametrize("case", CASES)
def test_bits_and_cycles_are_exact(case: str, pick: int, tmp_path: Path) -> None:
    graph = CASES[case]()
    backend, target = RtlBackend(), load_target("zcu104")
    schedule = schedule_of(graph, pick)
    backend.build(graph, schedule, target, tmp_path)
    dtype = graph.type(graph.inputs[0].name).dtype
    count = np.random.default_rng(7).integers(0, dtype.count, (FRAMES, *graph.type("x").shape))
    feeds = dtype.lo + dtype.step * count
    golden = graph.evaluate(feeds)[0]
    distinct = len(np.unique(golden.reshape(FRAMES, -1), axis=0))
    assert distinct > (1 if case == "residual" else FRAMES // 2)  # an ArgMax has few values; a constant proves nothing

    run = backend.run(tmp_path, graph, [feeds], RunOptions(), quiet)
    assert (run.outputs[0] == golden).all()
    assert run.details["completed"] == run.details["predicted"]
    predicted = {m.name: m.value for m in backend.estimate(graph, schedule, target).metrics}
    simulated = {m.name: m.value for m in run.report.metrics}
    for name in ("latency_cycles", "interval_cycles", "fps", "latency_ns"):
        assert simulated[name] == predicted[name]

    stalled = backend.run(tmp_path, graph, [feeds], RunOptions(stall=0.3, seed=3), quiet)
    assert (stalled.outputs[0] == golden).all()
