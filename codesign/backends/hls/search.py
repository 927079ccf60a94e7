"""Automatic scheduling: for every interval that the loops offer the cheapest loops that keep it, then the best.

Layers are independent but for the streams between them, so the cheapest design of an interval takes of every layer the
cheapest loop that is not slower. There are few intervals (the reuse factors of the layers), and each design is judged
whole: cycles by the simulated model, hardware by the resource model, against requirements and device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache

from codesign.backends.base import Objective, Progress, Requirement
from codesign.backends.hls.cost import (
    MAX_UNROLLED,
    Process,
    Timing,
    is_pipelined,
    process,
    simulate,
    stream_depths,
    too_much,
    unrolled,
)
from codesign.backends.hls.layers import Flatten, Integer, Layer, Linear, Network
from codesign.backends.hls.resources import layer_resources, resources
from codesign.backends.rtl.blocks.base import Fabric, Resources
from codesign.backends.rtl.plan import FILL
from codesign.errors import RequirementError
from codesign.schedule import HlsSchedule, IoType, Loop
from codesign.target import Target

MAX_INTERVALS = 120
"""Designs that are judged per io type; of more intervals, those that are evenly spread by their logarithm."""

_SPEED = ("fps", "interval_cycles", "latency_cycles", "latency_ns")


@dataclass(frozen=True)
class Design:
    """A schedule and what it comes to."""

    schedule: HlsSchedule
    timing: Timing
    use: Resources

    def figure(self, name: str, clock_hz: float) -> float:
        """A figure by the name that requirements use."""
        timing = {
            "interval_cycles": self.timing.interval,
            "latency_cycles": self.timing.latency,
            "latency_ns": self.timing.latency * 1e9 / clock_hz,
            "fps": clock_hz / self.timing.interval,
        }
        return float(timing[name] if name in timing else getattr(self.use, name))


SHARED = ("requantise", "integer_multiply")
"""Layers of ours that multiply: with an interval of R, an HLS tool shares each multiplier among R channels."""


def reuse_factors(terms: int, outputs: int) -> list[int]:
    """The reuse factors that hls4ml's resource strategy computes correctly: divisors of the terms, then whole multiples
    of them that divide the outputs (`_validate_reuse_factor` of hls4ml 1.3)."""
    return _divisors(terms) + [terms * k for k in _divisors(outputs)[1:]]


def _divisors(n: int) -> list[int]:
    small = [d for d in range(1, math.isqrt(n) + 1) if n % d == 0]
    return sorted({*small, *(n // d for d in small)})


def legal_loops(layer: Layer, io: IoType) -> list[Loop]:
    """The loops of a layer that an HLS tool unrolls; none when there is no such."""
    if isinstance(layer, Integer) and layer.function in SHARED:
        loops = [Loop(reuse) for reuse in _divisors(layer.type.channels)]
    elif isinstance(layer, Linear):
        factors = [f for f in reuse_factors(layer.terms, layer.outputs) if f > 1]
        if layer.is_conv and io == "io_parallel":
            factors = [f for f in factors if f <= layer.terms]  # what hls4ml's parallel convolution asserts
        loops = [Loop(), *(Loop(factor, "resource") for factor in factors)]
    else:
        loops = [Loop()]
    return [loop for loop in loops if unrolled(layer, loop, io) <= MAX_UNROLLED]


@dataclass(frozen=True, eq=False)
class Problem:
    """A network on a fabric, for one io type."""

    network: Network
    io: IoType
    fabric: Fabric
    limits: dict[str, float]

    @cached_property
    def layers(self) -> list[Layer]:
        """The layers that do something."""
        return [layer for layer in self.network.layers if not isinstance(layer, Flatten)]

    @cached_property
    def options(self) -> list[list[tuple[int, float, Loop]]]:
        """Per layer (busy, price, loop) of every legal loop."""
        return [[self._option(layer, loop) for loop in legal_loops(layer, self.io)] for layer in self.layers]

    def _option(self, layer: Layer, loop: Loop) -> tuple[int, float, Loop]:
        made: Process = process(layer, loop, self.io, self.fabric.adder_levels)
        use = layer_resources(layer, loop, self.io, self.fabric)
        return made.busy, self.price(use), loop

    def price(self, use: Resources) -> float:
        """Use as a share of what there is, summed over the resources."""
        return sum(float(value) / max(self.limits[name], 1.0) for name, value in asdict(use).items())

    @property
    def is_possible(self) -> bool:
        """Whether every layer has a legal loop."""
        return all(self.options)

    def intervals(self) -> list[int]:
        """What the slowest layer may take: every time that some loop of some layer takes, ascending."""
        least = max(min(busy for busy, _, _ in options) for options in self.options)
        found = sorted({busy for options in self.options for busy, _, _ in options if busy >= least} | {least})
        if len(found) <= MAX_INTERVALS:
            return found
        step = (len(found) - 1) / (MAX_INTERVALS - 1)
        return [found[round(i * step)] for i in range(MAX_INTERVALS)]

    def design(self, loops: Sequence[Loop]) -> Design:
        """The design of these loops, with streams as deep as the simulation asks for."""
        names = [layer.name for layer in self.layers]
        chosen = {n: loop for n, loop in zip(names, loops, strict=True) if loop != Loop()}
        schedule = HlsSchedule(self.io, chosen)
        timing = simulate(self.network, schedule, self.fabric.adder_levels)
        if self.io == "io_stream":
            schedule = replace(schedule, depths=stream_depths(self.network, timing))
        return Design(schedule, timing, resources(self.network, schedule, self.fabric))

    def designs(self) -> list[Design]:
        """The cheapest design of every interval, and the one that is a single pipeline."""
        found: dict[tuple[Loop, ...], Design] = {}
        if all(options[0][2] == Loop() for options in self.options):
            loops = tuple(Loop() for _ in self.options)
            found[loops] = self.design(loops)
        for interval in self.intervals():
            pools = [[o for o in options if o[0] <= interval] for options in self.options]
            loops = tuple(min(pool, key=lambda o: (o[1], o[0]))[2] for pool in pools)
            if loops not in found:
                found[loops] = self.design(loops)
        return list(found.values())


def search(
    networks: dict[IoType, Network],
    fabric: Fabric,
    target: Target,
    objective: Objective | None,
    requirements: Sequence[Requirement],
    progress: Progress,
) -> Design:
    """The best design that meets the requirements and fits the device, over all io types.

    objective   `latency`, `throughput`: the least of it, then the least use; `area`: the least use; None: the least use
                when a speed is required, else as `throughput`
    A resource that no requirement names may be filled as far as the RTL backend fills it (`FILL`).
    Raises RequirementError with how close one can get.
    """
    limits = {name: FILL[name] * target.limits[name] for name in asdict(Resources())}
    limits |= {r.name: min(r.value, float(target.limits[r.name])) for r in requirements if r.name in limits}
    designs: list[Design] = []
    for index, (io, network) in enumerate(networks.items()):
        progress("searching loops", index, len(networks))
        problem = Problem(network, io, fabric, limits)
        if problem.is_possible:
            designs += problem.designs()
    progress("searching loops", len(networks), len(networks))
    named = {r.name for r in requirements}
    fill = [Requirement(name, "<=", round(limit, 1)) for name, limit in limits.items() if name not in named]
    wanted = [*requirements, *fill]
    good = [d for d in designs if all(_meets(d, r, target.clock_hz) for r in wanted)]
    if not good:
        _refuse(designs, wanted, requirements, target, networks, fabric)
    if objective is None:
        objective = "area" if any(r.name in _SPEED for r in requirements) else "throughput"

    def order(design: Design) -> tuple[float, ...]:
        price = sum(v / max(limits[n], 1.0) for n, v in asdict(design.use).items())
        timing = design.timing
        if objective == "latency":
            return timing.latency, price
        return (timing.interval, price, timing.latency) if objective == "throughput" else (price, timing.interval)

    return min(good, key=order)


def _meets(design: Design, requirement: Requirement, clock_hz: float) -> bool:
    value = design.figure(requirement.name, clock_hz)
    return value <= requirement.value if requirement.op == "<=" else value >= requirement.value


def _refuse(
    designs: list[Design],
    wanted: Sequence[Requirement],
    requirements: Sequence[Requirement],
    target: Target,
    networks: dict[IoType, Network],
    fabric: Fabric,
) -> None:
    """Say how far the design gets that misses its worst requirement by the least; it fits the device if any does."""

    def miss(design: Design, requirement: Requirement) -> float:
        value, limit = design.figure(requirement.name, target.clock_hz), requirement.value
        over = value / limit if limit else (0.0 if value == 0 else math.inf)
        return over if requirement.op == "<=" else 1 / over if over else math.inf

    device = [r for r in wanted if r.name in target.limits]
    fitting = [d for d in designs if all(_meets(d, r, target.clock_hz) for r in device)]
    best = min(fitting or designs, key=lambda d: max(miss(d, r) for r in wanted))
    figures, hints = [], []
    for requirement in wanted:
        if not _meets(best, requirement, target.clock_hz):
            value = best.figure(requirement.name, target.clock_hz)
            limit = f"{requirement.op} {requirement.value:,.12g}"
            asked = "is asked" if requirement in requirements else "may be filled"
            figures.append(f"{requirement.name} {value:,.0f}, where {limit} {asked}")
            if requirement.name in _SPEED:
                hints.append(f"the slowest layer is {best.timing.slowest}")
            else:
                largest = _largest(best, networks[best.schedule.io], fabric, requirement.name)
                hints.append(f"most {requirement.name} are in {largest}")
    raise RequirementError.at(
        target.name,
        f"no schedule meets all requirements; the closest has {'; '.join(figures)}",
        hint=f"{', '.join(dict.fromkeys(hints))}; a larger device or other requirements",
    )


def _largest(design: Design, network: Network, fabric: Fabric, resource: str) -> str:
    """The layer that takes the most of a resource."""
    schedule = design.schedule

    def use(layer: Layer) -> float:
        return float(getattr(layer_resources(layer, schedule.loop(layer.name), schedule.io, fabric), resource))

    return max(network.layers, key=use).name


@lru_cache(maxsize=8)
def unrollable(network: Network, io: IoType) -> dict[str, str]:
    """By node: why a layer of it cannot be unrolled; empty when all can."""
    found = {}
    for layer in network.layers:
        if isinstance(layer, Linear | Integer) and not legal_loops(layer, io):
            loops = (
                [Loop(f, "resource") for f in reuse_factors(layer.terms, layer.outputs)]
                if isinstance(layer, Linear)
                else [Loop()]
            )
            least = min(unrolled(layer, loop, io) for loop in loops)
            found[layer.node] = too_much(layer, least)
    return found


def describe(design: Design, network: Network) -> list[str]:
    """Notes of a report: the style of the design, its slowest layer, and streams that may make a layer wait."""
    layers = {layer.name: layer for layer in network.layers}
    slow = layers[design.timing.slowest]
    loop = design.schedule.loop(slow.name)
    style = "one pipeline" if is_pipelined(network, design.schedule) else "a process per layer"
    what = f"{loop.strategy}, reuse {loop.reuse}" if isinstance(slow, Linear) else "pixel by pixel"
    cycles = design.timing.busy[slow.name]
    notes = [f"{design.schedule.io}, {style}; bottleneck: {slow.where} ({what}, {cycles:,} cycles)"]
    enough = stream_depths(network, design.timing)
    depths = design.schedule.depths.items()
    shallow = [name for name, d in depths if d < min(design.timing.depths.get(name, 0), enough.get(name, 0))]
    if shallow:
        text = "fewer pixels than wait there in the simulation: the design may be slower than predicted"
        notes.append(f"the streams behind {', '.join(shallow)} hold {text}")
    return notes
