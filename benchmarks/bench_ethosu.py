"""The search for Ethos-U schedules: its time, and its cycles against those of Vela's default.

    pytest benchmarks/bench_ethosu.py --benchmark-columns=median --benchmark-json=ethosu.json
    python benchmarks/bench_ethosu.py    # the table of docs/guide/ethosu-scheduling.md

`extra_info`: Vela's default cycles, those of the chosen schedule, their ratio, the rewrites. The models are
those of MLPerf Tiny in `CODESIGN_CASES`, and networks with random weights (tests/ethosu_networks.py).
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from ethosu_networks import NETWORKS

import codesign
from codesign.backends.ethosu.search import Plan, search
from codesign.backends.ethosu.vela import System
from codesign.ir.graph import Graph

_U55, _U65, _U85 = "Ethos_U55_High_End_Embedded", "Ethos_U65_High_End", "Ethos_U85_SYS_DRAM_Mid"
SYSTEMS = {
    **{f"u55-{macs}": System(f"ethos-u55-{macs}", _U55, "Shared_Sram") for macs in (32, 128, 256)},
    **{f"u65-{macs}": System(f"ethos-u65-{macs}", _U65, "Dedicated_Sram_384KB") for macs in (256, 512)},
    **{f"u85-{macs}": System(f"ethos-u85-{macs}", _U85, "Dedicated_Sram_384KB") for macs in (256, 1024)},
}
MLPERF = {"ad": "ad01_int8", "kws": "kws_ref_model"}
MODELS = (*MLPERF, *(name for name in NETWORKS if name != "mobilenet_v2"))


@cache
def model(name: str) -> Graph:
    """A model by its name; the benchmark is skipped where its file is missing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.tflite"
        if name in NETWORKS:
            path.write_bytes(NETWORKS[name]())
        elif "CODESIGN_CASES" in os.environ:
            path = Path(os.environ["CODESIGN_CASES"]) / "mlperf_tiny" / f"{MLPERF[name]}.tflite"
        else:
            pytest.skip("the folder of third-party cases is missing: set CODESIGN_CASES")
        return codesign.load(str(path))


@pytest.mark.parametrize("accelerator", SYSTEMS)
@pytest.mark.parametrize("name", MODELS)
def test_search(benchmark: BenchmarkFixture, name: str, accelerator: str) -> None:
    """One search, the objective and requirements left open."""
    graph = model(name)
    plan: Plan = benchmark.pedantic(search, (graph, [SYSTEMS[accelerator]]), rounds=1)
    default, chosen = plan.default.figures.latency_cycles, plan.chosen.figures.latency_cycles
    assert chosen <= default
    benchmark.extra_info |= {
        "default_cycles": default,
        "cycles": chosen,
        "ratio": round(chosen / default, 4),
        "rewrites": [rewrite for rewrite, _ in plan.chosen.schedule.rewrites],
    }


def main() -> None:
    """A row per model: per accelerator cycles, and the change to Vela's default; then processor time of a search."""
    print("| model |", " | ".join(SYSTEMS), "| longest search |")
    print("|---|" + "---|" * (len(SYSTEMS) + 1))
    for name in (*MODELS, "mobilenet_v2"):
        cells, longest = [], 0.0
        for system in SYSTEMS.values():
            graph, started = model(name), _processor_s()
            plan = search(graph, [system])
            longest = max(longest, _processor_s() - started)
            cycles = plan.chosen.figures.latency_cycles
            change = cycles / plan.default.figures.latency_cycles - 1
            cells.append(f"{cycles:,} ({change:+.1%})" if change else f"{cycles:,} (=)")
        print(f"| {name} |", " | ".join(cells), f"| {longest:.1f} s |", flush=True)


def _processor_s() -> float:
    """Processor time of this process and of those that it has started and waited for, in seconds."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    main()
