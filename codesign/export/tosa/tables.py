"""Lookup, and other functions of few bits: a TABLE for each byte of the result, or GATHER."""

from __future__ import annotations

import math

import numpy as np

from codesign.export.tosa import operators as t
from codesign.export.tosa.values import UNIT, UNIT_SHIFT, Lowering, Value, storage, stored, wide
from codesign.export.tosa.writer import Dtype, Tensor, Writer
from codesign.ir.graph import Node
from codesign.ir.ops import Lookup
from codesign.ir.types import IntArray, IntType

_BYTE = IntType(8, True)
_SHIFTED_BITS = UNIT_SHIFT - 8  # of values that a RESCALE multiplies by 256


def lookup(c: Lowering, node: Node) -> Value:
    """Lookup -> TABLE, one for each byte of the result; GATHER for a table per channel or an x of more than 8 bits."""
    assert isinstance(node.op, Lookup)
    return looked_up(c.writer, c.input(node), c.constant(node, 1), node.op.out)


def takes_table(x: IntType, out: IntType) -> bool:
    """Whether any function from x to out, the same for all channels, is a TABLE of 8 bits."""
    return x.bits <= 8 and out.bits <= 8


def looked_up(w: Writer, x: Value, tables: IntArray, out: IntType) -> Value:
    """table[c, (x - lo) / step], lo and step those of the type of x; tables (1, N) or (C, N)."""
    to, first, last = storage(out), x.dtype.lo, x.dtype.hi
    elements = np.repeat(tables, x.dtype.step, axis=1)[:, : last - first + 1] - to.offset
    if len(elements) > 1 or x.dtype.bits > 8:
        return Value(_gathered(w, wide(w, x).tensor, elements, first, to.dtype), out, to.offset)
    x = stored(w, x)
    content = np.zeros(256, dtype=np.int64)
    at = first - x.offset + 128
    content[at : at + elements.shape[1]] = elements[0]
    if to.dtype is Dtype.I8:
        return Value(t.table(w, x.tensor, content), out, to.offset)
    found = wide_table(w, x.tensor, content)
    if to.dtype is Dtype.I16:
        found = t.rescale(w, found, Dtype.I16, UNIT, UNIT_SHIFT)
    return Value(found, out, to.offset)


def wide_table(w: Writer, x: Tensor, content: IntArray) -> Tensor:
    """content[x + 128] in 32 bits for an x of 8: a TABLE for each byte, the highest with the sign.

    A TABLE of 16 bits would do for few of these functions only: it has 512 places, and takes no large steps.
    """
    low_bytes = []
    while not _BYTE.holds(content):
        low_bytes.append(content & 255)
        content = content >> 8
    total, bits = t.table(w, x, content), 8
    for low in reversed(low_bytes):
        if bits > _SHIFTED_BITS:
            upper = t.mul_const(w, total, 256)
        else:
            upper = t.rescale(w, total, Dtype.I32, UNIT, UNIT_SHIFT - 8)
        byte = t.rescale(w, t.table(w, x, low - 128), Dtype.I32, UNIT, UNIT_SHIFT, (-128, 0))
        total, bits = t.elementwise(w, "ADD", upper, byte), bits + 8
    return total if total.dtype is Dtype.I32 else t.rescale(w, total, Dtype.I32, UNIT, UNIT_SHIFT)


def _gathered(w: Writer, x: Tensor, tables: IntArray, first: int, dtype: Dtype) -> Tensor:
    """GATHER from the tables one after the other: every channel has its own place in them."""
    rows, count = tables.shape
    index = t.with_const(w, "ADD", x, np.arange(rows) * count - first)
    values = w.const(tables.reshape(1, -1, 1), dtype)
    found = t.gather(w, values, t.reshape(w, index, (1, math.prod(x.shape))))
    return t.reshape(w, found, x.shape)
