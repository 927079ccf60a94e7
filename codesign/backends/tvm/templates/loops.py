"""The template that fits every task: the loops of the definition, the last axis in vectors where it is long enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm.s_tir import Schedule
from tvm.tirx import IterVar

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Definition
from codesign.backends.tvm.rules import define
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice

LANES = (32, 16, 8, 4)


class Loops:
    """One loop per axis of the output; sums are formed where they are used.

    lanes  elements of the last axis at once; 1: one after the other
    """

    name = "loops"

    def choices(self, task: Task, cpu: Cpu) -> Sequence[Choice]:
        last = task.types[task.output].shape[-1]
        # No other lengths: LLVM 22 stores three 64-bit lanes as bytes wrongly on AArch64.
        lanes = [n for n in LANES if last % n == 0]
        return [{"template": self.name, "lanes": n} for n in (*lanes, 1)]

    def make(self, task: Task, cpu: Cpu, choice: Choice) -> Definition:
        definition = define(task, cpu)
        schedule = Schedule(definition.func)
        out = schedule.get_sblock("out")
        loops = schedule.get_loops(out)
        lanes = int(choice["lanes"])
        if len(loops) > 1:
            schedule.parallel(loops[0])
        stages = schedule.get_child_blocks(schedule.get_sblock("root"))[:-1]
        at = loops[-2] if len(loops) > 1 else None
        for block in reversed(stages):
            if at is not None:
                schedule.compute_at(block, at, preserve_unit_loops=True)
            schedule.set_scope(block, 0, "local")
        if lanes > 1:
            _vectors(schedule, out, lanes)
            if len(stages) == 1 and schedule.get(stages[0]).name_hint == "acc":
                _vectors(schedule, stages[0], lanes)
        return Definition(schedule.mod["main"], definition.arguments)


def _vectors(schedule: Schedule, block: Any, lanes: int) -> None:
    """The block's last spatial axis in vectors, inside its reduction."""
    reductions = sum(int(axis.iter_type) == IterVar.CommReduce for axis in schedule.get(block).iter_vars)
    loops = schedule.get_loops(block)
    _, inner = schedule.split(loops[-1 - reductions], [None, lanes])
    if not reductions:
        schedule.vectorize(inner)
        return
    sums = schedule.get_loops(block)[-reductions:]
    schedule.reorder(*sums, inner)
    schedule.vectorize(inner)
    schedule.decompose_reduction(block, sums[0])
