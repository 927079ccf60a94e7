"""Rescalings as one multiply-add in single precision, exact for every value.

A step function of an integer, y = #{k : x >= T_k} for x from lo to hi, becomes clamp(trunc(m * float32(x) + b), 0, n).
Conversion, product, sum and truncation never decrease, whatever they round, so that the two are equal everywhere if
they are at both sides of every T_k: there the expression is evaluated, with the product rounded and with the product
and the sum rounded at once, as compilers may. Coefficients are searched around those that leave the most room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from codesign.ir.types import IntArray, RealArray

SEARCH_STEPS = 48  # thirds of an interval of 1/32: to the last bit of a double
NEIGHBOURS = 12  # multipliers above and below the best slope that are tried
PATIENCE = 64  # multipliers times rows without an offset after which the search ends, beyond twice the rows
PLACES = (0.5, 0.25, 0.75, 0.0, 1.0)  # of the offset within its room
_LARGEST = 2.0**30  # what lies outside the levels must still fit the conversion to int32

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Affine:
    """y = out.lo + clamp(trunc(multiplier[c] * float32(x) + offset[c]), 0, out.count - 1); step 1.

    below, pivot  where x < pivot[c], below[c] takes the place of offset[c]; None: everywhere is one line. The
                  difference of the two is exact in single precision
    Exact with one rounding (fused) or two; trunc is the conversion to int32, rounding towards zero.
    """

    multiplier: Floats
    offset: Floats
    below: Floats | None = None
    pivot: NDArray[np.int32] | None = None


@dataclass(frozen=True, eq=False)
class Points:
    """What decides, per row: the index is at least k at `at`, less than under_k at `under`; asked: where that is so."""

    at: IntArray
    k: IntArray
    asked: Mask
    under: IntArray
    under_k: IntArray
    under_asked: Mask

    @classmethod
    def of(cls, levels: IntArray, lo: IntArray, hi: IntArray) -> Points:
        """Both sides of every level (rows, n) that is within lo … hi (rows, 1)."""
        at = np.clip(levels, lo, hi + 1)
        k = np.broadcast_to(np.arange(1, levels.shape[1] + 1)[None, :], at.shape)
        return cls(at, k, at <= hi, at - 1, k, at > lo)

    def within(self, lo: IntArray, hi: IntArray) -> Points:
        """The same function on lo … hi (rows, 1) alone: what is asked there, and at its two ends."""
        n = self.k.shape[1]
        start, end = (np.sum(self.asked & (self.at <= place), axis=1, keepdims=True) for place in (lo, hi))
        filled = lo <= hi
        return Points(
            np.concatenate([self.at, lo], axis=1),
            np.concatenate([self.k, start], axis=1),
            np.concatenate([self.asked & (self.at >= lo) & (self.at <= hi), (start > 0) & filled], axis=1),
            np.concatenate([self.under, hi], axis=1),
            np.concatenate([self.under_k, end + 1], axis=1),
            np.concatenate([self.under_asked & (self.under >= lo) & (self.under <= hi), (end < n) & filled], axis=1),
        )

    def rows(self, chosen: IntArray) -> Points:
        """Some of the rows."""
        return Points(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def room(self, slope: RealArray) -> tuple[RealArray, RealArray]:
        """The offsets between which slope * x + offset does what is asked, without any rounding; per row."""
        least = np.where(self.asked, self.k - slope * self.at, -np.inf).max(axis=1, keepdims=True)
        most = np.where(self.under_asked, self.under_k - slope * self.under, np.inf).min(axis=1, keepdims=True)
        least = np.where(np.isinf(least), np.where(np.isinf(most), 0.0, most - 1.0), least)
        return least, np.where(np.isinf(most), least + 1.0, most)

    def hold(self, multiplier: Floats, offset: Floats) -> Mask:
        """For which rows the expression does what is asked, however it is rounded."""
        ok = np.ones(len(self.at), dtype=np.bool_)
        for fused in (False, True):
            reached = multiply_add(multiplier, self.at, offset, fused) >= self.k
            missed = multiply_add(multiplier, self.under, offset, fused) < self.under_k
            ok &= ((reached | ~self.asked) & (missed | ~self.under_asked)).all(axis=1)
        return ok

    def offsets(self, multiplier: Floats) -> tuple[Floats, Mask]:
        """An offset for each row, and where it holds."""
        least, most = self.room(multiplier.astype(np.float64))
        best, held = least.astype(np.float32), np.zeros(len(least), dtype=np.bool_)
        for place in PLACES:
            offset = (least + place * (most - least)).astype(np.float32)
            ok = self.hold(multiplier, offset) & ~held
            best[ok], held = offset[ok], held | ok
            if held.all():
                break
        return best, held


def multiply_add(m: Floats, x: IntArray, b: Floats, fused: bool) -> Floats:
    """float32(x) * m + b in single precision, fused: rounded once; see `_sums_are_exact` for what that takes."""
    exact: RealArray = x.astype(np.float32).astype(np.float64) * m.astype(np.float64)
    term = exact if fused else exact.astype(np.float32).astype(np.float64)
    return (term + b.astype(np.float64)).astype(np.float32)


def _sums_are_exact(m: Floats, largest: RealArray, b: Floats) -> Mask:
    """Whether doubles hold the sums before their only rounding: less than 2^53 units of the product's last place."""
    magnitude = np.maximum(np.abs(m.astype(np.float64)) * largest, np.abs(b.astype(np.float64))) * 2
    return np.asarray((m == 0) | (magnitude < np.spacing(np.abs(m)).astype(np.float64) * 2.0**53))


