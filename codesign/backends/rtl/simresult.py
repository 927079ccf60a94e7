"""What a simulation saw: the beats that came out, when, and what every stream did meanwhile."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codesign.errors import Diagnostic, MismatchError, ToolError

REPORT_LINES = ("stream ", "tlast ", "result ")  # what sim_main.cpp's lines begin with

# "[time] %Error: file:line: Assertion failed in instance: text": the text and the instance are what a user can use
_ERROR = re.compile(r"%Error: (?:\S+:\d+: )?(?:Assertion failed in (\S+): )?(.*)$")


@dataclass(frozen=True)
class Frames:
    """The shape of a run: frames, beats of each at both ends, bytes of an output beat."""

    count: int
    in_beats: int
    out_beats: int
    out_bytes: int


@dataclass(frozen=True)
class Stream:
    """What one stream did, in cycles outside of reset, and how it stood at the end.

    beats    valid and ready;  blocked  valid, not ready;  starved  ready, not valid
    """

    name: str
    beats: int
    blocked: int
    starved: int
    valid: bool
    ready: bool

    def __str__(self) -> str:
        state = f"{'valid' if self.valid else 'not valid'}, {'ready' if self.ready else 'not ready'}"
        return f"{self.name} ({state}, {self.beats} beats)"


@dataclass(frozen=True)
class SimResult:
    """One run. Cycle 0 is the first one after reset.

    outputs    (frames completed, output beats, bytes), uint8
    accepted   (frames,) cycle in which the first input beat of each frame was taken; -1: it was not
    completed  (frames,) cycle in which the last output beat of each frame was taken; -1: it was not
    cycles     length of the run;  last_active  the last cycle with a handshake at either end
    seconds    wall time of the loop, without start and files
    streams    one row for every monitored stream, in the order of the binds
    failure    why the run did not complete, or None
    """

    outputs: npt.NDArray[np.uint8]
    accepted: npt.NDArray[np.int64]
    completed: npt.NDArray[np.int64]
    cycles: int
    last_active: int
    seconds: float
    streams: tuple[Stream, ...]
    failure: Diagnostic | None

    @property
    def cycles_per_second(self) -> float:
        return self.cycles / self.seconds if self.seconds > 0 else 0.0

    @property
    def first_in_cycle(self) -> int:
        """The cycle from which the timing model counts."""
        return int(self.accepted[0])

    @property
    def latency_cycles(self) -> int:
        """From the first input beat of the first frame to its last output beat."""
        return int(self.completed[0] - self.accepted[0])

    @property
    def intervals(self) -> npt.NDArray[np.int64]:
        """(frames completed - 1,) cycles between the last output beats of successive frames."""
        return np.diff(self.completed[: len(self.outputs)])

    @property
    def interval_cycles(self) -> int | None:
        """The last of `intervals`: that of the steady state, given frames enough; None for a single frame."""
        return int(self.intervals[-1]) if len(self.outputs) > 1 else None

    def require_complete(self) -> None:
        """MismatchError when the run did not complete."""
        if self.failure is not None:
            raise MismatchError(self.failure)


def read_result(lines: Sequence[str], out: Path, stamps: Path, frames: Frames) -> SimResult:
    """Put together what sim_main.cpp printed and wrote; its header comment is the format."""
    words = next((line.split() for line in reversed(lines) if line.startswith("result ")), None)
    if words is None:
        raise ToolError.at("simulation", "ended without a result")
    status, figures = words[1], dict(zip(words[2::2], words[3::2], strict=True))
    streams = tuple(_stream(line.split()) for line in lines if line.startswith("stream "))
    stamp = np.fromfile(stamps, dtype=np.int64).reshape(2, frames.count)
    done = int((stamp[1] >= 0).sum())
    outputs = np.fromfile(out, dtype=np.uint8).reshape(frames.count, frames.out_beats, frames.out_bytes)[:done]
    cycles = int(figures["cycles"])
    failure = _failure(status, lines, cycles, done, frames.count, streams)
    active, seconds = int(figures["active"]), float(figures["seconds"])
    return SimResult(outputs, stamp[0], stamp[1], cycles, active, seconds, streams, failure)


def _stream(words: list[str]) -> Stream:
    name, beats, blocked, starved, valid, ready = words[1:]
    return Stream(name, int(beats), int(blocked), int(starved), valid == "1", ready == "1")


def _failure(
    status: str, lines: Sequence[str], cycles: int, done: int, count: int, streams: Sequence[Stream]
) -> Diagnostic | None:
    where = f"simulation, cycle {cycles}"
    if status == "done":
        return None
    if status == "deadlock":
        stuck = [s for s in streams if s.valid and not s.ready]
        blocked = "blocked streams: " + ", ".join(map(str, stuck)) if stuck else "no stream is blocked"
        return Diagnostic(
            where, f"deadlock after {done} of {count} frames; {blocked}", hint="deeper FIFOs on these streams"
        )
    if status == "limit":
        return Diagnostic(where, f"cycle limit reached after {done} of {count} frames", hint="a higher cycle limit")
    if status == "tlast":
        frame, beat = next(line.split()[2::2] for line in lines if line.startswith("tlast "))
        return Diagnostic(where, f"m_axis_tlast is wrong at beat {beat} of frame {frame}", "set on the last beat only")
    if status == "finish":
        return Diagnostic(where, "the design called $finish")
    found = next((m for m in map(_ERROR.search, lines) if m), None)
    if found is None:
        return Diagnostic(where, "an assertion failed")
    instance, text = found.groups()
    return Diagnostic(where, f"{text} (in {instance})" if instance else text)
