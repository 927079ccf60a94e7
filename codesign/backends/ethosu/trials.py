"""Schedules tried: each compiled by Vela once, many in one process, with its figures and the cycles of its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from codesign.backends.base import Progress
from codesign.backends.ethosu.figures import Figures
from codesign.backends.ethosu.layers import LayerTable, layer_table
from codesign.backends.ethosu.product import Source, source
from codesign.backends.ethosu.rewrites import REWRITES, apply_rewrites
from codesign.backends.ethosu.vela import Compiled, Family, Options, System, compile_models
from codesign.errors import ToolError, UnsupportedError
from codesign.ir.graph import Graph
from codesign.schedule import EthosuSchedule

Steps = tuple[tuple[str, tuple[str, ...]], ...]
"""Rewrites in the order of their table, each with the layers that it changes."""

# Milliseconds of a compilation as a rule of thumb, from which the number of trials follows: a clock would make the
# result depend on the machine. One core of a server of 2023: KWS 15, AD 40, MobileNetV2 450.
_MS_PER_NODE, _BYTES_PER_MS = 0.5, 10_000


@dataclass(frozen=True, eq=False)
class Candidate:
    """A schedule with what came of it.

    source  the model that Vela was given, compiled: what it made of it
    """

    system: System
    schedule: EthosuSchedule
    source: Source
    compiled: Compiled
    figures: Figures

    @cached_property
    def layers(self) -> LayerTable:
        """Vela's estimate for each node of the rewritten graph."""
        return layer_table(self.compiled, self.system, self.source.layers)


class Trials:
    """The candidates of one search.

    work_ms  what all compilations together may take, see `_MS_PER_NODE`; the first `least` are free of that limit
    """

    def __init__(self, graph: Graph, family: Family, work_ms: float, least: int, progress: Progress) -> None:
        # Helper nodes of a rewrite have the origin of their layer: with that, cycles are told apart layer by layer.
        self.graph = replace(graph, nodes=tuple(replace(node, origin=node.where) for node in graph.nodes))
        self._family = family
        self._is_tflite = source(graph, family).tflite is not None
        self.candidates: list[Candidate] = []
        self.refused: dict[EthosuSchedule, ToolError | UnsupportedError] = {}
        self._progress = progress
        self._models: dict[Steps, Source | UnsupportedError] = {}
        self._tried: set[tuple[System, EthosuSchedule]] = set()
        weights = sum(const.type.size for const in graph.consts.values())
        self.left = max(least, int(work_ms / (_MS_PER_NODE * len(graph.nodes) + weights / _BYTES_PER_MS)))

    def run(self, asked: Sequence[tuple[System, EthosuSchedule]]) -> list[Candidate]:
        """The candidates of these schedules as far as the work allows; what is refused is left out."""
        fresh: list[tuple[System, EthosuSchedule, Source]] = []
        for system, schedule in asked:
            if len(fresh) < self.left and (system, schedule) not in self._tried:
                self._tried.add((system, schedule))
                model = self._model(schedule.rewrites)
                if isinstance(model, UnsupportedError):
                    self.refused[schedule] = model
                else:
                    fresh.append((system, schedule, model))
        self.left -= len(fresh)
        jobs = [
            model.job(system, Options(s.optimise, s.arena_limit, s.disabled), raw=False) for system, s, model in fresh
        ]
        made = []
        for (system, schedule, model), result in zip(fresh, compile_models(jobs, self._progress), strict=True):
            if isinstance(result, ToolError):
                self.refused[schedule] = result
            else:
                made.append(Candidate(system, schedule, model, result, Figures.of(result, system)))
        self.candidates += made
        return made

    def cycles(self, candidate: Candidate) -> Mapping[str, int]:
        """Cycles by layer of the user's model."""
        return {layer.name: layer.op_cycles for layer in candidate.layers.layers}

    def _model(self, steps: Steps) -> Source | UnsupportedError:
        """The rewritten graph as Vela takes it, in the format of the graph as it is; or why it cannot be."""
        if steps not in self._models:
            try:
                made = source(apply_rewrites(self.graph, steps), self._family)
                if steps and made.tflite is None and self._is_tflite:
                    raise UnsupportedError(*made.inexact)
                self._models[steps] = made
            except UnsupportedError as error:
                self._models[steps] = error
        return self._models[steps]


def ordered(steps: Mapping[str, Sequence[str]]) -> Steps:
    """Rewrites with their layers in the order of the table, without those that have none."""
    return tuple((name, tuple(steps[name])) for name in REWRITES if steps.get(name))
