"""TVM's MetaSchedule on one kernel: it proposes, in a process of its own; what it proposes is measured here.

Every candidate is compared and measured as any other. A crash or a hang of the process costs the candidate that it was
at: the process is started again, from its own records, and does not compile that candidate any more. What was found is
the trace of the best candidate, a choice of the template `metaschedule`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pickle
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from codesign import toolchain
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.backends.tvm.tune.jobs import Built, MetaJob, write_whole
from codesign.backends.tvm.tune.measure import Measurer
from codesign.errors import ToolError
from codesign.finders import python

BATCH = 16
POPULATION = 128  # TVM's default of 512 takes minutes
HANG_S = 240.0
"""Without a word; a batch is proposed in half a minute on a slow machine."""
MOST_DEATHS = 3
"""In a row, without a candidate measured between them: then the search is given up."""

_RECORDS = "database_tuning_record.json"


@dataclass(frozen=True)
class Found:
    """What a search brought: the best choice (None: there is none), its cost; trials, and those rejected by reason."""

    choice: Choice | None
    cost: float
    trials: int
    rejected: Mapping[str, int]
    deaths: int


class MetaSearch:
    """The search for one kernel from one layout. `folder` keeps its records; searches in the same folder go on.

    module, hang_s   for tests
    """

    def __init__(
        self, task: Task, layout: Choice, measurer: Measurer, folder: Path, *,
        population: int = POPULATION, hang_s: float = HANG_S,
        module: str = "codesign.backends.tvm.tune.metaschedule_worker",
    ) -> None:  # fmt: skip
        self.task, self.layout, self.measurer, self.folder = task, layout, measurer, folder
        self._population, self._hang_s, self._module = population, hang_s, module
        self._trials = self._deaths = 0
        self._rejected: Counter[str] = Counter()
        self._at = ""

    def run(self, trials: int, seconds: float, say: Callable[[int], None] = lambda _trials: None) -> Found:
        """At most so many more trials, for at most about so long; `say` is told how many there were.

        None at all while another process searches in the same folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return Found(None, 0.0, 0, {}, 0)
            return self._lives(trials, seconds, say)

    def _lives(self, trials: int, seconds: float, say: Callable[[int], None]) -> Found:
        end = time.monotonic() + seconds
        in_a_row, before = 0, 0
        while self._trials < trials and in_a_row < MOST_DEATHS:
            left = end - time.monotonic()
            if left <= 0 or self._live(trials - self._trials, left, say):
                break
            self._deaths += 1
            in_a_row = in_a_row + 1 if self._trials == before else 1
            before = self._trials
        return self._found()

    def _live(self, trials: int, seconds: float, say: Callable[[int], None]) -> bool:
        """One life of the process; whether it came to its end, or the time did."""
        for leftover in (path for kind in ("*.built", "*.answer", "*.o") for path in self.folder.glob(kind)):
            leftover.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "artifacts", ignore_errors=True)
        _drop_torn_line(self.folder / "records" / _RECORDS)
        batch = min(BATCH, trials)
        job = MetaJob(self.task, self.measurer.cpu, self.layout, trials, batch, self._population, seed=self._trials + 1)
        write_whole(self.folder / "job", job)
        self._at = ""
        ended = False

        def hear(line: str) -> None:
            nonlocal ended
            words = line.split()
            if words[:1] == ["start"]:
                self._at = words[1]
            elif words[:1] == ["measure"]:
                self._at = ""
                self._answer(words[1])
                say(self._trials)
            elif words == ["end"]:
                ended = True

        started, before = time.monotonic(), self._trials
        try:
            toolchain.run(
                python(self._module, "metaschedule"), [self.folder], cwd=self.folder, log=self.folder / "log",
                time_limit_s=seconds, quiet_limit_s=self._hang_s, on_line=hear,
            )  # fmt: skip
        except ToolError:
            if time.monotonic() - started >= seconds:
                return True
            if self._at:
                with (self.folder / "poison").open("a") as file:
                    file.write(f"{self._at}\n")
            elif self._trials == before:  # before its first candidate: records that it cannot read any more
                shutil.rmtree(self.folder / "records", ignore_errors=True)
        return ended

    def _answer(self, name: str) -> None:
        """Measure a batch and write its costs."""
        built: list[Built] = pickle.loads((self.folder / f"{name}.built").read_bytes())
        place = self.folder / f"batch-{name}"
        place.mkdir(exist_ok=True)
        outcomes = self.measurer.run(self.task, built, place)
        self._trials += len(outcomes)
        self._rejected.update(f"{status}, {reason}" for status, _, reason in outcomes if status != "exact")
        write_whole(self.folder / f"{name}.answer", [cost for _, cost, _ in outcomes])
        for path in place.iterdir():
            path.unlink()
        place.rmdir()

    def _found(self) -> Found:
        best = min(_measured(self.folder / "records" / _RECORDS), key=lambda pair: pair[0], default=None)
        choice = None if best is None else {**self.layout, "trace": best[1]}
        cost = 0.0 if best is None else best[0]
        return Found(choice, cost, self._trials, dict(self._rejected), self._deaths)


def _measured(path: Path) -> list[tuple[float, object]]:
    """(cost, trace) of MetaSchedule's records: lines [workload, [trace, seconds, target, arguments]]."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError, TypeError, IndexError):
            _, (trace, seconds, *_) = json.loads(line)
            costs = [s for s in seconds or [] if 0 < s < 1e9]
            if costs:
                found.append((sum(costs) / len(costs) * 1e9, trace))
    return found


def _drop_torn_line(path: Path) -> None:
    """What a killed process has not written to its end, MetaSchedule cannot read."""
    if not path.exists():
        return
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        os.truncate(path, data.rfind(b"\n") + 1)
