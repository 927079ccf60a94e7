"""The exact cycle model: t(s) = max(t(s - 1) + 1, tokens that it needs, room for tokens that it starts), by timing.cpp.

docs/guide/microarchitecture.md derives the recurrence from the RTL. All cycles are counted from the first take of an
input beat, so a step before it (a row of padding) has a negative one. Because only maxima and sums occur, a smaller
depth never makes any step earlier, and there is exactly one solution, whatever the order of evaluation.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from codesign import toolchain
from codesign.backends.rtl.network import UNLIMITED, Actor, Link, Network, compress
from codesign.errors import CodesignError, Diagnostic
from codesign.ir.types import IntArray

__all__ = ["UNLIMITED", "Actor", "CycleModel", "DeadlockError", "Link", "Network", "Timeline", "Wait"]


_SOURCE = Path(__file__).with_name("timing.cpp")
_LATE = -2  # what simulate_network returns when a frame is late


class DeadlockError(CodesignError):
    """Actors that wait for each other for ever: one finding per actor, with every link it waits on."""


@dataclass(frozen=True)
class Wait:
    """Cycles of the last frame in which an actor was held up, and by what.

    cause   `token`: the link had no token yet; `room`: the link was full; `input`: the frame was not there yet
    link    the link's name; empty for the input
    """

    cause: Literal["token", "room", "input"]
    link: str
    cycles: int


@dataclass(frozen=True, eq=False)
class Timeline:
    """What happened in a number of frames that follow each other without a gap.

    starts       cycle of the first take of an input beat of every frame; starts[0] is 0
    completions  cycle of the last output beat of every frame
    started      per link: cycle in which each token is started (visible latency + 1 later); frames x tokens
    returned     per link: cycle in which each is given back; frames x tokens
    occupancy    per link: the largest number of tokens started and not given back. With a depth of this (or more)
                 nothing changes.
    busy         per actor: steps per frame
    waits        per actor: what held it up in the last frame, longest first; when two things did, the one that took
                 longer. Steps and waits add up to the cycles that the actor spent on the frame.
    interval     cycles per frame in the steady state, or None when the run has not shown it (see `CycleModel.steady`)
    settled      False when `interval` is an average of a run that had not become periodic
    """

    starts: IntArray
    completions: IntArray
    started: Mapping[str, IntArray]
    returned: Mapping[str, IntArray]
    occupancy: Mapping[str, int]
    busy: Mapping[str, int]
    waits: Mapping[str, tuple[Wait, ...]]
    interval: Fraction | None
    settled: bool = True

    @property
    def latency_cycles(self) -> int:
        """Cycle of the last output beat of the first frame."""
        return int(self.completions[0])


class _Link(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("source", "sink", "depth", "latency", "tokens")),
        *((name, ctypes.c_void_p) for name in ("made", "need", "freed", "started_at", "returned_at")),
        *((name, ctypes.c_int64) for name in ("started", "returned", "token_wait", "room_wait", "occupancy")),
    )


class _Actor(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("events", "steps", "last", "take")),
        *((name, ctypes.c_void_p) for name in ("gap", "ins", "outs")),
        *((name, ctypes.c_int64) for name in ("n_in", "n_out")),
        ("ends", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("event", "frame", "now", "input_wait")),
        ("blocked", ctypes.c_void_p),
        ("until", ctypes.c_int64),
    )


class CycleModel:
    """A network made ready for simulation with any depths; simulating does not change it."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._events, self._columns = compress(network)
        number = {actor.name: i for i, actor in enumerate(network.actors)}
        self._ends = [(number[link.source], -1 if link.sink is None else number[link.sink]) for link in network.links]
        actors = range(len(network.actors))
        self._ins = [np.array([i for i, (_, b) in enumerate(self._ends) if b == a], np.int32) for a in actors]
        self._outs = [np.array([i for i, (b, _) in enumerate(self._ends) if b == a], np.int32) for a in actors]

    @property
    def events(self) -> int:
        """What a simulated frame costs: the steps that may wait, start or give back a token, of all actors."""
        return sum(len(events.step) for events in self._events)

    def simulate(self, frames: int, period: int = 0, depths: Mapping[str, int] | None = None) -> Timeline:
        """Run `frames` frames.

        period  frame f is available at the input from cycle f * period on, as a whole; 0: all frames from the start
        depths  replaces the depths of the links it names; UNLIMITED is one

        Raises DeadlockError when the frames cannot be finished.
        """
        run = self._run(frames, period, depths, None)
        assert run is not None
        return run

    def simulate_if(self, latest: IntArray, period: int, depths: Mapping[str, int]) -> Timeline | None:
        """Run as many frames as `latest` has; None as soon as one completes later than it says, or on a deadlock."""
        try:
            return self._run(len(latest), period, depths, latest)
        except DeadlockError:
            return None

    def _run(
        self, frames: int, period: int, depths: Mapping[str, int] | None, latest: IntArray | None
    ) -> Timeline | None:
        depth = {link.name: link.depth for link in self.network.links} | dict(depths or {})
        links = (_Link * len(self.network.links))()
        started = [np.empty((frames, column.tokens), np.int64) for column in self._columns]
        returned = [np.empty((frames, column.tokens), np.int64) for column in self._columns]
        for i, (spec, column, c) in enumerate(zip(self.network.links, self._columns, links, strict=True)):
            c.source, c.sink = self._ends[i]
            c.depth, c.latency, c.tokens = depth[spec.name], spec.latency, column.tokens
            c.made, c.need, c.freed = column.made.ctypes.data, column.need.ctypes.data, column.free.ctypes.data
            c.started_at, c.returned_at = started[i].ctypes.data, returned[i].ctypes.data
        actors = (_Actor * len(self.network.actors))()
        ends = np.empty((len(actors), frames), np.int64)
        for i, (actor, events, a) in enumerate(zip(self.network.actors, self._events, actors, strict=True)):
            a.events, a.steps, a.last, a.take = len(events.step), actor.steps, events.step[-1], events.take
            a.gap, a.ins, a.outs = events.gap.ctypes.data, self._ins[i].ctypes.data, self._outs[i].ctypes.data
            a.n_in, a.n_out, a.ends = len(self._ins[i]), len(self._outs[i]), ends[i].ctypes.data
        starts = np.empty(frames, np.int64)
        queue = np.empty(len(actors) + 1, np.int64)
        arrays = (None if latest is None else latest.ctypes.data, starts.ctypes.data, queue.ctypes.data)
        origin = _kernel()(actors, len(actors), links, len(links), frames, period, *arrays)
        if origin == _LATE:
            return None
        if origin < 0:
            raise DeadlockError(*self._blocked(actors, links, frames, depth))
        for cycles in (starts, ends, *started, *returned):
            cycles -= origin
        names = [link.name for link in self.network.links]
        occupancy = {name: int(c.occupancy) for name, c in zip(names, links, strict=True)}
        output = names.index(self.network.output.name)
        completions = returned[output][:, -1].copy()
        history = max(-(-c.occupancy // c.tokens) for c in links)
        return Timeline(
            starts,
            completions,
            dict(zip(names, started, strict=True)),
            dict(zip(names, returned, strict=True)),
            occupancy,
            {actor.name: actor.steps for actor in self.network.actors},
            self._waits(actors, links),
            _interval([completions[:, None], ends.T, *returned], history, period),
        )

    def steady(
        self, depths: Mapping[str, int] | None = None, period: int | None = None, most_frames: int = 64
    ) -> Timeline:
        """Simulate until the steady state is proved, and return that run with its `interval`.

        The input is throttled to `period`, by default the ideal interval (the largest number of steps per frame). That
        changes neither the first frame nor an interval that is longer than it, and a design that is never faster than
        its input settles in a few frames. The number of frames is doubled until the run is periodic, which proves the
        interval (see `_interval`), or `most_frames` is reached: then `interval` is the average over the last half of
        the frames, and `settled` is False.

        Large buffers may need more frames than that to fill while the input is faster than the design. Without a given
        `period`, the average is therefore tried as the period: when the design settles at just that, it is the
        interval. No frame is earlier with a slower input, so the interval is not longer, and distances between frames
        that wait for no input only grow, so it is not shorter.
        """
        if period is None:
            run = self.steady(depths, self.network.ideal_interval, most_frames)
            if not run.settled and run.interval is not None and run.interval.denominator == 1:
                slower = self.steady(depths, int(run.interval), most_frames)
                return slower if slower.settled and slower.interval == run.interval else run
            return run
        frames = min(4, most_frames)
        while True:
            run = self.simulate(frames, period, depths)
            if run.interval is not None:
                return run
            if frames >= most_frames:
                half = frames // 2
                average = Fraction(int(run.completions[-1] - run.completions[-1 - half]), half)
                return replace(run, interval=average, settled=False)
            frames = min(2 * frames, most_frames)

    def _waits(self, actors: Any, links: Any) -> dict[str, tuple[Wait, ...]]:
        waits = {}
        for i, actor in enumerate(self.network.actors):
            causes = [Wait("token", self.network.links[j].name, links[j].token_wait) for j in self._ins[i]]
            causes += [Wait("room", self.network.links[j].name, links[j].room_wait) for j in self._outs[i]]
            causes.append(Wait("input", "", actors[i].input_wait))
            waits[actor.name] = tuple(sorted((w for w in causes if w.cycles), key=lambda w: -w.cycles))
        return waits

    def _blocked(self, actors: Any, links: Any, frames: int, depth: Mapping[str, int]) -> list[Diagnostic]:
        """One finding per unfinished actor. An actor that could move would have been moved, so each has a reason."""
        found = []
        for i, (actor, a) in enumerate(zip(self.network.actors, actors, strict=True)):
            if a.frame == frames:
                continue
            reasons, full = [], []
            for j in self._ins[i]:
                need, arrived = int(self._columns[j].need[a.event]), links[j].started - a.frame * links[j].tokens
                if need > arrived:
                    reasons.append(f"a token of {self.network.links[j].name} ({max(arrived, 0)} of {need} are there)")
            for j in self._outs[i]:
                name, c = self.network.links[j].name, links[j]
                if self._columns[j].made[a.event] and c.started - c.returned >= c.depth:
                    reasons.append(f"room in {name} (depth {depth[name]})")
                    full.append(name)
            step = self._events[i].step[a.event]
            what = f"deadlock in frame {a.frame}, step {step} of {actor.steps}: waits for " + " and for ".join(reasons)
            found.append(Diagnostic(actor.name, what, hint=f"a larger depth for {', '.join(full)}" if full else ""))
        return found


def _interval(returned: list[IntArray], history: int, period: int) -> Fraction | None:
    """Cycles per frame of a run that has become periodic, or None.

    returned  first the completions, then per actor the ends of its frames, then per link the cycles in which tokens are
              given back: what later frames depend on; frames x any number
    history   how many frames back they depend on it: occupancy / tokens of the fullest link, rounded up. A link of
              a larger depth behaves as one of the depth that it used.

    If `history` successive frames equal those c frames earlier plus P cycles, so does every later one, by induction:
    the recurrence is the same for every frame, and the input moves by c * period, too. The input may move by less than
    P if the last c frames are among the equal ones: none of them hangs on the input, or the one c frames earlier, for
    which the input was there c * period earlier, would have been later than it was. The interval is P / c, exactly.
    """
    frames = len(returned[0])
    for c in range(1, frames):
        shift = int(returned[0][-1, 0] - returned[0][-1 - c, 0])
        equal = history if shift == c * period else max(history, c)
        if shift < c * period or equal + c > frames:
            continue
        if all(np.all(x[-equal:] - x[-equal - c : -c] == shift) for x in returned):
            return Fraction(shift, c)
    return None


@cache
def _kernel() -> Any:
    """timing.cpp, compiled once per machine. Raises ToolError when there is no compiler."""
    compiler = toolchain.require("c++")

    def compile_into(directory: Path) -> None:
        arguments = ("-std=c++17", "-O2", "-shared", "-fPIC", "-o", directory / "timing.so", _SOURCE)
        log = toolchain.cache_dir() / "logs" / f"timing-{key[:12]}.log"
        toolchain.run(compiler, arguments, cwd=directory, log=log, time_limit_s=120)

    key = toolchain.digest(_SOURCE, compiler.version, *compiler.command)
    library = ctypes.CDLL(str(toolchain.cached("timing", key, compile_into) / "timing.so"))
    simulate = library.simulate_network
    simulate.restype = ctypes.c_int64
    simulate.argtypes = (ctypes.c_void_p, ctypes.c_int64) * 2 + (ctypes.c_int64,) * 2 + (ctypes.c_void_p,) * 3
    return simulate
