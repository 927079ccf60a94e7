"""From graph to simulated frames: scheduling, generation, compilation (cold and warm), cycles per second.

    pytest benchmarks/bench_rtl.py --benchmark-columns=min,median

`extra_info` holds what the time means: cycles per second, interval, steps per frame.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from codesign.backends.base import Requirement, RunOptions
from codesign.backends.rtl.backend import RtlBackend
from codesign.ir.graph import Graph
from codesign.ir.ops import Conv2d, MaxPool2d, Reshape
from codesign.ir.types import BIPOLAR
from codesign.target import load_target
from tests.hw.networks import I2, I4, TFC, U2, U4, U8, Build, finn_schedule, mlp

CASES: dict[str, Callable[[], Graph]] = {
    "tfc_w1a1": lambda: mlp(BIPOLAR, BIPOLAR, TFC),
    "tfc_w2a2": lambda: mlp(I2, U2, TFC),
}


def quiet(_what: str, _done: int, _total: int) -> None:
    """No progress wanted."""


def demo_cnn() -> Graph:
    """conv-pool-conv-pool-dense on 28x28 at 4 bits."""
    b = Build((28, 28, 1), U8)
    for i, channels in enumerate((16, 32)):
        b.conv(f"conv{i}", channels, 3, I4, Conv2d(padding=(1, 1, 1, 1)))
        b.threshold(f"act{i}", U4)
        b.add(f"pool{i}", MaxPool2d((2, 2), (2, 2)))
    b.add("flat", Reshape((b.type().size,)))
    b.dense("fc", 10, I4, bias=True)
    return b.graph()


def feeds_of(graph: Graph, frames: int) -> np.ndarray:
    """Random frames in the type of the input."""
    type_ = graph.type("x")
    count = np.random.default_rng(1).integers(0, type_.dtype.count, (frames, *type_.shape))
    return type_.dtype.lo + type_.dtype.step * count


@pytest.mark.parametrize("case", CASES)
def test_simulation_speed(benchmark: BenchmarkFixture, case: str, tmp_path: Path) -> None:
    """1,000 frames of TFC at FINN's folding, warm."""
    graph, backend, target = CASES[case](), RtlBackend(), load_target("pynq-z2")
    backend.build(graph, finn_schedule(graph), target, tmp_path)
    feeds = feeds_of(graph, 1000)
    golden = graph.evaluate(feeds)[0]
    backend.run(tmp_path, graph, [feeds[:2]], RunOptions(), quiet)
    run = benchmark(backend.run, tmp_path, graph, [feeds], RunOptions(), quiet)
    assert (run.outputs[0] == golden).all()
    benchmark.extra_info["cycles_per_second"] = run.details["cycles_per_second"]
    benchmark.extra_info["interval_cycles"] = {m.name: m.value for m in run.report.metrics}["interval_cycles"]


@pytest.mark.parametrize("state", ["cold", "warm"])
@pytest.mark.parametrize("case", [*CASES, "cnn"])
def test_compile_and_simulate(
    benchmark: BenchmarkFixture, case: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Schedule, build, compile the simulator and run 100 frames (CNN: 10), from an empty cache or a filled one."""
    monkeypatch.setenv("CODESIGN_CACHE", str(tmp_path / "cache"))
    graph = demo_cnn() if case == "cnn" else CASES[case]()
    backend, target = RtlBackend(), load_target("pynq-z2")
    feeds = feeds_of(graph, 10 if case == "cnn" else 100)

    def whole(out: Path) -> None:
        out.mkdir()
        requirement = Requirement("interval_cycles", "<=", 7056 if case == "cnn" else 64)
        schedule = backend.schedule(graph, target, None, [requirement], quiet)
        backend.build(graph, schedule, target, out)
        run = backend.run(out, graph, [feeds], RunOptions(), quiet)
        assert (run.outputs[0] == graph.evaluate(feeds)[0]).all()
        assert run.details["completed"] == run.details["predicted"]

    if state == "warm":
        whole(tmp_path / "first")
    benchmark.pedantic(whole, (tmp_path / "timed",), rounds=1)


def test_scheduling(benchmark: BenchmarkFixture) -> None:
    """Ten layers to a required frame rate: folds, depths, everything checked."""
    b = Build((32, 32, 3), U8)
    for i, channels in enumerate((16, 16, 32, 32, 64, 64)):
        b.conv(f"conv{i}", channels, 3, I4, Conv2d(padding=(1, 1, 1, 1), stride=(1 + i % 2, 1 + i % 2)))
        b.threshold(f"act{i}", U4)
    b.add("flat", Reshape((b.type().size,)))
    for i, outputs in enumerate((128, 64, 32)):
        b.dense(f"fc{i}", outputs, I4)
        b.threshold(f"act_fc{i}", U4)
    b.dense("fc3", 10, I4)
    graph, backend, target = b.graph(), RtlBackend(), load_target("zcu104")
    benchmark(lambda: backend.schedule(graph, target, None, [Requirement("fps", ">=", 500.0)], quiet))
