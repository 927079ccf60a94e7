"""Schedules that TVM's MetaSchedule found: a trace of its decisions, replayed on the definition that it was found for.

    {"template": "metaschedule", "layout": "dot", "lanes": 16, "trace": [instructions, decisions]}

`layout` is what the search starts from: `dot`, sums over groups of four bytes with packed weights, whose innermost
loops become a dot-product instruction; `plain`, the definition itself. No choice is offered here:
tune/metaschedule.py looks for them, and they come from the records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm.s_tir import Schedule, Trace

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Definition
from codesign.backends.tvm.rules import define
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.backends.tvm.templates.dot import dot_intrinsic, dot_sums
from codesign.errors import InputError

PLAIN, DOT = "plain", "dot"


class MetaSchedule:
    """Replays traces."""

    name = "metaschedule"

    def choices(self, task: Task, cpu: Cpu) -> Sequence[Choice]:
        return []

    def make(self, task: Task, cpu: Cpu, choice: Choice) -> Definition:
        definition = start(task, cpu, choice)
        intrinsic(task, cpu, choice)  # a trace names it
        schedule = Schedule(definition.func)
        try:
            Trace.apply_json_to_schedule(choice["trace"], schedule)
        except Exception as error:  # any of TVM's
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            hint = "codesign tune, which finds another"
            raise InputError.at(task.where, f"its trace does not fit: {reason}", hint=hint) from error
        return Definition(schedule.mod["main"], definition.arguments)


def layouts(task: Task, cpu: Cpu) -> list[dict[str, Any]]:
    """What a search may start from, the most promising first: choices without a trace."""
    from codesign.backends.tvm.templates.dot import Dot

    lanes = list(dict.fromkeys(choice["lanes"] for choice in Dot().choices(task, cpu)))
    dots = [{"template": MetaSchedule.name, "layout": DOT, "lanes": n} for n in lanes[:1]]
    return [*dots, {"template": MetaSchedule.name, "layout": PLAIN}]


def start(task: Task, cpu: Cpu, choice: Choice) -> Definition:
    """The definition that the trace of a choice is for. Raises InputError for a layout that is unknown or misfits."""
    match choice.get("layout"):
        case "plain":
            return _in_registers(define(task, cpu))
        case "dot":
            return _in_registers(dot_sums(task, cpu, int(choice.get("lanes", 0))))
    raise InputError.at(task.where, f"the layout {choice.get('layout')!r}", f"{PLAIN}, {DOT}")


def intrinsic(task: Task, cpu: Cpu, choice: Choice) -> str:
    """The tensor intrinsic of a layout, registered; empty where it has none."""
    return dot_intrinsic(task, cpu, int(choice["lanes"])) if choice["layout"] == DOT else ""


def _in_registers(definition: Definition) -> Definition:
    """With every stage but the output in scope local: LLVM then keeps what is small in registers."""
    schedule = Schedule(definition.func)
    for block in schedule.get_child_blocks(schedule.get_sblock("root"))[:-1]:
        schedule.set_scope(block, 0, "local")
    return Definition(schedule.mod["main"], definition.arguments)
