"""Templates that go wrong, for the tests of tuning: imported by the workers too."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tvm.s_tir import Schedule

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Builder, Definition, integer
from codesign.backends.tvm.rules.elementwise import elementwise
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.backends.tvm.templates.loops import Loops
from codesign.ir.ops import Add, Conv2d, Dense


class Wrong:
    """Adds one to the result where `by` is 1, writes behind the output where `by` is "beyond"."""

    name = "wrong"

    def choices(self, task: Task, cpu: Cpu) -> Sequence[Choice]:
        return [{"template": self.name, "by": by} for by in (0, 1)]

    def make(self, task: Task, cpu: Cpu, choice: Choice) -> Definition:
        builder = Builder(task)
        assert not isinstance(task.nodes[0].op, Conv2d | Dense)
        assert isinstance(task.nodes[-1].op, Add)
        value, by = elementwise(builder), int(choice["by"])
        definition = builder.finish(lambda index: value(index) + integer(by, "int32"))
        return Definition(Schedule(definition.func).mod["main"], definition.arguments)


class Deadly:
    """Ends the worker (`crash`), or keeps it busy for ever (`hang`), or raises."""

    name = "deadly"

    def choices(self, task: Task, cpu: Cpu) -> Sequence[Choice]:
        return [{"template": self.name, "end": end} for end in ("crash", "none", "hang", "raise")]

    def make(self, task: Task, cpu: Cpu, choice: Choice) -> Definition:
        match choice["end"]:
            case "crash":
                os.abort()
            case "hang":
                time.sleep(600)
            case "raise":
                raise RuntimeError("no such\nschedule")
        return Loops().make(task, cpu, {"template": "loops", "lanes": 1})


@dataclass(frozen=True)
class Grid:
    """A space of `side` x `side` choices, all of which are compiled as loops; tests give them costs of their own."""

    side: int
    name: str = "grid"

    def choices(self, task: Task, cpu: Cpu) -> Sequence[Choice]:
        return [{"template": self.name, "a": a, "b": b} for a in range(self.side) for b in range(self.side)]

    def make(self, task: Task, cpu: Cpu, choice: Choice) -> Definition:
        return Loops().make(task, cpu, {"template": "loops", "lanes": 1})
