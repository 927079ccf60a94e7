"""A network for a Mali GPU: schedules by the cost model, the deliverable with its figures, and its execution."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from codesign.backends.base import Progress, ignore_progress
from codesign.backends.tvm.mali.deliver import write
from codesign.backends.tvm.mali.run import execute as run_deliverable
from codesign.backends.tvm.mali.search import check, estimate, plan_for, schedule, table
from codesign.backends.tvm.product import Figures, Product, expect_outputs, product_of
from codesign.backends.tvm.templates.base import Choice
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray
from codesign.schedule import TvmSchedule
from codesign.target import Target


def recorded_choices(graph: Graph, target: Target, progress: Progress) -> dict[str, Choice]:
    """The schedule that the cost model likes best, of every kernel, by the tensor that it writes."""
    return schedule(graph, target, progress)


def product(graph: Graph, chosen: TvmSchedule, target: Target, progress: Progress = ignore_progress) -> Product:
    """The deliverable of a schedule, from the cache if it was made before. Raises InputError for a wrong schedule."""

    def make(out: Path) -> Figures:
        from codesign.build import example_feeds

        planned = plan_for(graph, target)
        expect_outputs(chosen, [task.output for task in planned.tasks])
        check(planned, chosen.kernels, target)
        feeds = example_feeds(graph)
        write(out, planned, chosen.kernels, target, (feeds, graph.evaluate(*feeds)))
        metrics, kernels = estimate(planned, chosen.kernels, target)
        note = "times are a model's, with figures of the vendor's and of measurements by others; nothing ran on a Mali"
        return Figures(metrics, [note], table(kernels))

    return product_of(graph, chosen, target, (), make)


def execute(
    directory: Path, graph: Graph, feeds: Sequence[IntArray], target: Target, progress: Progress, every: bool = False
) -> list[IntArray]:
    """The outputs that the host program computes with this machine's OpenCL."""
    progress("running the kernels with OpenCL", 0, 0)
    return list(run_deliverable(directory, feeds).outputs)
