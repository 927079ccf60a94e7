"""A streaming design as a network of actors joined by links: what the cycle model simulates.

An actor makes at most one step per cycle, `steps` of them per frame, always the same ones in the same order. A link
carries tokens (beats, words) from one actor to another, always the same number per frame.
docs/guide/microarchitecture.md says which engine makes which steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from codesign.ir.types import IntArray

UNLIMITED: Final = 1 << 62  # a depth that no number of tokens reaches

Counts = NDArray[Any]  # integers or booleans, one per listed step


def _none() -> IntArray:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Actor:
    """An engine: `steps` steps per frame.

    at  the steps that the arrays of its links describe, increasing; None: all. The others neither need, start nor give
        back a token: a way to keep the arrays of a long computation short.
    """

    name: str
    steps: int
    at: IntArray | None = None

    @property
    def listed(self) -> int:
        """Number of steps that the arrays of its links describe."""
        return self.steps if self.at is None else len(self.at)


@dataclass(frozen=True, eq=False)
class Link:
    """Tokens from `source` to `sink`; sink None: the design's output, which takes a token as soon as it is visible.

    depth    token k may start only in a cycle after the one in which token k - depth was given back
    latency  a token started in cycle t is visible in cycle t + latency + 1
    made     per listed step of the source: 1 if it starts a token, else 0
    need     per listed step of the sink: how many tokens of this frame must be visible (0: none); it may exceed what is
             given back (a window that is read again) and may fall from one step to the next (a replay)
    free     per listed step of the sink: how many tokens are given back in the step's cycle; only such as it, or a step
             before it, needed
    """

    name: str
    source: str
    sink: str | None
    depth: int
    latency: int
    made: Counts
    need: Counts = field(default_factory=_none)
    free: Counts = field(default_factory=_none)


@dataclass(frozen=True, eq=False)
class Network:
    """Actors and links, one input and one output.

    input  the actor that takes the beats of the design's input
    takes  per listed step of that actor: 1 if it takes a beat of the input, else 0

    Exactly one link has no sink. Raises ValueError, with all findings, for a network that breaks a rule above.
    """

    actors: tuple[Actor, ...]
    links: tuple[Link, ...]
    input: str
    takes: Counts

    def __post_init__(self) -> None:
        problems = _problems(self)
        if problems:
            raise ValueError("not a network: " + "; ".join(problems))

    @property
    def ideal_interval(self) -> int:
        """The largest number of steps per frame: no interval can be shorter, as an actor makes one step per cycle."""
        return max(actor.steps for actor in self.actors)

    @property
    def output(self) -> Link:
        return next(link for link in self.links if link.sink is None)


def _problems(network: Network) -> list[str]:
    found = []
    actors = {actor.name: actor for actor in network.actors}
    if len(actors) < len(network.actors) or len({link.name for link in network.links}) < len(network.links):
        found.append("two actors or two links have the same name")
    outputs = [link.name for link in network.links if link.sink is None]
    if len(outputs) != 1:
        found.append(f"{len(outputs)} links without a sink, not 1")
    for actor in network.actors:
        if actor.steps < 1:
            found.append(f"{actor.name}: {actor.steps} steps")
        if actor.at is not None and (np.any(np.diff(actor.at, prepend=-1) < 1) or np.any(actor.at >= actor.steps)):
            found.append(f"{actor.name}: the listed steps are not increasing from 0 to {actor.steps - 1}")
        if actor.name != network.input and not any(actor.name in (link.source, link.sink) for link in network.links):
            found.append(f"{actor.name}: no links")
    if network.input not in actors:
        return [*found, f"no input actor {network.input}"]
    if len(network.takes) != actors[network.input].listed or not np.any(network.takes):
        found.append(f"{network.input}: takes must list {actors[network.input].listed} steps and take a beat")
    for link in network.links:
        found += [f"{link.name}: {problem}" for problem in _link_problems(link, actors)]
    return found


def _link_problems(link: Link, actors: dict[str, Actor]) -> list[str]:
    missing = [name for name in (link.source, link.sink) if name is not None and name not in actors]
    if missing:
        return [f"no actor {', '.join(missing)}"]
    found = []
    if link.depth < 1 or link.latency < 0:
        found.append(f"depth {link.depth}, latency {link.latency}")
    listed = 0 if link.sink is None else actors[link.sink].listed
    if (len(link.made), len(link.need), len(link.free)) != (actors[link.source].listed, listed, listed):
        return [*found, "made, need and free must have one entry per listed step of the source, the sink and the sink"]
    tokens = np.sum(link.made, dtype=np.int64)
    if np.any((link.made != 0) & (link.made != 1)) or tokens < 1:
        found.append("made must be 0 or 1, and 1 at least once")
    if link.sink is not None:
        if np.min(link.need) < 0 or np.max(link.need) > tokens:
            found.append(f"need must be between 0 and the {tokens} tokens of a frame")
        if np.min(link.free) < 0 or np.sum(link.free, dtype=np.int64) != tokens:
            found.append(f"free must add up to the {tokens} tokens of a frame")
        elif np.any(np.cumsum(link.free) > np.maximum.accumulate(link.need)):
            found.append("free gives back tokens that no step needed")
    return found


@dataclass(frozen=True, eq=False)
class Events:
    """The steps of one actor that may wait, start or give back a token.

    step  their numbers within the frame
    gap   steps since the event before; of the first: since the last event of the frame before
    take  the event that may wait for the input's frame; -1: none
    """

    step: IntArray
    gap: IntArray
    take: int


@dataclass(frozen=True, eq=False)
class Columns:
    """One link at the events of its source (made) and of its sink (need, free), in the types of timing.cpp.

    tokens  per frame
    need    0 where the step needs no more than an earlier step of the same frame
    """

    tokens: int
    made: NDArray[np.uint8]
    need: NDArray[np.int32]
    free: NDArray[np.int32]


def compress(network: Network) -> tuple[list[Events], list[Columns]]:
    """Leave out the steps that cannot wait and do nothing that another actor sees, exactly.

    A step that needs no more tokens than an earlier step of its frame, and starts none, is made in the cycle after the
    step before it, whatever happens elsewhere. So a run of such steps is a fixed number of cycles. A step that takes a
    beat of the input can wait only if it is the first of its frame, because a frame becomes available as a whole.
    """
    fresh = {}
    for link in network.links:
        before = np.maximum.accumulate(np.concatenate([[0], link.need[:-1]])) if len(link.need) else link.need
        fresh[link.name] = np.where(link.need > before, link.need, 0)
    kept: dict[str, IntArray] = {}
    events = []
    for actor in network.actors:
        acts = np.zeros(actor.listed, np.bool_)
        for link in network.links:
            if link.source == actor.name:
                acts |= link.made != 0
            if link.sink == actor.name:
                acts |= (fresh[link.name] > 0) | (link.free > 0)
        take = -1
        if actor.name == network.input:
            take = int(np.argmax(network.takes != 0))
            acts[take] = True
        rows = kept[actor.name] = np.flatnonzero(acts)
        step = rows if actor.at is None else actor.at[rows].astype(np.int64)
        gap = np.diff(step, prepend=step[-1] - actor.steps)
        events.append(Events(step, gap, int(np.searchsorted(rows, take)) if take >= 0 else -1))
    columns = []
    for link in network.links:
        ends = kept[link.sink] if link.sink is not None else _none()
        columns.append(
            Columns(
                int(np.sum(link.made, dtype=np.int64)),
                np.ascontiguousarray(link.made[kept[link.source]], np.uint8),
                np.ascontiguousarray(fresh[link.name][ends], np.int32),
                np.ascontiguousarray(link.free[ends], np.int32),
            )
        )
    return events, columns
