"""Networks to test the cycle model on, and their naive simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from codesign.backends.rtl.network import UNLIMITED, Actor, Link, Network


class Deadlock(Exception):
    """The naive simulation stands still."""


def naive(network: Network, frames: int, period: int = 0) -> dict[str, Any]:
    """Every cycle, every actor, every step: the definition of the network, without any thought of speed.

    An actor decides on what was visible, and which room was usable, at the start of the cycle.
    """
    at = {a.name: list(range(a.steps)) if a.at is None else list(a.at) for a in network.actors}
    done = dict.fromkeys(at, 0)
    started: dict[str, list[int]] = {link.name: [] for link in network.links}
    returned: dict[str, list[int]] = {link.name: [] for link in network.links}
    tokens = {link.name: int(np.sum(link.made)) for link in network.links}
    takes: list[int] = []
    cycle, idle, base = 0, 0, None
    while any(done[a.name] < frames * a.steps for a in network.actors):
        moves: list[tuple[Actor, int | None]] = []
        for actor in network.actors:
            frame, step = divmod(done[actor.name], actor.steps)
            if frame == frames:
                continue
            if step not in at[actor.name]:
                moves.append((actor, None))
                continue
            row = at[actor.name].index(step)
            may = True
            for link in network.links:
                if link.sink == actor.name and link.need[row]:
                    visible = sum(t + link.latency + 1 <= cycle for t in started[link.name])
                    may &= visible >= frame * tokens[link.name] + link.need[row]
                if link.source == actor.name and link.made[row]:
                    usable = sum(t + 1 <= cycle for t in returned[link.name])
                    may &= len(started[link.name]) - usable < link.depth
            if actor.name == network.input and network.takes[row]:
                may &= base is None or cycle >= base + frame * period
            if may:
                moves.append((actor, row))
        for actor, moved in moves:
            frame, step = divmod(done[actor.name], actor.steps)
            done[actor.name] += 1
            if moved is None:
                continue
            for link in network.links:
                if link.sink == actor.name:
                    returned[link.name] += [cycle] * int(link.free[moved])
                if link.source == actor.name and link.made[moved]:
                    started[link.name].append(cycle)
                    if link.sink is None:
                        returned[link.name].append(cycle + link.latency + 1)
            if actor.name == network.input and network.takes[moved]:
                base = cycle if base is None else base
                if not any(network.takes[:moved]):
                    takes.append(cycle)
        idle = 0 if moves else idle + 1
        if idle > 10 + period + max(link.latency for link in network.links):
            raise Deadlock
        cycle += 1
    assert base is not None
    return {
        "starts": [t - base for t in takes],
        "started": {name: [t - base for t in cycles] for name, cycles in started.items()},
        "returned": {name: [t - base for t in cycles] for name, cycles in returned.items()},
        "occupancy": {
            name: max(k + 1 - sum(t < cycle for t in returned[name]) for k, cycle in enumerate(cycles))
            for name, cycles in started.items()
        },
    }


def split(draw: st.DrawFn, total: int, parts: int) -> np.ndarray[Any, Any]:
    """`total` as a sum of `parts` numbers."""
    cuts = sorted(draw(st.lists(st.integers(0, total), min_size=parts - 1, max_size=parts - 1)))
    return np.diff([0, *cuts, total])


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Chains, forks, joins, skips over several actors, replays, bursts: any acyclic network of up to 5 actors."""
    n = draw(st.integers(1, 5))
    actors = []
    for i in range(n):
        steps = draw(st.integers(1, 7))
        some = np.flatnonzero(draw(st.lists(st.booleans(), min_size=steps, max_size=steps)))
        at = some if len(some) and draw(st.booleans()) else None
        actors.append(Actor(f"a{i}", steps, at))
    pairs = [(i, draw(st.integers(i + 1, n - 1))) for i in range(n - 1)]
    pairs += [(draw(st.integers(0, j - 1)), j) for j in range(1, n)]
    links = []
    for number, (i, j) in enumerate([*pairs, (n - 1, None)]):
        listed = actors[i].listed
        made = np.array(draw(st.lists(st.integers(0, 1), min_size=listed, max_size=listed)))
        made[draw(st.integers(0, listed - 1))] = 1
        total = int(made.sum())
        depth = draw(st.sampled_from([1, 2, 3, total, total + 1, total + 4, 3 * total, UNLIMITED]))
        latency = draw(st.integers(0, 4))
        if j is None:
            links.append(Link("out", f"a{i}", None, depth, latency, made))
            continue
        rows = actors[j].listed
        need = np.array(draw(st.lists(st.integers(0, total), min_size=rows, max_size=rows)))
        free = split(draw, total, rows)
        need = np.maximum(need, np.where(free > 0, np.cumsum(free), 0))
        links.append(Link(f"l{number}", f"a{i}", f"a{j}", depth, latency, made, need, free))
    takes = np.array(draw(st.lists(st.integers(0, 1), min_size=actors[0].listed, max_size=actors[0].listed)))
    takes[draw(st.integers(0, actors[0].listed - 1))] = 1
    return Network(tuple(actors), tuple(links), "a0", takes)


def chain(*, depth: int = 2, latency: int = 0, work: int = 1) -> Network:
    """A source of 4 beats and a sink that works `work` steps on each and then hands it on."""
    last = np.arange(4 * work) % work == work - 1
    first = np.arange(4 * work) // work + 1
    return Network(
        (Actor("load", 4), Actor("mac", 4 * work)),
        (
            Link("x", "load", "mac", depth, latency, np.ones(4, int), first, last.astype(int)),
            Link("y", "mac", None, 2, 0, last.astype(int)),
        ),
        "load",
        np.ones(4, int),
    )


def fork_join(depth: int) -> Network:
    """A fork, a branch that needs all 8 beats before it gives its first, a skip connection of `depth`, and a join."""
    one, upto = np.ones(8, int), np.arange(1, 9)
    return Network(
        (Actor("fork", 8), Actor("slow", 8), Actor("join", 8)),
        (
            Link("branch", "fork", "slow", 8, 0, one, np.full(8, 8), one),
            Link("skip", "fork", "join", depth, 0, one, upto, one),
            Link("result", "slow", "join", 2, 0, one, upto, one),
            Link("sum", "join", None, 2, 0, one),
        ),
        "fork",
        one,
    )
