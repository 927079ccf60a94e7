"""The Ethos-U backend: the integer graph as an exact .tflite, compiled by Vela, audited, with a bare-metal self-test.

No simulator of the NPU is to be had: `run` executes the model that Vela was given with TFLite's reference kernels, and
the audit compares Vela's command stream with it. Nothing here has run on an NPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from codesign.backends.base import Objective, Progress, Requirement, Run, RunOptions, Verdict, ignore_progress
from codesign.backends.ethosu.audit import audit
from codesign.backends.ethosu.constraints import refusals
from codesign.backends.ethosu.cpu import OffNpu, off_npu
from codesign.backends.ethosu.deliverable import write_deliverable
from codesign.backends.ethosu.memory import arena_problems, memory_problems
from codesign.backends.ethosu.product import (
    Product,
    Source,
    canonical,
    expect_sums,
    metrics_of,
    product,
    read_source,
    rewritten,
    source,
    stored,
    write_source,
    write_sums,
)
from codesign.backends.ethosu.search import search
from codesign.backends.ethosu.vela import NPU_OPERATOR, Compiled, Family, System
from codesign.builddir import write_json
from codesign.errors import (
    Diagnostic,
    MismatchError,
    RequirementError,
    ToolError,
    UnsupportedError,
    UsageError,
    raise_all,
)
from codesign.export import comparable_frames
from codesign.export.tflite.verify import compare_tensors, run_reference
from codesign.frontend.tflite.schema import parse_model
from codesign.frontend.tflite.source import INSTALL, litert_version
from codesign.ir.graph import Graph, Node
from codesign.ir.types import IntArray
from codesign.report import Basis, Comparison, Metric, Report
from codesign.schedule import EthosuSchedule
from codesign.target import Target


class EthosuBackend:
    """Implements `codesign.backends.base.Backend` with `EthosuSchedule`."""

    name = "ethosu"

    def check(self, node: Node, graph: Graph, target: Target) -> Verdict:
        """Whether the node has an exact form for Vela; a note where the NPU would leave it to the CPU."""
        refused = [d for d in _refused(graph, _system(target).family) if d.where in (node.where, f"input {node.name}")]
        if refused:
            return Verdict(False, "; ".join(str(replace(d, where="")) for d in refused))
        reasons = _on_cpu(graph, _system(target).family).get(node.where, ())
        return Verdict(True, note=f"on the CPU: {'; '.join(reasons)}" if reasons else "")

    def schedule(
        self, graph: Graph, target: Target, objective: Objective | None, requirements: Sequence[Requirement],
        progress: Progress,
    ) -> EthosuSchedule:  # fmt: skip
        """The best schedule that Vela's estimates find; see search.py."""
        system = _system(target)
        raise_all(UnsupportedError, _refused(graph, system.family))
        plan = search(graph, system.memory_modes(), objective, requirements, target.limits, progress)
        return plan.chosen.schedule

    def schedule_data(self, schedule: EthosuSchedule) -> dict[str, Any]:
        return schedule.to_data()

    def read_schedule(self, data: Mapping[str, Any], graph: Graph) -> EthosuSchedule:
        """A schedule from plain data; raises InputError for what is wrong, rewrites of unknown layers included."""
        schedule = EthosuSchedule.from_data(data)
        rewritten(graph, schedule)
        return schedule

    def estimate(self, graph: Graph, schedule: EthosuSchedule, target: Target) -> Report:
        """Vela's own estimates, basis TOOL: not measured, and comparable only within one system and memory mode."""
        made = product(graph, schedule, _system(target))
        metrics, notes = metrics_of(made), _against_default(made, schedule, _system(target))
        outside = _outside(made)
        if outside is not None and outside.operators:
            metrics.append(Metric("cpu_cycles", outside.cpu_cycles, "CPU cycle", Basis.MODEL))
            notes.append("cycles, time and fps are the NPU's alone; what runs on the CPU comes on top")
        if outside is not None:
            notes += [str(part) for part in (*outside.operators, *outside.copies)]
        return Report(target.name, metrics, schedule=schedule.to_data(), notes=notes)

    def build(
        self, graph: Graph, schedule: EthosuSchedule, target: Target, out: Path, progress: Progress = ignore_progress
    ) -> Report:
        """Write the model, Vela's results, and the bare-metal application into `out`; compare and audit all of it.

        Raises MismatchError when a tensor differs from the golden evaluation, or a constant of the command stream from
        the graph; RequirementError when a memory of the target is too small.
        """
        made = product(graph, schedule, _system(target))
        problems = memory_problems(target, made.compiled.performance)
        raise_all(RequirementError, problems + arena_problems(made.compiled, made.raw, made.system))
        write_source(made.source, out)
        verification, notes = _verify(made.source, graph, progress)
        notes += _audit(made, out)
        notes += _deliver(made, graph, out)
        outside = _outside(made)
        if outside is not None:
            write_json(out / "off_npu.json", outside.to_data())
        write_sums(out)
        return Report(target.name, (), verification=verification, notes=notes)

    def run(
        self, directory: Path, graph: Graph, feeds: Sequence[IntArray], options: RunOptions, progress: Progress
    ) -> Run:
        """The model that Vela was given, run by the reference interpreter of its format; no cycles are measured."""
        asked = {"--stall": options.stall, "--trace": options.trace}
        found = [Diagnostic(name, "not for this build", "a streaming design") for name, value in asked.items() if value]
        raise_all(UsageError, found)
        expect_sums(directory)
        return Run(_reference(read_source(directory, graph), graph, feeds, progress), Report("", ()), {})


