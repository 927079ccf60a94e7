"""The cycle model and the choice of FIFO depths on ten layers.

    pytest benchmarks/bench_timing.py --benchmark-columns=min,median

`extra_info` holds the events. Processor time, so that other work on the machine does not count.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from codesign.backends.rtl.actors import network
from codesign.backends.rtl.backend import prepare
from codesign.backends.rtl.design import Design
from codesign.backends.rtl.lower import lower
from codesign.backends.rtl.network import UNLIMITED, Actor, Link, Network, compress
from codesign.backends.rtl.plan import size_design
from codesign.backends.rtl.timing import CycleModel
from codesign.backends.rtl.units import cut
from codesign.ir.ops import Conv2d, Reshape
from codesign.schedule import RtlSchedule
from tests.hw.networks import I4, U4, U8, Build

pytestmark = pytest.mark.benchmark(timer=time.process_time)

LAYERS, EVENTS, FRAMES = 10, 10_000, 8
PRICING_S, SIZING_S = 0.020, 2.0  # bounds


def chain(depth: int) -> Network:
    """Ten actors in a row, a step, a beat and an event in every cycle."""
    one, upto = np.ones(EVENTS, np.int64), np.arange(1, EVENTS + 1)
    actors = tuple(Actor(f"a{i}", EVENTS) for i in range(LAYERS))
    links = [Link(f"x{i}", f"a{i}", f"a{i + 1}", depth, 0, one, upto, one) for i in range(LAYERS - 1)]
    return Network(actors, (*links, Link("y", f"a{LAYERS - 1}", None, depth, 0, one)), "a0", one)


def convolutions(interval: int) -> Design:
    """Six convolutions and four dense layers on 32x32, every one at its smallest fold that keeps `interval`."""
    b = Build((32, 32, 3), U8)
    for i, channels in enumerate((16, 16, 32, 32, 64, 64)):
        b.conv(f"conv{i}", channels, 3, I4, Conv2d(padding=(1, 1, 1, 1), stride=(1 + i % 2, 1 + i % 2)))
        b.threshold(f"act{i}", U4)
    b.add("flat", Reshape((b.type().size,)))
    for i, outputs in enumerate((128, 64, 32, 10)):
        b.dense(f"fc{i}", outputs, I4)
        b.threshold(f"act_fc{i}", U4)
    graph = prepare(b.graph())
    folds = {}
    for unit in cut(graph):
        legal = [f for f in unit.legal_folds() if unit.steps(f) <= interval]
        folds[unit.name] = min(legal, key=lambda fold: (fold.pe * fold.simd, fold.pe))
    return lower(graph, RtlSchedule(folds))


@pytest.mark.parametrize("depth", [2, 16, UNLIMITED])
def test_pricing(benchmark: BenchmarkFixture, depth: int) -> None:
    """8 frames of 10 x 10,000 events."""
    model = CycleModel(chain(depth))
    run = benchmark(model.simulate, FRAMES)
    assert run.interval == EVENTS
    benchmark.extra_info["events"] = LAYERS * EVENTS * FRAMES
    assert benchmark.stats.stats.min < PRICING_S


@pytest.mark.parametrize("interval", [10_000, 100_000])
def test_preparing_and_steady_state(benchmark: BenchmarkFixture, interval: int) -> None:
    """From a design to its proved interval."""
    design = convolutions(interval)
    run = benchmark(lambda: CycleModel(network(design)).steady())
    assert run.settled
    benchmark.extra_info["events"] = sum(len(actor.step) for actor in compress(network(design))[0])


@pytest.mark.parametrize("interval", [10_000, 100_000])
def test_sizing(benchmark: BenchmarkFixture, interval: int) -> None:
    """All depths of ten layers, at the ideal interval."""
    design = convolutions(interval)
    sizing = benchmark.pedantic(size_design, (design,), rounds=3)
    assert sizing.run.interval == network(design).ideal_interval
    benchmark.extra_info["links"] = len(sizing.depths)
    assert benchmark.stats.stats.min < SIZING_S
