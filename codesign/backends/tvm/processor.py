"""A network for a processor: schedules on record, the deliverable with its figures, and its execution."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codesign.backends.base import Progress, ignore_progress
from codesign.backends.tvm.backend import FIGURES
from codesign.backends.tvm.codegen import target_of
from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.deliver.run import execute as run_deliverable
from codesign.backends.tvm.deliver.run import measure, thread_counts
from codesign.backends.tvm.deliver.write import write_deliverable
from codesign.backends.tvm.network import Kernel, compile_kernels, policy_of
from codesign.backends.tvm.plan import plan
from codesign.backends.tvm.sim import calibrate
from codesign.backends.tvm.sim.model import FunctionCost, simulate
from codesign.backends.tvm.templates import TEMPLATES
from codesign.backends.tvm.templates.base import Choice
from codesign.backends.tvm.tune.budget import Budget, State, Tuned
from codesign.backends.tvm.tune.search import Search, recorded
from codesign.backends.tvm.tune.store import Store
from codesign.errors import Diagnostic, InputError, raise_all
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray
from codesign.report import Basis, Metric
from codesign.schedule import TvmSchedule
from codesign.target import Target
from codesign.toolchain import cached, digest

LAYERS = "layers.csv"
REPEATS = 200  # of a measurement on this machine


@dataclass(frozen=True)
class Product:
    """A deliverable: where it lies, its figures, and what a user has to know."""

    directory: Path
    metrics: Sequence[Metric]
    notes: Sequence[str]


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
    key = digest(
        graph.digest(), json.dumps(schedule.to_data(), sort_keys=True), json.dumps(target.to_data(), sort_keys=True),
        str(target_of(cpu)), json.dumps(asdict(calibrate.load(target.name))), _sources(),
    )  # fmt: skip

    def make(out: Path) -> None:
        from codesign.build import example_feeds

        network = plan(graph, policy_of(cpu))
        _expect_outputs(schedule, [task.output for task in network.tasks])
        kernels = compile_kernels(network, cpu, schedule.kernels, progress)
        feeds = example_feeds(graph)
        made = write_deliverable(out, network, kernels, target, feeds, graph.evaluate(*feeds))
        sizes = [
            Metric("sram_bytes", made.arena_bytes, "byte", Basis.MODEL),
            Metric("flash_bytes", made.constants_bytes + _code_bytes(kernels), "byte", Basis.MODEL),
        ]
        progress("simulating" if cpu.arch == "aarch64" else "measuring", 0, 0)
        metrics, notes = (_simulated if cpu.arch == "aarch64" else _measured)(out, kernels, target)
        data = [[m.name, m.value, m.unit, m.basis.value] for m in (*metrics, *sizes)]
        told = {"target": target.name, "data": target.to_data(), "metrics": data, "notes": [*notes, *made.notes]}
        (out / FIGURES).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")

    directory = cached("tvm-networks", key, make)
    figures = json.loads((directory / FIGURES).read_text(encoding="utf-8"))
    metrics = [Metric(name, value, unit, Basis(basis)) for name, value, unit, basis in figures["metrics"]]
    return Product(directory, metrics, figures["notes"])


def execute(
    directory: Path, graph: Graph, feeds: Sequence[IntArray], target: Target, progress: Progress, every: bool = False
) -> list[IntArray]:
    """The outputs that the deliverable computes; with `every`, on one thread and on all cores, which must agree."""
    cpu = _cpu(target)
    return run_deliverable(directory, graph, feeds, cpu, thread_counts(cpu) if every else (1,), progress)


def _simulated(out: Path, kernels: Sequence[Kernel], target: Target) -> tuple[list[Metric], list[str]]:
    """Cycles of one inference on a simulated core, the caches warm."""
    cpu, calibration = _cpu(target), calibrate.load(target.name)
    program = next((out / "bin").iterdir())
    once, clock_hz = ["--repeat", "1"], target.clock_hz
    profile = simulate(program, cpu, once, "kernel_", clock_hz=clock_hz, calibration=calibration)
    total = profile.total
    calls = {kernel.object.symbol: 0 for kernel in kernels}
    for kernel in kernels:
        calls[kernel.object.symbol] += 1
    rows = []
    for kernel in kernels:
        cost = profile.functions.get(kernel.object.symbol, FunctionCost())
        share = 1 / calls[kernel.object.symbol]
        rows.append(
            {
                "layer": kernel.task.where, "macs": kernel.task.macs(), "cycles": round(cost.cycles * share),
                "stall_cycles": round(cost.stall_cycles * share), "instructions": round(cost.instructions * share),
                "template": kernel.choice["template"], "kernel": kernel.object.symbol,
            }
        )  # fmt: skip
    _write_layers(out, rows)
    seconds = total.cycles / target.clock_hz
    metrics = [
        Metric("latency_cycles", round(total.cycles), "cycle", Basis.MODEL),
        Metric("latency_ns", round(seconds * 1e9), "ns", Basis.MODEL),
        Metric("fps", 1 / seconds, "frame/s", Basis.MODEL),
        Metric("instructions", round(total.instructions), "instruction", Basis.TOOL),
        Metric("dram_bytes", round(total.dram_bytes), "byte", Basis.MODEL),
    ]
    notes = [f"cycles of one core of {cpu.core}; pipeline by LLVM's model of {cpu.scheduling_model}", *profile.notes]
    return metrics, notes


def _measured(out: Path, kernels: Sequence[Kernel], target: Target) -> tuple[list[Metric], list[str]]:
    """Times of one inference on this machine, one thread: the median of many."""
    times = measure(out, _cpu(target), REPEATS)
    layers = zip(kernels, times.layers, strict=True)
    _write_layers(
        out,
        [
            {
                "layer": kernel.task.where, "macs": kernel.task.macs(), "ns": layer.median_ns,
                "least_ns": layer.least_ns, "template": kernel.choice["template"], "kernel": kernel.object.symbol,
            }
            for kernel, layer in layers
        ],
    )  # fmt: skip
    metrics = [
        Metric("latency_ns", times.median_ns, "ns", Basis.MEASURED),
        Metric("fps", 1e9 / times.median_ns, "frame/s", Basis.MEASURED),
    ]
    return metrics, [
        f"times are of one thread on this machine, the median of {REPEATS}; the least {times.least_ns:,} ns"
    ]


def _write_layers(out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with (out / LAYERS).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["layer"])
        writer.writeheader()
        writer.writerows(rows)


def _expect_outputs(schedule: TvmSchedule, outputs: Sequence[str]) -> None:
    """Raise InputError unless the schedule has an entry for every kernel, and no other."""
    hint = "codesign compile without --schedule makes one"
    found = [
        Diagnostic(f"schedule of {name}", "missing", hint=hint) for name in outputs if name not in schedule.kernels
    ]
    unknown = sorted(set(schedule.kernels) - set(outputs))
    found += [Diagnostic(f"schedule of {name}", "no kernel writes this tensor", hint=hint) for name in unknown]
    raise_all(InputError, found)


def _code_bytes(kernels: Sequence[Kernel]) -> int:
    """Bytes of machine code, each kernel once."""
    from codesign.backends.tvm.sim.elf import code_bytes

    return sum(code_bytes(path) for path in {kernel.object.path for kernel in kernels})


def _cpu(target: Target) -> Cpu:
    assert target.cpu is not None, "chosen by it"
    return target.cpu


def _sources() -> str:
    """A digest of the code that a deliverable depends on."""
    here = Path(__file__).parent
    return digest(*sorted(path for path in here.rglob("*") if path.suffix in (".py", ".c", ".h", ".S")))
