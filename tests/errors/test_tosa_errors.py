"""What the TOSA export refuses, and what the reference model cannot run: every sentence."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tosa_files import tosa_tools

from codesign.errors import InputError, ToolError, UnsupportedError, UsageError
from codesign.export.tosa import evaluate_reference, export_tosa, run_reference, write_tosa
from codesign.export.tosa.operators import rescale, reshape
from codesign.export.tosa.writer import Dtype, Writer
from codesign.ir.ops import ArgMax, AvgPool2d, MaxPool2d, Reshape, Rounding
from codesign.ir.types import IntType
from codesign.testing.build import GraphBuilder
from codesign.testing.cases import CASES

U8, U16, U32, I8, I17, I32 = (IntType(int(n[1:]), n[0] == "i") for n in ["u8", "u16", "u32", "i8", "i17", "i32"])
ENDS = "-2147483648 to 2147483647"


@pytest.fixture
def tools() -> None:
    tosa_tools()


Make = Callable[[GraphBuilder, str], str]
REFUSED: list[tuple[IntType, Make, str]] = [
    (
        I17,
        lambda b, x: b.conv(x, np.ones((1, 1, 1, 2), dtype=int), name="y"),
        "y: Conv2d with an input of type i17; allowed: at most 16 bits",
    ),
    (
        I17,
        lambda b, x: b.dense(x, np.ones((1, 2), dtype=int), name="y"),
        "y: Dense with an input of type i17; allowed: at most 16 bits",
    ),
    (
        I17,
        lambda b, x: b.node(MaxPool2d((2, 2), (2, 2)), x, name="y"),
        "y: MaxPool2d with an input of type i17; allowed: at most 16 bits",
    ),
    (
        U16,
        lambda b, x: b.node(AvgPool2d((2, 2), (2, 2), mean=True), x, name="y"),
        "y: AvgPool2d with the mean of 4 values of type u16; "
        "allowed: a type other than u16, and sums that a reciprocal of 31 bits divides",
    ),
    (
        U16,
        lambda b, x: b.conv(x, np.ones((1, 2, 2, 2), dtype=int), padding=(1, 1, 1, 1), pad_value=-1, name="y"),
        "y: Conv2d with an input of type u16 padded with -1; allowed: at most 16 bits for both",
    ),
    (
        I8,
        lambda b, x: b.conv(x, np.array([[[[-1, 255]]]]), name="y"),
        "y: Conv2d with weights from -1 to 255; allowed: -128 to 127, or 0 to 255",
    ),
    (
        U8,
        lambda b, x: b.dense(
            b.node(Reshape((1 << 17,)), x), np.where(np.arange(1 << 17) % 2, 127, -127)[None, :], name="y"
        ),
        "y: Dense with sums, or a bias, of up to 4244766720; allowed: below 2^31 in any order of the terms",
    ),
    (
        I17,
        lambda b, x: b.requant(x, [-(1 << 31)], [20], I8, name="y"),
        "y: Requant with a negative multiplier -2147483648 for values from -65536; "
        "allowed: both above -2147483648, which has no counterpart in 32 bits",
    ),
    (
        I32,
        lambda b, x: b.requant(x, [3], [1], I32, Rounding.HALF_UP, name="y"),
        f"y: Requant with a multiplier of 3 and a shift of 1 for values from {ENDS}; "
        "allowed: a result that 32 bits hold before it is limited",
    ),
    (
        I32,
        lambda b, x: b.requant(x, [3], [2], I32, Rounding.HALF_EVEN, name="y"),
        f"y: Requant with ties to even for values from {ENDS} and a multiplier of 3; "
        "allowed: products of less than 32 bits",
    ),
    (
        I8,
        lambda b, x: b.requant(x, [(1 << 31) - 1], [0], I8, Rounding.HALF_UP, 100, name="y"),
        "y: Requant with results up to 2147483747 before they are limited; allowed: at most 32 bits",
    ),
    (
        I32,
        lambda b, x: b.threshold(x, np.array([[5 - (1 << 31), 7, (1 << 31) - 5]]), IntType(2, False), name="y"),
        "y: Threshold with levels from -2147483643 to 2147483643 for values of type i32; "
        "allowed: differences of at most 32 bits",
    ),
    (
        I32,
        lambda b, x: b.node(ArgMax(), x, name="y"),
        "y: ArgMax with an input of type i32; allowed: differences of at most 31 bits",
    ),
]


@pytest.mark.parametrize(("dtype", "make", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_refusal(tools: None, dtype: IntType, make: Make, sentence: str) -> None:
    b = GraphBuilder()
    large = "4244766720" in sentence
    graph = b.graph(make(b, b.input((1 << 16, 1, 2) if large else (4, 4, 2), dtype)))
    with pytest.raises(UnsupportedError) as caught:
        export_tosa(graph)
    assert str(caught.value) == sentence


def test_all_refusals_at_once(tools: None) -> None:
    """In the user's names; what reads a refused layer is looked at as well, what reads an unsuitable input is not."""
    b = GraphBuilder()
    x, wide = b.input((4, 4, 2), I17), b.input((2,), U32)
    y = b.node(MaxPool2d((2, 2), (1, 1)), x, origin="net.pool")
    y = b.node(Reshape((18,)), y)
    y = b.threshold(y, np.arange(-60000, 60001)[None, ::2], IntType(17, False))
    y = b.node(Reshape((3, 3, 2)), y)
    y = b.conv(y, np.ones((1, 1, 1, 2), dtype=int))
    z = b.node(Reshape((1, 2)), wide)
    with pytest.raises(UnsupportedError) as caught:
        export_tosa(b.graph(y, z))
    assert str(caught.value).splitlines() == [
        "input x2: values of type u32, up to 4294967295; allowed: at most 2147483647: TOSA's integers are signed",
        "net.pool: MaxPool2d with an input of type i17; allowed: at most 16 bits",
        "conv2d5: Conv2d with an input of type u17; allowed: at most 16 bits",
    ]


