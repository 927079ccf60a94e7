"""The cycle model equals a naive simulation, cycle by cycle, of the same network."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.backends.rtl.network import UNLIMITED, Actor, Link, Network, compress
from codesign.backends.rtl.timing import CycleModel, DeadlockError, Timeline, Wait


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


def equal(run: Timeline, expected: dict[str, Any]) -> None:
    assert run.starts.tolist() == expected["starts"]
    for name in run.started:
        assert run.started[name].ravel().tolist() == expected["started"][name]
        assert run.returned[name].ravel().tolist() == expected["returned"][name]
        assert run.occupancy[name] == max(expected["occupancy"][name], 0)


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
        if draw(st.booleans()):  # as in the hardware: give back only what has arrived
            need = np.maximum(need, np.cumsum(free))
        links.append(Link(f"l{number}", f"a{i}", f"a{j}", depth, latency, made, need, free))
    takes = np.array(draw(st.lists(st.integers(0, 1), min_size=actors[0].listed, max_size=actors[0].listed)))
    takes[draw(st.integers(0, actors[0].listed - 1))] = 1
    return Network(tuple(actors), tuple(links), "a0", takes)


@given(networks(), st.integers(1, 4), st.integers(0, 20))
@settings(max_examples=300)
def test_equals_naive_simulation(network: Network, frames: int, period: int) -> None:
    try:
        expected = naive(network, frames, period)
    except Deadlock:
        with pytest.raises(DeadlockError):
            CycleModel(network).simulate(frames, period)
        return
    equal(CycleModel(network).simulate(frames, period), expected)


@given(networks())
@settings(max_examples=200)
def test_interval_is_proved(network: Network) -> None:
    """An interval that `steady` says is settled holds for ever: throttled, and unthrottled in the long run."""
    model = CycleModel(network)
    try:
        run = model.steady(most_frames=32)
    except DeadlockError:
        return
    assert run.interval is not None
    assert run.interval >= network.ideal_interval or not run.settled
    if not run.settled:
        return
    c, frames = run.interval.denominator, len(run.completions)
    long = model.simulate(4 * frames, network.ideal_interval).completions
    cycle = next(n for n in range(c, frames, c) if long[frames - 1] - long[frames - 1 - n] == n * run.interval)
    assert np.all(long[frames - 1 :] - long[frames - 1 - cycle : -cycle] == cycle * run.interval)
    if all(link.depth < UNLIMITED for link in network.links):
        late = model.simulate(400).completions
        assert abs((late[-1] - late[199]) / 200 - run.interval) * 200 < 2 * cycle * run.interval


@given(networks(), st.integers(1, 3))
def test_waits_and_steps_fill_the_last_frame(network: Network, frames: int) -> None:
    model = CycleModel(network)
    try:
        run, before = model.simulate(frames + 1), model.simulate(frames)
    except DeadlockError:
        return
    events, _ = compress(network)
    for actor, event in zip(network.actors, events, strict=True):
        ends = [_end_of_last_event(network, actor, r, event.step[-1]) for r in (before, run)]
        if None not in ends:
            assert ends[1] - ends[0] == actor.steps + sum(w.cycles for w in run.waits[actor.name])


def _end_of_last_event(network: Network, actor: Actor, run: Timeline, last: int) -> Any:
    """The cycle of the last event where a token shows it."""
    row = last if actor.at is None else int(np.searchsorted(actor.at, last))
    for link in network.links:
        if link.source == actor.name and link.made[row]:
            return run.started[link.name][-1, -1]
        if link.sink == actor.name and link.free[row]:
            return run.returned[link.name][-1, -1]
    return None


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


def test_a_chain_by_hand() -> None:
    run = CycleModel(chain(latency=1, depth=3)).simulate(2)
    assert run.starts.tolist() == [0, 4]
    assert run.started["x"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert run.returned["x"].tolist() == [[2, 3, 4, 5], [6, 7, 8, 9]]  # latency 1, and 1 for the FIFO
    assert run.completions.tolist() == [6, 10]
    assert run.latency_cycles == 6
    assert run.occupancy == {"x": 3, "y": 2}


@pytest.mark.parametrize(("depth", "interval"), [(1, 12), (2, 6), (3, 4), (9, 4)])
def test_interval_by_depth(depth: int, interval: int) -> None:
    """A beat per cycle needs depth latency + 2; with less, depth beats every latency + 2 cycles."""
    run = CycleModel(chain(latency=1, depth=depth)).steady()
    assert run.interval == interval
    assert run.settled


def test_an_interval_that_is_no_whole_number() -> None:
    """5 beats in flight at most, one every 9 / 5 cycles: 4 beats a frame take 36 / 5 cycles on the average."""
    run = CycleModel(chain(latency=7, depth=5)).steady()
    assert (run.interval, run.settled) == (Fraction(36, 5), True)
    long = CycleModel(chain(latency=7, depth=5)).simulate(40).completions
    assert set(np.diff(long).tolist()) == {4, 8}
    assert long[-1] - long[-6] == 36


def test_an_interval_that_cannot_be_proved_is_an_average() -> None:
    """Two actors of 8 and 9 steps a frame and no limit between them: no frame ever repeats another's cycles."""
    network = Network(
        (Actor("a", 8), Actor("b", 9)),
        (
            Link(
                "x", "a", "b", UNLIMITED, 0, np.eye(8, dtype=int)[0], np.eye(9, dtype=int)[0], np.eye(9, dtype=int)[0]
            ),
            Link("y", "b", None, 2, 0, np.eye(9, dtype=int)[0]),
        ),
        "a",
        np.ones(8, int),
    )
    run = CycleModel(network).steady(period=1, most_frames=16)
    assert run.interval == 9
    assert not run.settled
    assert len(run.completions) == 16
    assert CycleModel(network).steady().settled  # throttled to 9, it is periodic


