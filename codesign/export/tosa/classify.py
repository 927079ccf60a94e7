"""ArgMax and Softmax."""

from __future__ import annotations

import numpy as np

from codesign.export.tosa import operators as t
from codesign.export.tosa.tables import table_index, table_of
from codesign.export.tosa.values import UNIT, UNIT_SHIFT, Lowering, Value, storage, stored, wide
from codesign.export.tosa.writer import Dtype, Tensor, Writer
from codesign.ir.graph import Node
from codesign.ir.ops import Softmax
from codesign.ir.ops.fixed_point import doubling_high_mul, exp_on_negative_values
from codesign.ir.types import IntArray, IntType

_PIECE = 15  # bits of one table of 16 bits


def arg_max(c: Lowering, node: Node) -> Value:
    """ArgMax -> ARGMAX; of more than 16 bits, the smallest index of those that equal the REDUCE_MAX."""
    w = c.writer
    x = stored(w, c.shaped(node))
    if x.tensor.dtype is not Dtype.I32:
        index = t.argmax(w, x.tensor)
        return c.result(node, t.reshape(w, index, (*index.shape, 1)))
    channels = x.tensor.shape[-1]
    largest = t.elementwise(w, "EQUAL", x.tensor, t.reduce(w, "REDUCE_MAX", x.tensor), Dtype.BOOL)
    number, none = (t.channel_const(w, x.tensor, values) for values in (np.arange(channels), channels))
    return c.result(node, t.reduce(w, "REDUCE_MIN", t.select(w, largest, number, none)))


def softmax(c: Lowering, node: Node) -> Value:
    """Softmax -> its own fixed-point recipe in 32 bits; exp as tables, since an x of 8 bits has 256 differences."""
    op, w = node.op, c.writer
    assert isinstance(op, Softmax)
    x = stored(w, c.shaped(node))
    top = t.reduce(w, "REDUCE_MAX", x.tensor)
    a, b = wide(w, x), wide(w, Value(top, x.dtype, x.offset))
    difference = Value(t.elementwise(w, "SUB", a.tensor, b.tensor), IntType(9, True))
    exp = _exp(w, difference, op)
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


def _exp(w: Writer, difference: Value, op: Softmax) -> Tensor:
    """exp in Q0.31 of a difference -255 … 0 to the largest x, in pieces of 15 bits: a table of 16 bits each."""
    values = exp_table(op)
    scaled = table_index(w, difference)
    total: Tensor | None = None
    for low in range(0, 31, _PIECE):
        piece = t.shift_right(w, table_of(w, scaled, -255, (values >> low) & ((1 << _PIECE) - 1)), 7, rounded=False)
        piece = t.mul_const(w, piece, 1 << low) if low else piece
        total = piece if total is None else t.elementwise(w, "ADD", total, piece)
    assert total is not None
    return total


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