def affine(levels: IntArray, lo: IntArray, hi: IntArray, pivot: IntArray | None = None) -> Affine | None:
    """Coefficients for levels (rows, n) of an x from lo to hi (rows, 1); None: none were found for some row.

    pivot  (rows, 1): with another offset below it
    """
    whole = Points.of(levels, lo, hi)
    if pivot is None:
        parts = [whole]
    else:
        pivot = np.broadcast_to(pivot, lo.shape)
        parts = [whole.within(np.maximum(lo, pivot), hi), whole.within(lo, np.minimum(hi, pivot - 1))]
    nearest = best_slope(whole, parts).astype(np.float32)
    multiplier, offsets = nearest.copy(), [np.zeros_like(nearest) for _ in parts]
    largest = np.maximum(np.abs(lo), np.abs(hi)).astype(np.float64)
    missing = np.arange(len(nearest))
    for tried, distance in enumerate(sorted(range(-NEIGHBOURS, NEIGHBOURS + 1), key=abs)):
        if missing.size * tried > 2 * len(nearest) + PATIENCE:
            return None
        candidate = nearest[missing]
        for _ in range(abs(distance)):
            candidate = np.nextafter(candidate, np.float32(np.copysign(np.inf, distance)))
        ok = (candidate >= 0)[:, 0]
        for part, offset in zip(parts, offsets, strict=True):
            found, held = part.rows(missing).offsets(candidate)
            extremes = np.abs(candidate.astype(np.float64)) * largest[missing] + np.abs(found)
            ok &= held & (extremes < _LARGEST)[:, 0] & _sums_are_exact(candidate, largest[missing], found)[:, 0]
            offset[missing] = found
        multiplier[missing] = candidate
        missing = missing[~ok]
        if not missing.size:
            break
    if missing.size:
        return None
    above, *below = (offset[:, 0] for offset in offsets)
    if not below:
        return Affine(multiplier[:, 0], above)
    assert pivot is not None
    if (above + (below[0] - above) != below[0]).any():
        return None
    return Affine(multiplier[:, 0], above, below[0], np.clip(pivot[:, 0], -(1 << 31), (1 << 31) - 1).astype(np.int32))


def best_slope(whole: Points, parts: Sequence[Points]) -> RealArray:
    """The slope that leaves the offsets the most room, per row (rows, 1)."""
    inside = whole.asked & whole.under_asked
    some, last = inside.any(axis=1, keepdims=True), inside.shape[1] - 1
    ends = [inside.argmax(axis=1)[:, None], last - inside[:, ::-1].argmax(axis=1)[:, None]]
    run = np.subtract(*[np.take_along_axis(whole.at, end, axis=1) for end in ends[::-1]])
    # All levels at one value: a slope that takes them all between two neighbours.
    jump = ends[1] - ends[0] + 1.0
    slope = np.where(some, np.where(run > 0, (ends[1] - ends[0]) / np.maximum(run, 1), jump), 0.0)

    def width(slope: RealArray) -> RealArray:  # concave
        return np.asarray(np.min([np.subtract(*part.room(slope)[::-1]) for part in parts], axis=0))

    low, high = slope * (1 - 2.0**-6), slope * (1 + 2.0**-6)
    for _ in range(SEARCH_STEPS):
        left, right = (2 * low + high) / 3, (low + 2 * high) / 3
        better = width(left) < width(right)
        low, high = np.where(better, left, low), np.where(better, high, right)
    return np.asarray((low + high) / 2)
