"""Concat, Pad, Reshape, Take and Transpose: an integer from another place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import tirx

from codesign.backends.tvm.definition import Builder, Expr, Value, integer
from codesign.backends.tvm.rules.linear import padded
from codesign.ir.ops import Concat, Pad, Reshape, Take, Transpose


def moved(builder: Builder) -> Value:
    """The anchor's elements."""
    task = builder.task
    anchor = task.anchor
    assert anchor is not None
    match anchor.op:
        case Pad(padding, value):
            return padded(builder, anchor.inputs[0], padding, value)
        case Transpose(axes):
            x = builder.read(anchor.inputs[0])
            return lambda index: x(tuple(index[axes.index(axis)] for axis in range(len(axes))))
        case Take(axis, indices):
            x = builder.read(anchor.inputs[0])
            table = builder.constant("indices", np.array(indices, dtype=np.int32))
            return lambda index: x((*index[:axis], table(index[axis]), *index[axis + 1 :]))
        case Reshape(target):
            x, shape = builder.read(anchor.inputs[0]), task.types[anchor.inputs[0]].shape
            return lambda index: x(_unravel(_ravel(index, target), shape))
        case Concat():
            return _concat(builder, anchor.inputs)
    raise AssertionError(f"{anchor.op} moves nothing")


def _concat(builder: Builder, names: tuple[str, ...]) -> Value:
    parts = {name: builder.read(name) for name in dict.fromkeys(names)}
    widths = [builder.task.types[name].channels for name in names]

    def value(index: Sequence[Expr]) -> Expr:
        *place, c = index
        start = sum(widths[:-1])
        result = parts[names[-1]]((*place, c - start))
        for i in range(len(names) - 2, -1, -1):
            start -= widths[i]
            inside = c < integer(start + widths[i], "int32")
            result = tirx.if_then_else(inside, parts[names[i]]((*place, c - start)), result)
        return result

    return value


def _ravel(index: Sequence[Expr], shape: Sequence[int]) -> Expr:
    """The position of `index` in row-major order."""
    position = index[0]
    for i, size in zip(index[1:], shape[1:], strict=True):
        position = position * integer(size, "int32") + i
    return position


def _unravel(position: Expr, shape: Sequence[int]) -> tuple[Expr, ...]:
    """The index of a position in row-major order."""
    index: list[Expr] = []
    for size in reversed(shape[1:]):
        index.insert(0, tirx.floormod(position, integer(size, "int32")))
        position = tirx.floordiv(position, integer(size, "int32"))
    return (position, *index)
