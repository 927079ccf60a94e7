"""The level tables of the importer against their definition, where rounded arithmetic would decide wrongly."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.frontend.absorb import Steps, level_table
from codesign.frontend.draft import Value, interval
from codesign.frontend.rational import constant, listed
from codesign.frontend.real import Real
from codesign.ir.types import IntType

LEAST, MOST = -(1 << 20), 1 << 20


def table(t: list[Fraction], strict: list[bool], a: Fraction, b: Fraction) -> list[int]:
    value = Value("x", (1,), *interval(LEAST, MOST), IntType(32, True))
    real = Real.of(value, constant(a), constant(b), np.zeros((1,), dtype=np.int64))
    steps = Steps(listed(t).reshape(1, -1), np.array(strict), IntType(16, True), 0, constant(1), constant(0))
    return [int(q) for q in level_table(real, steps)[0]]


def expected(t: list[Fraction], strict: list[bool], a: Fraction, b: Fraction) -> list[int]:
    if a == 0:
        return [LEAST if b > p or (b == p and not s) else MOST + 1 for p, s in zip(t, strict, strict=True)]
    levels = (floor((p - b) / a) + 1 if s else ceil((p - b) / a) for p, s in zip(t, strict, strict=True))
    return [min(max(q, LEAST), MOST + 1) for q in levels]


floats = st.floats(min_value=-1e6, max_value=1e6, width=32).map(Fraction)
factors = st.one_of(
    st.just(Fraction(0)),
    st.floats(min_value=2.0**-20, max_value=1e4, width=32).map(Fraction),
    st.fractions(min_value=Fraction(1, 10**6), max_value=1000),
    st.integers(10**40, 10**41).map(lambda n: Fraction(n, 10**41 + 7)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(LEAST, MOST), min_size=1, max_size=12), factors, floats, st.data())
def test_levels_are_those_of_the_definition(points: list[int], a: Fraction, b: Fraction, data: st.DataObject) -> None:
    # Steps that an integer meets exactly, or misses by less than float64 can tell.
    shifts = st.sampled_from([Fraction(0), Fraction(1, 2), Fraction(1, 10**30), Fraction(-1, 10**30)])
    t = sorted((q + data.draw(shifts)) * (a or 1) + b for q in points)
    strict = data.draw(st.lists(st.booleans(), min_size=len(t), max_size=len(t)))
    assert table(t, strict, a, b) == expected(t, strict, a, b)


@pytest.mark.parametrize("a", [Fraction(1, 1 << 1100), Fraction(1 << 1100), Fraction(3, 1 << 950), Fraction(10) ** 400])
def test_factors_beyond_float64(a: Fraction) -> None:
    t = [a * q + shift for q, shift in ((-5, 0), (2, a / 3), (7, 0), (9, a / (1 << 80)))]
    for b in (Fraction(0), a / 7, -a * 9):
        for strict in ([False] * 4, [True] * 4):
            assert table(t, strict, a, b) == expected(t, strict, a, b)
