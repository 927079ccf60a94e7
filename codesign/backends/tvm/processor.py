"""A network for a processor: schedules on record, the deliverable with its figures, and its execution."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from codesign.backends.base import Progress, ignore_progress
from codesign.backends.tvm.codegen import target_of
from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.deliver.run import execute as run_deliverable
from codesign.backends.tvm.deliver.run import measure, thread_counts
from codesign.backends.tvm.deliver.write import write_deliverable
from codesign.backends.tvm.network import Kernel, compile_kernels, policy_of
from codesign.backends.tvm.plan import plan
from codesign.backends.tvm.product import Figures, Product, Rows, expect_outputs, product_of
from codesign.backends.tvm.sim import calibrate
from codesign.backends.tvm.sim.elf import code_bytes
from codesign.backends.tvm.sim.model import FunctionCost, simulate
from codesign.backends.tvm.templates import TEMPLATES
from codesign.backends.tvm.templates.base import Choice
from codesign.backends.tvm.tune.budget import Budget, State, Tuned
from codesign.backends.tvm.tune.search import Search, recorded
from codesign.backends.tvm.tune.store import Store
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray
from codesign.report import Basis, Metric
from codesign.schedule import TvmSchedule
from codesign.target import Target

DRIVER = "network_run_layers"  # calls the kernels, and fills the borders of images before
REPEATS = 200  # of a measurement on this machine


def recorded_choices(graph: Graph, target: Target, progress: Progress) -> dict[str, Choice]:
    """The best schedule on record of every kernel, by the tensor that it writes; else a template's best guess."""
    progress("reading the records of the tuner", 0, 0)
    return recorded(plan(graph, policy_of(_cpu(target))).tasks, target, Store(_cpu(target)), TEMPLATES)


def tune(
    graph: Graph, target: Target, budget: Budget, progress: Progress, say: Callable[[State], None] = lambda _state: None
) -> Tuned:
    """Search for schedules, and keep what was tried on record. Raises InputError for a damaged store."""
    tasks, cpu = plan(graph, policy_of(_cpu(target))).tasks, _cpu(target)
    return Search(tasks, target, Store(cpu), TEMPLATES, say=say).run(budget, progress)


def product(graph: Graph, schedule: TvmSchedule, target: Target, progress: Progress = ignore_progress) -> Product:
    """The deliverable of a schedule, from the cache if it was made before. Raises InputError for a wrong schedule."""
    cpu = _cpu(target)

    def make(out: Path) -> Figures:
        from codesign.build import example_feeds

        network = plan(graph, policy_of(cpu))
        expect_outputs(schedule, [task.output for task in network.tasks])
        kernels = compile_kernels(network, cpu, schedule.kernels, progress)
        feeds = example_feeds(graph)
        made = write_deliverable(out, network, kernels, target, feeds, graph.evaluate(*feeds))
        progress("simulating" if cpu.arch == "aarch64" else "measuring", 0, 0)
        found = (_simulated if cpu.arch == "aarch64" else _measured)(out, kernels, target)
        code = sum(code_bytes(path) for path in {kernel.object.path for kernel in kernels})
        sizes = [
            Metric("sram_bytes", made.arena_bytes, "byte", Basis.MODEL),
            Metric("flash_bytes", made.constants_bytes + code, "byte", Basis.MODEL),
        ]
        return Figures([*found.metrics, *sizes], [*found.notes, *made.notes], found.layers)

    calibration = json.dumps(asdict(calibrate.load(target.name)))
    return product_of(graph, schedule, target, (str(target_of(cpu)), calibration), make)


def execute(
    directory: Path, graph: Graph, feeds: Sequence[IntArray], target: Target, progress: Progress, every: bool = False
) -> list[IntArray]:
    """The outputs that the deliverable computes; with `every`, on one thread and on all cores, which must agree."""
    cpu = _cpu(target)
    return run_deliverable(directory, graph, feeds, cpu, thread_counts(cpu) if every else (1,), progress)


def _simulated(out: Path, kernels: Sequence[Kernel], target: Target) -> Figures:
    """Cycles of one inference on a simulated core, the caches warm."""
    cpu, calibration = _cpu(target), calibrate.load(target.name)
    program = next((out / "bin").iterdir())
    once, clock_hz = ["--frames", "1"], target.clock_hz
    symbols = [kernel.object.symbol for kernel in kernels]
    functions = [*dict.fromkeys(symbols), DRIVER]
    profile = simulate(program, cpu, once, functions, clock_hz=clock_hz, calibration=calibration)
    total, driver = profile.total, profile.functions[DRIVER]
    rows = []
    for kernel in kernels:
        cost = profile.functions.get(kernel.object.symbol, FunctionCost())
        share = 1 / symbols.count(kernel.object.symbol)  # equal layers share a kernel
        cycles = {"cycles": cost.cycles, "stall_cycles": cost.stall_cycles, "instructions": cost.instructions}
        rows.append(_row(kernel, {name: round(value * share) for name, value in cycles.items()}))
    seconds = total.cycles / target.clock_hz
    metrics = [
        Metric("latency_cycles", round(total.cycles), "cycle", Basis.MODEL),
        Metric("latency_ns", round(seconds * 1e9), "ns", Basis.MODEL),
        Metric("fps", 1 / seconds, "frame/s", Basis.MODEL),
        Metric("instructions", round(total.instructions), "instruction", Basis.TOOL),
        Metric("dram_bytes", round(total.dram_bytes), "byte", Basis.MODEL),
    ]
    notes = [
        f"cycles of one core of {cpu.core}; pipeline by LLVM's model of {cpu.scheduling_model}",
        f"{round(driver.cycles):,} of the cycles are for borders of images and calls between the layers",
        *profile.notes,
    ]
    return Figures(metrics, notes, rows)


def _measured(out: Path, kernels: Sequence[Kernel], target: Target) -> Figures:
    """Times of one inference on this machine, one thread: the median of many."""
    times = measure(out, _cpu(target), REPEATS)
    rows: Rows = [
        _row(kernel, {"ns": layer.median_ns, "least_ns": layer.least_ns})
        for kernel, layer in zip(kernels, times.layers, strict=True)
    ]
    metrics = [
        Metric("latency_ns", times.median_ns, "ns", Basis.MEASURED),
        Metric("fps", 1e9 / times.median_ns, "frame/s", Basis.MEASURED),
    ]
    note = f"times are of one thread on this machine, the median of {REPEATS}; the least {times.least_ns:,} ns"
    return Figures(metrics, [note], rows)


def _row(kernel: Kernel, figures: dict[str, int]) -> dict[str, object]:
    """A layer of layers.csv."""
    ends = {"template": kernel.choice["template"], "kernel": kernel.object.symbol}
    return {"layer": kernel.task.where, "macs": kernel.task.macs(), **figures, **ends}


def _cpu(target: Target) -> Cpu:
    assert target.cpu is not None, "chosen by it"
    return target.cpu
