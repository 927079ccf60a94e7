"""The template that fits every task: the definition's loops, some elements of the output per work-item."""

from __future__ import annotations

from collections.abc import Sequence

from tvm.s_tir import Schedule

from codesign.backends.tvm.definition import Definition
from codesign.backends.tvm.mali.gpu import Gpu
from codesign.backends.tvm.mali.templates.base import Work
from codesign.backends.tvm.mali.templates.count import counted
from codesign.backends.tvm.mali.templates.work import LANES, at_once, compute_inside, divide, grid, groups, stages
from codesign.backends.tvm.rules import define
from codesign.backends.tvm.task import ALONE, Task
from codesign.backends.tvm.templates.base import Choice
from codesign.ir.ops import AvgPool2d, Lookup, MaxPool2d, Pad, Take, Transpose


class Each:
    """One kernel from the definition of the task.

    channels  elements of the last axis per work-item
    local     work-items of a group along the last axis, the last but one, and all others
    """

    name = "each"

    def choices(self, task: Task, gpu: Gpu) -> Sequence[Choice]:
        shape = task.types[task.output].shape
        lanes = [shape[-1]] if _by_rows(task) else [n for n in (*LANES, 1) if shape[-1] % n == 0]
        if not _by_rows(task) and not _in_vectors(task):
            lanes = [1]
        return [
            {"template": self.name, "channels": n, "local": list(local)}
            for n in lanes
            for local in groups(grid(shape, 1, n))
        ]

    def make(self, task: Task, choice: Choice) -> Definition:
        definition = define(task)
        schedule = Schedule(definition.func)
        at, *inner = divide(schedule, 1, int(choice["channels"]), choice["local"])
        if _by_rows(task):
            for block in reversed(stages(schedule)):
                schedule.compute_at(block, at, preserve_unit_loops=True)
                schedule.set_scope(block, 0, "local")
        else:
            vector = _in_vectors(task)
            compute_inside(schedule, at, vector, len(task.types[task.output].shape))
            at_once(schedule, inner, vector)
        return Definition(schedule.mod["main"], definition.arguments)

    def work(self, task: Task, choice: Choice) -> Work:
        return counted(task, 1, int(choice["channels"]), choice["local"], dot=False, vector=_in_vectors(task))


def _by_rows(task: Task) -> bool:
    """Softmax and ArgMax: one work-item goes over a row several times."""
    anchor = task.anchor
    return anchor is not None and isinstance(anchor.op, ALONE)


def _in_vectors(task: Task) -> bool:
    """Whether neighbours along the last axis come from neighbours in memory."""
    if any(isinstance(node.op, Lookup) for node in task.nodes):
        return False
    anchor = task.anchor
    match anchor.op if anchor is not None else None:
        case None | MaxPool2d() | AvgPool2d() | Pad():
            return True
        case Transpose(axes):
            return axes[-1] == len(axes) - 1
        case Take(axis, _):
            return axis < len(task.types[task.output].shape) - 1
    return False
