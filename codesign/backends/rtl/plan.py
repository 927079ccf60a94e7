"""From requirements to a schedule: folds by search.py, depths by fifos.py, all checked on the finished design."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from codesign.backends.base import Objective, Progress, Requirement
from codesign.backends.rtl.actors import buffer_name, least_capacity, network
from codesign.backends.rtl.blocks.base import Resources
from codesign.backends.rtl.blocks.window import Window
from codesign.backends.rtl.design import Design
from codesign.backends.rtl.fabrics import fabric
from codesign.backends.rtl.fifos import Sizing, Storage, size_fifos
from codesign.backends.rtl.lower import lower
from codesign.backends.rtl.search import RESOURCES, Choice, Problem
from codesign.backends.rtl.timing import Timeline
from codesign.errors import Diagnostic, RequirementError, UsageError, raise_all
from codesign.ir.graph import Graph
from codesign.schedule import RtlSchedule
from codesign.target import Target

# Share of a device that a design may fill when the user sets no limit of their own: above it, place and route
# of these families often misses its clock or fails.
FILL: Mapping[str, float] = {"lut": 0.7, "ff": 0.7, "bram": 0.9, "dsp": 0.9}
NAMES = ("fps", "interval_cycles", "latency_cycles", "latency_ns", *RESOURCES)
_ROOM = 2  # that sizing gives every FIFO: one beat on its way and one at the output
_SPEEDS = (0.0, 1e-6, 4e-6, 1.6e-5, 6.4e-5, 2.6e-4, 1e-3)


@dataclass(frozen=True)
class Plan:
    """A schedule with what it is predicted to reach."""

    schedule: RtlSchedule
    choice: Choice
    timeline: Timeline
    use: Resources
    bottleneck: str


@dataclass(frozen=True)
class Bounds:
    """The requirements in cycles and resources."""

    interval: int | None
    latency: int | None
    limits: Mapping[str, float]


def bounds(target: Target, requirements: Sequence[Requirement]) -> Bounds:
    """Requirements at the target's clock. Raises UsageError for names or directions that mean nothing here."""
    interval = latency = math.inf
    limits = {name: FILL[name] * target.limits.get(name, 0) for name in RESOURCES}
    found: list[Diagnostic] = []
    for r in requirements:
        where = f"--require {r.name}{r.op}{r.value:g}"
        if r.name not in NAMES:
            found.append(Diagnostic(where, "the RTL backend does not predict it", ", ".join(NAMES)))
        elif (r.op == ">=") != (r.name == "fps"):
            found.append(Diagnostic(where, "asks for more cycles or resources, or fewer frames", "fps>=, others <="))
        elif r.name == "fps":
            interval = min(interval, target.clock_hz / r.value)
        elif r.name == "interval_cycles":
            interval = min(interval, r.value)
        elif r.name == "latency_cycles":
            latency = min(latency, r.value)
        elif r.name == "latency_ns":
            latency = min(latency, r.value * target.clock_hz / 1e9)
        else:
            own = min(q.value for q in requirements if q.name == r.name)
            limits[r.name] = min(own, float(target.limits.get(r.name, 0)))
    raise_all(UsageError, found)
    return Bounds(
        None if math.isinf(interval) else math.floor(interval),
        None if math.isinf(latency) else math.floor(latency),
        limits,
    )


def plan(
    graph: Graph, target: Target, objective: Objective | None, requirements: Sequence[Requirement], progress: Progress
) -> Plan:
    """The schedule of a prepared graph.

    area        the smallest design that meets the requirements (the default when one asks for speed)
    throughput  the shortest interval within the limits, then the smallest design of that interval (else the default)
    latency     the shortest latency of the first frame within the limits

    Raises RequirementError that says how close one can get and what limits it.
    """
    limit = bounds(target, requirements)
    problem = Problem(graph, fabric(target.fabric), limit.limits)
    if objective is None:
        objective = "area" if limit.interval or limit.latency else "throughput"
    _require_legal(problem, limit, target)
    finish = _Finisher(problem, limit, progress)
    if objective == "latency":
        plans = [p for p in map(finish, _latency_choices(problem, limit)) if p is not None]
        if plans:
            return min(plans, key=lambda p: (p.timeline.latency_cycles, p.use.lut))
    else:
        found = _area(problem, limit, finish) if objective == "area" else _throughput(problem, limit, finish)
        if found is not None:
            return found
    raise _unreachable(problem, limit, target, finish)


