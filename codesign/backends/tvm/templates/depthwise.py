"""Depthwise Conv2d: channels in vectors, all taps of a tile of columns unrolled over accumulators in registers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import te, tirx
from tvm.s_tir import Schedule

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Builder, Definition, Expr
from codesign.backends.tvm.rules.elementwise import elementwise
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.backends.tvm.templates.intrinsics import lane_product, product_lanes
from codesign.backends.tvm.templates.windows import bordered, input_of, raw_bias
from codesign.errors import InputError
from codesign.ir.ops import Conv2d
from codesign.ir.types import IntArray

MOST_COLUMNS = 16
MOST_TAPS = 64  # unrolled: beyond this the code no longer fits the instruction cache


class Depthwise:
    """One channel of the input for each of the output.

    lanes    channels at once
    columns  output pixels of a row at once: neighbours share what they load
    """

    name = "depthwise"

    def choices(self, task: Task, cpu: Cpu) -> Sequence[Choice]:
        if not is_depthwise(task):
            return []
        _, width, channels = task.types[task.output].shape
        vectors = (16, 32, 8, 64, 4) if cpu.arch == "x86_64" else (8, 16, 4)
        lanes = [n for n in vectors if channels % n == 0] or [channels]
        columns = sorted((d for d in range(1, MOST_COLUMNS + 1) if width % d == 0), key=lambda d: abs(d - 5))
        return [{"template": self.name, "lanes": n, "columns": c} for n in lanes for c in columns]

    def make(self, task: Task, cpu: Cpu, choice: Choice) -> Definition:
        if not is_depthwise(task):
            raise InputError.at(task.where, f"the schedule {dict(choice)}", "one that fits the layer")
        builder = Builder(task, cpu)
        acc = _sums(builder, "int32") if cpu.arch == "x86_64" else _sums_of_bytes(builder)
        definition = builder.finish(elementwise(builder, lambda index: acc(*index), raw_bias(task)))
        schedule = Schedule(definition.func)
        h, w, c = schedule.get_loops(schedule.get_sblock("out"))
        outer_c, lane = schedule.split(c, [None, int(choice["lanes"])])
        outer_w, inner_w = schedule.split(w, [None, int(choice["columns"])])
        schedule.reorder(outer_c, h, outer_w, inner_w, lane)
        schedule.vectorize(lane)
        schedule.unroll(inner_w)
        schedule.parallel(schedule.fuse(outer_c, h))
        stages = schedule.get_child_blocks(schedule.get_sblock("root"))[:-1]
        for block in reversed(stages):
            schedule.compute_at(block, outer_w, preserve_unit_loops=True)
            schedule.set_scope(block, 0, "local")
        block = schedule.get_sblock("acc")
        vertical, across, channel, *taps = schedule.get_loops(block)[-len(schedule.get(block).iter_vars) :]
        schedule.reorder(vertical, across, *taps, channel)
        lanes = int(choice["lanes"])
        instruction = lanes in product_lanes(cpu.extensions(), task.storage[input_of(task)].dtype)
        if not instruction:
            schedule.vectorize(channel)
        for loop in (*taps, vertical, across):
            schedule.unroll(loop)
        init = schedule.decompose_reduction(block, vertical)
        if instruction:
            schedule.vectorize(schedule.get_loops(init)[-1])
            schedule.tensorize(channel, lane_product(lanes))
        return Definition(schedule.mod["main"], definition.arguments)


def is_depthwise(task: Task) -> bool:
    """Whether the anchor has one input for each output, in bytes, and its padding in memory."""
    anchor = task.anchor
    if anchor is None or not isinstance(anchor.op, Conv2d):
        return False
    storage, weights = task.storage[anchor.inputs[0]], task.consts[anchor.inputs[1]]
    channels = storage.shape[-1]
    depthwise = anchor.op.groups == channels == weights.shape[0] and weights.shape[1] * weights.shape[2] <= MOST_TAPS
    small = storage.itemsize == 1 and int(np.abs(weights).max()) < 1 << 15
    return depthwise and channels > 1 and small and bordered(storage, anchor.op)


def padded_elements(builder: Builder) -> tuple[te.Tensor, Conv2d, IntArray]:
    """The elements with the padding around them, the operator, and its weights (KH, KW, C)."""
    task = builder.task
    anchor = task.anchor
    assert anchor is not None
    assert isinstance(anchor.op, Conv2d)
    op, name = anchor.op, anchor.inputs[0]
    storage, weights = task.storage[name], task.consts[anchor.inputs[1]]
    (top, left, bottom, right), (height, width, channels) = op.padding, storage.shape
    start = (storage.border[0] - top) * storage.strides[0] + (storage.border[1] - left) * storage.strides[1]
    x = builder.view(name, (height + top + bottom, width + left + right, channels), storage.strides, start)
    return x, op, np.ascontiguousarray(weights[:, :, :, 0].transpose(1, 2, 0))


def _sums_of_bytes(builder: Builder) -> te.Tensor:
    """As `_sums`, by products in 16 bits: as many as fit are added before they are extended (SMULL, SMLAL, SADDW)."""
    x, op, weights = padded_elements(builder)
    kh, kw, channels = weights.shape
    largest = 128 * int(np.abs(weights).max())  # elements are bytes
    together = max(min(((1 << 15) - 1) // max(largest, 1), kh * kw), 1)
    groups = -(-kh * kw // together)
    flat = np.pad(weights.reshape(-1, channels), ((0, groups * together - kh * kw), (0, 0)))
    w = builder.constant("weights", flat.astype(np.int8))
    group = te.reduce_axis((0, groups), "group")

    def total(h: Expr, v: Expr, c: Expr) -> Expr:
        terms = []
        for i in range(together):
            tap = tirx.min(group * together + i, kh * kw - 1)
            ky, kx = tirx.floordiv(tap, kw), tirx.floormod(tap, kw)
            pixel = h * op.stride[0] + ky * op.dilation[0], v * op.stride[1] + kx * op.dilation[1]
            terms.append(x(*pixel, c).astype("int16") * w(group * together + i, c).astype("int16"))
        return te.sum(sum(terms[1:], terms[0]).astype("int32"), axis=group)

    return te.compute(builder.task.types[_name(builder.task)].shape, total, "acc")


def _name(task: Task) -> str:
    assert task.anchor is not None
    return task.anchor.name


def _sums(builder: Builder, kind: str) -> te.Tensor:
    """The sums of stored elements, without a bias; the weights as words of `kind`, which saves extending them."""
    x, op, weights = padded_elements(builder)
    w = builder.constant("weights", weights.astype(kind))
    ky, kx = (te.reduce_axis((0, n), label) for n, label in zip(weights.shape[:2], ("kh", "kw"), strict=True))

    def total(h: Expr, v: Expr, c: Expr) -> Expr:
        pixel = h * op.stride[0] + ky * op.dilation[0], v * op.stride[1] + kx * op.dilation[1]
        return te.sum(x(*pixel, c).astype("int32") * w(ky, kx, c).astype("int32"), axis=[ky, kx])

    return te.compute(builder.task.types[_name(builder.task)].shape, total, "acc")