def test_who_waits_for_what() -> None:
    run = CycleModel(chain(work=3)).simulate(8)
    assert run.busy == {"load": 4, "mac": 12}
    assert run.waits == {"load": (Wait("room", "x", 8),), "mac": ()}
    throttled = CycleModel(chain()).simulate(8, period=10)
    assert throttled.waits["load"] == (Wait("input", "", 6),)
    assert throttled.waits["mac"] == (Wait("token", "x", 6),)


def test_compression_keeps_what_can_wait() -> None:
    """100,000 steps that work on 4 beats are 8 events."""
    events, columns = compress(chain(work=25_000))
    assert [len(e.step) for e in events] == [4, 8]
    assert events[1].gap.tolist() == [1, 24_999] * 4
    assert columns[0].need.tolist() == [1, 0, 2, 0, 3, 0, 4, 0]
    assert CycleModel(chain(work=25_000)).steady().interval == 100_000


def test_listed_steps_equal_all_steps() -> None:
    full = chain(work=1000)
    at = np.flatnonzero(np.arange(4000) % 1000 % 999 == 0)
    x, y = full.links
    few = Network(
        (full.actors[0], Actor("mac", 4000, at)),
        (
            Link("x", "load", "mac", x.depth, x.latency, x.made, x.need[at], x.free[at]),
            Link("y", "mac", None, 2, 0, y.made[at]),
        ),
        "load",
        full.takes,
    )
    a, b = CycleModel(full).simulate(3), CycleModel(few).simulate(3)
    assert np.array_equal(a.completions, b.completions)
    assert np.array_equal(a.returned["x"], b.returned["x"])


def test_a_step_before_the_first_take_is_negative() -> None:
    network = Network(
        (Actor("pad", 6),), (Link("y", "pad", None, 8, 0, np.ones(6, int)),), "pad", np.array([0, 0, 1, 1, 1, 0])
    )
    run = CycleModel(network).simulate(2)
    assert run.starts.tolist() == [0, 6]
    assert run.started["y"].tolist() == [[-2, -1, 0, 1, 2, 3], [4, 5, 6, 7, 8, 9]]


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


def test_deadlock_names_every_waiting_actor() -> None:
    with pytest.raises(DeadlockError) as caught:
        CycleModel(fork_join(2)).simulate(3)
    assert str(caught.value).splitlines() == [
        "fork: deadlock in frame 0, step 2 of 8: waits for room in skip (depth 2); try: a larger depth for skip",
        "slow: deadlock in frame 0, step 0 of 8: waits for a token of branch (2 of 8 are there)",
        "join: deadlock in frame 0, step 0 of 8: waits for a token of result (0 of 1 are there)",
    ]
    assert caught.value.exit_status == 2
    CycleModel(fork_join(8)).simulate(3)


def test_what_is_no_network_is_refused_completely() -> None:
    one = np.ones(2, int)
    with pytest.raises(ValueError, match="not a network") as caught:
        Network(
            (Actor("a", 2), Actor("b", 0), Actor("c", 3, np.array([0, 3]))),
            (
                Link("x", "a", "nobody", 2, 0, one),
                Link("y", "a", "c", 0, 0, one, 3 * one, 0 * one),
                Link("z", "a", "c", 2, 0, one, one[:1], one),
            ),
            "a",
            0 * one,
        )
    assert str(caught.value).split("; ") == [
        "not a network: 0 links without a sink, not 1",
        "b: 0 steps",
        "b: no links",
        "c: the listed steps are not increasing from 0 to 2",
        "a: takes must list 2 steps and take a beat",
        "x: no actor nobody",
        "y: depth 0, latency 0",
        "y: need must be between 0 and the 2 tokens of a frame",
        "y: free must add up to the 2 tokens of a frame",
        "z: made, need and free must have one entry per listed step of the source, the sink and the sink",
    ]
