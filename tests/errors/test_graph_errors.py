"""What a graph that breaks a rule is refused with, word by word; several findings come together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from codesign.errors import GraphError, InputError
from codesign.ir.graph import Const, Graph, Node, Port
from codesign.ir.ops import (
    Add,
    ArgMax,
    AvgPool2d,
    Concat,
    Conv2d,
    Dense,
    Lookup,
    MaxPool2d,
    Mul,
    Op,
    Pad,
    Requant,
    Reshape,
    Softmax,
    Take,
    Threshold,
)
from codesign.ir.types import BIPOLAR, IntType, Quant, TensorType

I4, I8, I16, I32, U32 = IntType(4, True), IntType(8, True), IntType(16, True), IntType(32, True), IntType(32, False)
IMAGE = TensorType((4, 5, 2), I8)
X, Y = Port("x", IMAGE), Port("y")


def graph(*nodes: Node, inputs: tuple[Port, ...] = (X,), outputs: tuple[Port, ...] = (Y,), **consts: Const) -> Graph:
    return Graph(inputs, consts, nodes, outputs)


def pad(name: str = "y", source: str = "x", quant: Quant | None = None) -> Node:
    return Node(name, Pad((0, 0, 0, 0)), (source,), f"net.{name}", quant)


def const(*shape: int, fill: int = 1) -> Const:
    return Const.of(np.full(shape, fill))


RULES: list[tuple[Callable[[], Any], str]] = [
    (lambda: graph(inputs=(), outputs=()), "graph: 0 inputs and 0 outputs; allowed: at least one of each"),
    (lambda: graph(inputs=(X, Port("z")), outputs=(X,)), "z: an input without a type; allowed: a TensorType"),
    (lambda: graph(pad(), pad()), "net.y: two values have the name 'y'; allowed: unique names"),
    (lambda: graph(pad(), inputs=(X, X)), "x: two values have the name 'x'; allowed: unique names"),
    (
        lambda: graph(pad("a b"), outputs=(Port("a b"),)),
        "net.a b: a value has the name 'a b'; allowed: a letter or _, then letters, digits and _ . - / :",
    ),
    (
        lambda: graph(pad(quant=Quant((1.0, 2.0, 3.0), axis=-1))),
        "net.y: 3 scales, 1 zero points along axis -1 of shape (4, 5, 2); allowed: one, or as many as the axis is long",
    ),
    (
        lambda: graph(pad("z", "q"), pad(), outputs=(Y,)),
        "net.z: reads q, not computed before it; allowed: values computed earlier",
    ),
    (
        lambda: graph(pad("z", "y"), pad(), outputs=(Y,)),
        "net.z: reads y, not computed before it; allowed: values computed earlier",
    ),
    (
        lambda: graph(pad(), c=Const(TensorType((3,), I4), np.zeros(2, np.int64))),
        "c: a constant i4[3] with an array of shape (2,)",
    ),
    (
        lambda: graph(pad(), c=Const(TensorType((2,), I4), np.array([-9, 3]))),
        "c: a constant i4[2] with values from -9 to 3; allowed: i4: -8 to 7",
    ),
    (
        lambda: graph(pad(), c=Const(TensorType((2,), BIPOLAR), np.array([-1, 0]))),
        "c: a constant bipolar[2] with values from -1 to 0; allowed: bipolar: -1 or 1",
    ),
    (lambda: graph(pad(), outputs=(Port("q"),)), "graph: the output 'q' is not computed; allowed: the name of a value"),
    (
        lambda: graph(pad(), outputs=(Port("c"),), c=const(2)),
        "graph: the output 'c' is a constant; allowed: the result of a node",
    ),
    (
        lambda: graph(inputs=(Port("x", IMAGE, (0, 2)),), outputs=(X,)),
        "x: source axes (0, 2); allowed: a permutation of 0, 1, 2",
    ),
    (
        lambda: graph(pad(), outputs=(Port("y", None, (1, 2, 3)),)),
        "y: source axes (1, 2, 3); allowed: a permutation of 0, 1, 2",
    ),
    (
        lambda: Const.of(np.zeros((2, 0), np.int64)),
        "constant: an array of shape (2, 0) and type int64; allowed: integers, at least one axis, at least one element",
    ),
    (
        lambda: Const.of(np.ones(2)),  # type: ignore[arg-type]
        "constant: an array of shape (2,) and type float64; allowed: integers, at least one axis, at least one element",
    ),
    (
        lambda: Const.of(np.array([-1, 1 << 31])),
        "constant: values from -1 to 2147483648; allowed: at most 32 bits",
    ),
]


@pytest.mark.parametrize(("make", "message"), RULES)
def test_rules_of_the_graph(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(GraphError) as caught:
        make()
    assert str(caught.value) == message


W = const(3, 2, 2, 2)
OPERATORS: list[tuple[Op, TensorType, tuple[Const, ...], str]] = [
    (Pad((0, 0, 0, 0)), IMAGE, (W,), "2 inputs; allowed: 1"),
    (Conv2d(), IMAGE, (), "1 inputs; allowed: 2 to 3"),
    (
        Conv2d(),
        TensorType((4,), I8),
        (W,),
        "an input of shape (4,); allowed: (height, width, channels)",
    ),
    (Conv2d(), IMAGE, (const(3, 2),), "a weight of shape (3, 2); allowed: (outputs, height, width, inputs per group)"),
    (
        Conv2d(groups=2),
        IMAGE,
        (W,),
        "2 input channels, 3 outputs, 2 groups, 2 weights per group; "
        "allowed: inputs and outputs divisible by groups, inputs per group as the weight says",
    ),
    (Conv2d(), IMAGE, (W, const(2)), "a bias of shape (2,); allowed: (3,)"),
    (
        Conv2d(stride=(0, 1)),
        IMAGE,
        (W,),
        "padding (0, 0, 0, 0), stride (0, 1), dilation (1, 1); allowed: at least 0, 1, 1",
    ),
    (Conv2d(dilation=(4, 1)), IMAGE, (W,), "a window of 5 on 4 pixels; allowed: a window inside the image"),
    (
        Dense(),
        IMAGE,
        (const(3, 5),),
        "an input of shape (4, 5, 2) and a weight of (3, 5); allowed: a weight of (outputs, inputs)",
    ),
    (
        Dense(),
        TensorType((2,), U32),
        (const(1, 2),),
        "results from 0 to 8589934590 need more than 32 bits; allowed: at most 32 bits",
    ),
    (
        Dense(),
        TensorType((2,), U32),
        (const(1, 2, fill=2**31),),
        "sums up to 1.84e+19, more than 32 bits; allowed: an accumulator of at most 32 bits",
    ),
    (Requant(I8), IMAGE, (const(3), const(1)), "a multiplier of shape (3,); allowed: (1,) or (2,)"),
    (
        Requant(I8),
        IMAGE,
        (const(1, fill=1 << 31), const(1)),
        "a multiplier from 2147483648 to 2147483648; allowed: -2147483648 to 2147483647",
    ),
    (Requant(I8), IMAGE, (const(1), const(1, fill=63)), "a shift from 63 to 63; allowed: 0 to 62"),
    (
        Requant(I8, zero_point=1 << 40),
        IMAGE,
        (const(1), const(1)),
        "the zero point 1099511627776; allowed: -2147483648 to 2147483647",
    ),
    (Requant(BIPOLAR), IMAGE, (const(1), const(1)), "a bipolar result; allowed: a Threshold with one level"),
    (Threshold(I4), IMAGE, (const(3, 2),), "levels of shape (3, 2); allowed: (2, levels) or (1, levels)"),
    (Threshold(BIPOLAR), IMAGE, (const(1, 2),), "2 levels for an output of type bipolar; allowed: at most 1"),
    (
        Threshold(I4),
        IMAGE,
        (Const.of(np.array([[2, 1]])),),
        "levels that decrease; allowed: levels sorted along the last axis",
    ),
    (
        MaxPool2d((0, 1), (1, 1)),
        IMAGE,
        (),
        "kernel (0, 1), stride (1, 1), padding (0, 0, 0, 0); allowed: at least 1, 1, 0",
    ),
    (
        MaxPool2d((2, 2), (1, 1), (0, 2, 0, 0)),
        IMAGE,
        (),
        "padding (0, 2, 0, 0) around a window of (2, 2); allowed: padding smaller than the window",
    ),
    (AvgPool2d((5, 1), (1, 1)), IMAGE, (), "a window of 5 on 4 pixels; allowed: a window inside the image"),
    (
        AvgPool2d((2, 2), (1, 1)),
        TensorType((4, 5, 2), I32),
        (),
        "results from -8589934592 to 8589934588 need more than 32 bits; allowed: at most 32 bits",
    ),
    (Conv2d(pad_value=1 << 40), IMAGE, (W,), "the pad value 1099511627776; allowed: at most 32 bits"),
    (
        AvgPool2d((1, 1), (1, 1), pad_value=-(1 << 40)),
        IMAGE,
        (),
        "the pad value -1099511627776; allowed: at most 32 bits",
    ),
    (Reshape((41,)), IMAGE, (), "(4, 5, 2) to (41,); allowed: the same number of elements, no empty axis"),
    (Reshape((-40, -1)), IMAGE, (), "(4, 5, 2) to (-40, -1); allowed: the same number of elements, no empty axis"),
    (Reshape(()), IMAGE, (), "(4, 5, 2) to (); allowed: the same number of elements, no empty axis"),
    (Pad((0, -1, 0, 0)), IMAGE, (), "padding (0, -1, 0, 0); allowed: 0 or more"),
    (
        Pad((1, 0, 0, 0), -1),
        TensorType((4, 5, 2), U32),
        (),
        "results from -1 to 4294967295 need more than 32 bits; allowed: at most 32 bits",
    ),
    (Lookup(I8), TensorType((4, 5, 2), I32), (const(1, 16),), "an input of type i32; allowed: at most 16 bits"),
    (Lookup(I8), IMAGE, (const(3, 256),), "a table of shape (3, 256); allowed: (1, 256) or (2, 256)"),
    (Lookup(I4), IMAGE, (const(1, 256, fill=9),), "a table with values from 9 to 9; allowed: i4"),
    (Mul(), IMAGE, (W,), "a constant as data; allowed: an input of the graph or the result of a node"),
    (Take(3, (0,)), IMAGE, (), "axis 3 of shape (4, 5, 2); allowed: 0 to 2"),
    (Take(1, (0, 5)), IMAGE, (), "indices from 0 to 5; allowed: at least one, 0 to 4"),
    (Take(1, ()), IMAGE, (), "no indices; allowed: at least one, 0 to 4"),
    (Softmax.of(0.1), TensorType((2,), I16), (), "an input of type i16; allowed: at most 8 bits"),
]


@pytest.mark.parametrize(("op", "x", "constants", "message"), OPERATORS)
def test_rules_of_the_operators(op: Op, x: TensorType, constants: tuple[Const, ...], message: str) -> None:
    names = {f"c{i}": c for i, c in enumerate(constants)}
    with pytest.raises(GraphError) as caught:
        Graph((Port("x", x),), names, (Node("y", op, ("x", *names), "net.layer"),), (Y,))
    assert str(caught.value) == f"net.layer: {type(op).__name__} with {message}"


TWO = (Port("x", IMAGE), Port("z", TensorType((4, 5, 1), I4)))


@pytest.mark.parametrize(
    ("op", "inputs", "message"),
    [
        (Add(), ("x", "z"), "Add with inputs of shapes (4, 5, 2) and (4, 5, 1); allowed: two inputs of one shape"),
        (
            Concat(),
            ("x", "z"),
            "Concat with inputs i8[4,5,2], i4[4,5,1]; allowed: one type, one shape but for the channels",
        ),
        (Dense(), ("x", "z"), "Dense with the weight is computed by another node; allowed: a constant"),
        (Add(), ("x", "c"), "Add with a constant as data; allowed: an input of the graph or the result of a node"),
        (ArgMax(), ("c",), "ArgMax with a constant as data; allowed: an input of the graph or the result of a node"),
    ],
)
def test_rules_between_inputs(op: Op, inputs: tuple[str, ...], message: str) -> None:
    with pytest.raises(GraphError) as caught:
        graph(Node("y", op, inputs, "net.layer"), inputs=TWO, c=const(4, 5, 2))
    assert str(caught.value) == f"net.layer: {message}"


def test_all_findings_come_at_once_and_consequences_do_not() -> None:
    with pytest.raises(GraphError) as caught:
        graph(pad("a", "q"), pad("b", "a"), pad("b b"), pad("d", "b"), outputs=(Port("d"), Port("e")))
    assert str(caught.value).splitlines() == [
        "net.a: reads q, not computed before it; allowed: values computed earlier",
        "net.b b: a value has the name 'b b'; allowed: a letter or _, then letters, digits and _ . - / :",
        "graph: the output 'e' is not computed; allowed: the name of a value",
    ]


SMALL = Graph((Port("x", TensorType((2, 1), I4)), Port("z", TensorType((2, 1), I4))), {}, (), (Port("x"),))
OK = np.zeros((3, 2, 1), np.int64)


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ((OK,), "inputs: 1 arrays; allowed: 2: x, z"),
        ((OK[0], OK), "input x: an array of shape (2, 1); allowed: (batch, 2, 1)"),
        ((OK, np.array(3)), "input z: an array of shape (); allowed: (batch, 2, 1)"),
        ((OK * 0.5, OK), "input x: values of type float64; allowed: integers; try: quantise_inputs for real values"),
        ((OK + 9, OK), "input x: values from 9 to 9; allowed: i4: -8 to 7"),
        ((OK, OK[:2]), "inputs: batches of 3, 2; allowed: one batch size"),
    ],
)
def test_feeds(feeds: tuple[Any, ...], message: str) -> None:
    for run in (SMALL.evaluate, SMALL.evaluate_all):
        with pytest.raises(InputError) as caught:
            run(*feeds)
        assert str(caught.value) == message


def real(quant: Quant | None = None, axes: tuple[int, ...] = ()) -> Graph:
    return Graph((Port("x", TensorType((2, 3), I4, quant), axes),), {}, (), (Port("x"),))


@pytest.mark.parametrize(
    ("model", "array", "message"),
    [
        (real(), np.zeros((5, 3, 2)), "input x: an array of shape (5, 3, 2); allowed: (batch, 2, 3)"),
        (
            real(axes=(1, 0)),
            np.zeros((5, 6)),
            "input x: an array of shape (5, 6); allowed: (batch, 3, 2) or (batch, 2, 3)",
        ),
        (
            real(),
            np.full((2, 3), 8),
            "input x: integers from 8 to 8; allowed: i4: -8 to 7; try: pass real values as float",
        ),
        (real(), np.array([["a"] * 3] * 2), "input x: values of type <U1; allowed: integers or floating point"),
        (real(), np.full((2, 3), np.nan), "input x: NaN or infinite values; allowed: finite values"),
        (
            real(),
            np.zeros((2, 3)),
            "input x: real values for an input without a scale; allowed: integers; try: integers of i4: -8 to 7",
        ),
    ],
)
def test_real_inputs(model: Graph, array: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        model.quantise_inputs(array)
    assert str(caught.value) == message


def test_number_of_real_inputs() -> None:
    with pytest.raises(InputError, match=r"^inputs: 2 arrays; allowed: 1: x$"):
        real().quantise_inputs(OK, OK)
