"""One model as Vela was given it, and what Vela made of it.

A graph goes to Vela as .tflite where TFLite's kernels compute it exactly; else as .tosa, whose rescaling is explicit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from codesign.backends.ethosu.memory import memory_use
from codesign.backends.ethosu.vela import Compiled, Job, Options, System, compile_models
from codesign.errors import Diagnostic, ToolError, UnsupportedError
from codesign.export.tflite import Exported, export_tflite
from codesign.frontend.imported import Imported
from codesign.frontend.tflite.importer import import_parsed
from codesign.frontend.tflite.schema import parse_model
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray
from codesign.report import Basis, Metric
from codesign.schedule import EthosuSchedule


@dataclass(frozen=True, eq=False)
class Source:
    """The model for Vela. tflite: how it was exported; None: it is a .tosa file, because TFLite has no exact form.

    layers   for every operator of the file the user's name of its layer
    inexact  what TFLite could not hold, layer by layer; empty for a .tflite file
    """

    content: bytes
    layers: tuple[str, ...]
    tflite: Exported | None
    inexact: tuple[Diagnostic, ...] = ()

    @property
    def file_name(self) -> str:
        return "source.tflite" if self.tflite is not None else "source.tosa"

    def job(self, system: System, options: Options, raw: bool) -> Job:
        """The compilation of this model."""
        return Job(self.content, system, options, raw, "TFLITE" if self.tflite is not None else "TOSA")


@dataclass(frozen=True, eq=False)
class Product:
    """source: what Vela was given; compiled: for an interpreter; raw: for the driver alone, or None.

    system  the accelerator with the memory mode of the schedule
    """

    source: Source
    system: System
    compiled: Compiled
    raw: Compiled | None


@lru_cache(maxsize=4)
def source(graph: Graph) -> Source:
    """The exact form of the graph that Vela reads. Raises UnsupportedError, with every layer, when there is none."""
    from codesign.export.tosa import export_layers

    try:
        exported = export_tflite(graph)
    except UnsupportedError as refused:
        try:
            return Source(*export_layers(graph), None, refused.diagnostics)
        except UnsupportedError as error:
            others = [d for d in refused.diagnostics if d.where not in {e.where for e in error.diagnostics}]
            raise UnsupportedError(*error.diagnostics, *others) from error
    return Source(exported.content, exported.layers, exported)


@lru_cache(maxsize=4)
def product(graph: Graph, schedule: EthosuSchedule, system: System) -> Product:
    """Rewrite, export, compile. Raises UnsupportedError for what cannot be exported, ToolError when Vela fails."""
    given = source(graph)
    chosen = replace(system, memory_mode=schedule.memory_mode)
    options = Options(schedule.optimise, schedule.arena_limit, schedule.disabled)
    compiled, raw = compile_models([given.job(chosen, options, raw) for raw in (False, True)])
    if isinstance(compiled, ToolError):
        raise compiled
    # Vela has no raw form of a model with operators on the CPU; for any other failure the model itself is at hand.
    return Product(given, chosen, compiled, None if isinstance(raw, ToolError) else raw)


def canonical(exported: Exported) -> Imported:
    """The exported model as the importer reads it: the golden graph that the command stream is audited against."""
    return import_parsed(parse_model(exported.content), "source.tflite")


def stored(given: Source, graph: Graph, feeds: Sequence[IntArray]) -> tuple[Graph, list[IntArray], list[IntArray]]:
    """Golden inputs and outputs as the NPU's tensors hold them, and a graph whose ports have these integers."""
    if given.tflite is not None:
        golden = canonical(given.tflite).graph
        inputs = given.tflite.feeds(list(feeds))
        return golden, inputs, golden.evaluate(*inputs)
    from codesign.export.tosa import offsets

    shift = offsets(graph)
    inputs = [feed + shift.get(port.name, 0) for port, feed in zip(graph.inputs, feeds, strict=True)]
    outputs = [o + shift.get(p.name, 0) for p, o in zip(graph.outputs, graph.evaluate(*feeds), strict=True)]
    ports = [replace(p, type=replace(graph.type(p.name), quant=None)) for p in graph.inputs]
    return (
        replace(graph, inputs=tuple(ports), nodes=tuple(replace(n, quant=None) for n in graph.nodes)),
        inputs,
        outputs,
    )


def figures(compiled: Compiled, clock_hz: float) -> list[Metric]:
    """Vela's estimates: cycles of the NPU, and the bytes that the model occupies in each kind of memory."""
    cycles = compiled.performance["totalCycles"]
    metrics = [
        Metric("latency_cycles", cycles, "cycle", Basis.TOOL),
        Metric("latency_ns", cycles * 1e9 / clock_hz, "ns", Basis.TOOL),
    ]
    if cycles:
        metrics.append(Metric("fps", clock_hz / cycles, "frame/s", Basis.TOOL))
    used = memory_use(compiled.performance)
    return metrics + [Metric(name, size, "byte", Basis.TOOL) for name, size in used.items()]