def _system(target: Target) -> System:
    assert target.npu is not None, "checked when the target was loaded"
    return target.npu


@lru_cache(maxsize=4)
def _refused(graph: Graph, family: Family) -> tuple[Diagnostic, ...]:
    """Why the graph has no exact form for Vela; empty when it has one."""
    try:
        source(graph, family)
    except UnsupportedError as error:
        return error.diagnostics
    return ()


@lru_cache(maxsize=4)
def _on_cpu(graph: Graph, family: Family) -> dict[str, tuple[str, ...]]:
    """By the user's layer, why operators of its TFLite form would stay on the CPU; empty where there is none."""
    given = None if _refused(graph, family) else source(graph, family)
    if given is None or given.tflite is None:
        return {}
    model = parse_model(given.content)
    found: dict[str, tuple[str, ...]] = {}
    for op, layer in zip(model.operators, given.layers, strict=True):
        reasons = tuple(f"{op.name}: {reason}" for reason in refusals(op, model, family))
        found[layer] = found.get(layer, ()) + reasons
    return found


@lru_cache(maxsize=4)
def _outside(made: Product) -> OffNpu | None:
    """What the compiled model leaves to the CPU or only copies; None for a .tosa file, all of which is on the NPU."""
    if made.source.tflite is None:
        return None
    return off_npu(parse_model(made.source.content), made.compiled, made.system.family, made.source.layers)


def _verify(given: Source, graph: Graph, progress: Progress) -> tuple[Comparison | None, tuple[str, ...]]:
    """The model that Vela was given, in its format's reference interpreter, against the golden evaluation.

    Outputs are compared with those of the user's graph, all other tensors with the graph that was exported.
    """
    from codesign.build import compare, example_feeds

    frames = comparable_frames(graph)
    feeds = example_feeds(graph, frames)
    unproved = "the command stream itself has not run"
    version = litert_version()
    if given.tflite is not None and not version:
        return None, (f"not compared with LiteRT's reference kernels, which are not installed; {INSTALL}",)
    if given.tflite is None:
        outputs = _reference(given, graph, feeds, progress)
        layers = ", ".join(dict.fromkeys(d.where for d in given.inexact))
        note = f"as .tosa, since TFLite has no exact form of {layers}; TOSA's reference model runs it to equal outputs"
    else:
        rows, outputs = compare_tensors(given.tflite, given.graph, feeds, progress)
        raise_all(
            MismatchError,
            [
                Diagnostic(_where(given.graph, row.name), f"{row.mismatches} of {row.elements} elements differ")
                for row in rows
                if row.mismatches
            ],
        )
        note = f"LiteRT {version}'s reference kernels run the model that Vela was given: {len(rows)} tensors equal"
        note = f"{note} on {frames} frames"
    golden = outputs if given.graph is graph and given.tflite is not None else graph.evaluate(*feeds)
    found = compare(golden, outputs, "golden")
    if found.mismatches:
        raise MismatchError.at("outputs", f"{found.mismatches} elements differ from the golden evaluation")
    return found, (f"{note}; {unproved}",)


