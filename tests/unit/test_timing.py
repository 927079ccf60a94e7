"""The cycle model equals a naive simulation, cycle by cycle, of the same network."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.backends.rtl.network import UNLIMITED, Actor, Link, Network, compress
from codesign.backends.rtl.timing import CycleModel, DeadlockError, Timeline, Wait
from tests.unit.streaming_networks import Deadlock, chain, fork_join, naive, networks


def equal(run: Timeline, expected: dict[str, Any]) -> None:
    assert run.starts.tolist() == expected["starts"]
    for name in run.started:
        assert run.started[name].ravel().tolist() == expected["started"][name]
        assert run.returned[name].ravel().tolist() == expected["returned"][name]
        assert run.occupancy[name] == expected["occupancy"][name]


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


@given(networks(), st.integers(1, 8), st.integers(0, 12))
@settings(max_examples=300)
def test_a_settled_run_goes_on_for_ever(network: Network, frames: int, period: int) -> None:
    model = CycleModel(network)
    try:
        run, longer = model.simulate(frames, period), model.simulate(8 * frames, period).completions
    except DeadlockError:
        return
    if run.interval is not None:
        cycles = range(run.interval.denominator, frames, run.interval.denominator)
        assert any(np.all(longer[frames:] - longer[frames - c : -c] == c * run.interval) for c in cycles)


@given(networks())
@settings(max_examples=200)
def test_a_throttled_input_does_not_change_the_interval(network: Network) -> None:
    """`steady` throttles to the ideal interval; a source that never waits gives the same in the long run."""
    model = CycleModel(network)
    try:
        run = model.steady(most_frames=32)
    except DeadlockError:
        return
    assert run.interval is not None
    assert run.latency_cycles == model.simulate(1).latency_cycles
    if run.settled and all(link.depth < UNLIMITED for link in network.links):
        assert run.interval >= network.ideal_interval
        late = model.simulate(400).completions
        assert abs((late[-1] - late[199]) - 200 * run.interval) < 32 * run.interval


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


def test_a_buffer_that_fills_slowly_does_not_hide_the_interval() -> None:
    """The input gains half a frame per frame on `y`; `x` would take 500 frames to fill and to slow it down."""
    x, y = chain().links
    links = (replace(x, depth=1000), replace(y, depth=1))
    model = CycleModel(Network(chain().actors, links, "load", chain().takes))
    assert not model.steady(period=4).settled
    run = model.steady()
    assert (run.interval, run.settled) == (8, True)
    late = model.simulate(1200).completions
    assert set(np.diff(late).tolist()) == {8}


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


def test_a_run_ends_with_the_first_late_frame() -> None:
    model = CycleModel(chain(latency=1, depth=3))
    in_time = model.simulate_if(np.array([6, 10]), 0, {})
    assert in_time is not None
    assert in_time.completions.tolist() == [6, 10]
    assert model.simulate_if(np.array([6, 9]), 0, {}) is None
    assert model.simulate_if(np.array([6, 10]), 0, {"x": 2}) is None
    assert CycleModel(fork_join(2)).simulate_if(np.array([1000]), 0, {}) is None  # a deadlock


def test_what_is_no_network_is_refused_completely() -> None:
    one = np.ones(2, int)
    with pytest.raises(ValueError, match="not a network") as caught:
        Network(
            (Actor("a", 2), Actor("b", 0), Actor("c", 3, np.array([0, 3]))),
            (
                Link("x", "a", "nobody", 2, 0, one),
                Link("y", "a", "c", 0, 0, one, 3 * one, 0 * one),
                Link("z", "a", "c", 2, 0, one, one[:1], one),
                Link("w", "a", "a", 2, 0, one, np.array([1, 2]), np.array([2, 0])),
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
        "w: free gives back tokens that no step needed",
    ]
