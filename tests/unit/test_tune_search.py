"""The search without a compiler: proposals, ranking, budgets, resuming, on costs that are made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from codesign.backends.tvm.network import policy_of
from codesign.backends.tvm.plan import plan
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice, Template
from codesign.backends.tvm.templates.loops import Loops
from codesign.backends.tvm.tune.budget import Budget, State
from codesign.backends.tvm.tune.kernels import FIRST, SETTLED
from codesign.backends.tvm.tune.measure import Measurer, Trial
from codesign.backends.tvm.tune.pool import Pool
from codesign.backends.tvm.tune.ranking import predict
from codesign.backends.tvm.tune.search import Search, recorded
from codesign.backends.tvm.tune.store import Store
from codesign.errors import MismatchError
from codesign.target import Target, load_target
from codesign.testing.cases import CASES
from tests.tune_templates import Grid

SIDE = 30
BEST = (21, 8)


def cost_of(choice: Choice) -> float:
    """A bowl over the grid with its least value at BEST; the loops are slower than all of it."""
    if choice["template"] == "loops":
        return 10_000.0 * (1 + (choice["lanes"] == 1))
    return 100.0 * 2 ** (abs(choice["a"] - BEST[0]) / 8 + abs(choice["b"] - BEST[1]) / 8)


class Pretended(Measurer):
    """Looks costs up instead of measuring them."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.asked: list[Choice] = []

    def measure(
        self, task: Task, choices: Sequence[Choice], pool: Pool, templates: Sequence[Template], long: bool = False
    ) -> list[Trial]:
        self.asked += choices
        return [self.trial(choice) for choice in choices]

    def trial(self, choice: Choice) -> Trial:
        return Trial(choice, "exact", cost_of(choice))


class Interrupted(Pretended):
    """Ctrl-C in the third batch."""

    def measure(
        self, task: Task, choices: Sequence[Choice], pool: Pool, templates: Sequence[Template], long: bool = False
    ) -> list[Trial]:
        if len(self.asked) > 12:
            raise KeyboardInterrupt
        return super().measure(task, choices, pool, templates, long)


class NeverExact(Pretended):
    def trial(self, choice: Choice) -> Trial:
        return Trial(choice, "wrong", 0.0, "7 bytes differ")


@pytest.fixture
def target() -> Target:
    return load_target("cortex-a76")


@pytest.fixture
def tasks(target: Target) -> Sequence[Task]:
    assert target.cpu is not None
    return plan(CASES["add"](), policy_of(target.cpu)).tasks[-1:]


def search(
    tasks: Sequence[Task], measurer: Pretended, folder: Path, states: list[State] | None = None
) -> tuple[Search, Sequence[Template]]:
    templates: Sequence[Template] = (Grid(SIDE), Loops())
    say = (lambda state: None) if states is None else states.append
    store = Store(measurer.cpu, folder)
    return Search(tasks, measurer.target, store, templates, measurer=measurer, pool_size=1, say=say), templates


def test_the_search_finds_the_best_of_a_space_without_trying_all_of_it(
    tasks: Sequence[Task], target: Target, tmp_path: Path
) -> None:
    measurer = Pretended(target)
    states: list[State] = []
    made, _ = search(tasks, measurer, tmp_path, states)
    tuned = made.run(Budget(trials=300))
    choice = tuned.choices[tasks[0].output]
    assert (choice["a"], choice["b"]) == BEST
    assert len(measurer.asked) <= 300 < SIDE * SIDE
    assert states[-1].total == 100.0
    assert (states[-1].untuned, states[-1].scalar) == (10_000.0, 20_000.0)
    assert str(states[-1]).endswith("(0 rejected): 100 cycles, 100.0 times faster than untuned")
    assert [s.total for s in states] == sorted((s.total for s in states), reverse=True)


