"""The smallest multiplier and shift that reproduce a level table exactly.

A Requant turns the integer v = x + beta into clamp(round(v * m / 2^s) + z). It equals the level table T when for every
level k with j = k - z, and every x that occurs,

    round(v * m / 2^s) >= j   exactly when   x >= T[k]

(T[k] may have room: anything from low[k] to high[k] is right.) round being monotone, it is enough that the left side
holds at x = high[k] and does not hold at x = low[k] - 1. Each is one linear inequality in
M = m / 2^s: v * M >= j - 1/2 at the former, v * M < j - 1/2 at the latter (a tie counts as the rounding mode decides).
So the admissible M of a channel form an interval, and m / 2^s is the dyadic number in it with the fewest bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from codesign.ir.ops import Requant, Rounding
from codesign.ir.ops.rescale import thresholds_of_requant
from codesign.ir.types import IntArray, IntType

_MAX_MULTIPLIER = (1 << 31) - 1
_MAX_SHIFT = 62
_MAX_PRODUCT = 1 << 62
# Ratios of integers below these compare exactly in float64: two that differ do so by more than one part in 2^52.
_MAX_LEVEL, _MAX_VALUE = 1 << 17, 1 << 33


@dataclass(frozen=True)
class Interval:
    """The numbers between low and high; an end belongs to it unless it is open. high None: no upper end."""

    low: Fraction
    low_open: bool
    high: Fraction | None
    high_open: bool

    def __and__(self, other: Interval) -> Interval:
        low = max((self.low, self.low_open), (other.low, other.low_open))
        if self.high is None or other.high is None:
            high, high_open = (other.high, other.high_open) if self.high is None else (self.high, self.high_open)
        else:
            high, closed = min((self.high, not self.high_open), (other.high, not other.high_open))
            high_open = not closed
        return Interval(low[0], low[1], high, high_open)

    def dyadic(self) -> tuple[int, int] | None:
        """(m, s) with m / 2^s inside and the smallest s, so the smallest m; None when no word is long enough."""
        if self.high is not None and (
            self.high < self.low or (self.high == self.low and (self.low_open or self.high_open))
        ):
            return None
        for shift in range(_MAX_SHIFT + 1):
            scaled = self.low * (1 << shift)
            m = scaled.numerator // scaled.denominator
            if m < scaled or self.low_open:
                m += 1
            if m > _MAX_MULTIPLIER:
                return None
            value = Fraction(m, 1 << shift)
            if self.high is None or value < self.high or (value == self.high and not self.high_open):
                return m, shift
        return None


@dataclass(frozen=True)
class Fit:
    """A Requant that was proved equal: its operator, multiplier and shift (1,) or (C,), bias (C,) or (1,)."""

    op: Requant
    multiplier: IntArray
    shift: IntArray
    bias: IntArray

    @property
    def cost(self) -> tuple[int, int, bool]:
        """What to minimise: constants, bits of the multiplier, the extra logic of ties to even."""
        return self.multiplier.size, int(self.multiplier.max()).bit_length(), self.op.rounding is Rounding.HALF_EVEN


def fit_requant(
    low: IntArray,
    high: IntArray,
    out: IntType,
    zero_point: int,
    lo: IntArray,
    hi: IntArray,
    biases: Sequence[IntArray],
    roundings: Sequence[Rounding] = (Rounding.HALF_UP, Rounding.HALF_EVEN),
) -> Fit | None:
    """The cheapest Requant on lo … hi whose level table lies between `low` and `high`, or None when there is none.

    low, high  (R, out.count - 1), each within lo … hi + 1: lo is always reached, hi + 1 never
    lo, hi   (R,) the range of the input
    biases   integer offsets (R,) to try, the likeliest first
    roundings  those to try: any but TFLITE_DOUBLE
    """
    if out.bipolar or not biases:
        return None
    found = []
    for rounding in roundings:
        rows = _rows(low, high, out, zero_point, lo, hi, biases, rounding)
        if rows is None:
            continue
        beta = np.array([b for b, _ in rows], dtype=np.int64)
        whole = rows[0][1]
        for _, interval in rows[1:]:
            whole = whole & interval
        common = whole.dyadic()
        pairs = [common] if common else [interval.dyadic() for _, interval in rows]
        if any(p is None for p in pairs):
            continue
        multiplier = np.array([p[0] for p in pairs if p], dtype=np.int64)
        shift = np.array([p[1] for p in pairs if p], dtype=np.int64)
        if len(set(shift.tolist())) == 1:
            shift = shift[:1]
        fit = Fit(Requant(out, rounding, zero_point), multiplier, shift, beta)
        if _is_equal(fit, low, high, lo, hi):
            found.append(fit)
    return min(found, key=lambda f: f.cost) if found else None


def _rows(
    low: IntArray,
    high: IntArray,
    out: IntType,
    zero_point: int,
    lo: IntArray,
    hi: IntArray,
    biases: Sequence[IntArray],
    rounding: Rounding,
) -> list[tuple[int, Interval]] | None:
    """For each row the first offset with admissible multipliers, and these; None when a row has none."""
    result = []
    j = np.arange(out.lo + 1, out.hi + 1) - zero_point
    if int(np.abs(2 * j).max()) >= _MAX_LEVEL:
        return None
    for row in range(high.shape[0]):
        for bias in biases:
            interval = _admissible(low[row], high[row], j, int(lo[row]), int(hi[row]), int(bias[row]), rounding)
            if interval is not None and interval.dyadic() is not None:
                result.append((int(bias[row]), interval))
                break
        else:
            return None
    return result


def _admissible(
    low_levels: IntArray, levels: IntArray, j: IntArray, lo: int, hi: int, beta: int, rounding: Rounding
) -> Interval | None:
    """The M for which round(M * (x + beta)) reaches j for x >= levels, but not for x < low_levels; one row, or None."""
    # Rounding half up, a tie reaches j; half to even, it does so only for even j.
    tie_up = np.full(j.shape, True) if rounding is Rounding.HALF_UP else j % 2 == 0
    half = 2 * j - 1  # (j - 1/2) * 2: odd, so never 0
    reached, missed = levels <= hi, low_levels > lo
    # v * M >= half / 2 at the level, v * M < half / 2 just below it; v is doubled instead of halving the other side.
    at, below = 2 * (levels + beta), 2 * (low_levels - 1 + beta)
    if max(abs(2 * (lo + beta)), abs(2 * (hi + beta))) >= _MAX_VALUE:
        return None
    if (half[reached & (at == 0)] > 0).any() or (half[missed & (below == 0)] < 0).any():
        return None
    use_at, use_below = reached & (at != 0), missed & (below != 0)
    value = np.concatenate([at[use_at], below[use_below]])
    target = np.concatenate([half[use_at], half[use_below]])
    is_at = np.concatenate([np.full(int(use_at.sum()), True), np.full(int(use_below.sum()), False)])
    tie = np.concatenate([tie_up[use_at], tie_up[use_below]])
    # At the level a tie must be admitted, below it must not be: with ties that go down it is the other way round.
    is_open = np.where(is_at, ~tie, tie)
    is_lower = (value > 0) == is_at
    low, low_open = _extreme(target, value, is_open, is_lower, largest=True)
    high, high_open = _extreme(target, value, is_open, ~is_lower, largest=False)
    if low is None or low <= 0:
        low, low_open = Fraction(0), True
    return Interval(low, low_open, high, high_open)


def _extreme(
    target: IntArray, value: IntArray, is_open: IntArray, use: IntArray, *, largest: bool
) -> tuple[Fraction | None, bool]:
    """The tightest of the bounds target / value among `use`, and whether it is open."""
    target, value, is_open = target[use], value[use], is_open[use]
    if target.size == 0:
        return None, False
    ratio = target / value
    best = ratio.max() if largest else ratio.min()
    chosen = np.flatnonzero(ratio == best)
    return Fraction(int(target[chosen[0]]), int(value[chosen[0]])), bool(is_open[chosen].any())


def _is_equal(fit: Fit, low: IntArray, high: IntArray, lo: IntArray, hi: IntArray) -> bool:
    """The proof: the Requant's own level table, found by bisection on the operator, is an admissible one."""
    least, most = int((lo + fit.bias).min()), int((hi + fit.bias).max())
    if max(abs(least), abs(most)) * int(fit.multiplier.max()) >= _MAX_PRODUCT:
        return False
    try:
        x = IntType.smallest(least, most)
    except ValueError:
        return False
    table = thresholds_of_requant(fit.op, x, fit.multiplier, fit.shift) - fit.bias[:, None]
    table = np.clip(table, lo[:, None], hi[:, None] + 1)
    return bool(((low <= table) & (table <= high)).all())
