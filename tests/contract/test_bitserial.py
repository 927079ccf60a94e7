"""Products that are counted bit by bit: equal to the golden evaluation on every bit, on emulated cores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from arm_kernels import absent
from conftest import missing
from hypothesis import given, settings
from hypothesis import strategies as st
from test_arm_templates import compare, cpu_of

from codesign.backends.tvm.definition import Definition
from codesign.backends.tvm.plan import Policy, plan
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates import TEMPLATES, choices, make
from codesign.backends.tvm.templates.bits import pack_planes, planes_of
from codesign.backends.tvm.templates.bitserial import Bitserial
from codesign.backends.tvm.tune.measure import choices_of
from codesign.errors import InputError
from codesign.ir.graph import Graph
from codesign.ir.ops import Rounding
from codesign.ir.types import BIPOLAR, IntType
from codesign.testing.build import GraphBuilder
from codesign.testing.cases import CASES
from codesign.testing.graphs import values

CORES = ("cortex-a53", "cortex-a72")
FEW = [BIPOLAR, *(IntType(bits, signed) for bits in (1, 2) for signed in (False, True))]


@pytest.fixture(autouse=True)
def tools() -> None:
    if absent():
        missing(absent())


def counted(core: str, which: int, used: list[str]) -> Callable[[Task], Definition]:
    """The template's choice number `which`, counted around, of what it fits; the others' first. Tasks go to `used`."""
    cpu = cpu_of(core)

    def pick(task: Task) -> Definition:
        offered = Bitserial().choices(task, cpu)
        if offered:
            used.append(task.where)
        return make(task, cpu, offered[which % len(offered)] if offered else choices(task, cpu)[0])

    return pick


def chain(b: GraphBuilder, dtype: IntType, shape: tuple[int, ...]) -> str:
    """A computed tensor of a type: kernels choose how it lies in memory."""
    x = b.input(shape, dtype)
    return (
        b.threshold(x, np.array([[0]]), BIPOLAR) if dtype.bipolar else b.requant(x, [1], [0], dtype, Rounding.HALF_UP)
    )


def product(of_x: IntType, of_weights: IntType, channels: int, outputs: int, rng: np.random.Generator) -> Graph:
    """A 3x3 convolution over a padded image, its sums the output."""
    b = GraphBuilder()
    w = values(rng, of_weights, (outputs, 3, 3, channels))
    y = b.conv(chain(b, of_x, (4, 5, channels)), w, of_weights, None, (1, 1), (1, 1, 1, 1), 1, (1, 1), of_x.lo)
    return b.graph(y)


@pytest.mark.parametrize("core", CORES)
def test_every_pair_of_types(core: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    sizes = ((32, 16), (9, 5))
    graphs = [product(x, w, *size, rng) for x in FEW for w in FEW for size in sizes]
    used: list[str] = []
    compare(graphs, core, counted(core, 0, used), tmp_path)
    assert len(used) == len(graphs)


@pytest.mark.parametrize("core", CORES)
def test_every_case_that_fits(core: str, tmp_path: Path) -> None:
    used: list[str] = []
    compare([case() for case in CASES.values()], core, counted(core, 1, used), tmp_path)
    assert used


@st.composite
def layers(draw: st.DrawFn) -> Graph:
    """A convolution or matrix product of few bits, of any size, stride, padding and dilation."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    b = GraphBuilder()
    dtype, of_weights = draw(st.sampled_from(FEW)), draw(st.sampled_from(FEW))
    outputs = draw(st.integers(1, 40))
    bias = rng.integers(-99, 99, outputs) if draw(st.booleans()) else None
    if draw(st.integers(0, 2)) == 0:
        shape = (*(draw(st.integers(1, 5)) for _ in range(draw(st.integers(0, 2)))), draw(st.integers(1, 600)))
        y = b.dense(chain(b, dtype, shape), values(rng, of_weights, (outputs, shape[-1])), of_weights, bias)
    else:
        kernel, dilation = draw(st.tuples(*[st.integers(1, 4)] * 2)), draw(st.tuples(*[st.integers(1, 2)] * 2))
        size = [draw(st.integers((k - 1) * d + 1, 10)) for k, d in zip(kernel, dilation, strict=True)]
        padding = tuple(draw(st.integers(0, 2)) for _ in range(4)) if draw(st.booleans()) else (0, 0, 0, 0)
        channels, stride = draw(st.integers(1, 40)), draw(st.tuples(*[st.integers(1, 2)] * 2))
        w = values(rng, of_weights, (outputs, *kernel, channels))
        pad = draw(st.sampled_from([dtype.lo, dtype.hi])) if any(padding) else 0
        y = b.conv(chain(b, dtype, (*size, channels)), w, of_weights, bias, stride, padding, 1, dilation, pad)
    if draw(st.booleans()):
        y = b.threshold(y, np.sort(rng.integers(-20, 20, (outputs, 3)), axis=1), IntType(2, False))
    return b.graph(y)


