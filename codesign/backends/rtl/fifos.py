"""Depths of FIFOs and window memories with which every frame ends as early as with unlimited ones, hardly any to spare.

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

# Where the search stops: all links together have at most a part in so many more bits than they need, of the bits that
# the least depths have; and after so many events (some 10 s) the rest get what is known to suffice.
_SHARE = 16
_MOST_EVENTS = 1 << 30


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

    With them the interval stays that of unlimited depths, and every frame ends as early (with the input throttled to
    the interval). The links on which a frame has the most bits are shrunk first, the others having no limit yet: what
    must be stored of a frame may thus move to where it is small. Every depth is the least that suffices, given those
    before it, or so little more that all together it is at most 1/16 of the bits of the least depths that can be built;
    in very large networks the last links may get what they occupy without a limit. (Where steps before the first take
    can delay it, latency, which counts from it, may become shorter, and then a depth may be more than the least.)
    Deterministic. Raises DeadlockError when not even unlimited depths let the frames pass, ValueError for a link that
    the network does not have.
    """
    unknown = set(links) - {link.name for link in network.links}
    if unknown:
        raise ValueError(f"no links of the network: {', '.join(sorted(unknown))}")
    search = _Search(CycleModel(network), links)
    tokens = {link.name: int(link.made.sum()) for link in network.links}
    order = sorted(links, key=lambda name: (-links[name].bits * tokens[name], name))
    spare = sum(link.least * link.bits for link in links.values()) // (_SHARE * max(len(links), 1))
    alike: dict[Storage, int] = {}  # layers repeat: what the last such link needed is a good guess
    i, group = 0, len(order)
    while i < len(order):
        names = order[i : i + group]
        if search.events > _MOST_EVENTS:
            search.depths |= {name: max(links[name].least, search.run.occupancy[name]) for name in order[i:]}
            break
        if search.accept({name: links[name].least for name in names}):
            i, group = i + group, 2 * group
        elif len(names) > 1:
            group = len(names) // 2
        else:
            link = links[names[0]]
            alike[link] = search.shrink(names[0], alike.get(link), spare // link.bits)
            i += 1
    return Sizing(search.depths, search.run)


class _Search:
    """Depths that suffice, and the run with them, while one after the other shrinks; events simulated so far."""

    def __init__(self, model: CycleModel, links: Mapping[str, Storage]) -> None:
        self.model, self.links = model, links
        self.goal, self.period = _unlimited(model, links)
        self.run = self.goal
        self.events = 0
        self.depths: dict[str, int] = dict.fromkeys(links, UNLIMITED)

    def accept(self, smaller: Mapping[str, int]) -> bool:
        """Take these depths if the design stays as good with them."""
        self.events += self.model.events * len(self.goal.completions) // 2
        run = _as_good(self.model, {**self.depths, **smaller}, self.period, self.goal)
        if run is not None:
            self.depths.update(smaller)
            self.run = run
        return run is not None

    def shrink(self, name: str, guess: int | None, slack: int) -> int:
        """Find the depth of a link for which its least is too small: at most `slack` above the smallest that suffices.

        The guess and what is just below it are tried first. Then bisection, in the logarithm of what comes on top of
        the least depth: that is mostly little, of a range that ends at all tokens of several frames.
        """
        base = self.links[name].least - 1
        low, high = 1, max(2, self.run.occupancy[name] - base)  # too small, and enough
        probes = [] if guess is None else [guess - base, guess - base - 1 - slack]
        while high - low > 1 + slack:
            middle = min(max(math.isqrt(low * high), low + 1), high - 1)
            probes = [probe for probe in probes if low < probe < high]
            if probes:
                middle = probes.pop(0)
            if self.accept({name: base + middle}):
                high = min(middle, max(2, self.run.occupancy[name] - base))
            else:
                low = middle
        self.depths[name] = base + high
        return base + high


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
