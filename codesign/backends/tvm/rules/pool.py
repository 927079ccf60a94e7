"""MaxPool2d and AvgPool2d, straight from the definition."""

from __future__ import annotations

import numpy as np
from tvm import te, tirx

from codesign.backends.tvm.definition import Builder, Expr, Value, integer, kind_of, word
from codesign.backends.tvm.rules.linear import padded
from codesign.ir.ops import AvgPool2d, MaxPool2d
from codesign.ir.ops.base import expect_image
from codesign.ir.types import IntType


def pool(builder: Builder) -> Value:
    """The anchor's windows."""
    task = builder.task
    anchor = task.anchor
    assert anchor is not None
    assert isinstance(anchor.op, MaxPool2d | AvgPool2d)
    op, name, out = anchor.op, anchor.inputs[0], task.types[anchor.name]
    dtype = task.types[name].dtype
    axes = [te.reduce_axis((0, n), label) for n, label in zip(op.kernel, ("kh", "kw"), strict=True)]

    def at(oh: Expr, ow: Expr, c: Expr) -> tuple[Expr, ...]:
        return oh * op.stride[0] + axes[0], ow * op.stride[1] + axes[1], c

    if isinstance(op, MaxPool2d):
        x = padded(builder, name, op.padding, dtype.lo)
        acc = te.compute(out.shape, lambda *i: te.max(x(at(*i)), axis=axes), "acc")
        return lambda index: acc(*index)
    x = padded(builder, name, op.padding, 0 if op.mean else op.pad_value)
    area = op.kernel[0] * op.kernel[1]
    kind = (
        word(IntType.smallest(min(dtype.lo * area, -1), max(dtype.hi * area, 1)))
        if area * dtype.largest < 1 << 31
        else "int64"
    )
    kind = kind if op.mean else word(out.dtype)
    acc = te.compute(out.shape, lambda *i: te.sum(x(at(*i)).astype(kind), axis=axes), "acc")
    if not op.mean:
        return lambda index: acc(*index)
    counts = op.counts(expect_image(task.types[name]))
    if int(counts.min()) == int(counts.max()):
        return lambda index: _mean(acc(*index), integer(int(counts.flat[0]), kind))
    table = builder.constant("counts", counts[:, :, 0].astype(np.int32))
    return lambda index: _mean(acc(*index), table(index[0], index[1]).astype(kind))


def _mean(total: Expr, count: Expr) -> Expr:
    """round_half_away(total / count)."""
    kind = kind_of(total)
    half = tirx.shift_right(count, integer(1, kind))
    zero = integer(0, kind)
    magnitude = tirx.truncdiv(tirx.Select(total < zero, -total, total) + half, count)
    return tirx.Select(total < zero, -magnitude, magnitude).astype("int32")
