"""Levels on a line per channel: a RESCALE, its offset in a convolution's bias or added in fixed point."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from codesign.export.affine import Levels
from codesign.export.tosa import operators as t
from codesign.export.tosa.affine import FixedPoint, Lines
from codesign.export.tosa.linear import sums_of
from codesign.export.tosa.reach import Range
from codesign.export.tosa.scaling import Scaling, direct, merged, scaled
from codesign.export.tosa.values import Lowering, Refused, Sums, Value, image, stored, wide
from codesign.export.tosa.writer import Dtype, Tensor, Writer
from codesign.ir.ops import Conv2d, Requant, Rounding
from codesign.ir.types import IntArray, IntType

_MOST_BITS = 8  # of a result


@dataclass(frozen=True, eq=False)
class Steps:
    """y = base + step * #{i : x >= levels[c, i]}, all levels that some channel's inputs reach and miss.

    levels  (rows, L), sorted, from x.lo (always reached) to x.hi + 1 (never)
    """

    base: int
    step: int
    levels: IntArray

    @classmethod
    def of(cls, out: IntType, levels: IntArray, lo: IntArray, hi: IntArray) -> Steps:
        """Without the levels that all x from lo to hi (rows) reach in every channel, and those that none does."""
        levels = np.clip(levels, lo[:, None], hi[:, None] + 1)
        always = int((levels == lo[:, None]).sum(axis=1).min())
        never = int((levels == hi[:, None] + 1).sum(axis=1).min())
        return cls(out.lo + out.step * always, out.step, levels[:, always : levels.shape[1] - never])

    @property
    def top(self) -> int:
        """The largest result."""
        count: int = self.levels.shape[1]
        return self.base + self.step * count


@dataclass(frozen=True, eq=False)
class Input:
    """What levels are applied to: values, how they can be had as sums, and their range lo … hi (rows,)."""

    value: Value
    sums: Sums | None
    lo: IntArray
    hi: IntArray

    @classmethod
    def of(cls, c: Lowering, name: str, rows: int) -> Input:
        """Of sums the range is known per channel. Values of 8 bits are sums of one pixel."""
        x, reach = c.values[name], c.reach[name]
        sums = c.sums(x)
        lo, hi = (sums.least, sums.most) if sums else (np.full(rows, end) for end in reach)
        if rows == 1:
            lo, hi = lo.min(keepdims=True), hi.max(keepdims=True)
        elif sums is None and x.dtype.bits <= _MOST_BITS:
            sums = _pixelwise(c.writer, x, rows, reach)
        return cls(x, sums, lo, hi)


def _pixelwise(w: Writer, x: Value, channels: int, reach: Range) -> Sums:
    one, zero = np.ones((channels, 1, 1, 1), dtype=np.int64), np.zeros(channels, dtype=np.int64)
    return sums_of(w, image(w, stored(w, x)), Conv2d(groups=channels), one, zero, reach)


def on_lines(w: Writer, x: Input, steps: Steps, out: IntType) -> Value | None:
    """The levels by RESCALE, proved equal; None where they lie on no line.

    Of sums one convolution and one RESCALE, where 8 bits hold the weights times what gives the bias its resolution.
    Else x is brought to fixed point, and the offset added there: RESCALE or MUL, ADD and RESCALE.
    """
    if out.bits > _MOST_BITS or not steps.levels.size:
        return None
    lines = Lines(_levels(x, steps))
    return _folded(w, x, lines, steps, out) or _in_fixed_point(w, x, lines, steps, out)


def _levels(x: Input, steps: Steps) -> Levels:
    targets = steps.base + steps.step * np.arange(1, steps.levels.shape[1] + 1)
    at = steps.levels
    if steps.step > 1:  # what lies between two results must never come out
        targets, at = np.sort(np.concatenate([targets, targets - 1])), np.repeat(at, 2, axis=1)
    return Levels(at, targets, x.lo, x.hi, steps.base, steps.top)


def _folded(w: Writer, x: Input, lines: Lines, steps: Steps, out: IntType) -> Value | None:
    """CONV2D and RESCALE."""
    if x.sums is None:
        return None
    rows, channels = x.lo.size, x.sums.least.size
    factors = x.sums.most_factor
    found = lines.folded(factors if rows == channels else factors.min(keepdims=True))
    if found is None:
        return None
    try:
        tensor = x.sums.make(*(np.broadcast_to(v, (channels,)) for v in (found.factor, found.bias)))
    except Refused:
        return None
    return _rescaled(w, tensor, (found.multiplier, found.shift), (found.least, found.most), steps, out)


def _in_fixed_point(w: Writer, x: Input, lines: Lines, steps: Steps, out: IntType) -> Value | None:
    """RESCALE, ADD and RESCALE; or MUL, which takes larger values, of x limited to where results change, if need be.

    Accelerators have a RESCALE per channel behind a convolution, and nowhere else for nothing.
    """
    source, behind_sums = direct(w, x.value), x.value.tensor.dtype is Dtype.I32 and x.sums is not None
    found = lines.fixed_point(single_shift=False)
    if found is not None and (behind_sums or found.is_uniform):
        zero = -source.offset if source.tensor.dtype is Dtype.I8 else 0
        raised = t.rescale(w, source.tensor, Dtype.I32, *merged(found.multiplier, found.shift), (zero, 0))
        return _lowered(w, raised, found, steps, out)
    tensor = wide(w, source).tensor
    found = lines.fixed_point(single_shift=True)
    if found is None:
        first, last = lines.levels.changing()
        found = Lines(replace(lines.levels, lo=first, hi=last)).fixed_point(single_shift=True)
        tensor = t.with_const(w, "MAXIMUM", tensor, t.per_channel(first, first.size))
        tensor = t.with_const(w, "MINIMUM", tensor, t.per_channel(last, last.size))
    if found is None:
        return None
    return _lowered(w, t.mul_const(w, tensor, found.multiplier, int(found.shift[0])), found, steps, out)


def _lowered(w: Writer, raised: Tensor, found: FixedPoint, steps: Steps, out: IntType) -> Value:
    """clamp(round((raised + bias) / 2^fraction))."""
    total = t.with_const(w, "ADD", raised, found.bias) if found.bias.any() else raised
    one = np.array([1 << 30]), np.array([30 + found.fraction])
    ends = found.least.min(keepdims=True), found.most.max(keepdims=True)
    return _rescaled(w, total, one, ends, steps, out)


def _rescaled(
    w: Writer, x: Tensor, by: tuple[IntArray, IntArray], ends: tuple[IntArray, IntArray], steps: Steps, out: IntType
) -> Value:
    """clamp(round(x * m / 2^s), base, top), x between the ends."""
    dtype = IntType.smallest(int(ends[0].min()), int(ends[1].max()))
    return scaled(w, Value(x, dtype), Scaling(Requant(out, Rounding.HALF_UP), *by, *ends, steps.base, steps.top))
