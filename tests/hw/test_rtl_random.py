"""Random graphs with random schedules: bits, the cycle of every frame and the verdict on deadlock are the model's.

The schedules are legal but careless: any fold, any style, FIFOs of any depth that can be built. With the environment
variable CODESIGN_RANDOM_DESIGNS=N the seeds are 0 to N - 1 instead of the fixed ones; see CONTRIBUTING.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from codesign.backends.base import RunOptions, ignore_progress
from codesign.backends.rtl.actors import network
from codesign.backends.rtl.backend import RtlBackend, prepare
from codesign.backends.rtl.lower import lower
from codesign.backends.rtl.plan import least_depths, size_design
from codesign.backends.rtl.timing import UNLIMITED, CycleModel, DeadlockError
from codesign.backends.rtl.units import cut
from codesign.errors import MismatchError
from codesign.ir.graph import Graph
from codesign.ir.types import BIPOLAR, IntType
from codesign.schedule import MemStyle, MulStyle, RtlSchedule
from codesign.target import load_target
from codesign.testing.build import GraphBuilder
from codesign.testing.conformance import refusals
from codesign.testing.graphs import STEPS, Walk, feeds, grow

FIXED = (0, 1, 2, 3, 8, 16, 18, 25)
SEEDS = range(int(os.environ["CODESIGN_RANDOM_DESIGNS"])) if "CODESIGN_RANDOM_DESIGNS" in os.environ else FIXED
BACKEND, TARGET = RtlBackend(), load_target("zcu104")
LIKELY = (*STEPS, "Conv2d", "Conv2d", "Threshold", "Threshold", "Requant", "Add", "Concat", "Pool")


def random_graph(rng: np.random.Generator) -> Graph:
    """A graph of up to 8 operators with one output, before it is known whether it can be built."""
    image = rng.random() < 0.75
    shape = [*rng.integers(1, 9, 2).tolist(), int(rng.choice([1, 2, 3, 4, 6]))] if image else [int(rng.integers(1, 17))]
    plain = IntType(int(rng.choice([1, 2, 4, 8, 16])), bool(rng.integers(2)))
    build = GraphBuilder()
    x = build.input(shape, BIPOLAR if rng.random() < 0.15 else plain)
    walk = Walk(lambda low, high: int(rng.integers(low, high + 1)), rng, build, x)
    graph = grow(walk, LIKELY, max_nodes=8, argmax=True)
    return replace(graph, outputs=graph.outputs[:1])


def random_schedule(graph: Graph, rng: np.random.Generator) -> RtlSchedule:
    """Any legal fold and style; depths of one of four kinds: default, enough, some too small, all near the least."""
    prepared = prepare(graph)
    folds = {}
    for unit in cut(prepared):
        legal = unit.legal_folds()
        whole = [fold for fold in legal if fold.taps > 1]
        wanted = whole if whole and rng.random() < 0.4 else legal
        folds[unit.name] = wanted[rng.integers(len(wanted))]
    multiply: dict[str, MulStyle] = {name: str(rng.choice(get_args(MulStyle))) for name in folds}
    memory: dict[str, MemStyle] = {name: str(rng.choice(get_args(MemStyle))) for name in folds}
    loose = RtlSchedule(folds, multiply=multiply, memory=memory, levels=int(rng.integers(5)))
    design = lower(prepared, loose)
    least, enough = least_depths(design), dict(size_design(design).depths)
    some = {name: max(least[name], int(depth * rng.choice([1.0, rng.random()]))) for name, depth in enough.items()}
    near = {name: depth + int(rng.integers(4)) for name, depth in least.items()}
    return replace(loose, depths=({}, enough, some, near)[rng.integers(4)])


@cache
def random_design(seed: int) -> tuple[Graph, RtlSchedule]:
    """The first graph of a seed that the backend takes and builds as several layers, and a schedule for it."""
    rng = np.random.default_rng(seed)
    candidates = (random_graph(rng) for _ in range(100))
    graph = next(g for g in candidates if not refusals(BACKEND, TARGET, g) and len(cut(prepare(g))) > 1)
    return graph, random_schedule(graph, rng)


def predict(model: CycleModel, frames: int, depths: Mapping[str, int] | None = None) -> list[int] | None:
    """The cycle in which the model completes each frame, or None for a deadlock."""
    try:
        return model.simulate(frames, depths=depths).completions.tolist()
    except DeadlockError:
        return None


@pytest.mark.parametrize("seed", SEEDS)
def test_the_simulation_does_what_the_model_says(seed: int, tmp_path: Path) -> None:
    graph, schedule = random_design(seed)
    assert BACKEND.read_schedule(BACKEND.schedule_data(schedule), graph) == schedule
    (artifact := tmp_path / "artifact").mkdir()
    BACKEND.build(graph, schedule, TARGET, artifact)
    inputs = feeds(graph, 2 + seed % 6, seed)
    predicted = predict(CycleModel(network(lower(prepare(graph), schedule))), len(inputs[0]))
    if predicted is None:
        with pytest.raises(MismatchError, match="deadlock after"):
            BACKEND.run(artifact, graph, inputs, RunOptions(), ignore_progress)
        return
    for stall in (0.0, (0.1, 0.5, 0.9)[seed % 3]):
        run = BACKEND.run(artifact, graph, inputs, RunOptions(stall=stall, seed=seed), ignore_progress)
        np.testing.assert_array_equal(run.outputs[0], graph.evaluate(*inputs)[0])
        assert stall or run.details["completed"] == predicted


def test_the_fixed_seeds_reach_what_they_are_for() -> None:
    dead, slowed, whole, varied = 0, 0, 0, 0
    for seed in FIXED:
        graph, schedule = random_design(seed)
        design = lower(prepare(graph), schedule)
        model, unlimited = CycleModel(network(design)), dict.fromkeys(least_depths(design), UNLIMITED)
        found = predict(model, 4)
        dead += found is None
        slowed += found is not None and found != predict(model, 4, unlimited)
        whole += any(fold.taps > 1 for fold in schedule.folds.values())
        varied += len(np.unique(graph.evaluate(*feeds(graph, 4, seed))[0], axis=0)) > 2
    assert 0 < dead < len(FIXED) // 2  # a deadlock, and more designs that run
    assert min(slowed, whole) > 1  # by FIFOs that are too small; kernels in one step
    assert varied > len(FIXED) // 2  # equal frames would hide a mistake in their order
