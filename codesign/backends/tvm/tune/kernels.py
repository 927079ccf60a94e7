"""What the search knows of one kernel: its choices, those that were tried, and which to try next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice, Template
from codesign.backends.tvm.tune.measure import Trial
from codesign.backends.tvm.tune.ranking import distance, predict
from codesign.backends.tvm.tune.records import Record
from codesign.backends.tvm.tune.store import choice_text

BATCH = 8
"""Candidates that are compiled and run together."""

FIRST = 2 * BATCH
"""Of the templates' own guesses, what is tried before any neighbour."""

SETTLED = 5
"""After so many batches that found nothing better a kernel is left alone."""

BETTER = 0.99  # of the best cost so far, to count as better

DEFINITION = "loops"
"""The template of the definition's own loops: its first choice has the last axis in vectors, its last one none."""


@dataclass
class Kernel:
    """One kernel of a network.

    outputs  the tensors that are computed by it: equal tasks are one kernel
    choices  of all templates, in the order of their guesses; tried: by choice_text, also others than `choices`
    running  numbers of the choices that are being measured
    stale    batches since the best one was found
    """

    key: str
    task: Task
    outputs: list[str]
    choices: Sequence[Choice]
    tried: dict[str, Trial] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    stale: int = 0
    batches: int = 0

    def __post_init__(self) -> None:
        self.texts = [choice_text(choice) for choice in self.choices]

    @property
    def best(self) -> Trial | None:
        """The fastest of the exact ones."""
        exact = [trial for trial in self.tried.values() if trial.status == "exact"]
        return min(exact, key=lambda trial: trial.cost, default=None)

    @property
    def guessed(self) -> Trial | None:
        """What is compiled without tuning: the templates' best guess."""
        return self._exact(self.texts[0])

    @property
    def definition(self) -> tuple[Trial | None, Trial | None]:
        """The loops of the definition: one element after the other, and the last axis in vectors."""
        plain = [t for t, choice in zip(self.texts, self.choices, strict=True) if choice["template"] == DEFINITION]
        return (self._exact(plain[-1]), self._exact(plain[0])) if plain else (None, None)

    def _exact(self, text: str) -> Trial | None:
        trial = self.tried.get(text)
        return trial if trial is not None and trial.status == "exact" else None

    @property
    def left(self) -> list[int]:
        """Numbers of the choices that nobody has tried."""
        return [i for i, text in enumerate(self.texts) if text not in self.tried and i not in self.running]

    @property
    def settled(self) -> bool:
        """Whether trying more is not expected to help."""
        return not self.left or self.stale >= SETTLED

    def share(self) -> float:
        """What it costs the network now."""
        best = self.best
        return len(self.outputs) * best.cost if best else 0.0

    def learn(self, trials: Sequence[Trial]) -> None:
        """Note what was measured."""
        before = self.best
        for trial in trials:
            text = choice_text(trial.choice)
            self.tried[text] = trial
            if text in self.texts:
                self.running.discard(self.texts.index(text))
        after = self.best
        self.batches += 1
        improved = after is not None and (before is None or after.cost < BETTER * before.cost)
        self.stale = 0 if improved else self.stale + 1

    def recall(self, records: Sequence[Record]) -> None:
        """Note what is on record."""
        for record in records:
            trial = Trial(record.choice, record.status, record.cost, record.reason)
            self.tried[choice_text(record.choice)] = trial

    def propose(self, rng: np.random.Generator, most: int = BATCH) -> list[int]:
        """The numbers of the next choices to try, marked as running.

        First the definition's loops and each template's own guesses; then half by prediction, a quarter among the
        neighbours of the best one, in the order of their predictions, and a quarter anywhere.
        """
        left = self.left
        if not left:
            return []
        picked = [i for i in self._first() if i in set(left)][:most]
        if not picked:
            picked = self._next(left, rng, most)
        self.running |= set(picked)
        return picked

    def _first(self) -> list[int]:
        plain = [i for i, choice in enumerate(self.choices) if choice["template"] == DEFINITION]
        return list(dict.fromkeys([*plain[:1], *plain[-1:], *range(min(FIRST, len(self.choices)))]))

    def _next(self, left: Sequence[int], rng: np.random.Generator, most: int) -> list[int]:
        known = [(i, self.tried[text].cost) for i, text in enumerate(self.texts) if self._cost(text)]
        order = predict(self.choices, known)
        ranked = sorted(left, key=lambda i: float(order[i]))
        picked = ranked[: most // 2]
        best = self.best
        if best is not None:
            near = sorted(left, key=lambda i: (distance(self.choices[i], best.choice), float(order[i])))
            picked += near[: most // 4]
        picked += [int(i) for i in rng.permutation(np.array(left))[: most // 4]]
        return list(dict.fromkeys([*picked, *ranked]))[:most]

    def _cost(self, text: str) -> bool:
        return text in self.tried and self.tried[text].status == "exact"


def kernels_of(tasks: Sequence[Task], cpu: Cpu, templates: Sequence[Template], keys: Mapping[str, str]) -> list[Kernel]:
    """The network's kernels, equal tasks together; `keys`: the record key of each task, by its output.

    Tasks of one key are apart where a template offers something for the weights of one only.
    """
    from codesign.backends.tvm.tune.measure import choices_of

    found: dict[tuple[str, ...], Kernel] = {}
    for task in tasks:
        kernel = Kernel(keys[task.output], task, [task.output], choices_of(task, cpu, templates))
        same = found.setdefault((kernel.key, *kernel.texts), kernel)
        if same is not kernel:
            same.outputs.append(task.output)
    return list(found.values())
