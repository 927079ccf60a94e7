"""Requant, Threshold, Lookup and AvgPool2d in TOSA: every value of narrow inputs, edges and random ones of wide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tosa_files import assert_exact, operators, tosa_tools

from codesign.ir.graph import Graph
from codesign.ir.ops import AvgPool2d, Lookup, Rounding
from codesign.ir.types import BIPOLAR, IntArray, IntType
from codesign.testing.build import GraphBuilder
from codesign.testing.graphs import int_types

U8, I8, I16, I32 = IntType(8, False), IntType(8, True), IntType(16, True), IntType(32, True)
PARITY = "ARITHMETIC_RIGHT_SHIFT MUL SUB"
LIMIT = 1 << 11  # values that are enumerated


@pytest.fixture(autouse=True)
def tools() -> None:
    tosa_tools()


def domain(dtype: IntType, channels: int, rng: np.random.Generator) -> IntArray:
    """One frame (values, channels) with every value of a type, or LIMIT of them with its edges."""
    if dtype.count <= LIMIT:
        values = np.arange(dtype.lo, dtype.hi + 1, dtype.step)
    else:
        near = np.array([dtype.lo, dtype.lo + 1, -1, 0, 1, dtype.hi - 1, dtype.hi])
        values = np.concatenate([near[near >= dtype.lo], rng.integers(dtype.lo, dtype.hi + 1, LIMIT)])
    return np.repeat(values[None, :, None], channels, axis=2)


def requant(
    x: IntType, shape: Sequence[int], m: IntArray, s: IntArray, out: IntType, rounding: Rounding, z: int
) -> Graph:
    b = GraphBuilder()
    return b.graph(b.requant(b.input(shape, x), m.tolist(), s.tolist(), out, rounding, z))


@settings(max_examples=120)
@given(
    x=st.one_of(int_types(11), int_types(30, bipolar=False)),
    out=int_types(17, bipolar=False),
    rounding=st.sampled_from(Rounding),
    channels=st.integers(1, 3),
    bits=st.integers(1, 31),
    powers=st.booleans(),
    negative=st.booleans(),
    spread=st.integers(-3, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_requant_is_exact(
    x: IntType,
    out: IntType,
    rounding: Rounding,
    channels: int,
    bits: int,
    powers: bool,
    negative: bool,
    spread: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    m = rng.integers(1 << (bits - 1), 1 << bits, channels)
    m = np.where(powers, 1 << (bits - 1), m) * (rng.choice([-1, 1], channels) if negative else 1)
    s = np.clip(bits + x.bits - out.bits + spread + rng.integers(0, 2, channels), 0, 62)
    frame = domain(x, channels, rng)
    z = int(rng.integers(out.lo, out.hi + 1))
    assert_exact(requant(x, frame.shape[1:], m, s, out, rounding, z), frame)


@pytest.mark.parametrize(
    ("x", "m", "s", "rounding", "expected"),
    [
        (I16, 23171, 23, Rounding.HALF_UP, "RESCALE"),
        (I32, 1518500250, 40, Rounding.TFLITE_DOUBLE, "RESCALE"),
        (I16, 23171, 23, Rounding.HALF_EVEN, "RESCALE"),  # no tie in 16 bits
        (I8, 3, 3, Rounding.HALF_EVEN, "TABLE"),
        (IntType(9, True), 3, 3, Rounding.HALF_EVEN, f"RESCALE ARITHMETIC_RIGHT_SHIFT {PARITY} MUL SUB RESCALE"),
        (IntType(9, True), 1, 3, Rounding.HALF_EVEN, f"RESCALE ARITHMETIC_RIGHT_SHIFT ADD {PARITY} SUB RESCALE"),
        (I32, 1518500250, 30, Rounding.HALF_UP, "MAXIMUM MINIMUM RESCALE"),  # the result would leave 32 bits
        (I16, -23171, 23, Rounding.HALF_UP, "RESCALE MUL RESCALE"),
        (I8, -23171, 15, Rounding.HALF_UP, "TABLE"),
    ],
)
def test_form_of_a_requant(x: IntType, m: int, s: int, rounding: Rounding, expected: str) -> None:
    frame = domain(x, 2, np.random.default_rng(0))
    content = assert_exact(requant(x, frame.shape[1:], np.array([m]), np.array([s]), I8, rounding, 0), frame)
    assert " ".join(operators(content)) == expected


def test_ties_that_another_multiplier_moves() -> None:
    """A multiplier of 3 bits meets ties; one of more bits, a little smaller, gives the same results without."""
    frame = domain(IntType(5, True), 1, np.random.default_rng(0))
    graph = requant(
        IntType(5, True), frame.shape[1:], np.array([1]), np.array([5]), IntType(2, True), Rounding.HALF_EVEN, 0
    )
    assert operators(assert_exact(graph, frame)) == ["RESCALE"]


@pytest.mark.parametrize(
    ("m", "rounding", "expected"),
    [
        (20000, Rounding.HALF_UP, "CONV2D RESCALE"),
        (40000, Rounding.HALF_UP, "CONV2D RESCALE RESCALE"),  # sums of 48 bits take multipliers of 16
        (20000, Rounding.TFLITE_DOUBLE, "CONV2D RESCALE"),  # a shift below 32
    ],
)
def test_sums_of_sixteen_bits(m: int, rounding: Rounding, expected: str) -> None:
    b = GraphBuilder()
    y = b.conv(b.input((5, 5, 3), I16), np.random.default_rng(1).integers(-128, 128, (4, 3, 3, 3)))
    content = assert_exact(b.graph(b.requant(y, [m], [24], I16, rounding)))
    assert " ".join(operators(content)) == expected


def threshold(x: IntType, shape: Sequence[int], levels: IntArray, out: IntType) -> Graph:
    b = GraphBuilder()
    return b.graph(b.threshold(b.input(shape, x), levels, out))


@settings(max_examples=80)
@given(
    x=st.one_of(int_types(10), int_types(30, bipolar=False)),
    out=int_types(6),
    channels=st.integers(1, 3),
    shared=st.booleans(),
    kind=st.sampled_from(["any", "even", "clamp", "few"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_threshold_is_exact(x: IntType, out: IntType, channels: int, shared: bool, kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, most = 1 if shared else channels, out.count - 1
    if kind == "even":
        first, distance = rng.integers(x.lo, x.hi + 1, (rows, 1)), rng.integers(0, max(2, x.count // (most + 1)))
        levels = first + distance * np.arange(most)
    elif kind == "clamp":
        levels = np.broadcast_to(np.arange(out.lo + 1, out.lo + 1 + most), (rows, most))
    else:
        count = most if kind == "any" else int(rng.integers(1, most + 1))
        levels = np.sort(rng.integers(x.lo - 2, x.hi + 3, (rows, count)), axis=1)
    frame = domain(x, channels, rng)
    assert_exact(threshold(x, frame.shape[1:], np.clip(levels, -(1 << 31), (1 << 31) - 1), out), frame)


@pytest.mark.parametrize(
    ("x", "levels", "out", "expected"),
    [
        (I8, np.arange(-3, 8)[None, :], IntType(4, False), "TABLE"),
        (I16, np.arange(-3, 8)[None, :], IntType(4, False), "RESCALE CLAMP"),
        (I8, np.array([[-120] * 110 + list(range(-17, 0))]), I8, "TABLE"),
        (I8, np.arange(-127, 5)[None, :], I8, "CLAMP"),
        (I16, np.arange(-127, 5)[None, :], I8, "RESCALE CLAMP"),
        (I16, np.array([[-9], [400]]), IntType(1, False), "RESCALE ADD ADD RESCALE CLAMP"),
        (I16, np.array([[-9], [400]]), BIPOLAR, "RESCALE ADD ADD RESCALE CLAMP"),
        (I16, np.array([[5, 15, 25], [105, 115, 125]]), IntType(2, False), "RESCALE ADD ADD RESCALE CLAMP"),
        (
            I16,
            np.array([[5, 7, 800]]),
            IntType(2, False),
            "RESCALE RESHAPE ADD ADD MAXIMUM MINIMUM REDUCE_SUM RESHAPE RESCALE",
        ),
    ],
)
def test_form_of_a_threshold(x: IntType, levels: IntArray, out: IntType, expected: str) -> None:
    frame = domain(x, 2, np.random.default_rng(0))
    content = assert_exact(threshold(x, frame.shape[1:], levels, out), frame)
    assert " ".join(operators(content)) == expected


@settings(max_examples=60)
@given(
    x=int_types(11), out=int_types(32), channels=st.integers(1, 3), shared=st.booleans(), seed=st.integers(0, 2**32 - 1)
)
def test_lookup_is_exact(x: IntType, out: IntType, channels: int, shared: bool, seed: int) -> None:
    if out == IntType(32, False):
        out = I32
    rng = np.random.default_rng(seed)
    b = GraphBuilder()
    frame = domain(x, channels, rng)
    table = out.lo + out.step * rng.integers(0, out.count, (1 if shared else channels, x.count))
    assert_exact(b.graph(b.node(Lookup(out), b.input(frame.shape[1:], x), b.const(table))), frame)


@pytest.mark.parametrize(
    ("x", "out", "largest", "expected"),
    [
        (I8, I8, 127, "TABLE"),
        (U8, U8, 255, "TABLE"),
        (I8, I16, 32767, "TABLE RESCALE TABLE RESCALE ADD RESCALE"),
        (IntType(3, False), I32, 1 << 20, "TABLE RESCALE TABLE RESCALE ADD RESCALE TABLE RESCALE ADD"),
        (IntType(10, True), I8, 127, "RESCALE ADD RESHAPE GATHER RESHAPE"),
    ],
)
def test_form_of_a_lookup(x: IntType, out: IntType, largest: int, expected: str) -> None:
    b = GraphBuilder()
    frame = domain(x, 2, np.random.default_rng(0))
    table = np.where(np.arange(x.count) % 2, largest, max(out.lo, -largest))[None, :]
    content = assert_exact(b.graph(b.node(Lookup(out), b.input(frame.shape[1:], x), b.const(table))), frame)
    assert " ".join(operators(content)) == expected


@pytest.mark.parametrize("dtype", [U8, I8, IntType(12, True), I16])
def test_mean_over_every_window_size(dtype: IntType) -> None:
    """AVG_POOL2D's reciprocal, proved from its formula, on sums at both sides of every tie."""
    for n in (*range(1, 33), 49, 125, 1000):
        b = GraphBuilder()
        rng = np.random.default_rng(n)
        rest = np.arange(-2 * n, 2 * n + 1) if dtype.lo < 0 else np.arange(4 * n)
        x = np.zeros((len(rest), n), dtype=np.int64)
        x[:, 0] = np.clip(rest, dtype.lo, dtype.hi)
        x = np.concatenate([x, rng.integers(dtype.lo, dtype.hi + 1, x.shape), np.full((2, n), dtype.lo)])
        x[-1] = dtype.hi
        y = b.node(AvgPool2d((n, 1), (1, 1), mean=True), b.input((n, 1, len(x)), dtype))
        assert operators(assert_exact(b.graph(y), x.T[None, :, None, :])) == ["AVG_POOL2D"]
