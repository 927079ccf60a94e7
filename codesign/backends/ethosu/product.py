"""One model as Vela was given it, and what Vela made of it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from codesign.backends.ethosu.vela import Compiled, Job, Options, System, compile_models
from codesign.errors import ToolError
from codesign.export.tflite import Exported, export_tflite
from codesign.frontend.imported import Imported
from codesign.frontend.tflite import import_tflite
from codesign.ir.graph import Graph
from codesign.report import Basis, Metric
from codesign.schedule import EthosuSchedule

SOURCE = "source.tflite"


@dataclass(frozen=True, eq=False)
class Product:
    """exported: the model for Vela, exact; compiled: for an interpreter; raw: for the driver alone, or None.

    system  the accelerator with the memory mode of the schedule
    """

    exported: Exported
    system: System
    compiled: Compiled
    raw: Compiled | None


@lru_cache(maxsize=4)
def product(graph: Graph, schedule: EthosuSchedule, system: System) -> Product:
    """Rewrite, export, compile. Raises UnsupportedError for what cannot be exported, ToolError when Vela fails."""
    exported = export_tflite(graph)
    chosen = replace(system, memory_mode=schedule.memory_mode)
    options = Options(schedule.optimise, schedule.arena_limit, schedule.disabled)
    jobs = [Job(exported.content, chosen, options, raw=raw) for raw in (False, True)]
    compiled, raw = compile_models(jobs)
    if isinstance(compiled, ToolError):
        raise compiled
    # Vela has no raw form of a model with operators on the CPU; for any other failure the model itself is at hand.
    return Product(exported, chosen, compiled, None if isinstance(raw, ToolError) else raw)


def canonical(exported: Exported) -> Imported:
    """The exported model as the importer reads it: the golden graph that the command stream is audited against."""
    with tempfile.TemporaryDirectory(prefix="codesign-ethosu-") as folder:
        path = Path(folder) / SOURCE
        path.write_bytes(exported.content)
        return import_tflite(path)


def figures(compiled: Compiled, clock_hz: float) -> list[Metric]:
    """Vela's estimates: cycles of the NPU, and the bytes that the model occupies in each kind of memory."""
    cycles = compiled.performance["totalCycles"]
    metrics = [
        Metric("latency_cycles", cycles, "cycle", Basis.TOOL),
        Metric("latency_ns", cycles * 1e9 / clock_hz, "ns", Basis.TOOL),
    ]
    if cycles:
        metrics.append(Metric("fps", clock_hz / cycles, "frame/s", Basis.TOOL))
    used = {"sram_bytes": 0, "flash_bytes": 0, "dram_bytes": 0}
    for name, memory in compiled.performance["memories"].items():
        kind = {"Sram": "sram_bytes", "Dram": "dram_bytes"}.get(name, "flash_bytes" if name.endswith("Flash") else "")
        if kind:
            used[kind] += memory["peak_bytes"]
    metrics += [Metric(name, size, "byte", Basis.TOOL) for name, size in used.items() if size or name != "dram_bytes"]
    return metrics
