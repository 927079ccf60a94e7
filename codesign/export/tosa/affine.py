"""Multipliers and offsets with which RESCALE computes a function that is given by its levels, proved in integers.

RESCALE rounds half up, once, and has a multiplier of 31 bits and a shift per channel. Of a sum A there are two forms:

    Folded       clamp(round((k*A + B) * m / 2^s))                  k in the weights, B in the bias of a convolution
    FixedPoint   clamp(round((round(A * m / 2^s) + B) / 2^f))       A in steps of 2^-f of the result, as is B

For given m and s a result j is reached from a least value of k*A + B, or of round(A * m / 2^s) + B, on, so that both
sides of every level bound B: the proof is that all these bounds leave an integer. Where to look for m and s is what the
line through the levels says (codesign/export/affine.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from codesign.export.affine import Bounds, Levels, Reals, best_slope, centre, room
from codesign.ir.ops import Rounding
from codesign.ir.ops.rescale import round_shift
from codesign.ir.types import IntArray

_END = 1 << 31  # of 32-bit integers
_LEAST_SHIFT, _MOST_SHIFT = 2, 52  # twice a result of 9 bits, times 2^shift, stays below 2^62
_LEAST_FRACTION = 2  # so that a RESCALE takes all of 32 bits
_FRACTIONS = 4  # that are tried: a RESCALE takes fewer bits than a MUL
_NO_BOUND = 1 << 61
_TOLERANCE = 2.0**-10  # of lines in floating point, in steps of the sum
_SAME = 2.0**-20  # the part by which equal distances differ in floating point
_NEAR = (0, 1, -1, 2, -2)  # multipliers that are tried, too: each rounds the levels otherwise

Proof = tuple[IntArray, NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Folded:
    """clamp(round((factor * A + bias) * multiplier / 2^shift)), all (C,).

    least, most  the range of factor * A + bias
    """

    factor: IntArray
    bias: IntArray
    multiplier: IntArray
    shift: IntArray
    least: IntArray
    most: IntArray


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """clamp(round((round(A * multiplier / 2^shift) + bias) / 2^fraction)), all but the fraction (C,).

    least, most  the range of what is divided by 2^fraction
    """

    multiplier: IntArray
    shift: IntArray
    bias: IntArray
    fraction: int
    least: IntArray
    most: IntArray

    @property
    def is_uniform(self) -> bool:
        """Whether all channels have one multiplier and shift."""
        return bool((self.multiplier == self.multiplier[0]).all() and (self.shift == self.shift[0]).all())


class Lines:
    """The lines through the levels of every channel, and the numbers to which they can be rounded.

    The targets are results as RESCALE rounds them: of at most 9 bits, before any zero point.
    """

    def __init__(self, levels: Levels) -> None:
        self.levels = levels
        self._rows = np.arange(levels.lo.size)
        self._bounds = Bounds.of(levels, self._rows, 0, np.zeros(self._rows.size))

    @cached_property
    def _best(self) -> Reals:
        return best_slope(self._bounds)

    @cached_property
    def exist(self) -> bool:
        """Whether every channel has a line, as far as floating point can say."""
        return bool((room(self._bounds, self._best) > -_TOLERANCE).all())

    @cached_property
    def _offset(self) -> Reals:
        return centre(*self._bounds.offsets(self._best))

    def folded(self, most_factor: IntArray) -> Folded | None:
        """The form for the sums of a convolution, its weights times `most_factor` (C,) at most; None without a proof.

        Factors are powers of two and the largest. The smallest that is proved wins, since small weights compress best.
        """
        if not self.exist:
            return None
        k, b, m, s = (np.zeros(self._rows.size, dtype=np.int64) for _ in range(4))
        left = self._rows
        for power in range(int(most_factor.max()).bit_length() + 1):
            left = left[most_factor[left] > (1 << power) >> 1]
            for rounding in (np.rint, np.floor, np.ceil):
                factor = np.minimum(1 << power, most_factor[left])
                slope = self._slope(left, rounding(factor * self._offset[left]) / factor)
                multiplier, shift = multiplier_of(1 / (factor * slope))
                bias, proved = self._folded_bias(left, factor, multiplier, shift)
                done = left[proved]
                k[done], b[done], m[done], s[done] = factor[proved], bias[proved], multiplier[proved], shift[proved]
                left = left[~proved]
        if not k.all():
            return None
        return Folded(k, b, m, s, k * self.levels.lo + b, k * self.levels.hi + b)

    def fixed_point(self, single_shift: bool) -> FixedPoint | None:
        """The form for any tensor, with as large a fraction as 32 bits hold; None without a proof.

        single_shift  the first multiplication is a MUL, with one shift; else a RESCALE, with values below 2^(shift - 1)
        """
        if not self.exist:
            return None
        lo, hi = self.levels.lo, self.levels.hi
        slope = self._slope(self._rows, self._offset)
        typical = np.median(slope)
        if (np.abs(slope - typical) <= _SAME * typical).all():
            slope = np.full(slope.shape, typical)  # one multiplier for all channels
        constant = np.isinf(room(self._bounds, slope))  # then B alone will do
        ends = np.abs(np.stack([lo, hi, lo + self._offset, hi + self._offset])).max(axis=0)
        largest = np.where(constant, 0, ends / slope).max(initial=1)
        top = 31 - int(np.ceil(np.log2(largest)))
        for fraction in range(top, max(top - _FRACTIONS, _LEAST_FRACTION - 1), -1):
            m, s = multiplier_of(np.where(constant, 0, np.exp2(fraction) / slope), single_shift)
            found = self._fixed_point(m, s, fraction)
            if found and (single_shift or legal(np.stack([lo, hi]), found.multiplier, s).all()):
                return found
        return None

    def _slope(self, rows: IntArray, offset: Reals) -> Reals:
        """The middle of the slopes of lines with these offsets; where there are none, that of the best line."""
        b = self._bounds
        return Bounds(b.h[rows], b.above[rows], b.below[rows]).slope(offset, self._best[rows])

    def _folded_bias(self, rows: IntArray, k: IntArray, m: IntArray, s: IntArray) -> Proof:
        """B for given factors, multipliers and shifts."""
        half = (2 * self.levels.targets - 1) << (s[:, None] - 1)
        goal = -(-half // m[:, None])  # the least v with v * m / 2^s >= j - 1/2
        (at, above), (under, below) = self.levels.reached(rows), self.levels.missed(rows)
        bias, proved = _between(goal - k[:, None] * at, above, goal - 1 - k[:, None] * under, below)
        ends = np.stack([k * self.levels.lo[rows] + bias, k * self.levels.hi[rows] + bias])
        return bias, proved & legal(ends, m, s)

    def _fixed_point(self, m: IntArray, s: IntArray, fraction: int) -> FixedPoint | None:
        """The form with these multipliers, or their neighbours where these have a proof."""
        bias, left = np.zeros(m.shape, dtype=np.int64), self._rows
        goal = (2 * self.levels.targets - 1) << (fraction - 1)
        (at, above), (under, below) = self.levels.reached(left), self.levels.missed(left)
        for step in _NEAR:
            tried = np.clip(m[left] + step, 0, _END - 1)
            least = goal - _scaled(at[left], tried[:, None], s[left, None])
            most = goal - 1 - _scaled(under[left], tried[:, None], s[left, None])
            found, proved = _between(least, above[left], most, below[left])
            done = left[proved]
            m[done], bias[done] = tried[proved], found[proved]
            left = left[~proved]
        ends = np.stack([_scaled(end, m, s) + more for end in (self.levels.lo, self.levels.hi) for more in (0, bias)])
        if left.size or max(np.abs(ends).max(), np.abs(bias).max()) >= _END:
            return None
        return FixedPoint(m, s, bias, fraction, ends[1], ends[3])


def multiplier_of(real: Reals, single_shift: bool = False) -> tuple[IntArray, IntArray]:
    """(m, s) with real ~ m / 2^s and m below 2^31, of as many bits as the shift allows."""
    with np.errstate(divide="ignore"):
        shift = np.clip(30 - np.floor(np.log2(real)), _LEAST_SHIFT, _MOST_SHIFT)
    if single_shift:
        shift = np.full(shift.shape, shift.min())
    return np.minimum(np.rint(real * np.exp2(shift)), _END - 1).astype(np.int64), shift.astype(np.int64)


def legal(ends: IntArray, m: IntArray, s: IntArray) -> NDArray[np.bool_]:
    """Whether a RESCALE takes the values between these ends (2, C): below 2^(s - 1), their results below 2^31."""
    small = (np.abs(ends) < np.int64(1) << (s - 1)) & (np.abs(ends) < _END)
    results = _scaled(np.where(small, ends, 0), m, s)
    return np.asarray((small & (np.abs(results) < _END - 256)).all(axis=0))


def _between(least: IntArray, above: NDArray[np.bool_], most: IntArray, below: NDArray[np.bool_]) -> Proof:
    """An integer (C,) between all the bounds (C, L) that count, near the middle; and whether there is one."""
    low = np.where(above, least, -_NO_BOUND).max(axis=1)
    high = np.where(below, most, _NO_BOUND).min(axis=1)
    middle = np.where(low == -_NO_BOUND, high, np.where(high == _NO_BOUND, low, (low + high) >> 1))
    return middle, low <= high


def _scaled(x: IntArray, m: IntArray, s: IntArray) -> IntArray:
    return round_shift(x * m, s, Rounding.HALF_UP)
