"""Families of schedules, one per file; each offers choices for the tasks that it fits."""

from __future__ import annotations

from collections.abc import Sequence

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Definition
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice, Template
from codesign.backends.tvm.templates.depthwise import Depthwise
from codesign.backends.tvm.templates.dot import Dot
from codesign.backends.tvm.templates.interleaved import Interleaved
from codesign.backends.tvm.templates.lanes import Lanes
from codesign.backends.tvm.templates.loops import Loops
from codesign.backends.tvm.templates.metaschedule import MetaSchedule
from codesign.backends.tvm.templates.narrow import Narrow
from codesign.backends.tvm.templates.widening import Widening
from codesign.errors import InputError

# The likely best first. The last one offers nothing: its choices come from the records.
TEMPLATES: tuple[Template, ...] = (
    Lanes(), Dot(), Narrow(), Widening(), Interleaved(), Depthwise(), Loops(), MetaSchedule(),
)  # fmt: skip


def choices(task: Task, cpu: Cpu) -> list[Choice]:
    """Every schedule worth trying, the best guess first; there is always one."""
    return [choice for template in TEMPLATES for choice in template.choices(task, cpu)]


def make(task: Task, cpu: Cpu, choice: Choice) -> Definition:
    """The scheduled kernel. Raises InputError for an unknown template or a choice that does not fit the task."""
    names: Sequence[str] = [template.name for template in TEMPLATES]
    if choice.get("template") not in names:
        found = f"the template {choice.get('template')!r}"
        raise InputError.at(f"schedule of {task.where}", found, ", ".join(names))
    return next(t for t in TEMPLATES if t.name == choice["template"]).make(task, cpu, choice)
