"""What a template is: a family of schedules for one kind of kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Definition
from codesign.backends.tvm.task import Task

Choice = Mapping[str, Any]
"""A template by name, and what it leaves open: plain data, `{"template": "dot", "columns": 8, …}`."""


class Template(Protocol):
    """Kernels for the tasks that it fits.

    choices  every schedule worth trying, the best guess first; empty where the template does not fit the task
    make     the scheduled function of one choice. Raises InputError for a choice that does not fit
    """

    name: str

    def choices(self, task: Task, cpu: Cpu) -> Sequence[Choice]: ...

    def make(self, task: Task, cpu: Cpu, choice: Choice) -> Definition: ...


@runtime_checkable
class Contender(Template, Protocol):
    """A template that is the best only for some of the tasks that it fits: for the others its guesses come last."""

    def leads(self, task: Task, cpu: Cpu) -> bool: ...


def ordered(templates: Sequence[Template], task: Task, cpu: Cpu) -> list[Template]:
    """The likely best for a task first."""
    return sorted(templates, key=lambda t: isinstance(t, Contender) and not t.leads(task, cpu))
