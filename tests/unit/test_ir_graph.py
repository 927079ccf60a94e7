"""The graph: evaluation in chunks, feeds, real numbers at the edges, users and producers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.ir import graph as graph_module
from codesign.ir.graph import Const, Graph, Node, Port
from codesign.ir.ops import Add, ArgMax, Dense, Pad
from codesign.ir.types import IntType, Quant, TensorType
from codesign.testing.build import GraphBuilder
from codesign.testing.graphs import feeds, graphs

U4, I8 = IntType(4, False), IntType(8, True)


@settings(max_examples=150)
@given(graph=graphs(), seed=st.integers(0, 1000))
def test_every_value_is_of_its_type_and_every_operator_of_its_word(graph: Graph, seed: int) -> None:
    found = graph.evaluate_all(*feeds(graph, 4, seed))
    for name, value in found.items():
        assert value.dtype == np.int64
        assert value.shape[1:] == graph.type(name).shape
        assert graph.type(name).dtype.holds(value)


@settings(max_examples=50)
@given(graph=graphs(), seed=st.integers(0, 1000), batch=st.integers(0, 7))
def test_chunks_change_nothing(graph: Graph, seed: int, batch: int) -> None:
    inputs = feeds(graph, batch, seed)
    whole = graph.evaluate(*inputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_module, "_CHUNK_ELEMENTS", 1)
        steps: list[int] = []
        parts = graph.evaluate(*inputs, progress=steps.append)
    assert sum(steps) == batch
    for port, a, b in zip(graph.outputs, whole, parts, strict=True):
        assert a.dtype == b.dtype == np.int64
        assert a.shape == (batch, *graph.type(port.name).shape)
        np.testing.assert_array_equal(a, b)


def branched() -> Graph:
    b = GraphBuilder()
    x, y = b.input((2, 2, 1), U4), b.input((2, 2, 1), U4)
    s = b.node(Add(), x, y, name="s")
    return b.graph(b.node(Add(), s, x, name="t"), s)


def test_two_inputs_and_two_outputs() -> None:
    graph = branched()
    x = np.arange(8).reshape(2, 2, 2, 1)
    t, s = graph.evaluate(x, x[::-1])
    np.testing.assert_array_equal(s, x + x[::-1])
    np.testing.assert_array_equal(t, s + x)


def test_narrow_feeds_do_not_wrap_and_stay_untouched() -> None:
    graph = branched()
    x = np.full((1, 2, 2, 1), 15, dtype=np.int8)
    assert graph.evaluate(x, x)[0].max() == 45
    assert (x == 15).all()


def test_users_producers_and_data() -> None:
    graph = branched()
    assert [n.name for n in graph.users("x")] == ["s", "t"]
    assert graph.users("t") == ()
    assert graph.node("s").inputs == ("x", "x2")
    assert graph.is_computed("s")
    assert not graph.is_computed("x")
    assert [n.name for n in graph] == ["s", "t"]
    b = GraphBuilder()
    fc = b.dense(b.input((3,), U4), np.ones((2, 3), dtype=np.int64), name="fc")
    dense = b.graph(fc)
    assert dense.data_inputs(dense.node("fc")) == ("x",)
    assert dense.work()["fc"].macs == 6


def test_an_input_may_be_an_output() -> None:
    b = GraphBuilder()
    x = b.input((3,), U4)
    graph = b.graph(x)
    assert graph.evaluate(np.array([[1, 2, 3]]))[0].tolist() == [[1, 2, 3]]


def test_constants_are_copied_and_read_only() -> None:
    value = np.array([1, 2])
    const = Const.of(value)
    value[0] = 9
    assert const.value.tolist() == [1, 2]
    assert const.type.dtype == IntType(2, False)
    with pytest.raises(ValueError, match="read-only"):
        const.value[0] = 3
    direct = Const(TensorType((2,), U4), value)
    value[0] = 5
    assert direct.value.tolist() == [9, 2]


def image(source_axes: tuple[int, ...] = (1, 2, 0)) -> Graph:
    port = Port("x", TensorType((2, 3, 4), I8, Quant((0.5,))), source_axes)
    pad = Node("y", Pad((0, 0, 0, 0)), ("x",), quant=Quant((0.25,), (1.0,)))
    return Graph((port,), {}, (pad,), (Port("y", None, source_axes),))


def test_real_inputs_in_the_axes_of_the_source() -> None:
    graph = image()
    real = np.arange(24, dtype=np.float32).reshape(4, 2, 3) / 2  # channels first
    (q,) = graph.quantise_inputs(real)
    assert q.shape == (1, 2, 3, 4)
    np.testing.assert_array_equal(q[0].transpose(2, 0, 1), np.arange(24).reshape(4, 2, 3))
    (same,) = graph.quantise_inputs(q)  # integers, in the graph's axes, with a batch
    np.testing.assert_array_equal(same, q)
    (out,) = graph.dequantise_outputs(graph.evaluate(q))
    np.testing.assert_array_equal(out[0], (np.arange(24).reshape(4, 2, 3) - 1) / 4)


def test_outputs_without_a_scale_stay_integers() -> None:
    b = GraphBuilder()
    graph = b.graph(b.node(ArgMax(), b.input((3,), U4)))
    assert graph.dequantise_outputs(graph.evaluate(np.array([[1, 3, 2]])))[0].tolist() == [[1.0]]


def test_dense_keeps_the_meaning_given_to_it() -> None:
    quant = Quant((0.5, 0.25), axis=-1)
    graph = Graph(
        (Port("x", TensorType((2,), U4)),),
        {"w": Const.of(np.eye(2, dtype=np.int64))},
        (Node("y", Dense(), ("x", "w"), "net.fc", quant),),
        (Port("y"),),
    )
    assert graph.type("y").quant == quant
    assert graph.node("y").where == "net.fc"
    assert graph.dequantise_outputs(graph.evaluate(np.array([[2, 4]])))[0].tolist() == [[1.0, 1.0]]
