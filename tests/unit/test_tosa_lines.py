"""Level tables of normalised channels in TOSA: which operators, and every bit in the reference model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tosa_files import assert_exact, operators, tosa_tools

from codesign.ir.graph import Graph
from codesign.ir.ops import Add, MaxPool2d, Rounding
from codesign.ir.types import BIPOLAR, IntArray, IntType
from codesign.testing.build import GraphBuilder

U8, I8, I16 = IntType(8, False), IntType(8, True), IntType(16, True)


@pytest.fixture(autouse=True)
def tools() -> None:
    tosa_tools()


def normalised(rng: np.random.Generator, channels: int, out: IntType, distance: float) -> IntArray:
    """Levels at a real distance from a real offset on, both of their own in every channel."""
    d = rng.uniform(0.5, 1, (channels, 1)) * distance
    number = np.arange(out.count - 1) - (0 if out.lo == 0 else out.count / 2)
    return np.ceil((number + 0.5) * d + rng.uniform(-2, 2, (channels, 1)) * d).astype(np.int64)


def convolution(
    x: IntType, weight_bits: int, out: IntType, *, channels: int = 8, distance: float = 40, inputs: int = 4
) -> Graph:
    rng, b = np.random.default_rng(channels), GraphBuilder()
    most = (1 << (weight_bits - 1)) - 1
    weights = rng.integers(-most, most + 1, (channels, 3, 3, inputs))
    y = b.conv(b.input((6, 5, inputs), x), weights, bias=rng.integers(-99, 99, channels), padding=(1, 1, 1, 1))
    return b.graph(b.threshold(y, normalised(rng, channels, out, distance), out))


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (convolution(U8, 4, IntType(4, False), distance=300), "CONV2D RESCALE CLAMP"),
        (convolution(U8, 2, IntType(6, True), distance=20), "CONV2D RESCALE CLAMP"),
        (convolution(U8, 2, IntType(4, True), distance=2), "CONV2D RESCALE CLAMP"),
        (convolution(I8, 2, BIPOLAR), "CONV2D RESCALE CLAMP"),
        (convolution(I16, 4, IntType(3, False), distance=1e5), "CONV2D RESCALE RESCALE CLAMP"),  # 16-bit multipliers
        (convolution(U8, 8, U8, distance=200), "CONV2D RESCALE ADD ADD RESCALE"),
        (convolution(I8, 8, BIPOLAR), "CONV2D RESCALE ADD ADD RESCALE CLAMP"),
        (convolution(U8, 8, U8, distance=700, inputs=64), "CONV2D ADD MUL ADD ADD RESCALE"),
        (convolution(U8, 8, U8, distance=700, inputs=900), "CONV2D ADD MAXIMUM ADD MINIMUM ADD MUL ADD ADD RESCALE"),
    ],
)
def test_form_behind_a_convolution(graph: Graph, expected: str) -> None:
    assert " ".join(operators(assert_exact(graph, batch=2))) == expected


@settings(max_examples=60)
@given(
    x=st.sampled_from([U8, I8, IntType(2, False), IntType(12, True), I16]),
    weight_bits=st.integers(2, 8),
    out=st.sampled_from([BIPOLAR, IntType(1, False), IntType(3, True), IntType(4, False), I8, U8]),
    channels=st.integers(1, 9),
    distance=st.floats(0.2, 3000),
)
def test_behind_a_convolution_every_bit_is_exact(
    x: IntType, weight_bits: int, out: IntType, channels: int, distance: float
) -> None:
    assert_exact(convolution(x, weight_bits, out, channels=channels, distance=distance))


def on_tensor(x: IntType, out: IntType, distance: float, *, count: int = 300) -> tuple[Graph, IntArray]:
    rng, b = np.random.default_rng(5), GraphBuilder()
    frame = np.linspace(x.lo, x.hi, min(count, x.count)).astype(np.int64) // x.step * x.step + x.lo % x.step
    values = np.repeat(frame[None, :, None], 3, axis=2)
    graph = b.graph(b.threshold(b.input(values.shape[1:], x), normalised(rng, 3, out, distance), out))
    return graph, values


@pytest.mark.parametrize(
    ("x", "out", "distance", "expected"),
    [
        (U8, IntType(4, False), 15, "RESHAPE DEPTHWISE_CONV2D RESCALE CLAMP RESHAPE"),
        (IntType(12, True), U8, 9.3, "RESCALE ADD MUL ADD ADD RESCALE"),
        (IntType(24, True), I8, 9e4, "ADD MUL ADD ADD RESCALE"),
        (IntType(28, True), I8, 9e4, "ADD MAXIMUM ADD MINIMUM ADD MUL ADD ADD RESCALE"),
    ],
)
def test_form_on_a_tensor(x: IntType, out: IntType, distance: float, expected: str) -> None:
    graph, values = on_tensor(x, out, distance)
    assert " ".join(operators(assert_exact(graph, values))) == expected


def chained(multiplier: IntArray, shift: int, rounding: Rounding, share: bool = False) -> Graph:
    """A convolution, a Requant to 16 bits and a level table per channel behind it."""
    rng, b = np.random.default_rng(2), GraphBuilder()
    y = b.conv(b.input((5, 5, 4), U8), rng.integers(-7, 8, (6, 3, 3, 4)))
    wide = b.requant(y, multiplier.tolist(), [shift], I16, rounding)
    z = b.threshold(wide, normalised(rng, 6, IntType(3, False), 800), IntType(3, False))
    return b.graph(*((z, wide) if share else (z,)))


@pytest.mark.parametrize("rounding", Rounding)
def test_a_requant_before_the_levels_goes_into_them(rounding: Rounding) -> None:
    content = assert_exact(chained(np.arange(5, 11), 0, rounding))
    assert operators(content) == ["CONV2D", "RESCALE", "CLAMP"]


@pytest.mark.parametrize(
    ("multiplier", "shift", "share"),
    [(np.arange(5, 11), 0, True), (np.arange(45, 51), 8, False)],
    ids=["read", "coarse"],
)
def test_a_requant_stays_where_others_read_it_or_its_steps_are_coarse(
    multiplier: IntArray, shift: int, share: bool
) -> None:
    found = operators(assert_exact(chained(multiplier, shift, Rounding.HALF_UP, share)))
    assert found == ["CONV2D", "RESCALE", "RESCALE", *["ADD", "MUL", "ADD", "ADD", "RESCALE", "CLAMP"]]


def test_levels_on_no_line_behind_a_requant_are_counted() -> None:
    rng, b = np.random.default_rng(2), GraphBuilder()
    y = b.conv(b.input((5, 5, 4), U8), rng.integers(-7, 8, (6, 3, 3, 4)))
    wide = b.requant(y, [701], [10], IntType(12, True), Rounding.HALF_UP)
    z = b.threshold(wide, np.array([[-900, -2, -1, 0, 77, 78, 800]]), IntType(3, False))
    assert "REDUCE_SUM" in operators(assert_exact(b.graph(z)))


def test_levels_of_a_sum_of_two_tensors() -> None:
    rng, b = np.random.default_rng(4), GraphBuilder()
    x = b.input((5, 5, 6), I16)
    y = b.node(Add(), x, b.conv(x, rng.integers(-7, 8, (6, 1, 1, 6))))
    content = assert_exact(b.graph(b.threshold(y, normalised(rng, 6, U8, 900), U8)))
    assert operators(content)[-6:] == ["ADD", "ADD", "MUL", "ADD", "ADD", "RESCALE"]


def test_values_that_a_clamp_before_leaves_out_do_not_count() -> None:
    """-8 … 7 limited to -7 … 7: the sums of the whole type would reach a level that no other is on a line with."""
    b, out = GraphBuilder(), IntType(3, True)
    x = b.threshold(b.input((12,), IntType(4, True)), np.array([[-8, *range(-6, 8)]]), IntType(4, True))
    y = b.dense(x, np.array([[-3, 1] * 6, [2, 2] * 6, [3, 0] * 6]))
    levels = np.array(
        [[-168, -25, -15, -5, 6, 16, 26], [-168, -25, -15, -5, 6, 16, 26], [-126, -25, -15, -5, 6, 16, 26]]
    )
    content = assert_exact(b.graph(b.threshold(y, levels, out)), batch=64)
    assert operators(content) == ["CLAMP", "RESHAPE", "CONV2D", "RESCALE", "CLAMP", "RESHAPE"]


def test_levels_come_before_a_maximum() -> None:
    """Pooling takes 16 bits at most, and has less to compare behind the levels."""
    rng, b = np.random.default_rng(4), GraphBuilder()
    y = b.conv(b.input((6, 6, 4), U8), rng.integers(-7, 8, (6, 1, 1, 4)))
    y = b.node(MaxPool2d((2, 2), (2, 2)), y)
    content = assert_exact(b.graph(b.threshold(y, normalised(rng, 6, IntType(4, False), 200), IntType(4, False))))
    assert operators(content) == ["CONV2D", "RESCALE", "CLAMP", "MAX_POOL2D"]


def test_ties_to_even_that_need_an_offset() -> None:
    """round(x * 3 / 16) to even, 0 … 7: 1.5 gives 2 and 4.5 gives 4; 3 / 16 less a little does so with an offset."""
    b = GraphBuilder()
    y = b.conv(b.input((5, 5, 4), I8), np.random.default_rng(1).integers(-3, 4, (6, 1, 1, 4)))
    graph = b.graph(b.requant(y, [3], [4], IntType(3, False), Rounding.HALF_EVEN))
    assert operators(assert_exact(graph)) == ["CONV2D", "RESCALE", "CLAMP"]
