"""Threshold: CLAMP, TABLE or RESCALE where that is proved to be the same function, else a sum of comparisons."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from codesign.export.tosa import operators as t
from codesign.export.tosa.scaling import rescaled
from codesign.export.tosa.tables import looked_up, takes_table
from codesign.export.tosa.values import Lowering, Refused, Value, storage, wide
from codesign.export.tosa.writer import Dtype, Writer
from codesign.frontend.requant import fit_requant
from codesign.ir.graph import Node
from codesign.ir.ops import Requant, Rounding, Threshold
from codesign.ir.ops.rescale import threshold_values
from codesign.ir.types import IntArray, IntType

_FIT_BITS = 8  # of a result for which a multiplier is looked for
_END = 1 << 31


@dataclass(frozen=True, eq=False)
class Steps:
    """y = base + step * #{i : x >= levels[c, i]}, all levels that some channel's inputs reach and miss.

    levels  (rows, L), sorted, from x.lo (always reached) to x.hi + 1 (never)
    """

    base: int
    step: int
    levels: IntArray

    @classmethod
    def of(cls, op: Threshold, levels: IntArray, x: IntType) -> Steps:
        """Without the levels that every input of every channel reaches, and those that none does."""
        levels = np.clip(levels, x.lo, x.hi + 1)
        always = int((levels == x.lo).sum(axis=1).min())
        never = int((levels == x.hi + 1).sum(axis=1).min())
        return cls(op.out.lo + op.out.step * always, op.out.step, levels[:, always : levels.shape[1] - never])

    @property
    def top(self) -> int:
        """The largest result."""
        count: int = self.levels.shape[1]
        return self.base + self.step * count


def threshold(c: Lowering, node: Node) -> Value:
    """Threshold -> CLAMP, TABLE or RESCALE where that is proved equal, else the number of levels reached."""
    assert isinstance(node.op, Threshold)
    w, x, out = c.writer, c.input(node), node.op.out
    steps = Steps.of(node.op, c.constant(node, 1), x.dtype)
    return (
        _as_clamp(w, x, steps, out)
        or _as_table(w, x, node.op, c.constant(node, 1))
        or _as_rescale(c, x, steps, out)
        or _counted(w, x, steps, out)
    )


def _as_clamp(w: Writer, x: Value, steps: Steps, out: IntType) -> Value | None:
    """x limited to base … top, where level i is base + i."""
    values = np.arange(steps.base + 1, steps.top + 1)
    if steps.step != 1 or not (steps.levels == values).all():
        return None
    if (x.tensor.dtype, x.offset) != (storage(out).dtype, storage(out).offset) or x.tensor.dtype is Dtype.I32:
        one, zero = np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
        return rescaled(w, x, Requant(out, Rounding.HALF_UP), one, zero, (steps.base, steps.top))
    return Value(t.clamp(w, x.tensor, steps.base - x.offset, steps.top - x.offset), out, x.offset)


def _as_table(w: Writer, x: Value, op: Threshold, levels: IntArray) -> Value | None:
    """A TABLE of 256 entries, where the channels share the levels."""
    if len(levels) > 1 or not takes_table(x.dtype, op.out):
        return None
    domain = np.arange(x.dtype.lo, x.dtype.hi + 1, x.dtype.step)
    return looked_up(w, x, threshold_values(domain[:, None], levels, x.dtype, op.out).reshape(1, -1), op.out)


def _as_rescale(c: Lowering, x: Value, steps: Steps, out: IntType) -> Value | None:
    """A RESCALE limited to base … top, its multiplier and offset proved equal over all of x; of bipolar two of them.

    Above and below base … top any result will do: the levels there are free.
    """
    if out.bipolar and steps.levels.shape[1] == 1:
        bit = _as_rescale(c, x, Steps(0, 1, steps.levels), IntType(1, False))
        return bit and _stepped(c.writer, bit, steps, out)
    if out.bits > _FIT_BITS or out.bipolar or steps.levels.shape[1] == 0:
        return None
    rows = len(steps.levels)
    lo, hi = np.full(rows, x.dtype.lo), np.full(rows, x.dtype.hi)
    low = np.full((rows, out.count - 1), x.dtype.lo)
    high = np.full((rows, out.count - 1), x.dtype.hi + 1)
    used = slice(steps.base - out.lo, steps.top - out.lo)
    low[:, used] = high[:, used] = steps.levels
    zero = np.zeros(rows, dtype=np.int64)
    same = steps.base + 1 - int(steps.levels[0, 0])  # y = x + same, where the levels are neighbours
    tries = [(z, [zero]) for z in dict.fromkeys((0, steps.base, same))] + [(steps.base, _offsets(steps))]
    for zero_point, offsets in tries:
        fit = fit_requant(low, high, out, zero_point, lo, hi, offsets, (Rounding.HALF_UP,))
        moved = fit and _added(c, x, fit.bias)
        if fit and moved:
            return rescaled(c.writer, moved, fit.op, fit.multiplier, fit.shift, (steps.base, steps.top))
    return None


def _offsets(steps: Steps) -> list[IntArray]:
    """What to add to x so that levels at equal distances d lie at d/2, 3d/2, …: with one level, so that it is 1."""
    first, count = steps.levels[:, 0], steps.levels.shape[1]
    if count == 1:
        return [1 - first]
    distance = (steps.levels[:, -1] - first) // (count - 1)
    near = (distance + 1) // 2 - first
    return [near, near - 1, near + 1]


def _added(c: Lowering, x: Value, bias: IntArray) -> Value | None:
    """x + bias, per channel, in the bias of the sums that x is, if it is; None where 32 bits do not hold it."""
    if not bias.any():
        return x
    least, most = x.dtype.lo + int(bias.min()), x.dtype.hi + int(bias.max())
    if least < -_END or most >= _END:
        return None
    sums = c.sums_with(x.tensor, np.broadcast_to(bias, x.tensor.shape[-1:]))
    if sums is None:
        sums = t.with_const(c.writer, "ADD", wide(c.writer, x).tensor, t.per_channel(bias, bias.size))
    return Value(sums, IntType.smallest(least, most))


def _counted(w: Writer, x: Value, steps: Steps, out: IntType) -> Value:
    """base + step * sum over i of min(max(x - level + 1, 0), 1): comparisons that every accelerator computes.

    A level that some channel never reaches stays above its x, and one that it always reaches does not. An axis of its
    own holds the levels. Raises Refused where 32 bits do not hold a difference.
    """
    rows, count = steps.levels.shape
    if count == 0:
        return _stepped(w, x, replace(steps, step=0), out)
    shifts = 1 - steps.levels
    if x.dtype.lo + int(shifts.min()) < -_END or x.dtype.hi + int(shifts.max()) >= _END:
        found = f"levels from {steps.levels.min()} to {steps.levels.max()} for values of type {x.dtype}"
        raise Refused(found, "differences of at most 32 bits")
    source = wide(w, x).tensor
    channels = source.shape[-1]
    column = t.reshape(w, source, (math.prod(source.shape) // channels, channels, 1))
    reached = t.elementwise(w, "ADD", column, w.const(shifts.reshape(1, rows, count), Dtype.I32))
    reached = t.with_const(w, "MINIMUM", t.with_const(w, "MAXIMUM", reached, 0), 1)
    total = t.reshape(w, t.reduce(w, "REDUCE_SUM", reached), source.shape)
    return _stepped(w, Value(total, IntType.smallest(0, count)), steps, out)


def _stepped(w: Writer, number: Value, steps: Steps, out: IntType) -> Value:
    """base + step * number."""
    plain = IntType(2, True) if out.bipolar else out
    function = Requant(plain, Rounding.HALF_UP, steps.base)
    made = rescaled(w, number, function, np.array([steps.step]), np.zeros(1, dtype=np.int64), (out.lo, out.hi))
    return replace(made, dtype=out)
