"""Automatic scheduling: the smallest design of an interval, and the shortest interval that fits.

Every unit must finish a frame within the interval, so for a given interval the units are independent but for the width
converters between them; the sum of all costs is brought to a minimum by coordinate descent over whole designs. The cost
is use as a share of what there is, so that no resource is spent that another unit needs more. Use falls with the
interval, which makes the shortest feasible one a bisection over the step counts that the legal folds offer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from codesign.backends.rtl.blocks.base import Fabric, Resources
from codesign.backends.rtl.blocks.engines import WidthDown, WidthUp
from codesign.backends.rtl.blocks.fifo import Fifo
from codesign.backends.rtl.lower import unit_blocks
from codesign.backends.rtl.units import Unit, cut
from codesign.ir.graph import Graph
from codesign.ir.ops import Conv2d, Dense
from codesign.schedule import Fold, MulStyle, RtlSchedule

RESOURCES = ("lut", "ff", "bram", "dsp")
_SWEEPS = 12
_REWEIGH = 10


@dataclass(frozen=True)
class Option:
    """One way to build a unit: its fold and multiplier style, and what that costs."""

    fold: Fold
    multiply: MulStyle
    steps: int
    use: Resources
    in_lanes: int
    out_lanes: int


@dataclass(frozen=True)
class Choice:
    """A complete assignment: an option per unit, converters included in `use`."""

    options: tuple[Option, ...]
    use: Resources

    @property
    def interval(self) -> int:
        """The slowest unit's steps."""
        return max(option.steps for option in self.options)


