"""Threshold: CLAMP, TABLE or RESCALE where that is proved to be the same function, else a sum of comparisons."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from codesign.export.tosa import operators as t
from codesign.export.tosa.lines import Input, Steps, on_lines
from codesign.export.tosa.scaling import needs_ties, rescaled
from codesign.export.tosa.tables import looked_up, takes_table
from codesign.export.tosa.values import Lowering, Refused, Value, storage, wide
from codesign.export.tosa.writer import Dtype, Writer
from codesign.frontend.requant import fit_requant
from codesign.ir.graph import Node
from codesign.ir.ops import Requant, Rounding, Threshold
from codesign.ir.ops.rescale import requant_preimage, threshold_values
from codesign.ir.types import IntArray, IntType
from codesign.passes.levels import preimage

_FIT_BITS = 8  # of a result for which a multiplier is looked for
_END = 1 << 31


def threshold(c: Lowering, node: Node) -> Value:
    """Threshold -> CLAMP, TABLE or RESCALE where that is proved equal, else the number of levels reached."""
    assert isinstance(node.op, Threshold)
    w, x, out, levels = c.writer, c.input(node), node.op.out, c.constant(node, 1)
    near = Input.of(c, node.inputs[0], len(levels))
    steps = Steps.of(out, levels, near.lo, near.hi)
    return (
        _as_clamp(w, x, steps, out)
        or _as_table(w, x, out, levels)
        or _behind_chain(c, node)
        or _as_rescale(w, near, steps, out)
        or on_lines(w, near, steps, out)
        or _counted(w, x, steps, out)
    )


def _behind_chain(c: Lowering, node: Node) -> Value | None:
    """The levels in front of the Requants and Thresholds that only `node` reads: the farthest that are on lines."""
    assert isinstance(node.op, Threshold)
    levels, found = c.constant(node, 1), []
    inner = c.only_read_by(node)
    while inner is not None and isinstance(inner.op, Requant | Threshold):
        constants = [c.constant(inner, number) for number in range(1, len(inner.inputs))]
        before = preimage(inner.op, c.graph.type(inner.inputs[0]).dtype, constants, levels)
        if before is None:
            break
        levels = before
        found.append((inner.inputs[0], levels))
        inner = c.only_read_by(inner)
    for name, levels in reversed(found):
        source = Input.of(c, name, len(levels))
        made = on_lines(c.writer, source, Steps.of(node.op.out, levels, source.lo, source.hi), node.op.out)
        if made is not None:
            return made
    return None


def _as_clamp(w: Writer, x: Value, steps: Steps, out: IntType) -> Value | None:
    """x limited to base … top, where level i is base + i."""
    values = np.arange(steps.base + 1, steps.top + 1)
    if steps.step != 1 or not (steps.levels == values).all():
        return None
    if (x.tensor.dtype, x.offset) != (storage(out).dtype, storage(out).offset) or x.tensor.dtype is Dtype.I32:
        one, zero = np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
        return rescaled(w, x, Requant(out, Rounding.HALF_UP), one, zero, (steps.base, steps.top))
    return Value(t.clamp(w, x.tensor, steps.base - x.offset, steps.top - x.offset), out, x.offset)


def _as_table(w: Writer, x: Value, out: IntType, levels: IntArray) -> Value | None:
    """A TABLE of 256 entries, where the channels share the levels."""
    if len(levels) > 1 or not takes_table(x.dtype, out):
        return None
    domain = np.arange(x.dtype.lo, x.dtype.hi + 1, x.dtype.step)
    return looked_up(w, x, threshold_values(domain[:, None], levels, x.dtype, out).reshape(1, -1), out)


def _as_rescale(w: Writer, x: Input, steps: Steps, out: IntType) -> Value | None:
    """A RESCALE limited to base … top, where no offset is needed.

    Above and below base … top any result will do: the levels there are free.
    """
    if x.sums or out.bits > _FIT_BITS or out.bipolar or not steps.levels.size:
        return None
    rows = len(steps.levels)
    low, high = (np.repeat(end[:, None], out.count - 1, axis=1) for end in (x.lo, x.hi + 1))
    used = slice(steps.base - out.lo, steps.top - out.lo)
    low[:, used] = high[:, used] = steps.levels
    zero = np.zeros(rows, dtype=np.int64)
    same = steps.base + 1 - int(steps.levels[0, 0])  # y = x + same, where the levels are neighbours
    for zero_point in dict.fromkeys((0, steps.base, same)):
        fit = fit_requant(low, high, out, zero_point, x.lo, x.hi, [zero], (Rounding.HALF_UP,))
        if fit:
            return rescaled(w, x.value, fit.op, fit.multiplier, fit.shift, (steps.base, steps.top))
    return None


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
    table = t.repeated(w, w.const(shifts.reshape(1, rows, count), Dtype.I32), column.shape[0])
    reached = t.elementwise(w, "ADD", column, table)
    reached = t.with_const(w, "MINIMUM", t.with_const(w, "MAXIMUM", reached, 0), 1)
    total = t.reshape(w, t.reduce(w, "REDUCE_SUM", reached), source.shape)
    return _stepped(w, Value(total, IntType.smallest(0, count)), steps, out)


def _stepped(w: Writer, number: Value, steps: Steps, out: IntType) -> Value:
    """base + step * number."""
    plain = IntType(2, True) if out.bipolar else out
    function = Requant(plain, Rounding.HALF_UP, steps.base)
    made = rescaled(w, number, function, np.array([steps.step]), np.zeros(1, dtype=np.int64), (out.lo, out.hi))
    return replace(made, dtype=out)


def requant(c: Lowering, node: Node) -> Value:
    """Requant -> RESCALE, with CLAMP where the result is narrower than its element type."""
    assert isinstance(node.op, Requant)
    return _even(c, node, node.op) or rescaled(
        c.writer, c.input(node), node.op, c.constant(node, 1), c.constant(node, 2)
    )


def _even(c: Lowering, node: Node, op: Requant) -> Value | None:
    """A Requant with ties to even, where few of its levels are ties: the line between these needs an offset."""
    x, m, s = c.input(node), c.constant(node, 1), c.constant(node, 2)
    if op.out.bits > _FIT_BITS or not needs_ties(x.dtype, op, m, s):
        return None
    levels = requant_preimage(op, x.dtype, m, s, np.arange(op.out.lo + 1, op.out.hi + 1)[None, :])
    source = Input.of(c, node.inputs[0], len(levels))
    return on_lines(c.writer, source, Steps.of(op.out, levels, source.lo, source.hi), op.out)
