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
from codesign.backends.ethosu.deliverable import write_deliverable
from codesign.backends.ethosu.product import SOURCE, Product, canonical, figures, product
from codesign.backends.ethosu.vela import System
from codesign.errors import (
    Diagnostic,
    InputError,
    MismatchError,
    RequirementError,
    UnsupportedError,
    UsageError,
    raise_all,
)
from codesign.export import comparable_frames
from codesign.export.tflite import Exported, export_tflite
from codesign.export.tflite.verify import differences, run_reference
from codesign.frontend.tflite.source import INSTALL, litert_version
from codesign.ir.graph import Graph, Node
from codesign.ir.types import IntArray
from codesign.report import Comparison, Report
from codesign.schedule import EthosuSchedule
from codesign.target import Target

_MEMORIES = ("sram_bytes", "flash_bytes", "dram_bytes")


class EthosuBackend:
    """Implements `codesign.backends.base.Backend` with `EthosuSchedule`."""

    name = "ethosu"

    def check(self, node: Node, graph: Graph, target: Target) -> Verdict:
        """Whether the node can be exported exactly; a note where it is left to the CPU."""
        refused, _ = _exported(graph)
        reasons = [d for d in refused if d.where in (node.where, f"input {node.name}")]
        if reasons:
            return Verdict(False, "; ".join(_sentence(d) for d in reasons))
        return Verdict(True)

    def schedule(
        self, graph: Graph, target: Target, objective: Objective | None, requirements: Sequence[Requirement],
        progress: Progress,
    ) -> EthosuSchedule:  # fmt: skip
        return EthosuSchedule(_system(target).memory_mode)

    def schedule_data(self, schedule: EthosuSchedule) -> dict[str, Any]:
        return schedule.to_data()

    def read_schedule(self, data: Mapping[str, Any], graph: Graph) -> EthosuSchedule:
        return EthosuSchedule.from_data(data)

    def estimate(self, graph: Graph, schedule: EthosuSchedule, target: Target) -> Report:
        """Vela's own estimates, basis TOOL: not measured, and comparable only within one system and memory mode."""
        made = product(graph, schedule, _system(target))
        return Report(target.name, figures(made.compiled, target.clock_hz), schedule=schedule.to_data())

    def build(
        self, graph: Graph, schedule: EthosuSchedule, target: Target, out: Path, progress: Progress = ignore_progress
    ) -> Report:
        """Write the model, Vela's results, and the bare-metal application into `out`; compare and audit all of it.

        Raises MismatchError when a tensor differs from the golden evaluation, or a constant of the command stream from
        the graph; RequirementError when a memory of the target is too small.
        """
        made = product(graph, schedule, _system(target))
        _require_fit(made, target)
        (out / SOURCE).write_bytes(made.exported.content)
        verification, notes = _verify(made.exported, graph, progress)
        _deliver(made, graph, out)
        return Report(target.name, (), verification=verification, notes=notes)

    def run(
        self, directory: Path, graph: Graph, feeds: Sequence[IntArray], options: RunOptions, progress: Progress
    ) -> Run:
        """The model that Vela was given, run by TFLite's reference kernels; no cycles are measured."""
        given = {"--stall": options.stall, "--trace": options.trace}
        found = [Diagnostic(name, "not for this build", "a streaming design") for name, value in given.items() if value]
        raise_all(UsageError, found)
        if not litert_version():
            raise UnsupportedError.at("simulate", "LiteRT's reference kernels are not installed", "", INSTALL)
        try:
            content = (directory / SOURCE).read_bytes()
        except OSError as error:
            raise InputError.at(str(directory / SOURCE), f"cannot be read: {error.strerror}") from error
        refused, exported = _exported(graph)
        raise_all(UnsupportedError, refused)
        assert exported is not None
        outputs = run_reference(replace(exported, content=content), feeds, progress)
        return Run(outputs, Report("", ()), {"reference": f"LiteRT {litert_version()}, reference kernels"})


def _system(target: Target) -> System:
    assert target.npu is not None, "checked when the target was loaded"
    return target.npu


def _sentence(diagnostic: Diagnostic) -> str:
    return str(replace(diagnostic, where=""))


@lru_cache(maxsize=4)
def _exported(graph: Graph) -> tuple[list[Diagnostic], Exported | None]:
    """The exported graph, or why it cannot be exported."""
    try:
        return [], export_tflite(graph)
    except UnsupportedError as error:
        return list(error.diagnostics), None


def _require_fit(made: Product, target: Target) -> None:
    """Refuse a model that needs more memory than there is."""
    used = {metric.name: metric.value for metric in figures(made.compiled, target.clock_hz)}
    over = [
        f"{used[name]:,.0f} {name} of {target.limits[name]:,}"
        for name in _MEMORIES
        if name in target.limits and used.get(name, 0) > target.limits[name]
    ]
    if over:
        raise RequirementError.at(target.name, f"the model does not fit: {', '.join(over)}", "", "another memory mode")


def _verify(exported: Exported, graph: Graph, progress: Progress) -> tuple[Comparison | None, tuple[str, ...]]:
    """Every tensor of the model that Vela was given, by TFLite's reference kernels, against the golden evaluation."""
    from codesign.build import example_feeds

    version = litert_version()
    if not version:
        return None, (f"not compared with LiteRT's reference kernels, which are not installed; {INSTALL}",)
    frames = comparable_frames(graph)
    rows = differences(exported, graph, example_feeds(graph, frames), progress)
    wrong = [row for row in rows if row.mismatches]
    raise_all(
        MismatchError,
        [
            Diagnostic(_where(graph, row.name), f"{row.mismatches} of {row.elements} elements differ from golden")
            for row in wrong
        ],
    )
    note = (
        f"LiteRT {version}'s reference kernels run the model that Vela was given: {len(rows)} tensors equal on "
        f"{frames} frames; the command stream itself has not run"
    )
    return Comparison("golden", frames, 0, 0.0), (note,)


def _where(graph: Graph, name: str) -> str:
    return graph.node(name).where if graph.is_computed(name) else f"input {name}"


def _deliver(made: Product, graph: Graph, out: Path) -> None:
    from codesign.build import GOLDEN_FRAMES, example_feeds

    imported = canonical(made.exported)
    feeds = made.exported.feeds(example_feeds(graph, GOLDEN_FRAMES))
    outputs = imported.graph.evaluate(*feeds)
    write_deliverable(out, made.compiled, made.raw, made.system, imported.graph, feeds, outputs, made.exported.layers)