def test_it_starts_with_the_untuned_schedules_and_the_first_guesses(
    tasks: Sequence[Task], target: Target, tmp_path: Path
) -> None:
    measurer = Pretended(target)
    made, templates = search(tasks, measurer, tmp_path)
    made.run(Budget(trials=FIRST))
    loops = list(Loops().choices(tasks[0], measurer.cpu))
    assert measurer.asked[:2] == [loops[0], loops[-1]]
    assert next(iter(templates[0].choices(tasks[0], measurer.cpu))) in measurer.asked


def test_trials_are_counted_exactly(tasks: Sequence[Task], target: Target, tmp_path: Path) -> None:
    measurer = Pretended(target)
    made, _ = search(tasks, measurer, tmp_path)
    assert made.run(Budget(trials=13)).state.trials == len(measurer.asked) == 13


def test_a_search_that_was_interrupted_goes_on_where_it_was(
    tasks: Sequence[Task], target: Target, tmp_path: Path
) -> None:
    made, _ = search(tasks, Interrupted(target), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        made.run(Budget(trials=100))
    again = Pretended(target)
    resumed, _ = search(tasks, again, tmp_path)
    before = len(resumed.kernels[0].tried)
    assert before == 16  # two batches of eight
    resumed.run(Budget(trials=20))
    assert len(again.asked) == 20
    assert len(resumed.kernels[0].tried) == before + 20  # nothing was tried again


def test_the_best_on_record_is_what_is_compiled(tasks: Sequence[Task], target: Target, tmp_path: Path) -> None:
    measurer = Pretended(target)
    made, templates = search(tasks, measurer, tmp_path)
    output = tasks[0].output
    first = recorded(tasks, target, Store(measurer.cpu, tmp_path), templates)[output]
    assert first == {"template": "grid", "a": 0, "b": 0}
    tuned = made.run(Budget(trials=100))
    best = recorded(tasks, target, Store(measurer.cpu, tmp_path), templates)[output]
    assert best == tuned.choices[output] != first
    fewer = recorded(tasks, target, Store(measurer.cpu, tmp_path), (Grid(SIDE - 10), Loops()))[output]
    assert fewer["template"] == "grid"  # the best of those that are still offered
    assert fewer != best
    newer = recorded(tasks, target, Store(measurer.cpu, tmp_path), (Grid(4, "new"), Loops()))[output]
    assert newer == {"template": "new", "a": 0, "b": 0}  # rather than the second best of old records
    gone = recorded(tasks, target, Store(measurer.cpu, tmp_path), (Loops(),))[output]
    assert gone["template"] == "loops"  # what no template offers any more is not used


def test_a_settled_kernel_is_left_alone(tasks: Sequence[Task], target: Target, tmp_path: Path) -> None:
    measurer = Pretended(target)
    made, _ = search(tasks, measurer, tmp_path)
    made.run(Budget())
    assert made.kernels[0].stale >= SETTLED
    assert len(measurer.asked) < SIDE * SIDE


def test_a_kernel_without_exact_code_is_named(tasks: Sequence[Task], target: Target, tmp_path: Path) -> None:
    made, _ = search(tasks, NeverExact(target), tmp_path)
    with pytest.raises(MismatchError) as error:
        made.run(Budget(trials=8))
    assert str(error.value) == "add3: no candidate for its kernel is exact: 7 bytes differ"


def test_the_ranking_learns_what_a_value_costs() -> None:
    grid: list[Choice] = [{"template": "t", "a": a, "b": b} for a in range(8) for b in range(8)]
    rng = np.random.default_rng(0)
    cost = [2.0 ** (choice["a"] * 0.5 + 3 * (choice["b"] == 5)) for choice in grid]
    known = [(int(i), cost[i]) for i in rng.permutation(64)[:24]]
    order = predict(grid, known)
    unknown = [i for i in range(64) if i not in {k for k, _ in known}]
    ranked = sorted(unknown, key=lambda i: float(order[i]))
    assert cost[ranked[0]] == min(cost[i] for i in unknown)
    assert cost[ranked[-1]] > np.median([cost[i] for i in unknown])
