"""From an exact real to integers: everything between two quantisers becomes one Threshold or one Requant."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

import numpy as np
from numpy.typing import NDArray

from codesign.frontend.draft import Builder, Value
from codesign.frontend.problems import Refusal
from codesign.frontend.rational import INF, Rationals
from codesign.frontend.real import Real, Term
from codesign.frontend.requant import Fit, fit_requant
from codesign.ir.ops import Conv2d, Threshold
from codesign.ir.types import IntArray, IntType, Quant

# Above this width a level table is no longer sensible hardware; the result must then be a Requant.
MAX_TABLE_BITS = 8
MAX_BITS = 16
# Integers below this are computed in int64.
_WORD = 1 << 62
# Factors above this have the full precision of float64.
_LEAST = Fraction(1, 1 << 900)


@dataclass(frozen=True, eq=False)
class Steps:
    """A quantiser: q = start + dtype.step * #{k : u reaches t[k]}, meaning the real number a * q + b.

    t       (1, L) or (C, L), non-decreasing: u reaches t[k] when u >= t[k], or u > t[k] where strict
    strict  (L,) bool
    dtype   the type of q; start its value below the first step
    a, b    rational, (1,) or (C,)
    zero    the integer offset of q that a Requant should add
    """

    t: Rationals
    strict: NDArray[np.bool_]
    dtype: IntType
    start: int
    a: Rationals
    b: Rationals
    zero: int = 0

    @property
    def quant(self) -> Quant:
        """The meaning of q as metadata."""
        return meaning(self.a, self.b)


def meaning(a: Rationals, b: Rationals) -> Quant:
    """real = a * q + b as (q - zero_point) * scale."""
    rows = max(a.size, b.size)
    a, b = np.broadcast_to(a, rows), np.broadcast_to(b, rows)
    zeros = tuple(float(-y / x) for x, y in zip(a, b, strict=True))
    scales = tuple(float(x) for x in a)
    if len(set(scales)) == 1:
        scales = scales[:1]
    if len(set(zeros)) == 1:
        zeros = zeros[:1]
    return Quant(scales, zeros, None if len(scales) == len(zeros) == 1 else -1)


def orient(builder: Builder, real: Real, origin: str) -> Real:
    """The same with no factor below zero: the integers of decreasing channels change their sign.

    The producer's weights and bias are negated where that is allowed, else a 1x1 depthwise convolution does it.
    """
    terms = []
    for term in real.terms:
        negative = term.a < 0
        if not negative.any():
            terms.append(term)
            continue
        value = term.value
        channels = np.broadcast_to(negative.astype(bool), value.channels)
        if value.adjustable:
            value.negate(channels)
        else:
            value = scale_channels(builder, value, np.where(channels, -1, 1), None, origin, "negate")
        terms.append(Term(value, np.abs(term.a)))
    return Real(tuple(terms), real.b, real.lo, real.hi, real.layout)


def scale_channels(
    builder: Builder, value: Value, factors: IntArray, bias: IntArray | None, origin: str, helper: str
) -> Value:
    """factors * value + bias per channel, as a 1x1 depthwise convolution; any shape, kept."""
    shape, channels = value.shape, value.channels
    image = builder.reshape(value, (1, 1, channels) if len(shape) != 3 else shape, origin)
    ends = image.lo * factors, image.hi * factors
    bounds = np.minimum(*ends), np.maximum(*ends)
    scaled = builder.emit_linear(
        Conv2d(groups=channels), image, factors.reshape(-1, 1, 1, 1), origin, image.shape, bounds, helper=helper
    )
    if bias is not None:
        scaled.add_bias(bias)
    return builder.reshape(scaled, shape, origin)


def level_table(real: Real, steps: Steps) -> IntArray:
    """T[c, k]: the smallest integer q in the reachable range with clip(a * q + b) reaching step k; (1, L) or (C, L).

    Where every q reaches it T is the least q; where none does, one above the greatest. Factors must not be negative.
    """
    term = real.only
    rows = max(r.shape[0] for r in (steps.t, term.a, real.b, real.lo, real.hi, term.value.lo))
    levels = np.empty((rows, steps.t.shape[1]), dtype=np.int64)
    a, b, lo, hi = (np.broadcast_to(r, rows) for r in (term.a, real.b, real.lo, real.hi))
    least, most = (np.broadcast_to(r, rows) for r in (term.value.lo, term.value.hi))
    points = [_Points.of(row) for row in steps.t]
    for c in range(rows):
        t = steps.t[c if len(points) > 1 else 0]
        row = _level_row(points[c if len(points) > 1 else 0], steps.strict, a[c], b[c], int(least[c]), int(most[c]))
        if lo[c] != -INF:
            row[: reached(lo[c], t, steps.strict)] = least[c]
        if hi[c] != INF:
            row[reached(hi[c], t, steps.strict) :] = most[c] + 1
        levels[c] = row
    return levels


@dataclass(frozen=True, eq=False)
class _Points:
    """One row of t: numerators over one denominator (as int64 too where they fit), and rounded to float64."""

    numerators: list[int]
    denominator: int
    largest: int
    words: IntArray | None
    rounded: NDArray[np.float64]

    @classmethod
    def of(cls, row: Rationals) -> _Points:
        denominator = lcm(*(f.denominator for f in row))
        numerators = [f.numerator * (denominator // f.denominator) for f in row]
        largest = max((abs(n) for n in numerators), default=0)
        words = np.array(numerators, dtype=np.int64) if largest < _WORD else None
        return cls(numerators, denominator, largest, words, np.array([_rounded(f) for f in row], dtype=np.float64))


def _rounded(value: Fraction) -> float:
    return float(value) if abs(value) < 1 << 1000 else float("inf")


def _level_row(t: _Points, strict: NDArray[np.bool_], a: Fraction, b: Fraction, least: int, most: int) -> IntArray:
    """ceil((t - b) / a), or floor + 1 where strict, limited to least … most + 1; a is not negative."""
    if a == 0:
        limit = b * t.denominator
        by = [limit > n or (limit == n and not s) for n, s in zip(t.numerators, strict.tolist(), strict=True)]
        return np.where(np.array(by, dtype=bool), least, most + 1).astype(np.int64)
    scale, offset = b.denominator * a.denominator, b.numerator * t.denominator * a.denominator
    divisor = t.denominator * b.denominator * a.numerator
    common = gcd(scale, offset, divisor)
    scale, offset, divisor = scale // common, offset // common, divisor // common
    if t.words is not None and t.largest * scale + abs(offset) < _WORD and divisor < _WORD:
        n = t.words * scale - offset
        row: IntArray = np.clip(np.where(strict, n // divisor + 1, -(-n // divisor)), least, most + 1)
        return row
    with np.errstate(all="ignore"):
        gain = np.float64(_rounded(a) if a > _LEAST else 0)
        ratio = (t.rounded - _rounded(b)) / gain
        # Six roundings, each by at most 2^-53 of a number no larger than this; farther from an integer ceil is exact.
        error = (np.abs(t.rounded) + abs(_rounded(b))) / gain * 2.0**-49
        clear = np.abs(ratio - np.rint(ratio)) > error
    row = np.clip(np.ceil(np.where(clear, ratio, 0)), least, most + 1).astype(np.int64)
    for k in np.flatnonzero(~clear):
        n, s = t.numerators[k] * scale - offset, bool(strict[k])
        row[k] = min(max(n // divisor + 1 if s else -(-n // divisor), least), most + 1)
    return row


def reached(u: Fraction, t: Rationals, strict: NDArray[np.bool_]) -> int:
    """How many steps the real number u reaches; t is sorted."""
    count = bisect_left(t, u)
    while count < len(t) and t[count] == u and not strict[count]:
        count += 1
    return count


def quantise(builder: Builder, real: Real, steps: Steps, origin: str) -> Real:
    """The integers of a quantiser applied to an exact real: a Requant where one is proved equal, else a Threshold.

    Raises Refusal when the result is wider than a table may be and no Requant fits.
    """
    real = orient(builder, real, origin)
    levels = level_table(real, steps)
    result = emit_levels(builder, real.value, Levels(levels, levels), steps, _offsets(real, len(levels)), origin)
    return Real.of(result, steps.a, steps.b, real.layout)


@dataclass(frozen=True, eq=False)
class Levels:
    """A level table with room: any table between `low` and `high` (R, L), both included, is right.

    Entries lie in the reachable range lo … hi of the input or, where never reached, are hi + 1.
    """

    low: IntArray
    high: IntArray


def emit_levels(
    builder: Builder, value: Value, levels: Levels, steps: Steps, offsets: Sequence[IntArray], origin: str
) -> Value:
    """The quantiser with these levels: nothing where it changes nothing, a Requant where one fits, else a Threshold.

    offsets  integer biases (R,) that the producer of `value` can take, to try for the Requant
    """
    out, rows = steps.dtype, len(levels.high)
    least, most = np.broadcast_to(value.lo, rows), np.broadcast_to(value.hi, rows)
    bounds = _image(levels.high, least, most, steps)
    if _is_identity(value, levels.high, least, most, steps):
        return value
    low, high = (_filled(table, least, most, steps) for table in (levels.low, levels.high))
    fit = fit_requant(low, high, out, steps.zero, least, most, offsets) if out.bits <= MAX_BITS else None
    if fit is not None:
        return _emit_requant(builder, value, fit, steps, bounds, origin)
    if out.bits > MAX_TABLE_BITS:
        found = f"a quantiser to {out.bits} bits that no multiplier and shift reproduce exactly"
        allowed = f"up to {MAX_TABLE_BITS} bits, or scales in a ratio of a power of two"
        raise Refusal(found, allowed, "a quantised bias, or a narrower activation")
    used = (steps.start - out.lo) // out.step + levels.high.shape[1]
    return builder.emit(
        Threshold(out),
        [value],
        origin,
        value.shape,
        bounds,
        suffix="threshold",
        consts={"levels": _unique_rows(high[:, :used])},
        dtype=out,
        quant=steps.quant,
    )


def _emit_requant(
    builder: Builder, value: Value, fit: Fit, steps: Steps, bounds: tuple[IntArray, IntArray], origin: str
) -> Value:
    if fit.bias.any():
        value.add_bias(fit.bias if fit.bias.size > 1 else np.repeat(fit.bias, value.channels))
    return builder.emit(
        fit.op,
        [value],
        origin,
        value.shape,
        bounds,
        suffix="requant",
        consts={"multiplier": fit.multiplier, "shift": fit.shift},
        dtype=fit.op.out,
        quant=steps.quant,
    )


def _offsets(real: Real, rows: int) -> list[IntArray]:
    """The integer biases to try: b / a, or its neighbours; only 0 when the producer cannot take a bias."""
    term = real.only
    a, b = np.broadcast_to(term.a, rows), np.broadcast_to(real.b, rows)
    if not term.value.adjustable:
        return [np.zeros(rows, dtype=np.int64)]
    ratios = [y / x if x != 0 else Fraction(0) for x, y in zip(a, b, strict=True)]
    if any(abs(r) > 1 << 31 for r in ratios):
        return []
    nearest = [round(r) for r in ratios]
    other = [n if n == r else n + (1 if r > n else -1) for n, r in zip(nearest, ratios, strict=True)]
    return [np.array(nearest, dtype=np.int64), np.array(other, dtype=np.int64)]


def _filled(levels: IntArray, least: IntArray, most: IntArray, steps: Steps) -> IntArray:
    """The table for all of the output type: levels below `start` always reached, those above the last step never."""
    out = steps.dtype
    below = (steps.start - out.lo) // out.step
    above = out.count - 1 - below - levels.shape[1]
    parts = [np.repeat(least[:, None], below, axis=1), levels, np.repeat(most[:, None] + 1, above, axis=1)]
    return np.concatenate(parts, axis=1)


def _unique_rows(levels: IntArray) -> IntArray:
    """(1, L) when all channels have the same levels."""
    return levels[:1] if (levels == levels[:1]).all() else levels


def _image(levels: IntArray, least: IntArray, most: IntArray, steps: Steps) -> tuple[IntArray, IntArray]:
    """The least and greatest result that occur, per row."""
    step = steps.dtype.step
    low = steps.start + step * (levels <= least[:, None]).sum(axis=1)
    high = steps.start + step * (levels <= most[:, None]).sum(axis=1)
    return low.astype(np.int64), high.astype(np.int64)


def _is_identity(value: Value, levels: IntArray, least: IntArray, most: IntArray, steps: Steps) -> bool:
    """Whether the quantiser gives back every integer that occurs, in a type that is no narrower than the value's."""
    out = steps.dtype
    if value.dtype is None or value.dtype.bits > out.bits or value.dtype.bipolar != out.bipolar:
        return False
    if out.bipolar:
        return bool(((levels > least[:, None]) & (levels <= most[:, None])).all() and (most - least == 2).all())
    inside = (least >= steps.start).all() and (most <= steps.start + levels.shape[1]).all()
    same = np.clip(np.arange(levels.shape[1]) + steps.start + 1, least[:, None], most[:, None] + 1)
    return bool(inside and (levels == same).all())
