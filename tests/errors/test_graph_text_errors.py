"""What a text form that cannot be read is refused with: the line, and what is wrong in it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign.errors import CodesignError, GraphError, InputError
from codesign.ir.ops import OPERATORS
from codesign.ir.text import parse_graph, print_graph
from codesign.testing.cases import CASES

GOOD = """graph 1
input x: u4[2] scale=[0.5] zero=[0.0] axis=None
const w: i4[1,2] = [3, -2]
const m: u2[1] = [3]
y = Dense()(x, w): i7[1]
z = Requant(out=u4, rounding=half_up, zero_point=0)(y, m, m): u4[1]
output z
"""


def test_the_good_one_is_good() -> None:
    assert print_graph(parse_graph(GOOD)) == GOOD


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: an empty file; allowed: 'graph 1'"),
        ("graph 2\n", "line 1: 'graph 2'; allowed: 'graph 1'"),
    ],
)
def test_headers(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_graph(text)
    assert str(caught.value) == message


META = "scale=[0.5] zero=[0.0] axis=None"


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("x: u4[2]", "x u4[2]", 2, f"no 'name: type' in 'x u4[2] {META}'"),
        ("u4[2]", "u4[]", 2, f"not a tensor type: 'u4[] {META}'"),
        ("u4[2]", "u4[0]", 2, "a tensor needs at least one axis and no empty one, not (0,)"),
        ("u4[2]", "u99[2]", 2, "an integer type has 1 to 32 bits, not 99"),
        ("u4[2]", "f4[2]", 2, "not an integer type: 'f4' (u1 … u32, i1 … i32, bipolar)"),
        ("[0.5]", "[0.0]", 2, "a scale is NaN, infinite or zero"),
        ("[0.5]", "[1e999]", 2, "a scale is NaN, infinite or zero"),
        ("axis=None", "axis None", 2, "no 'name=value' in ' axis None'"),
        ("[3, -2]", "[3, 0.5]", 3, "values of type float64, not integers"),
        ("[3, -2]", "[3, -2, 1]", 3, "cannot reshape array of size 3 into shape (1,2)"),
        ("[3, -2]", "base64 1 eJxj", 3, "Error -5 while decompressing data: incomplete or truncated stream"),
        ("const m", "const w", 4, "a second constant 'w'"),
        ("Dense()(x, w): i7[1]", "Dense", 5, "no 'name = Operator(…)(inputs): type' in 'y = Dense'"),
        ("Dense()", "Gemm()", 5, f"unknown operator Gemm; there are {', '.join(OPERATORS)}"),
        ("out=u4, ", "", 6, "Requant with fields rounding, zero_point instead of out, rounding, zero_point"),
        ("half_up", "up", 6, "'up' is not a valid Rounding"),
        ("zero_point=0", "zero_point=0.5", 6, "zero_point=0.5 is no int"),
        ("zero_point=0", "zero_point=(0, 1)", 6, "zero_point=(0, 1) is no int"),
    ],
)
def test_lines_that_cannot_be_read(old: str, new: str, line: int, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_graph(changed(old, new))
    assert str(caught.value) == f"line {line}: cannot be read: {message}; allowed: the text form of a graph"


def test_a_wrong_declaration() -> None:
    with pytest.raises(GraphError, match=r"^y: declared as i8\[1\]; allowed: i7\[1\], which its operator gives$"):
        parse_graph(changed("i7[1]", "i8[1]"))


def test_a_broken_rule_names_the_user_s_layer() -> None:
    with pytest.raises(GraphError, match=r"^net\.fc: reads v, not computed before it"):
        parse_graph(changed("(x, w): i7[1]", "(v, w): i7[1] origin='net.fc'"))


SOURCES = [print_graph(make()) for make in CASES.values()] + [GOOD]


@given(st.sampled_from(SOURCES), st.integers(0, 10_000), st.integers(0, 40), st.text(max_size=4))
def test_damage_never_ends_in_a_traceback(text: str, position: int, length: int, put: str) -> None:
    position %= len(text)
    damaged = text[:position] + put + text[position + length :]
    with contextlib.suppress(CodesignError):
        parse_graph(damaged)
