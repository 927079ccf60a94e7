"""MetaSchedule in a process of its own: it proposes exact kernels, and survives what it does to itself."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from codesign.backends.tvm.network import policy_of
from codesign.backends.tvm.plan import plan
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.loops import Loops
from codesign.backends.tvm.templates.metaschedule import MetaSchedule, layouts
from codesign.backends.tvm.tune.measure import Measurer
from codesign.backends.tvm.tune.metaschedule import MetaSearch
from codesign.backends.tvm.tune.pool import Pool
from codesign.backends.tvm.tune.search import recorded
from codesign.backends.tvm.tune.store import Store, key_of, record_of
from codesign.errors import InputError
from codesign.testing.cases import CASES
from tests.contract.test_tune_measure import importable, measurer

__all__ = ["importable"]  # a fixture


def task_of(made: Measurer) -> Task:
    return plan(CASES["conv_zero_point"](), policy_of(made.cpu)).tasks[-1]


@pytest.mark.parametrize(("name", "layout"), [("host-x86", "dot"), ("host-x86", "plain"), ("cortex-a76", "dot")])
def test_a_few_trials_find_an_exact_kernel_that_is_replayed(name: str, layout: str, tmp_path: Path) -> None:
    made = measurer(name)
    task = task_of(made)
    start = next(choice for choice in layouts(task, made.cpu) if choice["layout"] == layout)
    found = MetaSearch(task, start, made, tmp_path / "search", population=8).run(4, 300)
    assert found.trials >= 4
    assert (found.rejected, found.deaths) == ({}, 0)
    assert found.choice is not None
    assert found.cost > 0
    json.dumps(found.choice)  # plain data
    with Pool(1) as pool:
        (trial,) = made.measure(task, [found.choice], pool, (MetaSchedule(),))
    assert trial.status == "exact"
    store = Store(made.cpu, tmp_path)
    store.add([record_of(task, trial, key_of(task, made.cpu), made)])
    templates = (Loops(), MetaSchedule())
    assert recorded([task], made.target, store, templates)[task.output] == found.choice
    broken = {**found.choice, "trace": [[["GetSBlock", [], ["nothing", "main"], ["b0"]]], []]}
    with pytest.raises(InputError, match=r"its trace does not fit: .*; try: codesign tune, which finds another"):
        MetaSchedule().make(task, made.cpu, broken)
    worse = record_of(task, trial, key_of(task, made.cpu), made)
    store.add([type(worse)(**{**vars(worse), "choice": broken, "cost": 0.001})])
    assert recorded([task], made.target, store, templates)[task.output] == found.choice


def test_a_layout_that_does_not_exist_is_refused() -> None:
    made = measurer("host-x86")
    task = task_of(made)
    with pytest.raises(InputError) as error:
        MetaSchedule().make(task, made.cpu, {"template": "metaschedule", "layout": "odd", "trace": [[], []]})
    assert str(error.value) == f"{task.where}: the layout 'odd'; allowed: plain, dot"


def test_a_crash_costs_a_candidate_and_many_end_the_search(tmp_path: Path) -> None:
    """The process of these tests dies at its first candidate; started again, it leaves that one out."""
    made = measurer("host-x86")
    start = layouts(task_of(made), made.cpu)[-1]
    search = MetaSearch(task_of(made), start, made, tmp_path / "a", module="tests.tune_dying_worker")
    found = search.run(2, 300)
    assert (found.deaths, found.choice) == (1, None)
    assert (tmp_path / "a" / "poison").read_text() == "candidate1\n"
    os.environ["TUNE_DIES_ALWAYS"] = "1"
    try:
        search = MetaSearch(task_of(made), start, made, tmp_path / "b", module="tests.tune_dying_worker")
        found = search.run(2, 300)
    finally:
        del os.environ["TUNE_DIES_ALWAYS"]
    assert (found.deaths, found.trials) == (3, 0)


def test_records_that_cannot_be_read_are_begun_anew(tmp_path: Path) -> None:
    made = measurer("host-x86")
    start = layouts(task_of(made), made.cpu)[-1]
    (tmp_path / "records").mkdir()
    for name in ("database_workload.json", "database_tuning_record.json"):
        (tmp_path / "records" / name).write_text("nonsense\n")
    found = MetaSearch(task_of(made), start, made, tmp_path, population=8).run(2, 300)
    assert found.deaths == 1
    assert found.choice is not None


def test_one_process_searches_in_a_folder(tmp_path: Path) -> None:
    made = measurer("host-x86")
    start = layouts(task_of(made), made.cpu)[-1]
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = MetaSearch(task_of(made), start, made, tmp_path, module="tests.tune_dying_worker").run(2, 300)
    assert (found.trials, found.deaths) == (0, 0)


def test_a_hang_is_ended(tmp_path: Path) -> None:
    made = measurer("host-x86")
    os.environ["TUNE_HANGS"] = "1"
    try:
        start = layouts(task_of(made), made.cpu)[-1]
        search = MetaSearch(task_of(made), start, made, tmp_path, module="tests.tune_dying_worker", hang_s=2)
        found = search.run(2, 300)
    finally:
        del os.environ["TUNE_HANGS"]
    assert found.deaths == 3
    assert set((tmp_path / "poison").read_text().split()) == {"candidate1"}
