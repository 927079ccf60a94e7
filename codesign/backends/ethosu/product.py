"""One model as Vela was given it, and what Vela made of it.

A graph goes to Vela as .tflite where TFLite's kernels compute it exactly; else as .tosa, whose rescaling is explicit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from codesign.backends.ethosu.figures import Figures
from codesign.backends.ethosu.memory import memory_use
from codesign.backends.ethosu.rewrites import apply_rewrites
from codesign.backends.ethosu.twins import Packed, packed_of, twins
from codesign.backends.ethosu.vela import Compiled, Family, Job, Options, System, compile_models
from codesign.builddir import read_json, write_json
from codesign.errors import Diagnostic, InputError, MismatchError, ToolError, UnsupportedError, raise_all
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

    graph    what was exported: the user's graph, or what a schedule's rewrites made of it
    layers   for every operator of the file the user's name of its layer
    inexact  what TFLite could not hold, layer by layer; empty for a .tflite file
    """

    graph: Graph
    content: bytes
    layers: tuple[str, ...]
    tflite: Exported | None
    inexact: tuple[Diagnostic, ...] = ()

    def job(self, system: System, options: Options, raw: bool) -> Job:
        """The compilation of this model."""
        return Job(self.content, system, options, raw, "TFLITE" if self.tflite is not None else "TOSA")


@dataclass(frozen=True, eq=False)
class Product:
    """source: what Vela was given; compiled: for an interpreter; raw: for the driver alone, or None.

    system   the accelerator with the memory mode of the schedule
    default  what Vela makes of the graph as it is, with the target's memory mode and its own options
    """

    source: Source
    system: System
    compiled: Compiled
    raw: Compiled | None
    default: Compiled | None


_TFLITE, _TOSA, _ENDS, _SUMS = "source.tflite", "source.tosa", "source.json", "SHA256SUMS"


def write_source(given: Source, out: Path) -> None:
    """The model for Vela as a file in `out`, and how its inputs and outputs hold the graph's values."""
    (out / (_TOSA if given.tflite is None else _TFLITE)).write_bytes(given.content)
    if given.tflite is not None:
        offsets = {"inputs": list(given.tflite.inputs), "outputs": list(given.tflite.outputs)}
        write_json(out / _ENDS, offsets)


