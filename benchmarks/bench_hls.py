"""From graph to verified HLS project: scheduling, writing, compiling the C simulation (cold), frames per second.

pytest benchmarks/bench_hls.py --benchmark-columns=min,median
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.bench_rtl import demo_cnn, feeds_of, quiet
from codesign.backends.base import RunOptions
from codesign.backends.hls import project
from codesign.backends.hls.backend import HlsBackend
from codesign.backends.hls.emulate import compile_project
from codesign.backends.hls.flows import FLOWS
from codesign.backends.hls.lower import lower
from codesign.backends.hls.search import search
from codesign.backends.rtl.fabrics import fabric
from codesign.build import example_feeds
from codesign.ir.graph import Graph
from codesign.schedule import IoType
from codesign.target import load_target
from tests.hw.networks import I2, TFC, U2, mlp

GRAPHS = {"mlp": lambda: mlp(I2, U2, TFC), "cnn": demo_cnn}
IO_TYPES: tuple[IoType, ...] = ("io_stream", "io_parallel")
PYNQ = load_target("pynq-z2")


def scheduled(graph: Graph) -> object:
    networks = {io: lower(graph, io) for io in IO_TYPES if io == "io_stream" or len(graph.type("x").shape) == 1}
    return search(networks, fabric("xc7"), PYNQ, None, (), quiet)


@pytest.mark.parametrize("case", GRAPHS)
def test_scheduling(benchmark: BenchmarkFixture, case: str) -> None:
    """All designs of all intervals, the best of them."""
    graph = GRAPHS[case]()
    benchmark(scheduled, graph)


@pytest.mark.parametrize("case", GRAPHS)
def test_writing(benchmark: BenchmarkFixture, case: str, tmp_path: Path) -> None:
    """The project alone, without its C simulation."""
    graph, backend = GRAPHS[case](), HlsBackend()
    schedule = backend.schedule(graph, PYNQ, None, (), quiet)
    feed = example_feeds(graph)[0]
    golden = graph.evaluate(feed)[0]

    def write() -> None:
        network = lower(graph, schedule.io)
        project.write(network, schedule, FLOWS["Vitis"], PYNQ, graph, tmp_path, feed, golden)

    benchmark.pedantic(write, rounds=3, iterations=1)


@pytest.mark.parametrize("case", GRAPHS)
def test_compiling_cold(
    benchmark: BenchmarkFixture, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The C simulation with an empty cache: the precompiled headers, then the program."""
    graph, backend = GRAPHS[case](), HlsBackend()
    schedule = backend.schedule(graph, PYNQ, None, (), quiet)
    (tmp_path / "project").mkdir()
    backend.build(graph, schedule, PYNQ, tmp_path / "project")
    caches = iter(range(100))

    def compile_it() -> None:
        monkeypatch.setenv("CODESIGN_CACHE", str(tmp_path / f"cache{next(caches)}"))
        compile_project(tmp_path / "project", FLOWS["Vitis"], quiet)

    benchmark.pedantic(compile_it, rounds=2, iterations=1)


@pytest.mark.parametrize("case", GRAPHS)
def test_simulation(benchmark: BenchmarkFixture, case: str, tmp_path: Path) -> None:
    """100 frames through the compiled C simulation."""
    graph, backend = GRAPHS[case](), HlsBackend()
    backend.build(graph, backend.schedule(graph, PYNQ, None, (), quiet), PYNQ, tmp_path)
    feed = feeds_of(graph, 100)

    def simulate() -> None:
        run = backend.run(tmp_path, graph, [feed], RunOptions(), quiet)
        assert (run.outputs[0] == graph.evaluate(feed)[0]).all()

    benchmark.pedantic(simulate, rounds=3, iterations=1)
