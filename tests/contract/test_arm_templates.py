"""Kernels of every template for ARM cores: equal to the golden evaluation on every bit, on emulated cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from arm_kernels import Job, absent, assemble, execute, outputs
from conftest import missing
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Definition
from codesign.backends.tvm.plan import Policy, plan
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates import TEMPLATES, choices, make
from codesign.backends.tvm.templates.base import Choice
from codesign.ir.graph import Graph
from codesign.ir.ops import Rounding
from codesign.ir.types import BIPOLAR, IntArray, IntType
from codesign.target import load_target
from codesign.testing.build import GraphBuilder
from codesign.testing.cases import CASES
from codesign.testing.graphs import feeds, values

CORES = {"cortex-a53": "cortex-a53", "cortex-a72": "cortex-a72", "cortex-a76": "cortex-a76"}  # ours, and QEMU's
FAST = ("widening", "narrow", "lanes", "dot", "interleaved", "depthwise")
I8, U8 = IntType(8, True), IntType(8, False)


@pytest.fixture(autouse=True)
def tools() -> None:
    if absent():
        missing(absent())


def cpu_of(name: str) -> Cpu:
    cpu = load_target(name).cpu
    assert cpu is not None
    return cpu


def compare(graphs: Sequence[Graph], core: str, pick: Callable[[Task], Definition], path: Path) -> None:
    inputs = [feeds(graph, 1, seed) for seed, graph in enumerate(graphs)]
    cpu = cpu_of(core)
    jobs = [Job(graph, fed, pick, cpu, Policy("int8")) for graph, fed in zip(graphs, inputs, strict=True)]
    written = execute(assemble(jobs, path), CORES[core])
    for graph, fed, found in zip(graphs, inputs, outputs(jobs, written), strict=True):
        for values_, expected in zip(found, graph.evaluate(*fed), strict=True):
            np.testing.assert_array_equal(values_, expected[0], err_msg=str(graph))


def picker(core: str, which: int, used: set[str]) -> Callable[[Task], Definition]:
    """The choice number `which` of each task, counted around; the names of the templates go to `used`."""
    cpu = cpu_of(core)

    def pick(task: Task) -> Definition:
        offered = choices(task, cpu)
        choice = offered[which % len(offered)]
        used.add(choice["template"])
        return make(task, cpu, choice)

    return pick


@pytest.mark.parametrize("core", CORES)
def test_every_case_equals_the_golden_evaluation(core: str, tmp_path: Path) -> None:
    used: set[str] = set()
    for which in (0, 1):
        path = tmp_path / str(which)
        path.mkdir()
        compare([case() for case in CASES.values()], core, picker(core, which, used), path)
    assert ("lanes" if core == "cortex-a76" else "narrow") in used


@st.composite
def products(draw: st.DrawFn) -> Graph:
    """A convolution or matrix product of bytes between two rescalings. The largest weights are frequent."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    b = GraphBuilder()
    dtype = draw(st.sampled_from([I8, U8, IntType(4, False), IntType(2, False)]))
    of_weights = draw(st.sampled_from([I8, I8, IntType(4, True), IntType(2, True), BIPOLAR]))
    outputs_ = draw(st.integers(1, 20))
    if draw(st.integers(0, 3)) == 0:
        shape: tuple[int, ...] = (draw(st.integers(1, 70)),)
        shape = (draw(st.integers(1, 5)), *shape) if draw(st.booleans()) else shape
        x = b.requant(b.input(shape, dtype), [1], [0], dtype, Rounding.HALF_UP)
        y = b.dense(x, values(rng, of_weights, (outputs_, shape[-1])), of_weights, bias(rng, outputs_))
    else:
        kernel = draw(st.integers(1, 4)), draw(st.integers(1, 4))
        dilation = draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from([1, 1, 2]))
        size = [draw(st.integers((k - 1) * d + 1, 12)) for k, d in zip(kernel, dilation, strict=True)]
        channels = draw(st.integers(1, 20))
        padding = tuple(draw(st.integers(0, 2)) for _ in range(4)) if draw(st.booleans()) else (0, 0, 0, 0)
        stride = draw(st.integers(1, 2)), draw(st.integers(1, 2))
        groups = channels if draw(st.integers(0, 3)) == 0 else 1
        outputs_ = channels if groups > 1 else outputs_
        x = b.requant(b.input((*size, channels), dtype), [1], [0], dtype, Rounding.HALF_UP)
        shape = (outputs_, *kernel, channels // groups)
        pad = draw(st.integers(dtype.lo, dtype.hi)) if any(padding) else 0
        y = b.conv(
            x,
            values(rng, of_weights, shape),
            of_weights,
            bias(rng, outputs_),
            stride,
            padding,
            groups,
            dilation,
            pad,
        )
    return b.graph(rescaled(b, y, rng, draw(st.sampled_from(list(Rounding)))))


def bias(rng: np.random.Generator, outputs_: int) -> IntArray:
    return rng.integers(-3000, 3000, outputs_)


def rescaled(b: GraphBuilder, y: str, rng: np.random.Generator, rounding: Rounding) -> str:
    type_ = b.type(y)
    multiplier = rng.integers(1 << 30, 1 << 31, type_.channels)
    shift = 31 + max(type_.dtype.bits - 9, 0)
    return b.requant(y, multiplier.tolist(), [shift] * type_.channels, I8, rounding, int(rng.integers(-128, 128)))


@pytest.mark.parametrize("core", CORES)
@settings(max_examples=4)
@given(graphs=st.lists(products(), min_size=8, max_size=8), which=st.integers(0, 40))
def test_random_products_equal_the_golden_evaluation(
    core: str, tmp_path_factory: pytest.TempPathFactory, graphs: list[Graph], which: int
) -> None:
    compare(graphs, core, picker(core, which, set()), tmp_path_factory.mktemp("products"))


def every_kind(graph: Graph, cpu: Cpu) -> list[Callable[[Task], Definition]]:
    """For the graph's product the first choice of each kind: template and all but the size of its tile."""
    (product,) = [task for task in plan(graph, Policy("int8")).tasks if task.macs()]
    sizes = ("rows", "columns", "blocks")
    kinds = {str({k: v for k, v in c.items() if k not in sizes}): c for c in reversed(choices(product, cpu))}

    def pick(task: Task, choice: Choice) -> Definition:
        return make(task, cpu, choice if task.macs() else choices(task, cpu)[0])

    return [partial(pick, choice=choice) for choice in kinds.values()]


@pytest.mark.parametrize("core", ["cortex-a53", "cortex-a76"])
@pytest.mark.parametrize("of_weights", [BIPOLAR, IntType(2, True), IntType(4, True), I8], ids=str)
def test_every_kind_of_choice_equals_the_golden_evaluation(core: str, of_weights: IntType, tmp_path: Path) -> None:
    """A convolution whose rows fill registers, one whose windows are copied, and a depthwise one."""
    rng = np.random.default_rng(3)
    graphs = []
    for channels, outputs_, groups in ((16, 8, 1), (3, 8, 1), (16, 16, 16)):
        b = GraphBuilder()
        x = b.requant(b.input((4, 4, channels), IntType(2, False)), [1], [0], IntType(2, False), Rounding.HALF_UP)
        w = values(rng, of_weights, (outputs_, 3, 3, channels // groups))
        y = b.conv(x, w, of_weights, bias(rng, outputs_), (1, 1), (1, 1, 1, 1), groups)
        graphs.append(b.graph(rescaled(b, y, rng, Rounding.HALF_UP)))
    cases = [(graph, feeds(graph, 1, 5), pick) for graph in graphs for pick in every_kind(graph, cpu_of(core))]
    jobs = [Job(graph, fed, pick, cpu_of(core), Policy("int8")) for graph, fed, pick in cases]
    written = execute(assemble(jobs, tmp_path), CORES[core])
    for (graph, fed, _), found in zip(cases, outputs(jobs, written), strict=True):
        np.testing.assert_array_equal(found[0], graph.evaluate(*fed)[0][0])


@pytest.mark.parametrize("core", CORES)
def test_the_largest_products_do_not_overflow(core: str, tmp_path: Path) -> None:
    """(-128)^2 twice is more than 16 bits hold."""
    b = GraphBuilder()
    x = b.requant(b.input((3, 3, 16), I8), [1], [0], I8, Rounding.HALF_UP)
    y = b.conv(x, np.full((4, 2, 2, 16), -128), I8)
    graph = b.graph(b.requant(y, [1] * 4, [14] * 4, I8, Rounding.HALF_UP))
    fed = [np.full((1, 3, 3, 16), -128)]
    for which in range(8):
        job = Job(graph, fed, picker(core, which, set()), cpu_of(core), Policy("int8"))
        path = tmp_path / str(which)
        path.mkdir()
        ((found,),) = outputs([job], execute(assemble([job], path), CORES[core]))
        np.testing.assert_array_equal(found, graph.evaluate(*fed)[0][0])


def test_names_are_unique() -> None:
    names = [template.name for template in TEMPLATES]
    assert len(set(names)) == len(names)
    assert set(FAST) <= set(names)
