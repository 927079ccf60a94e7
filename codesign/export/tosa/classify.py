"""ArgMax and Softmax."""

from __future__ import annotations

import numpy as np

from codesign.export.tosa import operators as t
from codesign.export.tosa.tables import wide_table
from codesign.export.tosa.values import UNIT, UNIT_SHIFT, Lowering, Refused, Value, storage, stored, wide
from codesign.export.tosa.writer import Dtype, Tensor, Writer
from codesign.ir.graph import Node
from codesign.ir.ops import Softmax
from codesign.ir.ops.fixed_point import doubling_high_mul, exp_on_negative_values
from codesign.ir.types import IntArray


def arg_max(c: Lowering, node: Node) -> Value:
    """ArgMax -> ARGMAX; of more than 16 bits the smallest index without a distance to the largest value.

    index + channels * min(largest - x, 1) is smallest there. Largest and smallest by halves: REDUCE_MAX of 32 bits and
    comparisons are not what every accelerator has. Raises Refused where 32 bits do not hold a difference.
    """
    w = c.writer
    x = stored(w, c.shaped(node))
    if x.tensor.dtype is not Dtype.I32:
        index = t.argmax(w, x.tensor)
        return c.result(node, t.reshape(w, index, (*index.shape, 1)))
    if x.dtype.hi - x.dtype.lo >= 1 << 31:
        raise Refused(f"an input of type {x.dtype}", "differences of at most 31 bits")
    channels = x.tensor.shape[-1]
    distance = t.elementwise(w, "SUB", _by_halves(w, "MAXIMUM", x.tensor), x.tensor)
    other = t.mul_const(w, t.with_const(w, "MINIMUM", distance, 1), channels)
    return c.result(node, _by_halves(w, "MINIMUM", t.with_const(w, "ADD", other, np.arange(channels))))


def _by_halves(w: Writer, kind: str, x: Tensor) -> Tensor:
    """MAXIMUM or MINIMUM along the last axis, which stays with size 1: of two halves, which may overlap, and so on."""
    axis, size = len(x.shape) - 1, x.shape[-1]
    while size > 1:
        half = (size + 1) // 2
        x = t.elementwise(w, kind, t.slice_axis(w, x, axis, 0, half), t.slice_axis(w, x, axis, size - half, half))
        size = half
    return x


def softmax(c: Lowering, node: Node) -> Value:
    """Softmax -> its own fixed-point recipe in 32 bits; exp as tables, since an x of 8 bits has 256 differences."""
    op, w = node.op, c.writer
    assert isinstance(op, Softmax)
    x = stored(w, c.shaped(node))
    top = t.reduce(w, "REDUCE_MAX", x.tensor)
    a, b = wide(w, x), wide(w, Value(top, x.dtype, x.offset))
    exp = _exp(w, t.elementwise(w, "SUB", a.tensor, b.tensor), op)
    total = t.reduce(w, "REDUCE_SUM", t.shift_right(w, exp, 12, rounded=True))
    zeros = t.unary(w, "CLZ", total)
    product = t.mul(w, exp, _reciprocal(w, total, zeros), 31)
    # The shift is 43 - bits - zeros. Above 31 nothing is left, which a shift of 31 would round up to 1.
    most = 43 - op.out.bits - 1
    shift = t.elementwise(w, "SUB", t.channel_const(w, zeros, 43 - op.out.bits), zeros)
    if most > 31 and x.tensor.shape[-1] << 19 >= 1 << 28:
        y = t.shift_right(w, product, t.with_const(w, "MINIMUM", shift, 31), rounded=True)
        left = t.with_const(w, "MINIMUM", t.with_const(w, "MAXIMUM", t.with_const(w, "SUB", zeros, 3), 0), 1)
        y = t.mul(w, y, left)
    else:
        y = t.shift_right(w, product, shift, rounded=True)
    to = storage(op.out)
    if to.dtype is Dtype.I16:
        y = t.with_const(w, "ADD", y, op.out.lo)
        return c.result(node, t.rescale(w, y, Dtype.I16, UNIT, UNIT_SHIFT))
    return c.result(node, t.rescale(w, y, Dtype.I8, UNIT, UNIT_SHIFT, (0, op.out.lo - to.offset)), to.offset)


def _exp(w: Writer, difference: Tensor, op: Softmax) -> Tensor:
    """exp in Q0.31 of a difference -255 … 0 to the largest x."""
    index = t.rescale(w, difference, Dtype.I8, UNIT, UNIT_SHIFT, (0, 127))
    return wide_table(w, index, exp_table(op))


def exp_table(op: Softmax) -> IntArray:
    """exp in Q0.31 for the differences -255 … 0, 0 where the operator leaves a difference out."""
    difference = np.arange(-255, 1)
    inside = difference >= op.diff_min
    scaled = doubling_high_mul(np.where(inside, difference, 0) << op.left_shift, op.multiplier)
    return np.where(inside, exp_on_negative_values(scaled), 0)


def _reciprocal(w: Writer, total: Tensor, zeros: Tensor) -> Tensor:
    """1 / total as `fixed_point.reciprocal` has it, Q0.31: three Newton steps from half of total << zeros, Q0.31."""
    half = t.elementwise(w, "LOGICAL_LEFT_SHIFT", total, t.with_const(w, "SUB", zeros, 1))
    x = t.with_const(w, "ADD", t.mul_const(w, half, -1010580540, 31), 1515870810)
    for _ in range(3):
        error = t.elementwise(w, "SUB", t.channel_const(w, half, 1 << 29), t.mul(w, half, x, 31))
        x = t.elementwise(w, "ADD", x, t.mul_const(w, t.mul(w, x, error, 31), 4))
    # Twice x, and 2^31 - 1 from x = 2^30 on.
    below = t.with_const(w, "MINIMUM", x, (1 << 30) - 1)
    one = t.elementwise(w, "SUB", t.with_const(w, "MINIMUM", x, 1 << 30), below)
    return t.elementwise(w, "ADD", t.mul_const(w, below, 2), one)
