"""What each operator computes, as TVM's tensor expressions: one family per file, no schedule."""

from __future__ import annotations

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Builder, Definition
from codesign.backends.tvm.rules.classify import classified
from codesign.backends.tvm.rules.elementwise import elementwise
from codesign.backends.tvm.rules.linear import linear
from codesign.backends.tvm.rules.pool import pool
from codesign.backends.tvm.rules.shape import moved
from codesign.backends.tvm.task import Task
from codesign.ir.ops import ArgMax, AvgPool2d, Conv2d, Dense, MaxPool2d, Softmax


def define(task: Task, cpu: Cpu | None = None) -> Definition:
    """The task straight from the definitions of its operators: what every template falls back to."""
    builder = Builder(task, cpu)
    match task.anchor.op if task.anchor is not None else None:
        case None:
            value = elementwise(builder)
        case Conv2d() | Dense():
            value = elementwise(builder, *linear(builder))
        case MaxPool2d() | AvgPool2d():
            value = elementwise(builder, pool(builder))
        case Softmax() | ArgMax():
            value = classified(builder)
        case _:
            value = elementwise(builder, moved(builder))
    return builder.finish(value)