def _require_legal(problem: Problem, limit: Bounds, target: Target) -> None:
    """Refuse an interval that no legal fold reaches, whatever the resources."""
    least = problem.intervals[0]
    if limit.interval is None or limit.interval >= least:
        return
    slow = [
        u for u, options in zip(problem.units, problem.options, strict=True) if min(o.steps for o in options) == least
    ]
    asked = f"{limit.interval:,} cycles" if limit.interval else "less than one cycle"
    raise RequirementError.at(
        "requirements",
        f"{asked} a frame is out of reach: with every fold unrolled it takes {least:,}, set by "
        + ", ".join(u.where for u in slow),
        f"fps<={math.floor(target.clock_hz / least)}",
        "a smaller layer, a larger stride, or a faster clock",
    )


class _Finisher:
    """Turns a choice into a plan: chooses depths, counts resources again, checks the requirements."""

    def __init__(self, problem: Problem, limit: Bounds, progress: Progress) -> None:
        self.problem, self.limit, self.progress = problem, limit, progress
        self.nearest: Plan | None = None
        self.tried = 0

    def __call__(self, choice: Choice) -> Plan | None:
        self.tried += 1
        self.progress("scheduling", self.tried, 0)
        plan = finish(self.problem, choice)
        fits = self.problem.excess(plan.use) <= 1.0
        fast = (
            self.limit.interval is None
            or plan.timeline.interval is None
            or plan.timeline.interval <= self.limit.interval
        )
        soon = self.limit.latency is None or plan.timeline.latency_cycles <= self.limit.latency
        if fits and fast and soon:
            return plan
        if fits and (self.nearest is None or plan.timeline.latency_cycles < self.nearest.timeline.latency_cycles):
            self.nearest = plan
        return None


def finish(problem: Problem, choice: Choice) -> Plan:
    """The plan of a choice of folds: depths that keep its interval, exact cycles, resources of the whole design."""
    sizing = size_design(lower(problem.graph, problem.schedule(choice)))
    schedule = problem.schedule(choice, sizing.depths)
    use = lower(problem.graph, schedule).resources(problem.fabric)
    return Plan(schedule, choice, sizing.run, use, problem.bottleneck(choice).where)


def least_depths(design: Design) -> dict[str, int]:
    """Every buffer of a design whose depth can be chosen, with the least depth that can be built."""
    least = {stream.name: 1 for layer in design.layers[1:] for stream in layer.outputs}
    for layer in design.layers:
        if isinstance(layer.engine, Window):
            least[buffer_name(layer.name)] = least_capacity(layer.engine)
    return least


def size_design(design: Design) -> Sizing:
    """The least depths of all FIFOs and window memories that keep the design as fast as unlimited ones would."""
    bits = {name: stream.width for name, stream in design.streams.items()}
    bits |= {buffer_name(layer.name): bits[layer.inputs[0]] for layer in design.layers[1:]}
    storage = {name: Storage(max(least, _ROOM), bits[name]) for name, least in least_depths(design).items()}
    return size_fifos(network(design), storage)


