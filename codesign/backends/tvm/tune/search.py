"""All kernels of a network within a budget: the search that `codesign tune` runs.

    tuned = Search(tasks, target, Store(target.cpu), templates).run(Budget(seconds=900), progress)

The kernels take turns: next is the one whose cost, times how often the network has it, is the largest, halved for each
batch without a better one. Every trial is on record before the next batch, so the search can be stopped at any time and
goes on where it was. When no kernel's templates promise more, TVM's own search gets what is left of the budget.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import numpy as np

from codesign.backends.base import Progress, ignore_progress
from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice, Template
from codesign.backends.tvm.tune.budget import Budget, State, Tuned
from codesign.backends.tvm.tune.kernels import BATCH, Kernel, kernels_of
from codesign.backends.tvm.tune.measure import Measurer, Trial
from codesign.backends.tvm.tune.metaschedule import BATCH as META_BATCH
from codesign.backends.tvm.tune.metaschedule import MetaSearch
from codesign.backends.tvm.tune.pool import Pool
from codesign.backends.tvm.tune.store import Store, choice_text, key_of, record_of
from codesign.errors import CodesignError, MismatchError
from codesign.target import Target
from codesign.toolchain import cache_dir

META_TRIALS = 2 * META_BATCH
"""Candidates of one turn of MetaSchedule's."""
META_TURNS = 6
"""Of one kernel, at most."""
META_SECONDS = 30.0
"""With less than this left it is not started."""

FINALISTS = 3
"""Of each kernel, what is timed once more, and longer, where costs are measured."""


