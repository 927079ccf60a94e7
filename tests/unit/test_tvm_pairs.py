"""Sums of two narrow values by two multiply-adds: exact for every pair, or not used."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.backends.tvm.pairs import (
    PairSum,
    WholeSum,
    evaluate,
    holds,
    pair_sum,
    patterns,
    whole,
    whole_holds,
    whole_sum,
)
from codesign.frontend.tflite.arithmetic import Summation
from codesign.frontend.tflite.params import Params
from codesign.ir.graph import Graph
from codesign.ir.ops import Add, Requant, Rounding
from codesign.ir.types import IntArray, IntType
from codesign.testing.build import GraphBuilder
from codesign.testing.networks import resnet8

INT8 = IntType(8, True)
DOMAIN = np.arange(-128, 128)
SCALES = st.integers(1 << 10, 1 << 14).map(lambda n: n / (1 << 18))
ZEROS = st.integers(-128, 127)


def tflite_add(a: Params, b: Params, out: Params) -> IntArray:
    """TFLite's ADD for every pair of operands."""
    by = Summation.of(a, b, out, 1, 20)
    terms = [factor((DOMAIN - p.zero_point) << 20) for factor, p in zip(by.factors, (a, b), strict=True)]
    return np.clip(by.result(terms[0][:, None] + terms[1][None, :]) + out.zero_point, -128, 127)


def in_single_precision(form: PairSum) -> IntArray:
    """The form in NumPy's own single precision: every product and every sum is rounded."""
    a, b = DOMAIN[:, None].astype(np.float32), DOMAIN[None, :].astype(np.float32)
    total = form.second * b + (form.first * a + form.offset)
    assert total.dtype == np.float32
    return np.clip(np.rint(total), -128, 127).astype(np.int64)


@settings(max_examples=15)
@given(SCALES, SCALES, st.floats(0.6, 2.0), ZEROS, ZEROS, ZEROS)
def test_exact_or_none(a: float, b: float, ratio: float, zero_a: int, zero_b: int, zero_y: int) -> None:
    out = Params(float(np.float32(max(a, b) * ratio)), zero_y, INT8)
    values = tflite_add(Params(a, zero_a, INT8), Params(b, zero_b, INT8), out)
    form = pair_sum(DOMAIN, DOMAIN, values, (a / out.scale, b / out.scale), INT8)
    if form is not None:
        np.testing.assert_array_equal(in_single_precision(form), values)
        for fused in ((False, False), (True, False), (False, True), (True, True)):
            np.testing.assert_array_equal(evaluate(form, DOMAIN[:, None], DOMAIN[None, :], INT8, fused), values)


def test_found_for_nearly_all() -> None:
    """It is worth having: at most one of forty sums of usual scales is left to the slow way."""
    rng, missing = np.random.default_rng(1), 0
    for _ in range(40):
        a, b = (Params(float(np.float32(s)), -128, INT8) for s in rng.uniform(0.01, 0.05, 2))
        out = Params(float(np.float32(max(a.scale, b.scale) * rng.uniform(0.7, 1.6))), -128, INT8)
        values = tflite_add(a, b, out)
        missing += pair_sum(DOMAIN, DOMAIN, values, (a.scale / out.scale, b.scale / out.scale), INT8) is None
    assert missing <= 1


def test_one_wrong_pair_is_noticed() -> None:
    values = np.clip(np.rint(0.5 * DOMAIN[:, None] + 0.25 * DOMAIN[None, :] + 0.125), -128, 127).astype(np.int64)
    form = PairSum(np.float32(0.5), np.float32(0.25), np.float32(0.125))
    assert holds(form, DOMAIN, DOMAIN, values, INT8)
    values[100, 200] += 1
    assert not holds(form, DOMAIN, DOMAIN, values, INT8)


@pytest.mark.parametrize("slopes", [(0.0, 1.0), (1.0, 0.0), (1e9, 1.0), (float("nan"), 1.0)])
def test_slopes_without_a_sum(slopes: tuple[float, float]) -> None:
    assert pair_sum(DOMAIN, DOMAIN, np.zeros((256, 256), dtype=np.int64), slopes, INT8) is None
    assert whole_sum(DOMAIN, DOMAIN, np.zeros((256, 256), dtype=np.int64), slopes, INT8) is None