def _area(problem: Problem, limit: Bounds, attempt: Callable[[Choice], Plan | None]) -> Plan | None:
    """The slowest design that is allowed; for the sake of latency or of FIFOs that do not fit, faster ones."""
    top = limit.interval or problem.intervals[-1]
    allowed = [i for i in problem.intervals if i <= top]
    low, high, found = 0, len(allowed) - 1, None
    if limit.latency is None:
        for interval in reversed(allowed[-4:]):
            choice = problem.smallest(interval)
            plan = attempt(choice) if choice and problem.excess(choice.use) <= 1.0 else None
            if plan is not None:
                return plan
        return None
    while low <= high:  # latency falls with the interval: the slowest design that is soon enough
        middle = (low + high) // 2
        plan = None
        for speed in _SPEEDS[::2]:
            choice = problem.smallest(allowed[middle], speed)
            plan = attempt(choice) if choice and problem.excess(choice.use) <= 1.0 else None
            if plan is not None:
                break
        if plan is not None:
            found, low = plan, middle + 1
        else:
            high = middle - 1
    return found


def _throughput(problem: Problem, limit: Bounds, attempt: Callable[[Choice], Plan | None]) -> Plan | None:
    """The fastest design that fits; when its FIFOs do not, slower ones, further and further away."""
    choice = problem.fastest()
    if choice is None:
        return None
    slower = tuple(i for i in problem.intervals if i >= choice.interval)
    for interval in slower[:2] + tuple(slower[1 << k] for k in range(1, len(slower).bit_length() - 1)):
        if limit.interval is not None and interval > limit.interval:
            return None
        choice = problem.smallest(interval)
        plan = attempt(choice) if choice and problem.excess(choice.use) <= 1.0 else None
        if plan is not None:
            return plan
    return None


def _latency_choices(problem: Problem, limit: Bounds) -> list[Choice]:
    """Designs between the fastest interval that fits and four times that, the rest of the device spent on speed."""
    fastest = problem.fastest()
    if fastest is None:
        return []
    found: dict[tuple[object, ...], Choice] = {}
    for factor in (1, 2, 4):
        for speed in _SPEEDS:
            choice = problem.smallest(fastest.interval * factor, speed)
            if choice is not None and problem.excess(choice.use) <= 1.0:
                found.setdefault(tuple((o.fold, o.multiply) for o in choice.options), choice)
    return list(found.values())


def _unreachable(problem: Problem, limit: Bounds, target: Target, finish: _Finisher) -> RequirementError:
    """How close one can get, and what limits it."""
    smallest = problem.smallest(problem.intervals[-1])
    assert smallest is not None
    over = [n for n in RESOURCES if getattr(smallest.use, n) > limit.limits.get(n, 0)]
    if over:
        parts = (f"{getattr(smallest.use, n):,.0f} {n} of {limit.limits.get(n, 0):,.0f}" for n in over)
        found = f"even the smallest design does not fit: {', '.join(parts)}"
        return RequirementError(Diagnostic("requirements", found, "", "a larger device, or fewer bits and channels"))
    found, allowed = "no design meets all requirements", ""
    fastest = problem.fastest()
    if fastest is not None:
        tight = max(RESOURCES, key=lambda n: getattr(fastest.use, n) / max(limit.limits.get(n, 0), 1.0))
        found += (
            f"; within the limits the shortest interval is {fastest.interval:,} cycles "
            f"({target.clock_hz / fastest.interval:,.0f} frames/s), set by {problem.bottleneck(fastest).where}; "
            f"{tight} is nearest to its limit: {getattr(fastest.use, tight):,.0f} of {limit.limits.get(tight, 0):,.0f}"
        )
        allowed = f"fps<={math.floor(target.clock_hz / fastest.interval)}"
    if finish.nearest is not None and limit.latency is not None:
        latency = finish.nearest.timeline.latency_cycles
        found += f"; the shortest latency found is {latency:,} cycles ({latency * 1e9 / target.clock_hz:,.0f} ns)"
        allowed = f"latency_cycles<={latency}"
    return RequirementError(Diagnostic("requirements", found, allowed, "a larger device, or weaker requirements"))
