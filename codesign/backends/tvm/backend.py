"""The TVM backend: exact integer kernels for ARM and x86 cores, as C libraries that need no run-time.

A Mali GPU is a target of the same backend; what differs is in the package mali.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign.backends.base import Objective, Progress, Requirement, Run, RunOptions, Verdict, ignore_progress
from codesign.backends.tvm.lean import without_torch
from codesign.errors import Diagnostic, InputError, MismatchError, UsageError, raise_all
from codesign.ir.graph import Graph, Node
from codesign.ir.types import IntArray
from codesign.report import Comparison, Report
from codesign.schedule import TvmSchedule
from codesign.target import Target
from codesign.toolchain import CHECKSUMS

if TYPE_CHECKING:
    from codesign.backends.tvm.tune.budget import Budget, State, Tuned

FIGURES = "figures.json"
"""In the artifact: the target, and what `estimate` said."""


class TvmBackend:
    """Implements `codesign.backends.base.Backend` with `TvmSchedule`. TVM is imported when a method needs it."""

    name = "tvm"
    objectives: tuple[Objective, ...] = ("latency", "throughput")  # which are one: a frame after the other

    def check(self, node: Node, graph: Graph, target: Target) -> Verdict:
        """Whether there is a rule for the operator; a processor is what all other targets fall back to."""
        from codesign.backends.tvm.task import OPERATORS

        if isinstance(node.op, OPERATORS):
            return Verdict(True)
        names = ", ".join(operator.__name__ for operator in OPERATORS)
        return Verdict(False, f"{type(node.op).__name__} has no rule for kernels; allowed: {names}")

    def schedule(
        self, graph: Graph, target: Target, objective: Objective | None, requirements: Sequence[Requirement],
        progress: Progress,
    ) -> TvmSchedule:  # fmt: skip
        """The best schedules on record (see `codesign tune`), a template's first guess where there is none."""
        return TvmSchedule(_module(target).recorded_choices(graph, target, progress))

    def tune(
        self, graph: Graph, target: Target, budget: Budget, progress: Progress, say: Callable[[State], None]
    ) -> Tuned:
        """Search for a processor's schedules and keep them on record, where `schedule` finds them."""
        tuned: Tuned = _module(target).tune(graph, target, budget, progress, say)
        return tuned

    def schedule_data(self, schedule: TvmSchedule) -> dict[str, Any]:
        return schedule.to_data()

    def read_schedule(self, data: Mapping[str, Any], graph: Graph) -> TvmSchedule:
        """A schedule from plain data. Raises InputError that lists everything of the wrong form."""
        return TvmSchedule.from_data(data)

    def estimate(self, graph: Graph, schedule: TvmSchedule, target: Target) -> Report:
        """Simulated cycles, with the basis MODEL; on the machine itself, measured times."""
        made = _module(target).product(graph, schedule, target)
        return Report(target.name, made.metrics, schedule=schedule.to_data(), notes=made.notes)

    def build(
        self, graph: Graph, schedule: TvmSchedule, target: Target, out: Path, progress: Progress = ignore_progress
    ) -> Report:
        """Write the deliverable into `out`, execute it, and compare. Raises MismatchError where a bit differs."""
        from codesign.build import compare, example_feeds

        made = _module(target).product(graph, schedule, target)
        shutil.copytree(made.directory, out, ignore=shutil.ignore_patterns(CHECKSUMS), dirs_exist_ok=True)
        feeds = example_feeds(graph)
        outputs = _module(target).execute(out, graph, feeds, target, progress, every=True)
        found: Comparison = compare(graph.evaluate(*feeds), outputs, "golden")
        if found.mismatches:
            text = f"{found.mismatches} elements differ from the golden evaluation"
            raise MismatchError.at("outputs", text, "every bit equal", "report it")
        return Report(target.name, (), verification=found)

    def run(
        self, directory: Path, graph: Graph, feeds: Sequence[IntArray], options: RunOptions, progress: Progress
    ) -> Run:
        """The deliverable itself, where it runs: on this machine, in an emulator, on a board. No cycles."""
        asked = {"--stall": options.stall, "--trace": options.trace}
        found = [Diagnostic(name, "not for this build", "a streaming design") for name, value in asked.items() if value]
        raise_all(UsageError, found)
        target = _target_of(directory / FIGURES)
        outputs = _module(target).execute(directory, graph, feeds, target, progress)
        return Run(outputs, Report("", ()), {})


def _target_of(path: Path) -> Target:
    """The target that a deliverable was made for. Raises InputError for a damaged file."""
    from codesign.builddir import read_json
    from codesign.target import target_from_data

    data = read_json(path)
    if not isinstance(data, dict) or not isinstance(data.get("target"), str) or not isinstance(data.get("data"), dict):
        hint = "codesign compile, which writes it again"
        raise InputError.at(str(path), "damaged: no target", '{"target": "name", "data": {…}, …}', hint)
    return target_from_data(data["target"], data["data"], where=str(path))


def _module(target: Target) -> Any:
    """What builds for the target, with the same three functions: processor.py, or mali/product.py."""
    if target.cpu is not None:
        with without_torch():
            from codesign.backends.tvm import processor

        return processor
    if target.gpu is not None:
        with without_torch():
            from codesign.backends.tvm.mali import product

        return product
    raise InputError.at(f"target {target.name}", "neither a table cpu nor a table gpu", "as targets/*.toml have them")