@settings(max_examples=15)
@given(SCALES, SCALES, st.floats(0.6, 2.0), ZEROS, ZEROS, ZEROS)
def test_whole_numbers_are_exact_or_none(a: float, b: float, ratio: float, zero_a: int, zero_b: int, zero: int) -> None:
    out = Params(float(np.float32(max(a, b) * ratio)), zero, INT8)
    values = tflite_add(Params(a, zero_a, INT8), Params(b, zero_b, INT8), out)
    form = whole_sum(DOMAIN, DOMAIN, values, (a / out.scale, b / out.scale), INT8)
    if form is not None:
        x, y = DOMAIN[:, None].astype(np.int32), DOMAIN[None, :].astype(np.int32)
        total = np.int32(form.first) * x + np.int32(form.second) * y + np.int32(form.offset)
        np.testing.assert_array_equal(np.clip(total >> form.right, -128, 127), values)
        np.testing.assert_array_equal(whole(form, x, y, INT8), values)


def test_whole_numbers_are_found_for_nearly_all() -> None:
    rng, missing = np.random.default_rng(2), 0
    for _ in range(40):
        a, b = (Params(float(np.float32(s)), -128, INT8) for s in rng.uniform(0.01, 0.05, 2))
        out = Params(float(np.float32(max(a.scale, b.scale) * rng.uniform(0.7, 1.6))), -128, INT8)
        values = tflite_add(a, b, out)
        missing += whole_sum(DOMAIN, DOMAIN, values, (a.scale / out.scale, b.scale / out.scale), INT8) is None
    assert missing <= 1


def test_a_wrong_pair_or_too_large_a_term_is_noticed() -> None:
    form = WholeSum(1 << 19, 1 << 18, 1 << 19, 20)
    values = whole(form, DOMAIN[:, None], DOMAIN[None, :], INT8)
    assert whole_holds(form, DOMAIN, DOMAIN, values, INT8)
    values[7, 9] -= 1
    assert not whole_holds(form, DOMAIN, DOMAIN, values, INT8)
    wide = WholeSum(1 << 24, 1 << 23, 1 << 24, 25)
    values = whole(wide, DOMAIN[:, None], DOMAIN[None, :], INT8)
    assert not whole_holds(wide, DOMAIN, DOMAIN, values, INT8)


def found(graph: Graph, kept: tuple[str, ...] = ()) -> list[tuple[str, str, str]]:
    consts = {name: const.value for name, const in graph.consts.items()}
    names = (*(port.name for port in graph.outputs), *kept)
    return [(p.a, p.b, p.result) for p in patterns(graph.nodes, graph.types(), consts, names)]


def test_patterns_of_a_residual_network() -> None:
    graph = resnet8()
    adds = [node.name for node in graph.nodes if isinstance(node.op, Add)]
    sums = found(graph)
    assert len(sums) == len(adds) == 3
    for a, b, result in sums:
        assert {graph.type(name).dtype for name in (a, b, result)} == {INT8}


def residual(per_channel: bool = False, rescaled: bool = True) -> tuple[GraphBuilder, str, str]:
    b = GraphBuilder()
    x, y = b.input((4,), INT8), b.input((4,), INT8)
    rows = 4 if per_channel else 1
    wide = IntType(20, True)
    first = b.requant(x, [1 << 10] * rows, [0], wide, Rounding.HALF_UP) if rescaled else x
    total = b.node(Add(), first, y)
    return b, total, b.requant(total, [3], [11], INT8)


def test_one_side_may_be_plain() -> None:
    b, _, y = residual()
    assert found(b.graph(y)) == [("x", "x2", y)]


def test_what_is_no_pattern() -> None:
    b, total, y = residual()
    assert found(b.graph(y, total)) == []  # the sum itself is wanted
    b, _, y = residual(per_channel=True)
    assert found(b.graph(y)) == []
    b, _, y = residual(rescaled=False)
    assert found(b.graph(y)) == []  # the rescaling of a sum of 9 bits is cheap as it is
    b = GraphBuilder()
    x = b.requant(b.input((4,), INT8), [1 << 10], [0], IntType(20, True), Rounding.HALF_UP)
    assert found(b.graph(b.requant(b.node(Add(), x, x), [3], [11], INT8))) == []
    b, total, y = residual()
    assert isinstance(b.nodes[0].op, Requant)
    assert found(b.graph(y), kept=(b.nodes[0].name,)) == []
