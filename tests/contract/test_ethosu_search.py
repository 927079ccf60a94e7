"""The search for Ethos-U schedules: never worse than Vela's default, better on the shared cases, exact, replayable."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import missing
from ethosu_models import SYSTEMS, mlperf
from ethosu_networks import NETWORKS, Network
from tflite_models import reference

import codesign
from codesign.backends.base import Progress, Requirement, ignore_progress
from codesign.backends.ethosu import trials
from codesign.backends.ethosu.figures import Figures
from codesign.backends.ethosu.rewrites import apply_rewrites
from codesign.backends.ethosu.search import Plan, search
from codesign.backends.ethosu.vela import Compiled, Job, Options, System, compile_model, compile_models
from codesign.errors import RequirementError, ToolError, UsageError
from codesign.export.tflite import export_tflite
from codesign.ir.graph import Graph
from codesign.requirements import text_of
from codesign.schedule import EthosuSchedule
from codesign.testing.graphs import feeds
from codesign.toolchain import require

U55, U65, U85 = SYSTEMS["u55"], SYSTEMS["u65"], SYSTEMS["u85"]
ONLY_SRAM = SYSTEMS["u55 in SRAM"]


@pytest.fixture(autouse=True)
def _vela() -> None:
    try:
        require("vela")
    except ToolError as error:
        missing(str(error))


@pytest.fixture
def network(tmp_path: Path) -> Graph:
    """A convolution of an image of one channel, a depthwise and a 1x1 convolution, a matrix product."""
    n = Network((16, 16, 1))
    n.conv(8, stride=(2, 2))
    n.conv(0)
    n.conv(16, (1, 1))
    n.mean()
    n.dense(4, relu=False)
    return imported(n.content(), tmp_path)


def imported(content: bytes, folder: Path) -> Graph:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return codesign.load(str(path))


def replayed(graph: Graph, plan: Plan) -> bytes:
    """The model of the chosen schedule, made again from its data."""
    schedule = EthosuSchedule.from_data(plan.chosen.schedule.to_data())
    assert schedule == plan.chosen.schedule
    content = export_tflite(apply_rewrites(graph, schedule.rewrites)).content
    options = Options(schedule.optimise, schedule.arena_limit, schedule.disabled)
    made = compile_model(Job(content, replace(plan.chosen.system, memory_mode=schedule.memory_mode), options))
    assert Figures.of(made, plan.chosen.system) == plan.chosen.figures
    return content


@pytest.mark.parametrize(
    ("name", "system", "most"),
    [
        ("kws_ref_model", U55, 0.80), ("kws_ref_model", U65, 0.82), ("kws_ref_model", U85, 0.78),
        ("ad01_int8", U55, 0.993), ("ad01_int8", U65, 0.996), ("ad01_int8", U85, 0.993),
    ],
)  # fmt: skip
def test_better_than_velas_default_on_mlperf_tiny(name: str, system: System, most: float) -> None:
    """The model of the user, compiled by Vela as it is, takes `1 / most` times the cycles; no bit differs."""
    path = mlperf(name)
    graph = codesign.load(str(path))
    plan = search(graph, [system])
    users = Figures.of(compile_model(Job(path.read_bytes(), system)), system)
    assert plan.chosen.figures.latency_cycles <= most * users.latency_cycles
    assert plan.default.figures.latency_cycles <= users.latency_cycles
    content = replayed(graph, plan)
    inputs = feeds(graph, 2, seed=1)
    exported = plan.chosen.source.tflite
    stored = [feed.astype(np.int8) for feed in exported.feeds(inputs)]
    found = reference(content, *stored)[graph.outputs[0].name]
    np.testing.assert_array_equal(exported.results([found])[0], graph.evaluate(*inputs)[0])


@pytest.mark.parametrize("system", [U55, U65, U85], ids=["u55", "u65", "u85"])
def test_never_worse_and_deterministic(network: Graph, system: System) -> None:
    plan = search(network, [system])
    assert plan.chosen.figures.order(None) <= plan.default.figures.order(None)
    assert plan.default.schedule == EthosuSchedule(system.memory_mode)
    assert search(network, [system]).chosen.schedule == plan.chosen.schedule
    replayed(network, plan)


def test_an_image_in_dram_is_read_once(tmp_path: Path) -> None:
    """A convolution that takes every pixel of an image in slow memory many times gets a copy in SRAM."""
    n = Network((96, 96, 3))
    n.conv(8, stride=(2, 2))
    graph = imported(n.content(), tmp_path)
    plan = search(graph, [U65])
    assert "buffer_input" in dict(plan.chosen.schedule.rewrites)
    read = plan.default.layers.layers[0].memories
    assert sum(use.read for use in read if use.memory == "Dram") > 4 * 96 * 96 * 3
    assert plan.chosen.figures.latency_cycles < 0.6 * plan.default.figures.latency_cycles


def test_sram_is_traded_for_cycles(tmp_path: Path) -> None:
    """The frontier shows what there is; a requirement of its smallest SRAM is met, and excludes its fewest cycles."""
    graph = imported(NETWORKS["small_cnn"](), tmp_path)
    free = search(graph, [U55])
    points = [(c.figures.latency_cycles, c.figures.sram_bytes) for c in free.frontier]
    assert points[0][0] == free.chosen.figures.latency_cycles
    assert len(points) > 1
    assert all(a[0] < b[0] and a[1] > b[1] for a, b in pairwise(points))
    small = Requirement("sram_bytes", "<=", points[-1][1])
    plan = search(graph, [U55], None, [small])
    assert plan.chosen.figures.sram_bytes <= small.value
    demands = [Requirement("sram_bytes", "<=", 9000), Requirement("latency_cycles", "<=", 1.05 * points[0][0])]
    assert points[-1][1] < 9000 < points[0][1]
    with pytest.raises(RequirementError) as error:
        search(graph, [U55], None, demands)
    said = r"--require '(.*)': the closest schedule of those that meet (.*) has (\w+) ([\d,]+): .*; allowed: \4 or more"
    found = re.fullmatch(said, str(error.value))
    assert found is not None
    assert {found[1], found[2]} == {text_of(demand) for demand in demands}


def test_other_memory_modes_only_where_they_are_asked_for(network: Graph) -> None:
    assert search(network, [U55, ONLY_SRAM]).chosen.system == U55
    fastest = search(network, [U55, ONLY_SRAM], "latency")
    assert fastest.chosen.system == ONLY_SRAM
    assert fastest.chosen.schedule.memory_mode == "Sram_Only"
    assert fastest.chosen.figures.flash_bytes == 0
    cycles = search(network, [U55]).chosen.figures.latency_cycles - 1
    asked = search(network, [U55, ONLY_SRAM], None, [Requirement("latency_cycles", "<=", cycles)])
    assert asked.chosen.system == ONLY_SRAM


def test_figures_follow_from_cycles_and_clock(network: Graph) -> None:
    figures = search(network, [U55]).default.figures
    assert U55.clock_hz() == figures.clock_hz == 500e6
    assert figures.latency_ns == pytest.approx(figures.latency_cycles * 2)
    assert figures.fps == pytest.approx(500e6 / figures.latency_cycles)
    assert figures.flash_bytes > 0 == figures.dram_bytes


def test_figures_of_other_devices_are_refused(network: Graph) -> None:
    with pytest.raises(UsageError) as error:
        search(network, [U55], None, [Requirement("lut", "<=", 100)])
    assert str(error.value) == (
        "--require 'lut<=100': an NPU has no lut; allowed: latency_cycles, latency_ns, fps, "
        "sram_bytes, flash_bytes, dram_bytes"
    )


def test_requirements_that_nothing_meets_say_how_close_one_gets(network: Graph) -> None:
    free = search(network, [U55])
    demands = [Requirement("latency_cycles", "<=", 10), Requirement("flash_bytes", "<=", 20)]
    with pytest.raises(RequirementError) as error:
        search(network, [U55], None, demands, {"sram_bytes": 100})
    lines = str(error.value).splitlines()
    cycles = f"{free.chosen.figures.latency_cycles:,}"
    assert lines[0].startswith(f"--require 'latency_cycles<=10': the closest schedule has latency_cycles {cycles}: ")
    assert lines[0].endswith(f"limited by the multipliers; allowed: {cycles} or more")
    assert lines[1].startswith("--require 'flash_bytes<=20': the closest schedule has flash_bytes ")
    assert ": the weights and biases as Vela compresses them; allowed: " in lines[1]
    assert lines[2].startswith("the target's sram_bytes<=100: the closest schedule has sram_bytes ")
    assert " bytes while it runs; allowed: " in lines[2]


def test_what_vela_refuses_is_left_out(network: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = export_tflite(network).content

    def refusing(jobs: Sequence[Job], progress: Progress = ignore_progress) -> list[Compiled | ToolError]:
        made = compile_models(jobs, progress)
        return [r if job.model == plain else ToolError.at("vela", "refuses") for job, r in zip(jobs, made, strict=True)]

    monkeypatch.setattr(trials, "compile_models", refusing)
    plan = search(network, [U55])
    assert plan.chosen.schedule.rewrites == ()


def test_a_model_that_vela_refuses_is_refused(network: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(jobs: Sequence[Job], progress: Progress = ignore_progress) -> list[Compiled | ToolError]:
        return [ToolError.at("vela", "refuses the model") for _ in jobs]

    monkeypatch.setattr(trials, "compile_models", refusing)
    with pytest.raises(ToolError, match=r"^vela: refuses the model$"):
        search(network, [U55])


def test_what_goes_to_the_cpu_is_not_taken_for_faster(network: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator on the CPU costs no NPU cycles; a schedule that moves one there is no gain."""
    plain = export_tflite(network).content

    def unloading(jobs: Sequence[Job], progress: Progress = ignore_progress) -> list[Compiled | ToolError]:
        made = compile_models(jobs, progress)
        for job, result in zip(jobs, made, strict=True):
            if job.model != plain and not isinstance(result, ToolError):
                result.performance.update(cpuOps=1, totalCycles=1)
        return made

    monkeypatch.setattr(trials, "compile_models", unloading)
    plan = search(network, [U55])
    assert plan.chosen.schedule.rewrites == ()
    assert all(candidate.figures.on_cpu == 0 for candidate in plan.frontier)


def test_compilations_are_few_for_a_large_model(monkeypatch: pytest.MonkeyPatch, network: Graph) -> None:
    """Ten, where a compilation takes long by the rule of thumb."""
    jobs: list[Job] = []

    def counting(asked: Sequence[Job], progress: Progress = ignore_progress) -> list[Compiled | ToolError]:
        jobs.extend(asked)
        return compile_models(asked, progress)

    monkeypatch.setattr(trials, "compile_models", counting)
    monkeypatch.setattr(trials, "_MS_PER_NODE", 1e6)
    plan = search(network, [U55])
    assert len(jobs) == 10
    assert plan.chosen.figures.order(None) <= plan.default.figures.order(None)


def test_networks_of_the_benchmark_import(tmp_path: Path) -> None:
    for name in ("ds_cnn", "resnet8", "small_cnn"):
        graph = imported(NETWORKS[name](), tmp_path)
        assert export_tflite(graph).content
