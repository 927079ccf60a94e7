"""Conv2d and Dense: sums of products, without their bias, straight from the definition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from codesign.backends.tvm.definition import Builder, Expr, Value, integer, kind_of, word
from codesign.backends.tvm.storage import element
from codesign.backends.tvm.task import Task
from codesign.ir.ops import Conv2d, Dense
from codesign.ir.ops.linear import accumulator_type
from codesign.ir.types import IntArray, IntType


def linear(builder: Builder) -> tuple[Value, IntArray | None]:
    """The anchor's sums, and the bias (O) that is still to be added to them."""
    task = builder.task
    anchor = task.anchor
    assert anchor is not None
    assert isinstance(anchor.op, Conv2d | Dense)
    total = _dense(builder) if isinstance(anchor.op, Dense) else _conv(builder, anchor.op)
    return total, bias_of(task)


def bias_of(task: Task) -> IntArray | None:
    """The anchor's bias, if it has one."""
    anchor = task.anchor
    assert anchor is not None
    return task.consts[anchor.inputs[2]] if len(anchor.inputs) > 2 else None


def sum_word(task: Task) -> str:
    """The type that the sums without their bias are formed in."""
    anchor = task.anchor
    assert anchor is not None
    weights = task.consts[anchor.inputs[1]]
    extra = anchor.op.pad_value if isinstance(anchor.op, Conv2d) and any(anchor.op.padding) else None
    try:
        plain = accumulator_type(task.types[anchor.inputs[0]].dtype, weights.reshape(len(weights), -1), None, extra)
    except Exception:  # more than 32 bits without the bias
        return "int64"
    return "int64" if "int64" in (word(plain), word(task.types[anchor.name].dtype)) else "int32"


def stored_weights(weights: IntArray) -> NDArray[np.integer[Any]]:
    """The weights in the narrowest type of NumPy's."""
    return weights.astype(element(IntType.smallest(int(weights.min()), int(weights.max()))))


def _dense(builder: Builder) -> Value:
    task = builder.task
    anchor = task.anchor
    assert anchor is not None
    weights, x, kind = task.consts[anchor.inputs[1]], builder.read(anchor.inputs[0]), sum_word(task)
    w = builder.constant("weights", stored_weights(weights))
    k = te.reduce_axis((0, weights.shape[1]), "k")

    def total(*index: Expr) -> Expr:
        return te.sum(x((*index[:-1], k)).astype(kind) * w(index[-1], k).astype(kind), axis=k)

    acc = te.compute(task.types[anchor.name].shape, total, "acc")
    return lambda index: acc(*index)


def _conv(builder: Builder, op: Conv2d) -> Value:
    task = builder.task
    anchor = task.anchor
    assert anchor is not None
    name, kind = anchor.inputs[0], sum_word(task)
    x = padded(builder, name, op.padding, op.pad_value)
    weights = task.consts[anchor.inputs[1]]
    outputs, kh, kw, per_group = weights.shape
    w = builder.constant("weights", stored_weights(weights))
    axes = [te.reduce_axis((0, n), label) for n, label in ((kh, "kh"), (kw, "kw"), (per_group, "ki"))]
    each = outputs // op.groups

    def total(oh: Expr, ow: Expr, o: Expr) -> Expr:
        ky, kx, ki = axes
        at = (oh * op.stride[0] + ky * op.dilation[0], ow * op.stride[1] + kx * op.dilation[1])
        channel = ki if op.groups == 1 else tirx.floordiv(o, integer(each, "int32")) * per_group + ki
        return te.sum(x((*at, channel)).astype(kind) * w(o, ky, kx, ki).astype(kind), axis=axes)

    acc = te.compute(task.types[anchor.name].shape, total, "acc")
    return lambda index: acc(*index)


def padded(builder: Builder, name: str, padding: Sequence[int], value: int) -> Value:
    """A tensor with (top, left, bottom, right) pixels of `value` around it; index (0, 0) is the corner of the padding.

    Where the tensor's own border holds them, they are read from there.
    """
    task, (top, left, bottom, right) = builder.task, padding
    storage, dtype = task.storage[name], task.types[name].dtype
    height, width, _ = task.types[name].shape
    inside = all(have >= need for have, need in zip(storage.border, padding, strict=True))
    if not any(padding):
        return builder.read(name)
    if inside and storage.border_value == value:
        shape = (height + top + bottom, width + left + right, storage.shape[2])
        above, beside = storage.border[0] - top, storage.border[1] - left
        start = above * storage.strides[0] + beside * storage.strides[1]
        tensor = builder.view(name, shape, storage.strides, start)
        kind = "int32" if word(dtype) == "int32" else "int64"
        return lambda index: tensor(*index).astype(kind) + integer(storage.offset, kind)
    x = builder.read(name)

    def guarded(index: Sequence[Expr]) -> Expr:
        row, column, channel = index
        h, w = row - top, column - left
        there = tirx.all(h >= 0, h < height, w >= 0, w < width)
        q = x((h, w, channel))
        return tirx.if_then_else(there, q, integer(value, kind_of(q)))

    return guarded
