"""Conv2d and Dense: a tile of rows x channels of sums per work-item, in registers.

With the dot product instruction four inputs that are neighbours in memory are multiplied at once; without it four (or
more) output channels are, and inputs are loaded four at a time. Weights lie in the order in which a work-item reads
them: (blocks of output channels, kernel rows, kernel columns, input channels, channels of the block).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import te, tirx
from tvm.s_tir import Schedule

from codesign.backends.tvm.definition import Builder, Definition, Expr, Value, integer
from codesign.backends.tvm.mali.gpu import Gpu
from codesign.backends.tvm.mali.templates.base import Work
from codesign.backends.tvm.mali.templates.count import DOT, counted, dot_words
from codesign.backends.tvm.mali.templates.work import (
    LANES,
    MOST_ROWS,
    at_once,
    compute_inside,
    divide,
    divisors,
    grid,
    groups,
)
from codesign.backends.tvm.rules.elementwise import elementwise
from codesign.backends.tvm.rules.linear import bias_of, padded, stored_weights, sum_word
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.ir.ops import Conv2d, Dense
from codesign.ir.types import IntArray

MOST_SUMS = 64  # of a tile: more do not fit the registers of any Mali


class Products:
    """Conv2d without groups, and Dense.

    dot       whether the dot product instruction is used
    rows      neighbours along the output's last axis but one, per work-item
    channels  output channels per work-item
    local     work-items of a group along the channels, the last axis but one, and all others
    """

    name = "products"

    def choices(self, task: Task, gpu: Gpu) -> Sequence[Choice]:
        anchor = task.anchor
        if anchor is None or not isinstance(anchor.op, Conv2d | Dense):
            return []
        if isinstance(anchor.op, Conv2d) and anchor.op.groups > 1:
            return []
        shape = task.types[task.output].shape
        dot = bool(gpu.dot8_macs) and fits_dot(task)
        return [
            {"template": self.name, "dot": dot, "rows": rows, "channels": channels, "local": list(local)}
            for rows in (divisors(shape[-2], MOST_ROWS) if len(shape) > 1 else [1])
            for channels in (divisors(shape[-1], 8) if dot else [n for n in (*LANES, 1) if shape[-1] % n == 0])
            if rows * channels <= MOST_SUMS
            for local in groups(grid(shape, rows, channels))
        ]

    def make(self, task: Task, choice: Choice) -> Definition:
        rows, channels, dot = int(choice["rows"]), int(choice["channels"]), bool(choice["dot"])
        definition, loads = (_dot if dot else _multiply)(task, channels)
        schedule = Schedule(definition.func)
        rank = len(task.types[task.output].shape)
        at, *inner = divide(schedule, rows, channels, choice["local"])
        compute_inside(schedule, at, not dot, rank, loads, words=dot)
        at_once(schedule, inner, True)
        return Definition(schedule.mod["main"], definition.arguments)

    def work(self, task: Task, choice: Choice) -> Work:
        rows, channels = int(choice["rows"]), int(choice["channels"])
        return counted(task, rows, channels, choice["local"], dot=bool(choice["dot"]), vector=True)


def fits_dot(task: Task) -> bool:
    """Whether the anchor's sums are of signed bytes in memory, in 32 bits, and fill at least half of their words."""
    anchor = task.anchor
    assert anchor is not None
    name, weights = anchor.inputs[0], task.consts[anchor.inputs[1]]
    storage = task.storage[name]
    if storage.dtype != "int8" or stored_weights(weights).dtype != np.int8:
        return False
    if DOT * dot_words(anchor.op, weights) > 2 * weights[0].size:
        return False
    if isinstance(anchor.op, Conv2d) and not _is_bordered(task, anchor.op):
        return False
    stored = 128 * int(np.abs(weights.reshape(len(weights), -1)).sum(axis=1).max())
    return sum_word(task) == "int32" and stored < 1 << 30


