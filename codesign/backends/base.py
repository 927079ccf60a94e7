"""The seam between the core and a toolchain: what every backend offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from codesign.ir.graph import Graph, Node
from codesign.ir.types import IntArray
from codesign.report import Report
from codesign.target import Target

Objective = Literal["latency", "throughput", "area"]
Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all (0: not known)


def ignore_progress(_what: str, _done: int, _total: int) -> None:
    """The Progress of a caller who wants none."""


@dataclass(frozen=True)
class Verdict:
    """Whether a backend takes a node; if not, a sentence that says why and what would be taken.

    note  of a node that it takes: what the user should know, such as that it runs elsewhere
    """

    ok: bool
    reason: str = ""
    note: str = ""


@dataclass(frozen=True)
class Requirement:
    """`name op value`, for example fps >= 10000 or lut <= 20000."""

    name: str
    op: Literal["<=", ">="]
    value: float


@dataclass(frozen=True)
class RunOptions:
    """How `run` executes: frames (0: as many as the inputs), stall probability per stream end, seed; what to record.

    trace        file for the waveforms of the run; None: none
    trace_frame  record only the cycles in which this frame goes through; None: all of them
    """

    frames: int = 0
    stall: float = 0.0
    seed: int = 1
    trace: Path | None = None
    trace_frame: int | None = None


@dataclass(frozen=True)
class Run:
    """The result of executing an artifact: integer outputs, and what was measured."""

    outputs: Sequence[IntArray]
    report: Report
    details: Mapping[str, Any] = field(default_factory=dict)


S = TypeVar("S")


class Backend(Protocol[S]):
    """One toolchain. A schedule S is plain data: `schedule_data` and `read_schedule` turn it into JSON and back.

    build writes the artifact, and returns what writing it has proved or measured: it replaces what `estimate` said.
    """

    name: str

    def check(self, node: Node, graph: Graph, target: Target) -> Verdict: ...

    def schedule(
        self,
        graph: Graph,
        target: Target,
        objective: Objective | None,
        requirements: Sequence[Requirement],
        progress: Progress,
    ) -> S: ...

    def schedule_data(self, schedule: S) -> dict[str, Any]: ...

    def read_schedule(self, data: Mapping[str, Any], graph: Graph) -> S: ...

    def estimate(self, graph: Graph, schedule: S, target: Target) -> Report: ...

    def build(
        self, graph: Graph, schedule: S, target: Target, out: Path, progress: Progress = ignore_progress
    ) -> Report: ...

    def run(
        self, directory: Path, graph: Graph, feeds: Sequence[IntArray], options: RunOptions, progress: Progress
    ) -> Run: ...
