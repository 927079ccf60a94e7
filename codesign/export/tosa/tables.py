"""Lookup, and other functions of few bits: TABLE where it does not interpolate, else GATHER."""

from __future__ import annotations

import math

import numpy as np

from codesign.export.tosa import operators as t
from codesign.export.tosa.values import UNIT, UNIT_SHIFT, Lowering, Value, storage, stored, wide
from codesign.export.tosa.writer import Dtype, Tensor, Writer
from codesign.ir.graph import Node
from codesign.ir.ops import Lookup
from codesign.ir.types import IntArray, IntType


def lookup(c: Lowering, node: Node) -> Value:
    """Lookup -> TABLE, or GATHER for a table per channel or of more than 9 bits."""
    assert isinstance(node.op, Lookup)
    return looked_up(c.writer, c.input(node), c.constant(node, 1), node.op.out)


def takes_table(x: IntType, out: IntType) -> bool:
    """Whether any function from x to out, the same for all channels, is a TABLE of 8 bits."""
    return x.bits <= 8 and out.bits <= 8


def looked_up(w: Writer, x: Value, tables: IntArray, out: IntType) -> Value:
    """table[c, (x - lo) / step], lo and step those of the type of x; tables (1, N) or (C, N)."""
    to, first, last = storage(out), x.dtype.lo, x.dtype.hi
    elements = np.repeat(tables, x.dtype.step, axis=1)[:, : last - first + 1] - to.offset
    if len(elements) == 1 and takes_table(x.dtype, out):
        x = stored(w, x)
        content = np.zeros(256, dtype=np.int64)
        at = first - x.offset + 128
        content[at : at + elements.shape[1]] = elements[0]
        return Value(t.table(w, x.tensor, content), out, to.offset)
    if len(elements) == 1 and to.dtype is Dtype.I16 and fits_table(x.dtype, elements[0]):
        scaled = table_index(w, x)
        found = table_of(w, scaled, first, elements[0])
        return Value(t.rescale(w, found, Dtype.I16, UNIT, UNIT_SHIFT + 7), out, to.offset)
    return Value(_gathered(w, wide(w, x).tensor, elements, first, to.dtype), out, to.offset)


def fits_table(x: IntType, elements: IntArray) -> bool:
    """Whether a TABLE of 16 bits takes these elements: 512 places, and steps of at most 16 bits between them."""
    steps = np.diff(elements)
    return x.lo >= -256 and x.hi <= 255 and bool((np.abs(steps) < 1 << 15).all()) and IntType(16, True).holds(elements)


def table_index(w: Writer, x: Value) -> Tensor:
    """2^7 * x in 16 bits, for -256 <= x <= 255: where a TABLE of 16 bits does not interpolate."""
    source = x if x.tensor.dtype is Dtype.I8 else wide(w, x)
    return t.rescale(w, source.tensor, Dtype.I16, UNIT, UNIT_SHIFT - 7, (-source.offset, 0))


def table_of(w: Writer, scaled: Tensor, first: int, elements: IntArray) -> Tensor:
    """2^7 * elements[x - first] in 32 bits, from 2^7 * x; the rest of the table is level, so that no step is large."""
    content = np.empty(513, dtype=np.int64)
    at = first + 256
    content[:at] = elements[0]
    content[at : at + len(elements)] = elements
    content[at + len(elements) :] = elements[-1]
    return t.table(w, scaled, content)


def _gathered(w: Writer, x: Tensor, tables: IntArray, first: int, dtype: Dtype) -> Tensor:
    """GATHER from the tables one after the other: every channel has its own place in them."""
    rows, count = tables.shape
    index = t.with_const(w, "ADD", x, np.arange(rows) * count - first)
    values = w.const(tables.reshape(1, -1, 1), dtype)
    found = t.gather(w, values, t.reshape(w, index, (1, math.prod(x.shape))))
    return t.reshape(w, found, x.shape)