def _reference(given: Source, graph: Graph, feeds: Sequence[IntArray], progress: Progress) -> list[IntArray]:
    """The golden outputs as the reference interpreter of the model's format computes them."""
    if given.tflite is None:
        from codesign.export.tosa import evaluate_content

        progress("running TOSA's reference model", 0, 0)
        return evaluate_content(given.content, graph, *feeds)
    if not litert_version():
        raise ToolError.at("LiteRT", "not installed, needed to run the model that Vela was given", hint=INSTALL)
    return run_reference(given.tflite, feeds, progress)


def _audit(made: Product, out: Path) -> tuple[str, ...]:
    """Compare every constant and operation of the command stream with the golden graph; all findings in audit.json."""
    given = made.source.tflite
    if given is None:
        return ("the command stream is not audited: of a .tosa file the audit cannot tell which operations are whose",)
    if not made.compiled.performance["npuOps"]:
        return ("nothing runs on the NPU: there is no command stream",)
    if made.raw is not None:
        _expect_same_stream(made.compiled, made.raw)
    found = audit(made.compiled, parse_model(given.content), canonical(given))
    write_json(out / "audit.json", found.to_data())
    raise_all(MismatchError, [Diagnostic("command stream", text) for text in found.differences])
    return (f"audit of the command stream: {found.summary()}",)


def _expect_same_stream(compiled: Compiled, raw: Compiled) -> None:
    """Raise MismatchError unless the raw files are, byte for byte, what the audited model holds."""
    model = parse_model(compiled.model)
    tensors = [model.tensors[i] for op in model.operators for i in op.inputs[:2] if op.name == NPU_OPERATOR]
    held = [b"" if tensor.data is None else tensor.data.tobytes() for tensor in tensors]
    if held != [raw.command_stream, raw.read_only]:
        found = "Vela's raw form differs from its model, which is audited"
        raise MismatchError.at("command stream", found, "the same commands and constants", "report it")


def _against_default(made: Product, schedule: EthosuSchedule, system: System) -> list[str]:
    """What the schedule gained, as Vela sees it, and where its figures are not comparable."""
    notes = []
    default = EthosuSchedule(system.memory_mode)
    if made.default is not None and schedule != default:
        before, after = (m.performance["totalCycles"] for m in (made.default, made.compiled))
        notes.append(
            f"Vela's default schedule: {before:,} cycles; this one: {after:,} ({after / max(before, 1) - 1:+.1%})"
        )
    if schedule.memory_mode != system.memory_mode:
        text = f"memory mode {schedule.memory_mode} instead of the target's {system.memory_mode}"
        notes.append(f"{text}: Vela's cycles are not comparable between the two")
    return notes


def _where(graph: Graph, name: str) -> str:
    return graph.node(name).where if graph.is_computed(name) else f"input {name}"


def _deliver(made: Product, graph: Graph, out: Path) -> tuple[str, ...]:
    """Write what a firmware engineer gets; what a user has to know of it."""
    from codesign.build import GOLDEN_FRAMES, example_feeds

    inputs, outputs = stored(made.source, graph, example_feeds(graph, GOLDEN_FRAMES))
    made_files = write_deliverable(
        out, made.compiled, made.raw, made.system, graph, inputs, outputs, made.source.layers
    )
    return made_files.notes
