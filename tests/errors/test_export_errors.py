"""What `codesign export` refuses, word by word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codesign.cli import main
from codesign.errors import UnsupportedError
from codesign.export.tflite import export_tflite
from codesign.export.tflite.verify import TensorDifference
from codesign.ir.graph import Graph
from codesign.ir.ops import Add, ArgMax, AvgPool2d, Lookup, Mul, Requant, Rounding, Take
from codesign.ir.text import print_graph
from codesign.ir.types import IntType
from codesign.testing.build import GraphBuilder

I4, I8, U8 = IntType(4, True), IntType(8, True), IntType(8, False)


def wide(b: GraphBuilder) -> str:
    first = b.dense(b.input((8,), I8), np.full((4, 8), 127), name="hidden")
    return b.dense(first, np.ones((2, 4), dtype=np.int64), name="scores")


def uneven(b: GraphBuilder) -> str:
    levels = np.array([[-90, -80, 0, 1, 2, 60, 61]])
    return b.threshold(b.dense(b.input((8,), I4), np.eye(8, dtype=np.int64) * 7), levels, IntType(3, False), "act")


def table(b: GraphBuilder) -> str:
    values = b.const(np.abs(np.arange(-128, 128))[None] // 2)
    return b.node(Lookup(I8), b.input((4,), I8), values, name="abs")


def product(b: GraphBuilder) -> str:
    x = b.input((4,), I4)
    return b.node(Mul(), x, b.input((4,), I4), name="gate")


def heavy(b: GraphBuilder) -> str:
    return b.dense(b.input((2,), I4), np.array([[200, 1]]), name="fc")


def scattered(b: GraphBuilder) -> str:
    order = np.random.default_rng(0).permutation(400).tolist()
    return b.node(Take(0, tuple(order)), b.input((400,), I8), name="shuffle")


def classes(b: GraphBuilder) -> str:
    return b.node(ArgMax(), b.dense(b.input((8,), I8), np.full((4, 8), 9)), name="class")


def mean(b: GraphBuilder) -> str:
    return b.node(AvgPool2d((2, 2), (2, 2), mean=True), b.input((4, 4, 1), U8), name="pool")


def unequal_sum(b: GraphBuilder) -> str:
    x = b.input((4,), I8)
    scaled = b.requant(x, [3], [2], I8)
    return b.requant(b.node(Add(), scaled, x), [1], [1], I8, name="sum")


def limited_product(b: GraphBuilder) -> str:
    x = b.input((4,), I8)
    centred = b.node(Requant(I4, Rounding.HALF_UP, -3), x, b.const(np.array([1])), b.const(np.array([0])))
    return b.requant(b.node(Mul(), centred, centred), [1 << 30], [33], I8, name="square")


def limited_sum(b: GraphBuilder) -> str:
    x = b.input((4,), I8)
    shifted = b.node(Requant(IntType(20, True), Rounding.HALF_UP), x, b.const(np.array([1 << 20])), b.const([0]))
    return b.requant(b.node(Add(), shifted, x), [1 << 30], [50], I8, name="sum")


def joined(b: GraphBuilder) -> str:
    x = b.input((8,), I8)
    return b.node(Add(), x, b.dense(x, np.full((8, 8), 127), name="fc"), name="both")


REFUSED: dict[str, tuple[Callable[[GraphBuilder], str], str]] = {
    "wide": (
        wide,
        "hidden: hidden of type i18 between two layers; allowed: at most 8 bits, or 16 signed bits; "
        "try: a quantiser behind the layer that computes it",
    ),
    "joined": (
        joined,
        "fc: fc of type i18 between two layers; allowed: at most 8 bits, or 16 signed bits; "
        "try: a quantiser behind the layer that computes it",
    ),
    "uneven": (
        uneven,
        "act: 8 of 8 channels are no scale, offset and rounding as TFLite has them; allowed: what 8-bit weights, a "
        "32-bit bias and TFLite's double rounding carry exactly; try: codesign export to a .tosa file, whose rescaling "
        "is explicit, or with --nearest",
    ),
    "table": (
        table,
        "abs: a table of some other function; allowed: LOGISTIC, TANH, HARD_SWISH, or a function that only rises or "
        "only falls; try: codesign export to a .tosa file",
    ),
    "product": (
        product,
        "gate: a product that is rescaled otherwise than by MUL; allowed: tflite_double, one multiplier",
    ),
    "heavy": (heavy, "fc: weights from 1 to 200; allowed: at most 8 bits"),
    "scattered": (
        scattered,
        "shuffle: a choice of elements in {n} pieces; allowed: at most 64 equally spaced ones",
    ),
    "classes": (classes, "class: an ARG_MAX of 16-bit values; allowed: int8"),
    "mean": (
        mean,
        "pool: a mean of values that are stored -128, where ties round the other way; allowed: values whose stored "
        "integers have the same sign",
    ),
    "unequal_sum": (
        unequal_sum,
        "sum: a term that is rounded before the sum; allowed: terms times a whole number, or TFLite's own ADD",
    ),
    "limited_product": (
        limited_product,
        "square: a factor that is limited before the product; allowed: a type that holds every factor",
    ),
    "limited_sum": (
        limited_sum,
        "sum: a term that is limited before the sum; allowed: a type that holds every term",
    ),
}


def graph_of(make: Callable[[GraphBuilder], str]) -> Graph:
    b = GraphBuilder()
    return b.graph(make(b))


@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_is_refused_in_words(name: str) -> None:
    make, sentence = REFUSED[name]
    with pytest.raises(UnsupportedError) as caught:
        export_tflite(graph_of(make))
    if name == "scattered":
        sentence = sentence.format(n=str(caught.value).split(" in ")[1].split()[0])
    assert str(caught.value).splitlines() == [sentence]


def test_a_graph_without_an_operator_is_refused() -> None:
    b = GraphBuilder()
    with pytest.raises(UnsupportedError) as caught:
        export_tflite(b.graph(b.input((3,), I8)))
    expected = "graph: nothing is computed between the inputs and the outputs; allowed: an operator"
    assert str(caught.value) == expected


def test_a_file_that_differs_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ai_edge_litert")
    found = [TensorDifference("act", 40, 3, 1)]
    monkeypatch.setattr("codesign.export.tflite.verify.differences", lambda *_: found)
    source, path = tmp_path / "net.txt", tmp_path / "net.tflite"
    source.write_text(print_graph(graph_of(lambda b: b.dense(b.input((4,), I4), np.eye(4, dtype=np.int64)))))
    assert main(["export", str(source), "-o", str(path)]) == 1
    assert capsys.readouterr().err == "codesign export: act: 3 of 40 elements differ\n"
    assert [p.name for p in tmp_path.iterdir()] == ["net.txt"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.txt"
    path.write_text(print_graph(graph_of(lambda b: b.dense(b.input((4,), I4), np.eye(4, dtype=np.int64)))))
    return path


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-o", "net.onnx"], "-o: a file named 'net.onnx'; allowed: FILE.tflite or FILE.tosa"),
        (
            ["-o", "net.tosa", "--nearest"],
            "--nearest: together with .tosa; allowed: a .tflite file; a .tosa file is always exact",
        ),
        (["-o", "net.tflite", "--frames", "-1"], "--frames: -1; allowed: 0 or more"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], sentence: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = [str(tmp_path / a) if a.startswith("net.") else a for a in arguments]
    assert main(["export", str(model), *place]) == 2
    assert capsys.readouterr().err == f"codesign export: {sentence}\n"
    assert not list(tmp_path.glob("*.t*l*te*"))


def test_a_place_that_cannot_be_written(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "absent" / "net.tflite"
    assert main(["export", str(model), "-o", str(path)]) == 2
    assert f"{path}: cannot be written: No such file or directory" in capsys.readouterr().err
