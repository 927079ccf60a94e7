"""Automatic scheduling: memory mode, Vela's options and graph rewrites, by what Vela itself estimates.

From Vela's default on, every rewrite is tried on all layers where it is promising. Vela's figures per layer tell where
it paid, so that one compilation judges it for all layers at once; what paid is joined, the largest gain first, and from
the best of that the next round starts. Options and arena limits are tried on what is best then. The default is always
among the candidates: no result is worse. Everything is deterministic, the number of compilations included.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from codesign.backends.base import Objective, Progress, Requirement, ignore_progress
from codesign.backends.ethosu.figures import Figures, bounds, missed_by
from codesign.backends.ethosu.rewrites import REWRITES
from codesign.backends.ethosu.trials import Candidate, Trials, ordered
from codesign.backends.ethosu.vela import System
from codesign.errors import Diagnostic, RequirementError
from codesign.ir.graph import Graph
from codesign.requirements import text_of
from codesign.schedule import EthosuSchedule

_WORK_MS = 1500.0
_LEAST_TRIALS = 10
_ROUNDS = 3
_ARENA_SHARES = (0.75, 0.5)  # of what the best schedule uses: the way from the fewest cycles to the smallest arena


@dataclass(frozen=True, eq=False)
class Plan:
    """What a search found.

    chosen    the best candidate by the objective that meets all requirements
    default   Vela's default: the target's memory mode, no option, no rewrite
    frontier  the candidates of the chosen memory mode that no other one beats in both cycles and SRAM, fastest first
    """

    chosen: Candidate
    default: Candidate
    frontier: tuple[Candidate, ...]


def search(
    graph: Graph,
    systems: Sequence[System],
    objective: Objective | None = None,
    requirements: Sequence[Requirement] = (),
    limits: Mapping[str, int] | None = None,
    progress: Progress = ignore_progress,
) -> Plan:
    """The best schedule for a graph.

    systems       one per memory mode that is allowed; the target's default comes first
    objective     latency, throughput: the fewest cycles; area: the least SRAM, then the fewest constants. None: the
                  fewest cycles in the target's default memory mode, in another one only where the requirements ask it
    requirements  of the figures in `figures.NAMES`; limits: sram_bytes, flash_bytes, dram_bytes of the target

    Raises RequirementError when no schedule meets the requirements, and what Vela or the export says against the graph
    as it is: ToolError, UnsupportedError.
    """
    demands = bounds(requirements, limits or {})
    trials = Trials(graph, systems[0].family, _WORK_MS, _LEAST_TRIALS, progress)
    search = _Search(trials, objective, demands)
    default = search.start(systems[0])
    search.climb(systems[0])
    search.vary(systems[0])
    if objective is not None or not search.meets(search.best()):
        for system in systems[1:]:
            search.move(system)
        search.climb(search.best().system)
    if not search.meets(search.best()):
        # What each requirement alone could reach, for the sake of the message.
        free = _Search(trials, None, ())
        trials.left = max(trials.left, 2 * _LEAST_TRIALS)
        free.climb(systems[0])
        free.vary(systems[0])
    chosen = search.best()
    if not search.meets(chosen):
        raise _unreachable(trials.candidates, requirements, demands, chosen)
    return Plan(chosen, default, _frontier(trials.candidates, chosen))


@dataclass(frozen=True, eq=False)
class _Search:
    """The state is that of `trials`; the best candidate is asked for anew after every step."""

    trials: Trials
    objective: Objective | None
    demands: Sequence[Requirement]

    def meets(self, candidate: Candidate) -> bool:
        return candidate.figures.excess(self.demands) == 0

    def rank(self, candidate: Candidate) -> tuple[float, ...]:
        """The smaller the better: work for the CPU, requirements missed, the objective, what differs of the default."""
        schedule, figures = candidate.schedule, candidate.figures
        changes = sum(len(layers) for _, layers in schedule.rewrites), len(schedule.disabled), schedule.arena_limit or 0
        return (figures.on_cpu, figures.excess(self.demands), *figures.order(self.objective), *changes)

    def best(self, system: System | None = None) -> Candidate:
        """Of a system; None: of all."""
        return min((c for c in self.trials.candidates if system in (None, c.system)), key=self.rank)

    def start(self, system: System) -> Candidate:
        """Vela's default; beside it, for they are most likely of use, what the climb from there would try first."""
        schedule = EthosuSchedule(system.memory_mode)
        asked = [schedule, replace(schedule, disabled=("Cascading",))]
        self.trials.run([(system, s) for s in (*asked, *self._asked(schedule, REWRITES).values())])
        default = next((c for c in self.trials.candidates if c.schedule == schedule), None)
        if default is None:
            raise self.trials.refused[schedule]
        self.trials.run([(system, replace(schedule, arena_limit=n)) for n in self._limits(default.figures)])
        return default

    def climb(self, system: System) -> None:
        """Rewrites, joined as long as that helps; those that paid nowhere are not asked again."""
        names: Collection[str] = REWRITES
        for _ in range(_ROUNDS):
            base = self.best(system)
            moves = self._moves(base, names)
            steps, joined = dict(base.schedule.rewrites), []
            for name, layers in moves:
                steps = {**steps, name: (*steps.get(name, ()), *layers)}
                joined.append((system, replace(base.schedule, rewrites=ordered(steps))))
            self.trials.run(joined)
            if self.best(system) is base:
                return
            names = [name for name, _ in moves]

    def _asked(self, base: EthosuSchedule, names: Collection[str]) -> dict[str, EthosuSchedule]:
        """By rewrite: the schedule with that on all promising layers, too, that `base` leaves to it."""
        taken = dict(base.rewrites)
        changed = {layer for name, layers in taken.items() if REWRITES[name].excludes for layer in layers}
        asked = {}
        for name in names:
            mine = taken.get(name, ())
            barred = changed if REWRITES[name].excludes else mine
            layers = [layer for layer in REWRITES[name].promising(self.trials.graph) if layer not in barred]
            if layers:
                asked[name] = replace(base, rewrites=ordered({**taken, name: (*mine, *layers)}))
        return asked

    def _moves(self, base: Candidate, names: Collection[str]) -> list[tuple[str, tuple[str, ...]]]:
        """The rewrites that pay on top of `base`, each with the layers where it does, the largest gain first."""
        asked = self._asked(base.schedule, names)
        self.trials.run([(base.system, schedule) for schedule in asked.values()])
        made = {c.schedule: c for c in self.trials.candidates if c.system == base.system}
        gains = {name: self._gains(base, made[s], name) for name, s in asked.items() if s in made}
        best: dict[str, str] = {}  # of the rewrites that exclude each other, one for each layer
        for name, by_layer in gains.items():
            for layer, gain in by_layer.items():
                if REWRITES[name].excludes and gain > gains.get(best.get(layer, ""), {}).get(layer, 0):
                    best[layer] = name
        moves = []
        for name, by_layer in gains.items():
            free = not REWRITES[name].excludes
            kept = [layer for layer, gain in by_layer.items() if gain > 0 and (free or best[layer] == name)]
            if kept:
                moves.append((sum(by_layer[layer] for layer in kept), name, tuple(kept)))
        moves.sort(key=lambda move: -move[0])
        return [(name, layers) for _, name, layers in moves]

    def _gains(self, base: Candidate, made: Candidate, name: str) -> dict[str, int]:
        """Cycles saved at each layer; of a rewrite whose layers act together an equal share of all that is saved."""
        before = set(dict(base.schedule.rewrites).get(name, ()))
        layers = [layer for layer in dict(made.schedule.rewrites)[name] if layer not in before]
        if not REWRITES[name].excludes:
            saved = base.figures.latency_cycles - made.figures.latency_cycles
            return dict.fromkeys(layers, -(-saved // len(layers)))
        old, new = self.trials.cycles(base), self.trials.cycles(made)
        where = {layer: self.trials.graph.node(layer).where for layer in layers}
        return {layer: old.get(where[layer], 0) - new.get(where[layer], 0) for layer in layers}

    def vary(self, system: System) -> None:
        """Vela's options and smaller arenas for the best rewrites."""
        best = self.best(system)
        schedule = replace(best.schedule, arena_limit=None, disabled=())
        limits = [*self._limits(best.figures), *(int(best.figures.sram_bytes * share) for share in _ARENA_SHARES)]
        varied = [
            schedule,
            replace(schedule, disabled=("Cascading",)),
            replace(schedule, optimise="Size"),
            *(replace(best.schedule, arena_limit=limit) for limit in limits),
            replace(schedule, disabled=("WeightBuffering",)),
            replace(schedule, disabled=("Grouping",)),
            replace(schedule, optimise="Size", rewrites=()),
        ]
        self.trials.run([(system, s) for s in varied])

    def move(self, system: System) -> None:
        """The same in another memory mode: Vela's default and the best so far."""
        best = self.best().schedule
        plain = EthosuSchedule(system.memory_mode)
        self.trials.left = max(self.trials.left, 3)
        varied = [plain, replace(best, memory_mode=system.memory_mode), replace(plain, optimise="Size")]
        self.trials.run([(system, s) for s in varied])

    def _limits(self, figures: Figures) -> list[int]:
        """Bounds on SRAM that the figures miss."""
        return [int(d.value) for d in self.demands if d.name == "sram_bytes" and missed_by(d, figures)]


def _frontier(candidates: Sequence[Candidate], chosen: Candidate) -> tuple[Candidate, ...]:
    mine = [c for c in candidates if c.system == chosen.system and c.figures.on_cpu == chosen.figures.on_cpu]
    mine.sort(key=lambda c: (c.figures.latency_cycles, c.figures.sram_bytes))
    found: list[Candidate] = []
    for candidate in mine:
        if not found or candidate.figures.sram_bytes < found[-1].figures.sram_bytes:
            found.append(candidate)
    return tuple(found)


def _unreachable(
    candidates: Sequence[Candidate],
    requirements: Sequence[Requirement],
    demands: Sequence[Requirement],
    nearest: Candidate,
) -> RequirementError:
    """Each requirement that nothing meets, with the closest figure and what limits that; else how they clash."""

    def missed(demand: Requirement, candidate: Candidate, among: str = "") -> Diagnostic:
        where = f"--require {text_of(demand)!r}" if demand in requirements else f"the target's {text_of(demand)}"
        value = candidate.figures.value(demand.name)
        found = f"the closest schedule{among} has {demand.name} {value:,.0f}: {_limit(demand, candidate)}"
        return Diagnostic(where, found, f"{value:,.0f} {'or more' if demand.op == '<=' else 'or less'}")

    found = []
    for demand in demands:
        closest = min(candidates, key=lambda c: (missed_by(demand, c.figures), *c.figures.order(None)))
        if missed_by(demand, closest.figures):
            found.append(missed(demand, closest))
    if not found:
        unmet = [d for d in demands if missed_by(d, nearest.figures)]
        others = ", ".join(text_of(d) for d in demands if d not in unmet)
        found = [missed(d, nearest, f" of those that meet {others}" if others else "") for d in unmet]
    return RequirementError(*found)


def _limit(demand: Requirement, candidate: Candidate) -> str:
    """What stands in the way of a smaller figure."""
    layers = candidate.layers.layers
    if demand.name in ("flash_bytes", "dram_bytes"):
        return "the weights and biases as Vela compresses them"
    if demand.name == "sram_bytes":
        use, name = max((u.live_bytes, layer.name) for layer in layers for u in layer.memories if u.memory == "Sram")
        return f"{name} needs {use:,} bytes while it runs"
    slowest = max(layers, key=lambda layer: layer.op_cycles)
    by = "the multipliers" if slowest.bound == "compute" else slowest.bound
    return f"{slowest.name} takes {slowest.share:.0%} of the time, limited by {by}"
