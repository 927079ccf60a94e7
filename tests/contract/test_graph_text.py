"""The text form round-trips, and the digest covers what determines the result and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.ir.graph import Const, Graph, Node, Port
from codesign.ir.ops import OPERATORS, Conv2d, Pad, Softmax
from codesign.ir.text import parse_graph, print_graph
from codesign.ir.types import IntType, Quant, TensorType
from codesign.testing.build import GraphBuilder
from codesign.testing.cases import CASES
from codesign.testing.graphs import graphs

SCALES = st.floats(allow_nan=False, allow_infinity=False).filter(lambda s: s != 0)
ORIGINS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["a b=1 c=[2]", 'it\'s "quoted"', "tab\t\nnew line", "schön/層.0", "x)(y): u8[1] = 3"]),
    st.sampled_from(["\u2028\x85", "\\'", "'", '"', "\ud800"]),
)


def same(first: Graph, second: Graph) -> None:
    assert first.inputs == second.inputs
    assert first.nodes == second.nodes
    assert first.outputs == second.outputs
    assert first.types() == second.types()
    assert list(first.consts) == list(second.consts)
    for name, const in first.consts.items():
        np.testing.assert_array_equal(second.consts[name].value, const.value)


@settings(max_examples=200)
@given(graph=graphs())
def test_random_graphs_round_trip(graph: Graph) -> None:
    text = print_graph(graph)
    same(graph, parse_graph(text))
    assert print_graph(parse_graph(text)) == text


@pytest.mark.parametrize("case", CASES)
def test_every_operator_round_trips(case: str) -> None:
    graph = CASES[case]()
    same(graph, parse_graph(print_graph(graph)))


def test_the_cases_use_every_operator() -> None:
    used = {type(node.op).__name__ for make in CASES.values() for node in make().nodes}
    assert used == set(OPERATORS)


def decorated(origin: str, scale: float, zero_point: float, name: str) -> Graph:
    quant = Quant((scale, 2 * scale if np.isfinite(2 * scale) else scale), (zero_point,), -1)
    port = Port("x", TensorType((1, 2, 2), IntType(3, True), quant), (1, 2, 0))
    node = Node(name, Pad((0, 1, 2, 3), -1), ("x",), origin, quant)
    return Graph((port,), {}, (node,), (Port(name, None, (2, 0, 1)), Port("x")))


@given(
    origin=ORIGINS,
    scale=SCALES,
    zero_point=st.floats(allow_nan=False, allow_infinity=False),
    name=st.from_regex(r"[A-Za-z_][\w.\-/:]*", fullmatch=True).filter(lambda n: n != "x"),
)
def test_origins_scales_and_names_round_trip(origin: str, scale: float, zero_point: float, name: str) -> None:
    graph = decorated(origin, scale, zero_point, name)
    same(graph, parse_graph(print_graph(graph)))


def test_the_form_is_stable() -> None:
    b = GraphBuilder()
    x = b.input((2, 2, 1), IntType(4, False), Quant((0.1,)))
    y = b.conv(x, np.array([[[[3]], [[-2]]]]), IntType(4, True), padding=(0, 0, 1, 0), name="conv")
    y = b.threshold(y, np.array([[-5, 0, 7]]), IntType(2, False), name="act")
    b.nodes[1] = replace(b.nodes[1], origin="net.act")
    assert (
        print_graph(b.graph(y))
        == """graph 1
input x: u4[2,2,1] scale=[0.1] zero=[0.0] axis=None
const c1: i4[1,2,1,1] = [3, -2]
const c2: i4[1,3] = [-5, 0, 7]
conv = Conv2d(stride=(1, 1), padding=(0, 0, 1, 0), groups=1, dilation=(1, 1), pad_value=0)(x, c1): i7[2,2,1]
act = Threshold(out=u2)(conv, c2): u2[2,2,1] origin='net.act'
output act
"""
    )
    # The digest is part of every build's manifest: a change here makes old builds unrecognisable.
    assert b.graph(y).digest() == "a9169e6a561784cb2a4d9c207f923f64549fbbe212a02ea81520dc91d053cace"


def test_comments_and_empty_lines_are_skipped() -> None:
    graph = CASES["dense"]()
    text = print_graph(graph).replace("\n", "\n\n# a comment\n")
    same(graph, parse_graph(text))


def test_fields_given_as_numpy_integers_print_as_integers() -> None:
    b = GraphBuilder()
    one: Any = np.int64(1)
    weights = np.ones((1, 1, 1, 1), dtype=np.int64)
    y = b.node(Conv2d((one, one), (one, one, one, one)), b.input((1, 1, 1), IntType(4, True)), b.const(weights))
    graph = b.graph(y)
    same(graph, parse_graph(print_graph(graph)))


def one_node(weight: int = 3, name: str = "y", origin: str = "net", scale: float = 1.0) -> Graph:
    w = Const.of(np.array([[1, weight]]), IntType(8, True))
    return replace(
        CASES["dense"](),
        inputs=(Port("x", TensorType((2,), IntType(4, True), Quant((scale,)))),),
        consts={"w": w},
        nodes=(Node(name, OPERATORS["Dense"](), ("x", "w"), origin),),  # type: ignore[call-arg]
        outputs=(Port(name),),
    )


def test_digest_ignores_the_origin_and_nothing_else() -> None:
    base = one_node().digest()
    assert one_node(origin="elsewhere").digest() == base
    others = [one_node(weight=2), one_node(name="z"), one_node(scale=2.0)]
    assert len({base, *(g.digest() for g in others)}) == 4


def test_digest_sees_every_element_of_a_large_constant() -> None:
    w = np.zeros((20, 30), dtype=np.int64)
    digests = set()
    for index in range(0, 600, 37):
        changed = w.copy()
        changed.flat[index] = 1
        b = GraphBuilder()
        digests.add(b.graph(b.dense(b.input((30,), IntType(4, True)), changed, IntType(2, False))).digest())
    assert len(digests) == len(range(0, 600, 37))


def test_softmax_is_printed_with_its_integers() -> None:
    b = GraphBuilder()
    text = print_graph(b.graph(b.node(Softmax.of(0.05), b.input((3,), IntType(8, True)), name="p")))
    assert "p = Softmax(multiplier=1717986918, left_shift=22, out=i8)(x): i8[3]" in text
