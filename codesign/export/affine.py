"""Levels of a sum, and the lines that run between them: what a kernel's multiplier and offset can be.

A kernel multiplies a sum A and rounds, once or twice. It reaches result j at every A from at[j] on, and not below, when
the line w*h - b runs between the points (h, at[j] - 1) and (h, at[j]), h being j - 1/2 or where its roundings move that
to: w = 1 / multiplier is the distance of two levels, b the offset of the sum. Lines are found in floating point; what
they are rounded to is proved in integers by whoever asks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.ir.types import IntArray

_SEARCH_STEPS = 80  # of a ternary search: the bracket shrinks by (2/3)^80, below the resolution of float64

Reals = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Levels:
    """What a kernel has to compute: q >= targets[i] exactly when A >= at[c, i]; A runs from lo[c] to hi[c].

    A target at or below `low` is always reached, one above `high` never: the kernel's clamp sees to these.
    """

    at: IntArray
    targets: IntArray
    lo: IntArray
    hi: IntArray
    low: int
    high: int

    def reached(self, rows: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """(rows, L): the least A that has to reach each target; and where there is one, which is left to no clamp."""
        at, lo, hi = self.at[rows], self.lo[rows, None], self.hi[rows, None]
        # A level that every sum reaches must still be reached by the smallest.
        return np.maximum(at, lo), (at <= hi) & (self.targets > self.low)

    def missed(self, rows: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """(rows, L): the largest A that must not reach each target; and where there is one."""
        at, lo, hi = self.at[rows], self.lo[rows, None], self.hi[rows, None]
        return np.minimum(at - 1, hi), (at > lo) & (self.targets <= self.high)

    def changing(self) -> tuple[IntArray, IntArray]:
        """(C,) and (C,): the ends of the sums between which results change; beyond, they are those of the ends."""
        inside = (self.at > self.lo[:, None]) & (self.at <= self.hi[:, None])
        first = np.where(inside, self.at - 1, self.hi[:, None]).min(axis=1)
        return first, np.where(inside, self.at, first[:, None]).max(axis=1)


@dataclass(frozen=True, eq=False)
class Bounds:
    """The points that lines have to pass, all (C, L): not above `above`, strictly above `below`; infinite: no point."""

    h: Reals
    above: Reals
    below: Reals

    @classmethod
    def of(cls, levels: Levels, rows: IntArray, zero_point: int, moved: Reals) -> Bounds:
        (least, above), (most, below) = levels.reached(rows), levels.missed(rows)
        j = levels.targets - zero_point
        h = j - 0.5 + np.where(j > 0, -1.0, 1.0) * moved[:, None]
        return cls(h, np.where(above, least, np.inf), np.where(below, most, -np.inf))

    def offsets(self, omega: Reals) -> tuple[Reals, Reals]:
        """The b between which w*h - b passes all points, for the slopes w (C,): low <= b <= high where there is one."""
        line = omega[:, None] * self.h
        return (line - self.above).max(axis=1), (line - self.below).min(axis=1)

    def slope(self, b: Reals, fallback: Reals) -> Reals:
        """The middle of the slopes w > 0 for which w*h - b passes all points; `fallback` where there is none."""
        above, below = self.above + b[:, None], self.below + b[:, None]
        positive = self.h > 0
        least = np.where(positive, below, above) / self.h
        most = np.where(positive, above, below) / self.h
        with np.errstate(invalid="ignore"):
            low = np.where(np.isnan(least), -np.inf, least).max(axis=1)
            high = np.where(np.isnan(most), np.inf, most).min(axis=1)
            middle = (np.maximum(low, 0) + high) / 2
        usable = np.isfinite(middle) & (low <= high) & (middle > 0)
        one_sided = np.isinf(high) & (low > 0)
        return np.where(usable, middle, np.where(one_sided, 2 * low, fallback))


def best_slope(bounds: Bounds) -> Reals:
    """The slope w (C,) with the most room for b: the room is concave in w, so a ternary search finds it."""
    finite = np.where(
        np.isfinite(bounds.above), bounds.above, np.where(np.isfinite(bounds.below), bounds.below, np.nan)
    )
    with np.errstate(all="ignore"):
        span = np.nanmax(finite, axis=1, initial=-np.inf) - np.nanmin(finite, axis=1, initial=np.inf)
    span = np.where(np.isfinite(span), span, 0)
    low = np.full(span.shape, 1e-6)
    high = span + 2  # between two neighbouring targets there can be all sums, not more
    for _ in range(_SEARCH_STEPS):
        third = (high - low) / 3
        first, second = low + third, high - third
        better = room(bounds, first) <= room(bounds, second)  # a long distance, where it does not matter
        low, high = np.where(better, first, low), np.where(better, high, second)
    return np.where(np.isinf(room(bounds, np.ones(low.shape))), 1.0, (low + high) / 2)


def room(bounds: Bounds, omega: Reals) -> Reals:
    """How far apart the offsets of lines with the slopes w (C,) are; below zero where there is none."""
    low, high = bounds.offsets(omega)
    with np.errstate(invalid="ignore"):
        between = high - low
    return np.where(np.isnan(between), np.inf, between)


def centre(low: Reals, high: Reals) -> Reals:
    """The middle of low and high; next to the one that is finite where the other is not."""
    low, high = np.where(np.isinf(low), high - 1, low), np.where(np.isinf(high), low + 1, high)
    with np.errstate(invalid="ignore"):
        middle = (low + high) / 2
    return np.where(np.isfinite(middle), middle, 0)
