"""The sum of two exact reals: residual connections, with equal and with unequal scales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from codesign.frontend.absorb import Levels, Steps, emit_levels, level_table, orient, quantise
from codesign.frontend.context import Context
from codesign.frontend.draft import Value
from codesign.frontend.problems import Refusal
from codesign.frontend.rational import compact, listed, rationals
from codesign.frontend.real import Real, Term
from codesign.ir.ops import Add, Requant, Rounding
from codesign.ir.types import IntArray, IntType

# Both parts of a sum stay below this magnitude, so that their types have 31 bits and that of the sum 32.
_LIMIT = 1 << 30
# Entries of the tables that prove a pair of multipliers: about a second of arithmetic.
_PAIRS = 4_000_000


def add_reals(ctx: Context, first: Real, second: Real, origin: str) -> Real:
    """first + second. Equal scales are added at once; unequal ones wait for the quantiser that follows."""
    if first.shape != second.shape:
        raise Refusal(f"a sum of shapes {first.shape} and {second.shape}", "two tensors of one shape")
    if first.raw or second.raw:
        raise Refusal("a sum with the unquantised input", "a quantiser on the input", "a QuantIdentity first")
    first, second = first.settled(), second.settled()
    if first.is_clipped or second.is_clipped:
        raise Refusal("a sum of a ReLU or Clip without a quantiser", "a quantiser before the sum")
    shape = first.terms[0].value.shape
    second = second.reshaped(ctx.builder, shape, origin)
    if not (first.layout == second.layout).all():
        raise Refusal("a sum of tensors with different axes", "tensors in the same order")
    joined = Real(first.terms + second.terms, compact(first.b + second.b), first.lo, first.hi, first.layout)
    return merge_equal(ctx, joined, origin)


def merge_equal(ctx: Context, real: Real, origin: str) -> Real:
    """The same with terms of equal scales added up."""
    terms: list[Term] = []
    for term in real.terms:
        for i, other in enumerate(terms):
            if (term.a == other.a).all():
                terms[i] = Term(add_values(ctx, other.value, term.value, origin), term.a)
                break
        else:
            terms.append(term)
    return Real(tuple(terms), real.b, real.lo, real.hi, real.layout)


def add_values(ctx: Context, x: Value, y: Value, origin: str, helper: str = "") -> Value:
    """x + y, elementwise."""
    bounds = x.lo + y.lo, x.hi + y.hi
    return ctx.builder.emit(Add(), [x, y], origin, x.shape, bounds, suffix="add", helper=helper)


def resolve(ctx: Context, real: Real, origin: str) -> Real:
    """The same over a single value: terms of unequal scales are brought to a common one by integer multipliers.

    Exact where the common scale fits 32 bits; else the nearest scale that does, with a note of the largest error.
    """
    while len(real.terms) > 1:
        real = orient(ctx.builder, real, origin)
        first, second, *rest = real.terms
        pairs = [_exact_pair(r) for r in _ratios(first, second)]
        exact = _fits(first.value, second.value, pairs)
        if not exact:
            pairs = [_nearest_pair(r, first.value, second.value) for r in _ratios(first, second)]
            _note_rounding(ctx, first, second, pairs, origin)
        m, n = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
        value = add_scaled(ctx, first.value, second.value, m, n, origin)
        joined = Term(value, compact(first.a / rationals(m)))
        real = Real((joined, *rest), real.b, real.lo, real.hi, real.layout)
    return real


def quantise_sum(ctx: Context, real: Real, steps: Steps, origin: str) -> Real:
    """A quantiser applied to a sum of unequal scales a x + b y, through the smallest integers m x + n y that suffice.

    They suffice when for every step k the sums that reach it all exceed those that do not: with X_k(y) the smallest x
    that reaches step k beside y, when max over y of m (X_k(y) - 1) + n y is below min over y of m X_k(y) + n y.
    That is checked for every y, hence for all pairs. Falls back on `resolve` where no such pair of multipliers exists.
    """
    if len(real.terms) != 2:
        return quantise(ctx.builder, resolve(ctx, real, origin), steps, origin)
    real = orient(ctx.builder, merge_equal(ctx, real, origin), origin)
    if len(real.terms) == 1:
        return quantise(ctx.builder, real, steps, origin)
    wide, narrow = sorted(real.terms, key=lambda t: -int((t.value.hi - t.value.lo).max()))
    if (wide.a == 0).any() or (narrow.a == 0).any():
        return quantise(ctx.builder, resolve(ctx, real, origin), steps, origin)
    found = _separating(real, wide, narrow, steps)
    if found is None:
        return quantise(ctx.builder, resolve(ctx, real, origin), steps, origin)
    m, n, levels = found
    value = add_scaled(ctx, wide.value, narrow.value, m, n, origin)
    least, most = (np.broadcast_to(r, len(levels.high))[:, None] for r in (value.lo, value.hi))
    levels = Levels(np.clip(levels.low, least, most + 1), np.clip(levels.high, least, most + 1))
    none = [np.zeros(len(levels.high), dtype=np.int64)]
    result = emit_levels(ctx.builder, value, levels, steps, none, origin)
    return Real.of(result, steps.a, steps.b, real.layout)


def _ratios(first: Term, second: Term) -> list[Fraction]:
    """a / b per channel, or once when all are equal; a term whose factor is 0 counts as 1 : 1."""
    if (second.a == 0).any() or (first.a == 0).any():
        raise Refusal("a sum with a channel that is multiplied by 0", "factors other than 0")
    return list(compact(first.a / second.a))


def _exact_pair(ratio: Fraction) -> tuple[int, int]:
    return ratio.numerator, ratio.denominator


def _largest(x: Value, y: Value, m: int, n: int) -> int:
    """The largest magnitude of m x and n y, for positive m and n."""
    return max(m * _magnitude(x), n * _magnitude(y))


def _magnitude(x: Value) -> int:
    return max(abs(int(x.lo.min())), abs(int(x.hi.max())), 1)


def _fits(x: Value, y: Value, pairs: Sequence[tuple[int, int]]) -> bool:
    return all(_largest(x, y, m, n) < _LIMIT for m, n in pairs)


def _nearest_pair(ratio: Fraction, x: Value, y: Value) -> tuple[int, int]:
    """The best approximation of the ratio whose sums fit."""
    best = None
    for m, n in approximations(ratio):
        if _largest(x, y, m, n) >= _LIMIT:
            break
        best = m, n
    if best is None:
        raise Refusal(f"a sum of scales in the ratio {float(ratio):.3g}", "scales whose sum fits 32 bits")
    return best


def _note_rounding(ctx: Context, x: Term, y: Term, pairs: Sequence[tuple[int, int]], origin: str) -> None:
    ratios = _ratios(x, y)
    worst = max(abs(Fraction(m, n) / r - 1) for (m, n), r in zip(pairs, ratios, strict=True))
    ctx.notes.append(
        f"{origin}: the ratio of two scales was rounded to integers, by at most {float(worst):.1e} of itself"
    )


def approximations(ratio: Fraction) -> Iterator[tuple[int, int]]:
    """Fractions m / n, ever larger and ever nearer to a positive ratio, that itself last: its (semi)convergents."""
    p0, q0, p1, q1 = 0, 1, 1, 0
    n, d = ratio.numerator, ratio.denominator
    while d:
        whole = n // d
        n, d = d, n - whole * d
        # Of the steps between two convergents the last few are the good ones, and enough to choose from.
        for k in sorted({*range(1, min(whole, 4) + 1), *range(max(1, whole - 4), whole + 1)}) or [0]:
            if p0 + k * p1 > 0 and q0 + k * q1 > 0:
                yield p0 + k * p1, q0 + k * q1
        p0, q0, p1, q1 = p1, q1, p0 + whole * p1, q0 + whole * q1


def _separating(real: Real, wide: Term, narrow: Term, steps: Steps) -> tuple[IntArray, IntArray, Levels] | None:
    """Multipliers (1,) or (C,) of the two values and the levels of their sum; None when there are none."""
    rows = max(
        r.shape[0] for r in (steps.t, wide.a, narrow.a, real.b, real.lo, real.hi, wide.value.lo, narrow.value.lo)
    )
    span = int((narrow.value.hi - narrow.value.lo).max()) + 1
    if rows * span * steps.t.shape[1] > _PAIRS:
        return None
    tables = [_first_reaching(real, wide, narrow, steps, c, rows) for c in range(rows)]
    ratios = np.broadcast_to(listed(_ratios(wide, narrow)), rows)
    pairs: dict[Fraction, tuple[int, int]] = {}
    for ratio in dict.fromkeys(ratios):
        own = [t for t, r in zip(tables, ratios, strict=True) if r == ratio]
        for m, n in approximations(ratio):
            if _largest(wide.value, narrow.value, m, n) >= _LIMIT:
                return None
            if all(_split(t, m, n) is not None for t in own):
                pairs[ratio] = m, n
                break
        else:
            return None
    splits = [_split(t, *pairs[r]) for t, r in zip(tables, ratios, strict=True)]
    levels = Levels(*(np.stack([s[i] for s in splits if s is not None]) for i in (0, 1)))
    chosen = [pairs[r] for r in (ratios if len(pairs) > 1 else ratios[:1])]
    m_all, n_all = (np.array(column, dtype=np.int64) for column in zip(*chosen, strict=True))
    return m_all, n_all, levels


@dataclass(frozen=True)
class _Table:
    """x (n, L): the smallest x that reaches each step beside each y (n,); lo, hi the range of x."""

    x: IntArray
    y: IntArray
    lo: int
    hi: int


def _first_reaching(real: Real, wide: Term, narrow: Term, steps: Steps, row: int, rows: int) -> _Table:
    """The table of one channel: y is a constant offset, so each y is one row of an ordinary level table."""

    def at(values: Any) -> Any:
        return values[row : row + 1] if len(values) > 1 else values

    y = np.arange(int(at(narrow.value.lo)[0]), int(at(narrow.value.hi)[0]) + 1, narrow.value.step)
    lo, hi = at(wide.value.lo), at(wide.value.hi)
    x = Value(wide.value.name, (1,), lo, hi)
    offsets = at(narrow.a) * rationals(y) + at(real.b)
    own = replace(steps, t=at(steps.t))
    column = Real((Term(x, at(wide.a)),), offsets, at(real.lo), at(real.hi), real.layout)
    return _Table(level_table(column, own), y, int(lo[0]), int(hi[0]))


def _split(table: _Table, m: int, n: int) -> tuple[IntArray, IntArray] | None:
    """(low, high): per step the admissible levels of m x + n y, or None when some sums are on the wrong side."""
    y = n * table.y[:, None]
    reached, missed = table.x <= table.hi, table.x > table.lo
    least = m * table.lo + int(y.min())
    most = m * table.hi + int(y.max())
    high = np.where(reached, m * table.x + y, most + 1).min(axis=0)
    low = np.where(missed, m * (table.x - 1) + y, least - 1).max(axis=0) + 1
    return (low, high) if (low <= high).all() else None


def add_scaled(ctx: Context, x: Value, y: Value, m: IntArray, n: IntArray, origin: str) -> Value:
    """m x + n y, with one multiplication where a multiplier is not 1."""
    return add_values(ctx, _times(ctx, x, m, origin), _times(ctx, y, n, origin), origin, "add")


def _times(ctx: Context, x: Value, m: IntArray, origin: str) -> Value:
    if (m == 1).all():
        return x
    bounds = x.lo * m, x.hi * m
    out = IntType.smallest(int(bounds[0].min()), int(bounds[1].max()))
    consts = {"multiplier": m, "shift": np.array([0])}
    op = Requant(out, Rounding.HALF_UP)
    return ctx.builder.emit(op, [x], origin, x.shape, bounds, helper="scale", consts=consts, dtype=out)
