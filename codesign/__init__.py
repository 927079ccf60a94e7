"""Hardware co-design for quantised neural networks: a model in, bit-exact and cycle-exact deliverables out.

graph = codesign.load("model.onnx")
report = codesign.compile(graph, "pynq-z2", "out", require=["fps>=10000"])
result = codesign.simulate("out", frames=100)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codesign.arrays import Array
    from codesign.backends.base import Objective
    from codesign.build import Simulation
    from codesign.ir.graph import Graph
    from codesign.report import Report

__all__ = ["compile", "load", "simulate"]


def load(path: str | Path) -> Graph:
    """The integer graph of a model: `.onnx`, `file.py:function`, or a graph's text form. See `codesign.frontend`."""
    from codesign.frontend import import_model

    return import_model(path).graph


def compile(
    graph: Graph,
    target: str,
    out: str | Path,
    *,
    objective: Objective | None = None,
    require: Sequence[str] = (),
    schedule: str | Path | None = None,
    inputs: Sequence[Array] | None = None,
    backend: str | None = None,
) -> Report:
    """`codesign compile`: a build directory `out` for `target`; raises CodesignError. See `codesign.build`."""
    from codesign.backends.base import ignore_progress
    from codesign.build import compile_graph
    from codesign.requirements import parse_requirements
    from codesign.target import load_target

    return compile_graph(
        graph,
        load_target(target),
        Path(out),
        ignore_progress,
        backend_name=backend,
        objective=objective,
        requirements=parse_requirements(require),
        schedule_file=Path(schedule) if schedule is not None else None,
        inputs=inputs,
    )


def simulate(
    directory: str | Path,
    *,
    inputs: Sequence[Array] | None = None,
    frames: int = 0,
    stall: float = 0.0,
    seed: int = 1,
    trace: str | Path | None = None,
) -> Simulation:
    """`codesign simulate`: outputs, report and what is wrong (`failures`, none when verified). See `codesign.build`."""
    from codesign.backends.base import RunOptions, ignore_progress
    from codesign.build import simulate as run

    options = RunOptions(frames, stall, seed, Path(trace) if trace is not None else None)
    return run(Path(directory), options, ignore_progress, inputs)
