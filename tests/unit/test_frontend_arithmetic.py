"""The importer's arithmetic against definitions written out: level tables, Requant fits, sums, class comparisons."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from codesign.frontend.absorb import level_table
from codesign.frontend.context import Context
from codesign.frontend.draft import Value
from codesign.frontend.ends import comparable
from codesign.frontend.join import approximations, quantise_sum
from codesign.frontend.quantisers import step_at, uniform_steps
from codesign.frontend.rational import INF, constant, listed, rationals, square_root
from codesign.frontend.real import Real, Term
from codesign.frontend.requant import Interval, fit_requant
from codesign.ir.graph import Port
from codesign.ir.ops import Rounding
from codesign.ir.ops.rescale import round_shift
from codesign.ir.types import IntType, TensorType

ROUNDINGS = {
    "ROUND": round,
    "FLOOR": floor,
    "CEIL": ceil,
    "DOWN": int,
    "UP": lambda u: ceil(u) if u > 0 else floor(u),
    "HALF_UP": lambda u: floor(u + Fraction(1, 2)) if u > 0 else ceil(u - Fraction(1, 2)),
    "HALF_DOWN": lambda u: ceil(u - Fraction(1, 2)) if u > 0 else floor(u + Fraction(1, 2)),
}
# Multiples of 1/8 make ties frequent.
eighths = st.integers(-64, 64).map(lambda n: Fraction(n, 8))
scales = st.one_of(
    st.integers(1, 40).map(lambda n: Fraction(n, 8)),
    st.floats(2**-6, 4, width=32).map(Fraction),
)
offsets = st.one_of(eighths, st.floats(-8, 8, width=32).map(Fraction))


def values(lo: int, hi: int, shape: tuple[int, ...] = (1,)) -> Value:
    return Value("x", shape, np.array([lo]), np.array([hi]), IntType.smallest(lo, hi))


def clip(u: Fraction, lo: Fraction | float, hi: Fraction | float) -> Fraction:
    return min(max(u, lo), hi)  # type: ignore[return-value]


@pytest.mark.parametrize("rounding", ROUNDINGS)
@given(k=st.integers(-20, 20), u=eighths)
def test_step_at_is_where_rounding_reaches_k(rounding: str, k: int, u: Fraction) -> None:
    t, strict = step_at(k, rounding)
    assert (ROUNDINGS[rounding](u) >= k) == (u > t if strict else u >= t)


@given(
    a=st.one_of(scales, st.just(Fraction(0))),
    b=offsets,
    s=scales,
    z=st.integers(-3, 3),
    limits=st.one_of(st.just((-INF, INF)), st.tuples(eighths, eighths).map(sorted).map(tuple)),
    rounding=st.sampled_from(sorted(ROUNDINGS)),
    bits=st.integers(1, 4),
    signed=st.booleans(),
)
def test_level_table_is_the_quantiser(a, b, s, z, limits, rounding, bits, signed) -> None:  # type: ignore[no-untyped-def]
    out = IntType(bits, signed)
    lo, hi = limits
    x = values(-12, 11)
    real = Real((Term(x, constant(a)),), constant(b), constant(lo), constant(hi), np.zeros((1,), dtype=np.int64))
    steps = uniform_steps(constant(s), constant(z), out.lo, out.hi, out, rounding)
    (levels,) = level_table(real, steps)
    assert ((levels >= -12) & (levels <= 12)).all()
    for q in range(-12, 12):
        expected = min(max(ROUNDINGS[rounding](clip(a * q + b, lo, hi) / s + z), out.lo), out.hi)
        assert out.lo + int((q >= levels).sum()) == expected


@given(
    m=st.integers(1, 200),
    shift=st.integers(0, 8),
    bias=st.integers(-20, 20),
    zero=st.integers(-4, 4),
    rounding=st.sampled_from([Rounding.HALF_UP, Rounding.HALF_EVEN]),
    bits=st.integers(1, 6),
    signed=st.booleans(),
    span=st.tuples(st.integers(-100, 0), st.integers(0, 100)),
)
def test_a_requant_that_exists_is_found(m, shift, bias, zero, rounding, bits, signed, span) -> None:  # type: ignore[no-untyped-def]
    out = IntType(bits, signed)
    lo, hi = span
    x = np.arange(lo, hi + 1)
    y = np.clip(round_shift((x + bias) * m, np.array(shift), rounding) + zero, out.lo, out.hi)
    levels = np.array([[lo + int((y < k).sum()) for k in range(out.lo + 1, out.hi + 1)]])
    fit = fit_requant(levels, levels, out, zero, np.array([lo]), np.array([hi]), [np.array([bias])])
    assert fit is not None
    found = fit.op.rounding
    again = round_shift((x + bias) * fit.multiplier, fit.shift, found) + zero
    assert (np.clip(again, out.lo, out.hi) == y).all()
    assert (int(fit.multiplier[0]).bit_length(), int(fit.shift[0])) <= (m.bit_length(), shift) or found is not rounding


@given(levels=st.lists(st.integers(-30, 31), min_size=7, max_size=7).map(sorted))
@example(levels=[-5, -4, -2, 2, 3, 4, 25])
def test_a_fit_equals_its_levels_or_there_is_none(levels: list[int]) -> None:
    out = IntType(3, True)
    table = np.array([levels])
    fit = fit_requant(table, table, out, 0, np.array([-30]), np.array([30]), [np.array([0])])
    x = np.arange(-30, 31)
    wanted = out.lo + (x[:, None] >= table[0]).sum(axis=1)
    if fit is not None:
        y = np.clip(round_shift(x * fit.multiplier, fit.shift, fit.op.rounding), out.lo, out.hi)
        assert (y == wanted).all()
    else:
        for shift, rounding in product(range(7), (Rounding.HALF_UP, Rounding.HALF_EVEN)):
            y = round_shift(x[:, None] * np.arange(1, 1 << 9), np.array(shift), rounding)
            assert not (np.clip(y, out.lo, out.hi) == wanted[:, None]).all(axis=0).any()


@given(low=st.fractions(0, 9), width=st.fractions(0, 2), low_open=st.booleans(), high_open=st.booleans())
def test_dyadic_is_the_shortest_number_inside(low: Fraction, width: Fraction, low_open: bool, high_open: bool) -> None:
    interval = Interval(low, low_open, low + width, high_open)

    def inside(v: Fraction) -> bool:
        return (v > low or (v == low and not low_open)) and (v < low + width or (v == low + width and not high_open))

    found = interval.dyadic()
    shorter = range(min(found[1] if found else 8, 8))
    assert found is None or inside(Fraction(found[0], 1 << found[1]))
    assert not any(inside(Fraction(m, 1 << s)) for s in shorter for m in range(12 << s))


@given(ratio=st.fractions(Fraction(1, 50), 50, max_denominator=500))
def test_approximations_come_ever_nearer_and_end_at_the_ratio(ratio: Fraction) -> None:
    found = [Fraction(m, n) for m, n in approximations(ratio)]
    assert found[-1] == ratio
    sizes = [f.numerator + f.denominator for f in found]
    assert sizes == sorted(sizes)


@given(
    a=st.floats(2**-5, 2, width=32).map(Fraction),
    b=st.floats(2**-5, 2, width=32).map(Fraction),
    offset=offsets,
    s=scales,
    sign=st.sampled_from([1, -1]),
)
@example(a=Fraction(1, 3), b=Fraction(1, 4), offset=Fraction(0), s=Fraction(1, 2), sign=1)
def test_a_quantised_sum_of_unequal_scales_is_exact(a, b, offset, s, sign) -> None:  # type: ignore[no-untyped-def]
    assume(a != b)
    ctx = Context()
    ranges = {"x": IntType(4, True), "y": IntType(3, False)}
    terms = []
    for (name, dtype), factor in zip(ranges.items(), (a, sign * b), strict=True):
        ctx.builder.name(name)
        ctx.builder.add_input(name, TensorType((1,), dtype), (0,))
        value = Value(name, (1,), np.array([dtype.lo]), np.array([dtype.hi]), dtype)
        terms.append(Term(value, constant(factor)))
    real = Real(tuple(terms), constant(offset), constant(-INF), constant(INF), np.zeros((1,), dtype=np.int64))
    out = IntType(4, True)
    steps = uniform_steps(constant(s), constant(0), out.lo, out.hi, out, "ROUND")
    result = quantise_sum(ctx, real, steps, "sum")
    graph = ctx.builder.finish([Port(result.value.name)], {})
    pairs = list(product(range(-8, 8), range(8)))
    feeds = [np.array([[p[i]] for p in pairs]) for i in (0, 1)]
    (y,) = graph.evaluate(*feeds)
    expected = [min(max(round((a * p + sign * b * q + offset) / s), out.lo), out.hi) for p, q in pairs]
    assert y.reshape(-1).tolist() == expected
    assert not ctx.notes


@given(
    a=st.lists(scales, min_size=3, max_size=3).map(lambda v: [v[0]] * 3 if v[0] > 1 else v),
    b=st.lists(st.integers(-8000, 8000).map(lambda n: Fraction(n, 1000)), min_size=3, max_size=3),
)
@example(a=[Fraction(1, 8), Fraction(3, 8), Fraction(1, 4)], b=[Fraction(1, 8), Fraction(0), Fraction(1, 2)])
def test_comparable_integers_choose_the_same_class(a: list[Fraction], b: list[Fraction]) -> None:
    x = Value("x", (3,), np.array([-3]), np.array([4]))
    m, n = comparable(listed(a), listed(b), x)
    for q in product(range(-3, 5), repeat=3):
        real = [f * v + o for f, o, v in zip(a, b, q, strict=True)]
        assert int(np.argmax(m * q + n)) == real.index(max(real))


@given(value=st.fractions(0, 1000, max_denominator=10**6))
def test_square_root(value: Fraction) -> None:
    root = square_root(value)
    assert root * root <= value < (root + Fraction(1, 1 << 100)) ** 2
    assert square_root(value * value) == value


def test_float32_constants_are_exact() -> None:
    third = np.float32(1) / np.float32(3)
    assert rationals(third.reshape(1))[0] == Fraction(11184811, 33554432)