class Search:
    """One network on one target.

    measurer, pool_size  for tests; `say` is told the State after every batch
    metaschedule         whether TVM's own search gets what is left of the budget
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        target: Target,
        store: Store,
        templates: Sequence[Template],
        *,
        measurer: Measurer | None = None,
        pool_size: int | None = None,
        metaschedule: bool = True,
        say: Callable[[State], None] = lambda _state: None,
        seed: int = 0,
    ) -> None:
        self.measurer = measurer or Measurer(target)
        self.store, self.templates, self.say = store, templates, say
        keys = {task.output: key_of(task, self.measurer.cpu) for task in tasks}
        self.kernels = kernels_of(tasks, self.measurer.cpu, templates, keys)
        for kernel in self.kernels:
            kernel.recall(store.trials(kernel.key))
        self._rng = np.random.default_rng(seed)
        self._size, self._meta = pool_size, metaschedule
        self._trials = 0
        self._rejected: Counter[str] = Counter()
        self._start = time.monotonic()

    def run(self, budget: Budget, progress: Progress = ignore_progress) -> Tuned:
        """Search until the budget is spent, or nothing is left to try.

        Raises MismatchError for a kernel without exact code. Ctrl-C leaves through KeyboardInterrupt; what was measured
        is on record.
        """
        self._start = time.monotonic()
        with Pool(self._size) as pool:
            self._batches(budget, progress, pool)
            if self._meta:
                self._metaschedule(budget, progress, pool)
            self._finals(pool)
        lost = [kernel for kernel in self.kernels if kernel.best is None and kernel.tried]
        for kernel in lost:
            reason = next(trial.reason for trial in kernel.tried.values())
            raise MismatchError.at(kernel.task.where, f"no candidate for its kernel is exact: {reason}")
        return Tuned(self.choices(), self.state(), dict(self._rejected))

    def choices(self) -> dict[str, Choice]:
        """The best known choice of every task."""
        result: dict[str, Choice] = {}
        for kernel in self.kernels:
            choice = kernel.best.choice if kernel.best else kernel.choices[0]
            result |= dict.fromkeys(kernel.outputs, choice)
        return result

    def state(self) -> State:
        """Where the search stands."""
        total = guessed = scalar = vectors = 0.0
        for kernel in self.kernels:
            known, times = kernel.share(), len(kernel.outputs)
            total += known
            one_by_one, in_vectors = kernel.definition
            guessed += times * kernel.guessed.cost if kernel.guessed else known
            scalar += times * one_by_one.cost if one_by_one else known
            vectors += times * in_vectors.cost if in_vectors else known
        seconds = time.monotonic() - self._start
        rejected = sum(self._rejected.values())
        return State(seconds, self._trials, rejected, total, guessed, scalar, vectors, self.measurer.unit)

    def _spent(self, budget: Budget) -> bool:
        if budget.trials is not None and self._trials + self._running() >= budget.trials:
            return True
        return budget.seconds is not None and time.monotonic() - self._start >= budget.seconds

    def _running(self) -> int:
        return sum(len(kernel.running) for kernel in self.kernels)

    def _batches(self, budget: Budget, progress: Progress, pool: Pool) -> None:
        """Batches of the kernels in turn, as many at once as there are workers."""
        with ThreadPoolExecutor(pool.size) as threads:
            try:
                self._rounds(budget, progress, pool, threads)
            except KeyboardInterrupt:
                pool.close()  # or leaving `threads` waits for whole batches
                raise

    def _rounds(self, budget: Budget, progress: Progress, pool: Pool, threads: ThreadPoolExecutor) -> None:
        """Until the budget is spent, and what was started is done."""
        pending: dict[Future[list[Trial]], Kernel] = {}
        while True:
            while len(pending) < pool.size and not self._spent(budget):
                kernel = self._next(list(pending.values()))
                if kernel is None:
                    break
                most = BATCH if budget.trials is None else budget.trials - self._trials - self._running()
                numbers = kernel.propose(self._rng, min(most, BATCH))
                choices = [kernel.choices[i] for i in numbers]
                arguments = (kernel.task, choices, pool, self.templates)
                pending[threads.submit(self.measurer.measure, *arguments)] = kernel
            if not pending:
                return
            done, _ = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in done:
                self._learn(pending.pop(future), future.result())
            self._show(budget, progress)
            if done:
                self.say(self.state())

    def _next(self, running: Sequence[Kernel]) -> Kernel | None:
        """The kernel that is worth most: never measured ones first."""
        open_ = [kernel for kernel in self.kernels if kernel.left and not kernel.settled]
        busy = Counter(kernel.key for kernel in running)

        def worth(kernel: Kernel) -> float:
            value = kernel.share() if kernel.best else float("inf")
            return 0.0 if busy[kernel.key] and not kernel.best else value * 0.5 ** (kernel.stale + busy[kernel.key])

        return max(open_, key=worth, default=None)

    def _learn(self, kernel: Kernel, trials: Sequence[Trial]) -> None:
        self._keep(kernel, trials)
        self._trials += len(trials)
        for trial in trials:
            if trial.status != "exact":
                self._rejected[f"{trial.choice['template']}: {trial.status}, {trial.reason}"] += 1

    def _keep(self, kernel: Kernel, trials: Sequence[Trial]) -> None:
        self.store.add([record_of(kernel.task, trial, kernel.key, self.measurer) for trial in trials])
        kernel.learn(trials)

    def _metaschedule(self, budget: Budget, progress: Progress, pool: Pool) -> None:
        """MetaSchedule on the kernels that cost most, in turns, until the budget is spent."""
        turns: Counter[str] = Counter()
        open_ = [kernel for kernel in self.kernels if kernel.task.macs() and kernel.best]
        while open_ and (budget.seconds is not None or budget.trials is not None):
            seconds = float("inf")
            if budget.seconds is not None:
                seconds = budget.seconds - (time.monotonic() - self._start)
            trials = META_TRIALS if budget.trials is None else min(META_TRIALS, budget.trials - self._trials)
            if seconds < META_SECONDS or trials <= 0:
                return
            kernel = max(open_, key=lambda k: k.share() * 0.5 ** turns[k.key])
            if not self._meta_turn(kernel, turns[kernel.key], trials, seconds, budget, progress, pool):
                return
            turns[kernel.key] += 1
            open_ = [k for k in open_ if turns[k.key] < META_TURNS]

    def _meta_turn(
        self, kernel: Kernel, turn: int, trials: int, seconds: float, budget: Budget, progress: Progress, pool: Pool
    ) -> bool:
        """Some trials for one kernel, its layouts in turn; what was found is tried as any other choice.

        False: it does nothing but crash, and there is no point in another turn.
        """
        from codesign.backends.tvm.templates.metaschedule import MetaSchedule, layouts

        starts = layouts(kernel.task, self.measurer.cpu)
        layout = starts[turn % len(starts)]
        name = f"{kernel.key}-{layout['layout']}{layout.get('lanes', '')}"
        search = MetaSearch(kernel.task, layout, self.measurer, cache_dir() / "tvm-metaschedule" / name)
        before = self._trials

        def say(done: int) -> None:
            self._trials = before + done
            self._show(budget, progress)
            self.say(self.state())

        found = search.run(trials, min(seconds, 1e6), say)
        self._trials = before + found.trials
        self._rejected.update({f"metaschedule: {reason}": count for reason, count in found.rejected.items()})
        if found.deaths:
            self._rejected["metaschedule: its process crashed or hung"] += found.deaths
        if found.choice is not None and choice_text(found.choice) not in kernel.tried:
            self._learn(kernel, self.measurer.measure(kernel.task, [found.choice], pool, (MetaSchedule(),)))
        return bool(found.trials) or not found.deaths

    def _finals(self, pool: Pool) -> None:
        """Where costs are measured, the best of each kernel against each other, for longer."""
        if self.measurer.simulated:
            return
        for kernel in self.kernels:
            if not kernel.batches:
                continue  # nothing new
            exact = [trial for trial in kernel.tried.values() if trial.status == "exact"]
            best = sorted(exact, key=lambda trial: trial.cost)[:FINALISTS]
            if len(best) > 1:
                again = self.measurer.measure(kernel.task, [t.choice for t in best], pool, self.templates, long=True)
                self._keep(kernel, again)

    def _show(self, budget: Budget, progress: Progress) -> None:
        if budget.seconds is not None:
            progress("tuning, seconds", int(time.monotonic() - self._start), int(budget.seconds))
        if budget.trials is not None:
            progress("tuning, trials", self._trials, budget.trials)
        state = self.state()
        if state.guessed:
            progress(f"{state.unit}, best of untuned", round(state.total), round(state.guessed))


def recorded(tasks: Sequence[Task], target: Target, store: Store, templates: Sequence[Template]) -> dict[str, Choice]:
    """The best choice on record for every task, by its output; where there is none, a template's best guess."""
    cpu = Measurer(target).cpu
    keys = {task.output: key_of(task, cpu) for task in tasks}
    result: dict[str, Choice] = {}
    for kernel in kernels_of(tasks, cpu, templates, keys):
        best = [record.choice for record in store.best(kernel.key)]
        choice = next((c for c in best if _usable(c, kernel, cpu, templates)), kernel.choices[0])
        written = [choice_text(c) for c in best if "trace" not in c]
        changed = written and written[0] not in kernel.texts and kernel.texts[0] not in written
        if changed and "trace" not in choice:
            choice = kernel.choices[0]  # what the templates now think best is not on record
        result |= dict.fromkeys(kernel.outputs, choice)
    return result


def _usable(choice: Choice, kernel: Kernel, cpu: Cpu, templates: Sequence[Template]) -> bool:
    """Whether a template still offers it (templates change, and may depend on the weights), or replays its trace."""
    if choice_text(choice) in kernel.texts:
        return True
    template = next((t for t in templates if t.name == choice["template"] and "trace" in choice), None)
    try:
        return template is not None and bool(template.make(kernel.task, cpu, choice))
    except CodesignError:
        return False
