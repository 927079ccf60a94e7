"""Depths of FIFOs and window memories: with none smaller would every frame end as early as with unlimited ones.

Two facts of max-plus recurrences make this a short search. A depth only ever adds terms to a maximum, so a larger one
never makes any step later: what is possible stays possible when any depth grows. And the terms that depth D adds change
nothing if no more than D tokens are ever reserved: the occupancy that a link reaches without a limit is a depth that
suffices.

The unlimited run is throttled to the ideal interval. Without that, every actor ahead of the bottleneck would run away
from it, and occupancy would say nothing; with it, the run is periodic, and its occupancy is what the interval needs.
The interval is the same with a source that never waits: the depths close every path to a cycle, and the mean of the
slowest cycle is the interval, whatever the source, as long as it is not slower.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from codesign.backends.rtl.network import UNLIMITED, Network
from codesign.backends.rtl.timing import CycleModel, Timeline


@dataclass(frozen=True)
class Storage:
    """A link whose depth is to be chosen: the least depth that can be built, and bits per token."""

    least: int
    bits: int


@dataclass(frozen=True)
class Sizing:
    """Depths by link, and the steady run with them, which has the interval and the latency of unlimited depths."""

    depths: Mapping[str, int]
    run: Timeline


def size_fifos(network: Network, links: Mapping[str, Storage]) -> Sizing:
    """Choose the depths of `links`; the other links of the network keep theirs.

    Every depth is the least with which, given the others, the interval stays that of unlimited depths, and every frame
    ends as early (with the input throttled to the interval). The links on which a frame has the most bits are shrunk
    first, the others having no limit yet: what must be stored of a frame may thus move to where it is small. (Where
    steps before the first take can delay it, latency, which counts from it, may become shorter, and then a depth may be
    more than the least.) Deterministic. Raises DeadlockError when not even unlimited depths let the frames pass,
    ValueError for a link that the network does not have.
    """
    unknown = set(links) - {link.name for link in network.links}
    if unknown:
        raise ValueError(f"no links of the network: {', '.join(sorted(unknown))}")
    model = CycleModel(network)
    goal, period = _unlimited(model, links)
    tokens = {link.name: int(link.made.sum()) for link in network.links}
    order = sorted(links, key=lambda name: (-links[name].bits * tokens[name], name))
    depths, run = dict.fromkeys(links, UNLIMITED), goal
    for i, name in enumerate(order):
        least = {rest: links[rest].least for rest in order[i:]}
        found = _as_good(model, depths | least, period, goal)
        if found is not None:
            return Sizing(depths | least, found)
        low, high = least[name] - 1, max(least[name], run.occupancy[name])  # too small or not known, and enough
        while high - low > 1:
            middle = least[name] if low < least[name] else (low + high) // 2
            found = _as_good(model, depths | {name: middle}, period, goal)
            if found is None:
                low = middle
            else:
                high, run = max(least[name], min(middle, found.occupancy[name])), found
        depths[name] = high
    return Sizing(depths, run)


def _unlimited(model: CycleModel, links: Mapping[str, Storage]) -> tuple[Timeline, int]:
    """The steady run without limits, of twice the frames that settle it, and the period that its input is throttled to.

    That is the ideal interval, or, when the links with a fixed depth do not allow it, the smallest whole number of
    cycles that is found to let the run settle.
    """
    depths = dict.fromkeys(links, UNLIMITED)
    period = model.network.ideal_interval
    while True:
        run = model.steady(depths, period)
        assert run.interval is not None
        if run.settled:
            return model.simulate(2 * len(run.completions), period, depths), period
        period = max(period + 1, math.ceil(run.interval))


def _as_good(model: CycleModel, depths: Mapping[str, int], period: int, goal: Timeline) -> Timeline | None:
    """The run with `depths` if no frame ends later than in `goal` and it has settled, else None."""
    assert goal.interval is not None
    few = max(len(goal.completions) // 2, 1)  # enough for nearly all
    for latest in (goal.completions[:few], goal.completions):
        run = model.simulate_if(latest, period, depths)
        if run is None:
            return None
        if run.interval is not None:
            return run if run.interval <= goal.interval else None
    return None