def write_sums(out: Path) -> None:
    """The SHA-256 of what was compared and audited, in the form of `sha256sum`; what is there to be edited is not."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    kept = [path for path in files if path.parent.name != "app" and path.name != "README.md"]
    lines = [f"{sha256(path.read_bytes()).hexdigest()}  {path.relative_to(out)}\n" for path in kept]
    (out / _SUMS).write_text("".join(lines), encoding="utf-8")


def expect_sums(directory: Path) -> None:
    """Raise MismatchError for files that are not those that were compared and audited."""
    try:
        lines = (directory / _SUMS).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        hint = "codesign compile makes a new one"
        raise InputError.at(str(directory / _SUMS), f"cannot be read: {error.strerror}", hint=hint) from error
    found = []
    for line in lines:
        expected, _, name = line.partition("  ")
        try:
            same = sha256((directory / name).read_bytes()).hexdigest() == expected
        except OSError:
            same = False
        if not same:
            found.append(Diagnostic(str(directory / name), "not what was compared and audited", "", "codesign compile"))
    raise_all(MismatchError, found)


def read_source(directory: Path, graph: Graph) -> Source:
    """What `write_source` wrote. Raises InputError for missing or damaged files."""
    tflite = (directory / _ENDS).exists()
    path = directory / (_TFLITE if tflite else _TOSA)
    try:
        content = path.read_bytes()
    except OSError as error:
        hint = "codesign compile makes a new one"
        raise InputError.at(str(path), f"cannot be read: {error.strerror}", hint=hint) from error
    if not tflite:
        return Source(graph, content, (), None)
    offsets = read_json(directory / _ENDS)
    try:
        inputs, outputs = (tuple(int(n) for n in offsets[key]) for key in ("inputs", "outputs"))
        if (len(inputs), len(outputs)) != (len(graph.inputs), len(graph.outputs)):
            raise ValueError(f"{len(inputs)} inputs and {len(outputs)} outputs")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError.at(str(directory / _ENDS), f"damaged: {error}", hint="codesign compile") from error
    shapes = tuple(graph.type(port.name).shape for port in graph.outputs)
    return Source(graph, content, (), Exported(content, inputs, outputs, shapes, {}, (), {}))


@lru_cache(maxsize=4)
def source(graph: Graph, family: Family) -> Source:
    """The exact form of the graph that Vela reads. Raises UnsupportedError, with every layer, when there is none."""
    from codesign.export.tosa import export_operators

    try:
        exported = export_tflite(graph)
        raise_all(UnsupportedError, twins(packed_of(parse_model(exported.content), exported.layers)))
    except UnsupportedError as refused:
        try:
            written = export_operators(graph)
            raise_all(UnsupportedError, _without_gather(written.operators, family))
            raise_all(UnsupportedError, twins(Packed(*convolution) for convolution in written.convolutions))
            layers = tuple(layer for _, layer in written.operators)
            return Source(graph, written.content, layers, None, refused.diagnostics)
        except UnsupportedError as error:
            others = [d for d in refused.diagnostics if d.where not in {e.where for e in error.diagnostics}]
            raise UnsupportedError(*error.diagnostics, *others) from error
    return Source(graph, exported.content, exported.layers, exported)


def _without_gather(operators: Sequence[tuple[str, str]], family: Family) -> list[Diagnostic]:
    """Vela ends at a TOSA operator that the NPU lacks; of those that the export makes only GATHER is not everywhere."""
    layers = dict.fromkeys(layer for kind, layer in operators if kind == "GATHER" and family != "ethos-u85")
    found, allowed = f"a choice of elements that {family} has no operator for", "one table for all channels, or slices"
    return [Diagnostic(layer, found, allowed, "-t ethos-u85-256") for layer in layers]


@lru_cache(maxsize=4)
def product(graph: Graph, schedule: EthosuSchedule, system: System) -> Product:
    """Rewrite, export, compile. Raises UnsupportedError for what cannot be exported, ToolError when Vela fails.

    InputError for rewrites that the graph has not, or a memory mode that the system has not.
    """
    modes = [other.memory_mode for other in system.memory_modes()]
    if schedule.memory_mode not in modes:
        raise InputError.at("schedule, memory_mode", repr(schedule.memory_mode), f"{', '.join(modes)} of the target")
    plain = source(graph, system.family)
    given = source(rewritten(graph, schedule), system.family) if schedule.rewrites else plain
    chosen = replace(system, memory_mode=schedule.memory_mode)
    options = Options(schedule.optimise, schedule.arena_limit, schedule.disabled)
    jobs = [given.job(chosen, options, raw) for raw in (False, True)]
    compiled, raw, default = compile_models([*jobs, plain.job(system, Options(), False)])
    if isinstance(compiled, ToolError):
        raise compiled
    # Vela has no raw form of a model with operators on the CPU; for any other failure the model itself is at hand.
    others = [None if isinstance(made, ToolError) else made for made in (raw, default)]
    return Product(given, chosen, compiled, *others)


def rewritten(graph: Graph, schedule: EthosuSchedule) -> Graph:
    """The graph that the schedule makes of it; helper nodes keep the user's name of their layer."""
    named = replace(graph, nodes=tuple(replace(node, origin=node.where) for node in graph.nodes))
    return apply_rewrites(named, schedule.rewrites)


def canonical(exported: Exported) -> Imported:
    """The exported model as the importer reads it: the golden graph that the command stream is audited against."""
    return import_parsed(parse_model(exported.content), "source.tflite")


def stored(given: Source, graph: Graph, feeds: Sequence[IntArray]) -> tuple[list[IntArray], list[IntArray]]:
    """Golden inputs and outputs as the NPU's tensors hold them."""
    from codesign.export.tosa import offsets

    ends = (*graph.inputs, *graph.outputs)
    if given.tflite is not None:
        shift = dict(zip((p.name for p in ends), (*given.tflite.inputs, *given.tflite.outputs), strict=True))
    else:
        shift = offsets(graph)
    inputs = [feed + shift.get(port.name, 0) for port, feed in zip(graph.inputs, feeds, strict=True)]
    outputs = [o + shift.get(p.name, 0) for p, o in zip(graph.outputs, graph.evaluate(*feeds), strict=True)]
    return inputs, outputs


def metrics_of(made: Product) -> list[Metric]:
    """Vela's estimates: cycles of the NPU, and the bytes that the model occupies in each kind of memory."""
    figures = Figures.of(made.compiled, made.system)
    metrics = []
    if figures.latency_cycles:  # else nothing runs on the NPU
        metrics = [
            Metric("latency_cycles", figures.latency_cycles, "cycle", Basis.TOOL),
            Metric("latency_ns", figures.latency_ns, "ns", Basis.TOOL),
            Metric("fps", figures.fps, "frame/s", Basis.TOOL),
        ]
    used = memory_use(made.compiled.performance)
    return metrics + [Metric(name, size, "byte", Basis.TOOL) for name, size in used.items()]
