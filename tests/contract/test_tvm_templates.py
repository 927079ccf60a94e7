"""Every family of schedules on every case of the conformance suite that it fits: equal on every bit, or refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codesign.backends.tvm import templates
from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.network import policy_of
from codesign.backends.tvm.plan import plan
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.backends.tvm.tune.measure import Measurer
from codesign.backends.tvm.tune.pool import Pool
from codesign.ir.graph import Graph
from codesign.ir.ops import Conv2d, Requant, Rounding
from codesign.ir.types import IntType
from codesign.target import Target, load_target
from codesign.testing.build import GraphBuilder
from codesign.testing.cases import CASES

HOST = load_target("host-x86")
PER_TEMPLATE = 2


def _avx2() -> Target:
    """The host without its AVX-512."""
    assert HOST.cpu is not None
    return replace(HOST, name="avx2", cpu=replace(HOST.cpu, core="haswell", features=("avx2",)))


def _plain() -> Target:
    """A core without any dot product."""
    assert HOST.cpu is not None
    return replace(HOST, name="plain", cpu=replace(HOST.cpu, core="nehalem", features=()))


TARGETS = {"host-x86": HOST, "avx2": _avx2(), "plain": _plain()}


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    with Pool(1) as made:
        yield made


def some(task: Task, cpu: Cpu) -> list[Choice]:
    """The best guesses of each template, and one from its middle."""
    found: list[Choice] = []
    for template in templates.TEMPLATES:
        offered = list(template.choices(task, cpu))
        found += offered[:PER_TEMPLATE] + offered[len(offered) // 2 :][:1]
    return [choice for i, choice in enumerate(found) if choice not in found[:i]]


def verify(graph: Graph, target: Target, pool: Pool) -> set[str]:
    """Measure some choices of every task; the templates that took part."""
    measurer = Measurer(target)
    used: set[str] = set()
    for task in plan(graph, policy_of(measurer.cpu)).tasks:
        trials = measurer.measure(task, some(task, measurer.cpu), pool, templates.TEMPLATES)
        assert [(t.choice, t.reason) for t in trials if t.status != "exact"] == []
        used |= {str(t.choice["template"]) for t in trials}
    return used


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("case", CASES)
def test_templates_are_exact(case: str, name: str, pool: Pool) -> None:
    verify(CASES[case](), TARGETS[name], pool)


def _rescaled_twice(outputs: int) -> Graph:
    """A convolution whose two rescalings behind have no cheap form: helper stages inside a tile."""
    rng = np.random.default_rng(1)
    b = GraphBuilder()
    x = b.input((6, 5, 4), IntType(8, True))
    w = b.const(rng.integers(-127, 128, (outputs, 3, 3, 4)))
    y = b.node(Conv2d(padding=(1, 1, 1, 1)), x, w)
    for out in (IntType(16, True), IntType(12, True), IntType(8, True)):
        m, s = b.const(rng.integers(1 << 29, 1 << 30, outputs)), b.const(rng.integers(32, 34, outputs))
        y = b.node(Requant(out, Rounding.HALF_EVEN), y, m, s)
    return b.graph(y)


@pytest.mark.parametrize("name", ["host-x86", "avx2", "cortex-a76", "cortex-a72"])
@pytest.mark.parametrize("outputs", [16, 5])
def test_helper_stages_belong_to_a_tile(outputs: int, name: str, pool: Pool) -> None:
    target = TARGETS[name] if name in TARGETS else load_target(name)
    used = verify(_rescaled_twice(outputs), target, pool)
    assert used & {"dot", "lanes", "widening"}


@pytest.mark.parametrize("channels", [3, 7, 16])
def test_nothing_behind_the_users_memory_is_read(channels: int) -> None:
    """A product reads its input in whole words: where the user's array ends before, it is copied first."""
    b = GraphBuilder()
    x = b.input((4, 4, channels), IntType(8, False))
    y = b.node(Conv2d(), x, b.const(np.ones((8, 1, 1, channels), dtype=np.int64)))
    network = plan(b.graph(y), policy_of(TARGETS["host-x86"].cpu))
    reads = [task.storage[name] for task in network.tasks if task.macs() for name in task.inputs]
    assert all(storage.tail for storage in reads) or channels % 16 == 0
