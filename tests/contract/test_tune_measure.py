"""Candidates are compared on every bit, wrong ones rejected and named; crashes and hangs cost one candidate."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codesign.backends.tvm.network import policy_of
from codesign.backends.tvm.plan import plan
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates import TEMPLATES
from codesign.backends.tvm.templates.loops import Loops
from codesign.backends.tvm.tune.budget import Budget
from codesign.backends.tvm.tune.golden import frames, golden
from codesign.backends.tvm.tune.jobs import Job
from codesign.backends.tvm.tune.measure import Measurer, choices_of
from codesign.backends.tvm.tune.pool import Pool
from codesign.backends.tvm.tune.search import Search, recorded
from codesign.backends.tvm.tune.store import Store
from codesign.target import load_target
from codesign.testing.cases import CASES
from codesign.testing.graphs import feeds
from tests.conftest import missing
from tests.tune_templates import Deadly, Wrong

TARGETS = ("host-x86", "cortex-a76")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers import the templates of these tests."""
    here = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")])))


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as made:
        yield made


def measurer(name: str) -> Measurer:
    if name != "host-x86":
        for tool in ("qemu-aarch64", "aarch64-linux-gnu-gcc", "llvm-mca-19"):
            if shutil.which(tool) is None:
                missing(tool)
    return Measurer(load_target(name))


def tasks_of(case: str, made: Measurer) -> list[Task]:
    return list(plan(CASES[case](), policy_of(made.cpu)).tasks)


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_golden_output_of_tasks_is_that_of_the_graph(case: str) -> None:
    graph = CASES[case]()
    network = plan(graph, policy_of(Measurer(load_target("cortex-a76")).cpu))
    inputs = feeds(graph, 3, 7)
    values = {port.name: feed for port, feed in zip(graph.inputs, inputs, strict=True)}
    for task in network.tasks:
        known = {name: values[network.buffers[name]].reshape(3, *task.types[name].shape) for name in task.inputs}
        values[task.output] = golden(task, known)
    for name, expected in zip(network.outputs, graph.evaluate(*inputs), strict=True):
        assert (values[name].reshape(expected.shape) == expected).all()


@pytest.mark.parametrize("name", TARGETS)
def test_every_template_is_exact_and_has_a_cost(name: str, pool: Pool) -> None:
    made = measurer(name)
    for task in tasks_of("conv_zero_point", made) + tasks_of("softmax", made):
        choices = choices_of(task, made.cpu, TEMPLATES)[:4]
        trials = made.measure(task, choices, pool, TEMPLATES)
        assert [trial.status for trial in trials] == ["exact"] * len(choices)
        assert all(trial.cost > 0 for trial in trials)


@pytest.mark.parametrize("name", TARGETS)
def test_a_wrong_candidate_is_rejected_and_named(name: str, pool: Pool) -> None:
    made = measurer(name)
    task = tasks_of("add", made)[-1]
    right, wrong = made.measure(task, Wrong().choices(task, made.cpu), pool, (Wrong(),))
    assert (right.status, wrong.status) == ("exact", "wrong")
    size = task.types[task.output].size
    assert wrong.reason == f"{size} bytes differ from the golden output, first byte 0 of frame 0"


def test_bytes_around_the_output_must_stay_as_they_are(pool: Pool) -> None:
    """The golden memory has a border; a kernel for the whole memory writes over it."""
    made = measurer("host-x86")
    task = tasks_of("add", made)[-1]
    storage = replace(task.storage[task.output], border=(1, 1, 1, 1))
    bordered = replace(task, storage={**task.storage, task.output: storage})
    choices = Loops().choices(bordered, made.cpu)
    (good, *_), first = made.measure(bordered, choices, pool, (Loops(),)), frames(bordered)[0]
    assert good.status == "exact"
    changed = first.before != first.after
    inside = np.zeros(storage.physical, dtype=bool)
    inside[1:-1, 1:-1] = True
    assert not changed[: inside.size].reshape(inside.shape)[~inside].any()
    # The task without a border, built, against the memory of the task with one.
    folder = pool.folder()
    built = pool.build(Job(task, made.cpu, choices, [0], (Loops(),), folder))
    ((status, _, reason),) = Measurer(made.target).run(bordered, built, folder)
    assert status == "wrong"
    assert "bytes differ" in reason


def test_a_crash_a_hang_and_an_error_cost_one_candidate_each() -> None:
    made = measurer("host-x86")
    task = tasks_of("add", made)[-1]
    with Pool(1, hang_s=20) as pool:
        trials = made.measure(task, Deadly().choices(task, made.cpu), pool, (Deadly(),))
    assert [trial.status for trial in trials] == ["failed", "exact", "failed", "failed"]
    assert [trials[i].reason for i in (0, 2, 3)] == [
        "compiler killed by signal 6 (SIGABRT)",
        "compiler stopped after 20 s without a word",
        "RuntimeError: schedule",
    ]


def test_an_instruction_that_the_core_lacks_is_named(pool: Pool) -> None:
    """Code for a Cortex-A76 on a Cortex-A72: QEMU stops at the dot product."""
    a72, a76 = measurer("cortex-a72"), measurer("cortex-a76")
    task = tasks_of("conv_zero_point", a76)[-1]
    dot = next(t for t in TEMPLATES if t.name == "dot")
    folder = pool.folder()
    choices = dot.choices(task, a76.cpu)[:1]
    built = pool.build(Job(task, a76.cpu, choices, [0], (dot,), folder))
    ((status, _, reason),) = a72.run(task, built, folder)
    assert (status, reason) == ("crashed", "an instruction that cortex-a72 lacks")


def test_a_network_is_tuned_from_an_empty_store_and_again_from_records(tmp_path: Path) -> None:
    made = measurer("host-x86")
    tasks = tasks_of("residual", made)
    search = Search(tasks, made.target, Store(made.cpu, tmp_path), (Loops(), Wrong()), pool_size=1)
    tuned = search.run(Budget(trials=12))
    assert set(tuned.choices) == {task.output for task in tasks}
    assert tuned.state.total <= tuned.state.untuned
    assert any(reason.startswith("wrong: ") for reason in tuned.rejected)
    again = recorded(tasks, made.target, Store(made.cpu, tmp_path), (Loops(), Wrong()))
    assert again == tuned.choices
