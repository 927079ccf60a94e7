"""Reshape, Concat, Pad, Take, Transpose, Add and Mul."""

from __future__ import annotations

import numpy as np

from codesign.export.tosa import operators as t
from codesign.export.tosa.linear import padded
from codesign.export.tosa.values import Lowering, Value, reshaped, stored, wide
from codesign.export.tosa.writer import Dtype, Tensor, Writer
from codesign.ir.graph import Node
from codesign.ir.ops import Pad, Reshape, Take, Transpose
from codesign.ir.types import IntArray

_MAX_PARTS = 64  # tensors that a CONCAT takes at TOSA's level 8K


def reshape(c: Lowering, node: Node) -> Value:
    """Reshape -> RESHAPE."""
    assert isinstance(node.op, Reshape)
    return reshaped(c.writer, c.shaped(node), node.op.shape)


def concat(c: Lowering, node: Node) -> Value:
    """Concat -> CONCAT along the channels."""
    parts = [c.shaped(node, number) for number in range(len(node.inputs))]
    if len({(p.tensor.dtype, p.offset) for p in parts}) > 1 or parts[0].tensor.dtype is Dtype.I48:
        parts = [stored(c.writer, p) for p in parts]
    tensors = [p.tensor for p in parts]
    return c.result(node, t.concat(c.writer, tensors, len(tensors[0].shape) - 1), parts[0].offset)


def pad(c: Lowering, node: Node) -> Value:
    """Pad -> PAD."""
    assert isinstance(node.op, Pad)
    return padded(c.writer, c.shaped(node), node.op.padding, node.op.value)


def take(c: Lowering, node: Node) -> Value:
    """Take -> SLICE for each run of neighbours, joined by CONCAT; more runs than that takes -> GATHER."""
    assert isinstance(node.op, Take)
    w, x = c.writer, stored(c.writer, c.shaped(node))
    axis, indices = 1 + node.op.axis, np.array(node.op.indices)
    runs = np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)
    if len(runs) > _MAX_PARTS:
        return c.result(node, _gathered(w, x.tensor, axis, indices), x.offset)
    parts = [t.slice_axis(w, x.tensor, axis, int(run[0]), len(run)) for run in runs]
    return c.result(node, parts[0] if len(parts) == 1 else t.concat(w, parts, axis), x.offset)


def transpose(c: Lowering, node: Node) -> Value:
    """Transpose -> TRANSPOSE, the batch staying first."""
    assert isinstance(node.op, Transpose)
    x = stored(c.writer, c.shaped(node))
    return c.result(node, t.transpose(c.writer, x.tensor, (0, *(axis + 1 for axis in node.op.axes))), x.offset)


def _gathered(w: Writer, x: Tensor, axis: int, indices: IntArray) -> Tensor:
    """GATHER along any axis: the axes before it are its batch, those behind it its channels."""
    before, after = int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis + 1 :]))
    flat = t.reshape(w, x, (before, x.shape[axis], after))
    table = w.const(np.broadcast_to(indices, (before, len(indices))), Dtype.I32)
    return t.reshape(w, t.gather(w, flat, table), (*x.shape[:axis], len(indices), *x.shape[axis + 1 :]))


def add(c: Lowering, node: Node) -> Value:
    """Add -> ADD in 32 bits."""
    a, b = (wide(c.writer, c.shaped(node, number)) for number in range(2))
    return c.result(node, t.elementwise(c.writer, "ADD", a.tensor, b.tensor))


def mul(c: Lowering, node: Node) -> Value:
    """Mul -> MUL of the elements as they are, or in 32 bits."""
    a, b = (c.shaped(node, number) for number in range(2))
    if a.tensor.dtype is not b.tensor.dtype or a.tensor.dtype is Dtype.I48 or a.offset or b.offset:
        a, b = wide(c.writer, a), wide(c.writer, b)
    return c.result(node, t.mul(c.writer, a.tensor, b.tensor))
