"""Depthwise Conv2d: neighbouring channels in one vector, neighbouring columns in one work-item.

Weights lie as (kernel rows, kernel columns, channels), so that a vector of them is one load.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import te
from tvm.s_tir import Schedule

from codesign.backends.tvm.definition import Builder, Definition, Expr
from codesign.backends.tvm.mali.gpu import Gpu
from codesign.backends.tvm.mali.templates.base import Work
from codesign.backends.tvm.mali.templates.count import counted
from codesign.backends.tvm.mali.templates.work import LANES, at_once, compute_inside, divide, divisors, grid, groups
from codesign.backends.tvm.rules.elementwise import elementwise
from codesign.backends.tvm.rules.linear import bias_of, padded, stored_weights, sum_word
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.ir.ops import Conv2d

MOST_SUMS = 64  # of a tile: more do not fit the registers of any Mali
MOST_COLUMNS = 8


class Depthwise:
    """Conv2d with as many groups as inputs and outputs.

    rows      neighbouring columns of the image per work-item
    channels  channels per work-item
    local     work-items of a group along channels, columns, rows of the image
    """

    name = "depthwise"

    def choices(self, task: Task, gpu: Gpu) -> Sequence[Choice]:
        anchor = task.anchor
        if anchor is None or not isinstance(anchor.op, Conv2d):
            return []
        shape = task.types[task.output].shape
        if not anchor.op.groups == shape[-1] == task.types[anchor.inputs[0]].channels or anchor.op.groups == 1:
            return []
        return [
            {"template": self.name, "rows": rows, "channels": channels, "local": list(local)}
            for rows in divisors(shape[-2], MOST_COLUMNS)
            for channels in (*LANES, 1)
            if shape[-1] % channels == 0 and rows * channels <= MOST_SUMS
            for local in groups(grid(shape, rows, channels))
        ]

    def make(self, task: Task, choice: Choice) -> Definition:
        definition = _define(task)
        schedule = Schedule(definition.func)
        at, *inner = divide(schedule, int(choice["rows"]), int(choice["channels"]), choice["local"])
        compute_inside(schedule, at, True, len(task.types[task.output].shape))
        at_once(schedule, inner, True)
        return Definition(schedule.mod["main"], definition.arguments)

    def work(self, task: Task, choice: Choice) -> Work:
        return counted(task, int(choice["rows"]), int(choice["channels"]), choice["local"], dot=False, vector=True)


def _define(task: Task) -> Definition:
    anchor = task.anchor
    assert anchor is not None
    assert isinstance(anchor.op, Conv2d)
    op, kind, builder = anchor.op, sum_word(task), Builder(task)
    x = padded(builder, anchor.inputs[0], op.padding, op.pad_value)
    weights = stored_weights(task.consts[anchor.inputs[1]])  # (C, KH, KW, 1)
    w = builder.constant("weights", np.ascontiguousarray(weights[..., 0].transpose(1, 2, 0)))
    kh, kw = (te.reduce_axis((0, n), name) for n, name in zip(weights.shape[1:3], ("kh", "kw"), strict=True))

    def total(oh: Expr, ow: Expr, c: Expr) -> Expr:
        at = (oh * op.stride[0] + kh * op.dilation[0], ow * op.stride[1] + kw * op.dilation[1], c)
        return te.sum(x(at).astype(kind) * w(kh, kw, c).astype(kind), axis=[kh, kw])

    acc = te.compute(task.types[anchor.name].shape, total, "acc")
    return builder.finish(elementwise(builder, lambda index: acc(*index), bias_of(task)))