def _is_bordered(task: Task, op: Conv2d) -> bool:
    """Whether all that the convolution reads lies in memory."""
    assert task.anchor is not None
    storage = task.storage[task.anchor.inputs[0]]
    if not any(op.padding):
        return True
    inside = all(have >= need for have, need in zip(storage.border, op.padding, strict=True))
    return inside and storage.border_value == op.pad_value


def blocked(weights: np.ndarray[Any, Any], channels: int) -> np.ndarray[Any, Any]:
    """(O, KH, KW, I) or (O, I) as (O / channels, KH, KW, I, channels)."""
    rows = weights.reshape(len(weights), -1) if weights.ndim == 2 else weights
    spatial = rows.reshape(len(weights) // channels, channels, *((1, 1) if weights.ndim == 2 else rows.shape[1:3]), -1)
    return np.ascontiguousarray(spatial.transpose(0, 2, 3, 4, 1))


def _axes(op: Any, weights: IntArray, step: int) -> tuple[Any, Any, Any, Any]:
    """The axes of summation: kernel rows and columns, words of input channels, channels of a word."""
    kh, kw = weights.shape[1:3] if isinstance(op, Conv2d) else (1, 1)
    sizes = (kh, kw, weights.shape[-1] // step, step)
    names = ("kh", "kw", "ko", "ki")
    kh_, kw_, ko, ki = (te.reduce_axis((0, n), name) for n, name in zip(sizes, names, strict=True))
    return kh_, kw_, ko, ki


def _place(op: Any, index: Sequence[Expr], kh: Expr, kw: Expr) -> tuple[Expr, ...]:
    """Where the input of one kernel position lies, from the corner of the padding."""
    if isinstance(op, Conv2d):
        oh, ow = index[0] * op.stride[0], index[1] * op.stride[1]
        return oh + kh * op.dilation[0], ow + kw * op.dilation[1]
    return tuple(index[:-1])


def _dot(task: Task, channels: int) -> tuple[Definition, tuple[int, ...]]:
    """The task by dot products, and the operands that are loaded once per step."""
    anchor = task.anchor
    assert anchor is not None
    assert isinstance(anchor.op, Conv2d | Dense)
    op, storage, builder = anchor.op, task.storage[anchor.inputs[0]], Builder(task)
    weights = task.consts[anchor.inputs[1]]
    aligned = storage.shape[-1] % DOT == 0
    if aligned:
        axes, x = _words(builder, op, weights)
        rows = stored_weights(weights)
    else:
        axes, x, rows = _unaligned(builder, op, stored_weights(weights))
    kh, kw, ko = axes
    blocks = blocked(rows, channels)  # (blocks, KH, KW, I, channels)
    words = blocks.reshape(*blocks.shape[:3], -1, DOT, channels).swapaxes(-1, -2)
    w = builder.constant("weights", words.reshape(*words.shape[:4], channels * DOT), DOT)

    def total(*index: Expr) -> Expr:
        o, size = index[-1], integer(channels, "int32")
        word = w(tirx.floordiv(o, size), kh, kw, ko, tirx.floormod(o, size))
        return te.sum(tirx.call_pure_extern("int32", "dot4", x(index), word), axis=[kh, kw, ko])

    acc = te.compute(task.types[anchor.name].shape, total, "acc")
    bias = bias_of(task)
    if storage.offset:  # elements are q - offset: the sum lacks the offset times all weights
        lacking = storage.offset * weights.reshape(len(weights), -1).sum(axis=1)
        bias = lacking if bias is None else bias + lacking
    return builder.finish(elementwise(builder, lambda index: acc(*index), bias)), (0, 1) if aligned else ()


def _window(task: Task, op: Any) -> tuple[list[int], int]:
    """The shape of what a product reads, padding included, and where it starts in memory."""
    assert task.anchor is not None
    storage = task.storage[task.anchor.inputs[0]]
    if not isinstance(op, Conv2d) or not any(op.padding):
        return list(storage.shape), storage.origin
    top, left, bottom, right = op.padding
    height, width, depth = storage.shape
    start = storage.origin - top * storage.strides[0] - left * storage.strides[1]
    return [height + top + bottom, width + left + right, depth], start


def _words(builder: Builder, op: Any, weights: IntArray) -> tuple[tuple[Any, Any, Any], Value]:
    """Axes of summation and the inputs under them, where every pixel is of whole words."""
    assert builder.task.anchor is not None
    name = builder.task.anchor.inputs[0]
    (*outer, depth), start = _window(builder.task, op)
    strides = [*(s // DOT for s in builder.task.storage[name].strides[:-1]), 1]
    x = builder.view(name, (*outer, depth // DOT), strides, start, f"int8x{DOT}")
    kh, kw, ko, _ = _axes(op, weights, DOT)
    return (kh, kw, ko), lambda index: x(*_place(op, index, kh, kw), ko)


def _unaligned(
    builder: Builder, op: Any, weights: np.ndarray[Any, Any]
) -> tuple[tuple[Any, Any, Any], Value, np.ndarray[Any, Any]]:
    """As `_words` where pixels are not of whole words: a row of the kernel is read as words, from any address.

    The last word of a row may reach beyond it, where the weights are filled up with zeros: they are returned as well.
    """
    task = builder.task
    assert task.anchor is not None
    name = task.anchor.inputs[0]
    (*outer, depth), start = _window(task, op)
    rows = weights.reshape(len(weights), 1, 1, -1) if weights.ndim == 2 else weights
    if isinstance(op, Conv2d):
        outer = [outer[0], outer[1] * depth]
        if op.dilation[1] == 1:
            rows = rows.reshape(len(rows), rows.shape[1], 1, -1)
        x = builder.view(name, outer, (task.storage[name].strides[0], 1), start)
    else:
        x = builder.tensor(name)
    rows = np.pad(rows, [(0, 0)] * 3 + [(0, -rows.shape[-1] % DOT)])
    sizes = (*rows.shape[1:3], rows.shape[3] // DOT)
    kh, kw, ko = (te.reduce_axis((0, n), axis) for n, axis in zip(sizes, ("kh", "kw", "ko"), strict=True))

    def word(index: Sequence[Expr]) -> Expr:
        *place, column = _place(op, index, kh, kw) if isinstance(op, Conv2d) else (*index[:-1], integer(0, "int32"))
        first = x(*place, column * (depth if isinstance(op, Conv2d) else 1) + ko * DOT)
        address = tirx.call_intrin("handle", "tirx.address_of", first)
        return tirx.call_pure_extern(f"int8x{DOT}", f"vload{DOT}", integer(0, "int32"), address)

    return (kh, kw, ko), word, rows


def _multiply(task: Task, channels: int) -> tuple[Definition, tuple[int, ...]]:
    """The task by ordinary products, and the operands that are loaded once per step."""
    anchor = task.anchor
    assert anchor is not None
    assert isinstance(anchor.op, Conv2d | Dense)
    op, kind = anchor.op, sum_word(task)
    builder, weights = Builder(task), task.consts[anchor.inputs[1]]
    direct = not isinstance(op, Conv2d) or _is_bordered(task, op)
    x: Value
    if isinstance(op, Conv2d):
        x = padded(builder, anchor.inputs[0], op.padding, op.pad_value)
    else:
        x = builder.read(anchor.inputs[0])
    step = DOT if weights.shape[-1] % DOT == 0 else 1
    kh, kw, ko, ki = _axes(op, weights, step)
    w = builder.constant("weights", blocked(stored_weights(weights), channels))

    def total(*index: Expr) -> Expr:
        o, size = index[-1], integer(channels, "int32")
        k = ko * step + ki
        factor = w(tirx.floordiv(o, size), kh, kw, k, tirx.floormod(o, size)).astype(kind)
        return te.sum(x((*_place(op, index, kh, kw), k)).astype(kind) * factor, axis=[kh, kw, ko, ki])

    acc = te.compute(task.types[anchor.name].shape, total, "acc")
    definition = builder.finish(elementwise(builder, lambda index: acc(*index), bias_of(task)))
    return definition, (0,) if direct and step == DOT else ()
