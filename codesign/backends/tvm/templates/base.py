"""What a template is: a family of schedules for one kind of kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

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
