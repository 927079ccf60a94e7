"""Depthwise Conv2d by SDOT: four rows of the window interleaved byte by byte, sixteen channels at once.

acc[h, w, c] = sum over (g, kx, r < 4) of row[h*s + (4g + r)*d][w*s + kx*d][c] * W[4g + r, kx, c], the weights behind
the last row of the kernel being zero. A column's interleaved rows serve every window of the tile that it is in.
"""

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
from codesign.backends.tvm.templates.depthwise import is_depthwise, padded_elements
from codesign.backends.tvm.templates.neon import WIDTH, interleaved_dot
from codesign.backends.tvm.templates.windows import are_bytes, divisors, raw_bias
from codesign.errors import InputError

ROWS = 4  # products of a lane of SDOT
MOST_COLUMNS = 8


class Interleaved:
    """`columns` output pixels of a row and sixteen channels at once."""

    name = "interleaved"

    def choices(self, task: Task, cpu: Cpu) -> Sequence[Choice]:
        if not _fits(task, cpu):
            return []
        _, width, _ = task.types[task.output].shape
        columns = sorted(divisors(width, MOST_COLUMNS), key=lambda n: abs(n - 4))
        return [{"template": self.name, "columns": n} for n in columns]

    def make(self, task: Task, cpu: Cpu, choice: Choice) -> Definition:
        if not _fits(task, cpu):
            raise InputError.at(task.where, f"the schedule {dict(choice)}", "one that fits the layer and the core")
        builder = Builder(task, cpu)
        acc = _sums(builder)
        definition = builder.finish(elementwise(builder, lambda index: acc(*index), raw_bias(task)))
        schedule = Schedule(definition.func)
        h, w, c = schedule.get_loops(schedule.get_sblock("out"))
        outer_c, lane = schedule.split(c, [None, WIDTH])
        outer_w, inner_w = schedule.split(w, [None, int(choice["columns"])])
        schedule.reorder(outer_c, h, outer_w, inner_w, lane)
        schedule.vectorize(lane)
        schedule.unroll(inner_w)
        schedule.parallel(schedule.fuse(outer_c, h))
        for block in reversed(schedule.get_child_blocks(schedule.get_sblock("root"))[:-1]):
            schedule.compute_at(block, outer_w, preserve_unit_loops=True)
            schedule.set_scope(block, 0, "local")
        *around, channel = schedule.get_loops(schedule.get_sblock("rows"))[-5:]
        schedule.vectorize(channel)
        for loop in around:
            schedule.unroll(loop)
        block = schedule.get_sblock("acc")
        vertical, across, channel, group, kx, row = schedule.get_loops(block)[-6:]
        schedule.reorder(vertical, across, group, kx, channel, row)
        for loop in (vertical, across, group, kx):
            schedule.unroll(loop)
        init = schedule.decompose_reduction(block, vertical)
        *loops, last = schedule.get_loops(init)
        schedule.vectorize(last)
        for loop in loops[-2:]:
            schedule.unroll(loop)
        schedule.tensorize(channel, interleaved_dot())
        return Definition(schedule.mod["main"], definition.arguments)


def _fits(task: Task, cpu: Cpu) -> bool:
    dotprod = cpu.arch == "aarch64" and "dotprod" in cpu.extensions()
    return dotprod and is_depthwise(task) and are_bytes(task, cpu) and task.types[task.output].channels % WIDTH == 0


def _sums(builder: Builder) -> te.Tensor:
    """The sums of stored elements, without a bias."""
    x, op, weights = padded_elements(builder)
    kh, kw, channels = weights.shape
    groups = -(-kh // ROWS)
    filled = np.pad(weights, ((0, groups * ROWS - kh), (0, 0), (0, 0)))
    packed = filled.reshape(groups, ROWS, kw, channels).transpose(0, 2, 3, 1)
    w = builder.constant("weights", packed.astype(np.int8))
    anchor = builder.task.anchor
    assert anchor is not None
    height, width, _ = shape = builder.task.types[anchor.name].shape
    columns = (width - 1) * op.stride[1] + (kw - 1) * op.dilation[1] + 1

    def row(h: Expr, v: Expr, g: Expr, r: Expr, c: Expr) -> Expr:
        return x(h * op.stride[0] + tirx.min(g * ROWS + r, kh - 1) * op.dilation[0], v, c)

    rows = te.compute((height, columns, groups, ROWS, channels), row, "rows")
    g, kx, r = (te.reduce_axis((0, n), label) for n, label in ((groups, "g"), (kw, "kx"), (ROWS, "r")))

    def total(h: Expr, v: Expr, c: Expr) -> Expr:
        element = rows(h, v * op.stride[1] + kx * op.dilation[1], g, r, c)
        return te.sum(element.astype("int32") * w(g, kx, c, r).astype("int32"), axis=[g, kx, r])

    return te.compute(shape, total, "acc")