def test_without_tosa_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolError) as caught:
        export_tosa(CASES["dense"]())
    assert str(caught.value) == (
        "tosa: not found (no Python package `tosa-tools`), needed for the TOSA export; "
        "try: pip install 'codesign[ethosu]'"
    )


def test_a_file_that_cannot_be_written(tools: None, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        write_tosa(CASES["dense"](), tmp_path / "no" / "model.tosa")
    assert str(caught.value) == f"{tmp_path / 'no' / 'model.tosa'}: cannot be written: No such file or directory"


def test_a_refused_graph_leaves_the_file_as_it_was(tools: None, tmp_path: Path) -> None:
    path = tmp_path / "model.tosa"
    path.write_bytes(b"before")
    b = GraphBuilder()
    with pytest.raises(UnsupportedError):
        write_tosa(b.graph(b.node(Reshape((2, 1)), b.input((2,), U32))), path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_no_frames(tools: None) -> None:
    with pytest.raises(UsageError, match=r"^batch: 0 frames; allowed: 1 or more$"):
        export_tosa(CASES["dense"](), 0)
    with pytest.raises(InputError, match=r"^inputs: no frames; allowed: 1 or more$"):
        evaluate_reference(CASES["dense"](), np.zeros((0, 12), dtype=np.int64))


def _wrong_shape() -> bytes:
    w = Writer()
    return w.serialise([("y", reshape(w, w.input("x", (1, 2), Dtype.I8), (3,)))])


def _too_small_a_shift() -> bytes:
    w = Writer()
    return w.serialise([("y", rescale(w, w.input("x", (1, 2), Dtype.I32), Dtype.I32, 1, 2))])


@pytest.mark.parametrize(
    ("content", "feeds", "reason"),
    [
        (lambda: b"not a model", [], "An error occurred while loading the TOSA model. Invalid TOSA graph"),
        (lambda: export_tosa(CASES["dense"]()), [], "Incorrect number of input arrays provided. Invalid inputs."),
        (
            _too_small_a_shift,
            [np.array([[1, 100]], dtype=np.int32)],
            "OpRescale failure: apply_scale_32(): value should stay within [-2, 1] but is 100 using shift of 2.",
        ),
        (
            _wrong_shape,
            [np.zeros((1, 2), dtype=np.int8)],
            "(inputs[0]->getElementCount() != outputs[0]->getElementCount())",
        ),
    ],
)
def test_what_the_reference_model_refuses(
    tools: None, content: Callable[[], bytes], feeds: list[np.ndarray], reason: str
) -> None:
    """The last one ends the model's process: it must not take the caller along."""
    with pytest.raises(ToolError) as caught:
        run_reference(content(), feeds)
    assert str(caught.value) == f"tosa: the reference model has no result: {reason}"