@dataclass(frozen=True, eq=False)
class Problem:
    """The units of a graph on a fabric, with the limits (lut, ff, bram, dsp) that a design must stay within."""

    graph: Graph
    fabric: Fabric
    limits: Mapping[str, float]

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        return cut(self.graph)

    @cached_property
    def options(self) -> tuple[tuple[Option, ...], ...]:
        """Every option of every unit."""
        return tuple(tuple(self._options(unit)) for unit in self.units)

    def _options(self, unit: Unit) -> Iterator[Option]:
        multiplies = isinstance(unit.head.op, Conv2d | Dense)
        styles: tuple[MulStyle, ...] = ("lut", "dsp") if multiplies and self.limits.get("dsp", 0) >= 1 else ("lut",)
        for fold in unit.legal_folds():
            for style in styles:
                schedule = RtlSchedule({unit.name: fold}, multiply={unit.name: style}, levels=self.fabric.adder_levels)
                engine, pipes = unit_blocks(unit, fold, schedule)
                width = unit.out_lanes(fold) * unit.out_type.dtype.bits
                blocks = (engine, *pipes, Fifo(width=width, depth=4, style="auto"))
                use = sum((block.resources(self.fabric) for block in blocks), Resources())
                if style == "dsp" and use.dsp == 0:
                    continue
                yield Option(fold, style, unit.steps(fold), use, unit.in_lanes(fold), unit.out_lanes(fold))

    @cached_property
    def edges(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Per unit: its (neighbour, element bits) pairs as a producer's index; -1 - i for a reader's index i."""
        made = {unit.output: index for index, unit in enumerate(self.units)}
        found: list[list[tuple[int, int]]] = [[] for _ in self.units]
        for index, unit in enumerate(self.units):
            for value in unit.inputs:
                if value in made:
                    bits = self.units[made[value]].out_type.dtype.bits
                    found[index].append((made[value], bits))
                    found[made[value]].append((-1 - index, bits))
        return tuple(tuple(pairs) for pairs in found)

    @cached_property
    def intervals(self) -> tuple[int, ...]:
        """Every interval that some fold of some unit gives and all units can keep, ascending."""
        least = max(min(option.steps for option in options) for options in self.options)
        return tuple(sorted({o.steps for options in self.options for o in options if o.steps >= least} | {least}))

    def bottleneck(self, choice: Choice) -> Unit:
        """The unit with the most steps."""
        return max(zip(self.units, choice.options, strict=True), key=lambda pair: pair[1].steps)[0]

    def schedule(self, choice: Choice, depths: Mapping[str, int] | None = None) -> RtlSchedule:
        """The choice as a schedule."""
        pairs = [(unit.name, option) for unit, option in zip(self.units, choice.options, strict=True)]
        multiply = {unit.name: o.multiply for unit, o in zip(self.units, choice.options, strict=True) if unit.macs()}
        folds = {name: option.fold for name, option in pairs}
        return RtlSchedule(folds, dict(depths or {}), multiply, levels=self.fabric.adder_levels)

    def smallest(self, interval: int, speed: float = 0.0) -> Choice | None:
        """The design of least cost with no unit slower than `interval`; None when some unit cannot keep it.

        speed  cost of a step: above 0, units are made faster than the interval asks for, for the sake of latency

        When it does not fit, the resources that ran out are weighed more and the search is repeated; the best found is
        returned whether it fits or not (see `excess`).
        """
        weights = {name: 1.0 / max(self.limits.get(name, 1.0), 1.0) for name in RESOURCES}
        best: Choice | None = None
        for _ in range(_REWEIGH):
            choice = self._descend(interval, weights, speed)
            if choice is None:
                return None
            if best is None or self.excess(choice.use) < self.excess(best.use):
                best = choice
            over = {name: self._ratio(choice.use, name) for name in RESOURCES}
            if max(over.values()) <= 1.0:
                return choice
            weights = {name: w * max(1.0, over[name]) ** 2 for name, w in weights.items()}
        return best

    def _ratio(self, use: Resources, name: str) -> float:
        amount = float(getattr(use, name))
        limit = self.limits.get(name, 0.0)
        return amount / limit if limit > 0 else (0.0 if amount == 0 else math.inf)

    def excess(self, use: Resources) -> float:
        """The largest use as a share of its limit: above 1 the design does not fit."""
        return max(self._ratio(use, name) for name in RESOURCES)

    def _descend(self, interval: int, weights: Mapping[str, float], speed: float) -> Choice | None:
        def price(use: Resources) -> float:
            return sum(weight * float(getattr(use, name)) for name, weight in weights.items())

        pools: list[list[tuple[float, Option]]] = []
        for options in self.options:
            pool = [(price(o.use) + speed * o.steps, o) for o in options if o.steps <= interval]
            if not pool:
                return None
            pool.sort(key=lambda pair: (pair[0], pair[1].steps, pair[1].fold.pe, pair[1].fold.simd))
            pools.append(pool)
        current = [pool[0][1] for pool in pools]
        converters: dict[tuple[int, int, int], float] = {}

        def join(lanes_out: int, lanes_in: int, bits: int) -> float:
            key = (lanes_out, lanes_in, bits)
            if key not in converters:
                converters[key] = price(converter(*key, self.fabric))
            return converters[key]

        def around(index: int, option: Option) -> float:
            total = 0.0
            for neighbour, bits in self.edges[index]:
                if neighbour >= 0:
                    total += join(current[neighbour].out_lanes, option.in_lanes, bits)
                else:
                    total += join(option.out_lanes, current[-1 - neighbour].in_lanes, bits)
            return total

        for _ in range(_SWEEPS):
            moved = False
            for index, pool in enumerate(pools):
                best, best_cost = current[index], math.inf
                for own, option in pool:
                    if own >= best_cost:
                        break
                    cost = own + around(index, option)
                    if cost < best_cost:
                        best, best_cost = option, cost
                moved |= best is not current[index]
                current[index] = best
            if not moved:
                break
        use = sum((option.use for option in current), Resources())
        for index in range(len(current)):
            for neighbour, bits in self.edges[index]:
                if neighbour >= 0:
                    use = use + converter(current[neighbour].out_lanes, current[index].in_lanes, bits, self.fabric)
        return Choice(tuple(current), use)

    def fastest(self) -> Choice | None:
        """The design of the shortest interval that stays within the limits; None when not even the smallest does."""
        low, high = 0, len(self.intervals) - 1
        found: Choice | None = None
        while low <= high:
            middle = (low + high) // 2
            choice = self.smallest(self.intervals[middle])
            if choice is not None and self.excess(choice.use) <= 1.0:
                found, high = choice, middle - 1
            else:
                low = middle + 1
        return found


@lru_cache(maxsize=4096)
def converter(lanes_out: int, lanes_in: int, bits: int, fabric: Fabric) -> Resources:
    """What it takes to bring a stream of `lanes_out` elements a beat to `lanes_in`."""
    common = math.gcd(lanes_out, lanes_in)
    use = Resources()
    fifo = Fifo(width=common * bits, depth=2, style="auto")
    if common < lanes_out:
        use += WidthDown(out_width=common * bits, ratio=lanes_out // common).resources(fabric) + fifo.resources(fabric)
    if common < lanes_in:
        fifo = Fifo(width=lanes_in * bits, depth=2, style="auto")
        use += WidthUp(in_width=common * bits, ratio=lanes_in // common).resources(fabric) + fifo.resources(fabric)
    return use