@pytest.mark.parametrize("core", CORES)
@settings(max_examples=4)
@given(graphs=st.lists(layers(), min_size=8, max_size=8), which=st.integers(0, 40))
def test_random_layers(core: str, tmp_path_factory: pytest.TempPathFactory, graphs: list[Graph], which: int) -> None:
    used: list[str] = []
    compare(graphs, core, counted(core, which, used), tmp_path_factory.mktemp("layers"))
    assert len(used) == len(graphs)


@pytest.mark.parametrize("channels", [247, 248, 249, 8 * 62, 5000])
def test_the_largest_counts_do_not_overflow(channels: int, tmp_path: Path) -> None:
    """All bits set: 31 bytes of 8 bits are 248 in a byte; 5,000 times 9 is more than 16 bits hold."""
    graphs = []
    for x, w in ((IntType(2, False), IntType(2, False)), (BIPOLAR, BIPOLAR), (IntType(2, True), BIPOLAR)):
        b = GraphBuilder()
        y = b.dense(chain(b, x, (channels,)), np.full((17, channels), -1 if w.bipolar else w.hi), w)
        graphs.append(b.graph(y))
    extremes = [[np.full((1, channels), value)] for value in (3, 1, -2)]
    used: list[str] = []
    compare(graphs, "cortex-a72", counted("cortex-a72", 0, used), tmp_path, extremes)
    assert len(used) == len(graphs)


def _task(graph: Graph) -> Task:
    (task,) = [task for task in plan(graph, Policy("int8")).tasks if task.macs()]
    return task


def test_what_does_not_fit_is_left_to_others() -> None:
    """Three bits, and a padding with 0 of values that are -1 and 1."""
    rng = np.random.default_rng(2)
    cpu = cpu_of("cortex-a72")
    wide = product(IntType(3, False), BIPOLAR, 8, 8, rng), product(BIPOLAR, IntType(3, True), 8, 8, rng)
    b = GraphBuilder()
    x = chain(b, BIPOLAR, (4, 4, 8))
    between = b.graph(b.conv(x, values(rng, BIPOLAR, (8, 3, 3, 8)), BIPOLAR, None, (1, 1), (1, 1, 1, 1), 1, (1, 1), 0))
    for graph in (*wide, between):
        assert not Bitserial().choices(_task(graph), cpu)
    with pytest.raises(InputError, match="one that fits the layer and the core"):
        make(_task(between), cpu, {"template": "bitserial", "rows": 1, "columns": 1, "blocks": 1, "strip": 1})


def first(graph: Graph, core: str) -> str:
    """The template that a layer is compiled with where nothing is on record."""
    task, cpu = _task(graph), cpu_of(core)
    assert choices(task, cpu)[0] == choices_of(task, cpu, TEMPLATES)[0]
    return str(choices(task, cpu)[0]["template"])


def test_it_comes_first_where_fewer_instructions_do() -> None:
    """One plane by one: everywhere. Two by two: where MLA takes a pipe of two for two cycles."""
    rng = np.random.default_rng(4)
    one, two = (product(t, t, 32, 32, rng) for t in (BIPOLAR, IntType(2, True)))
    assert [first(one, core) for core in ("cortex-a53", "cortex-a72", "cortex-a76")] == ["bitserial"] * 3
    assert [first(two, core) for core in ("cortex-a53", "cortex-a72", "cortex-a76")] == ["narrow", "bitserial", "lanes"]
    assert "bitserial" in {choice["template"] for choice in choices(_task(two), cpu_of("cortex-a76"))}


def test_planes_stay_within_the_stack() -> None:
    """A strip of a wide image is as high as its planes may be large; a row that is too large is left to others."""
    cpu = cpu_of("cortex-a72")
    for width, strips in ((16, {4}), (200, {2}), (4096, set())):
        b = GraphBuilder()
        x = chain(b, BIPOLAR, (16, width, 256))
        w = np.ones((16, 3, 3, 256), dtype=np.int64)
        graph = b.graph(b.conv(x, w, BIPOLAR, None, (1, 1), (1, 1, 1, 1), 1, (1, 1), 1))
        offered = Bitserial().choices(_task(graph), cpu)
        assert {c["rows"] * c["strip"] for c in offered} == strips


def test_planes_are_the_bits() -> None:
    """Byte g holds the channels g, g + size, g + 2 size, …, and zeros behind the last."""
    planes = planes_of(-2, 1)
    assert planes is not None
    assert planes.coefficients == (1, -2)
    packed = pack_planes(np.array([[1, -2, -1, 0, 0, 0, 0, 0, 0, -1]]), planes, 2)
    np.testing.assert_array_equal(packed, [[[0b00000011, 0b00010000], [0b00000010, 0b00010001]]])
    assert planes_of(0, 4) is None
    assert planes_of(-3, 0) is None
