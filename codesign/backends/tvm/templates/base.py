"""What a template is: a family of schedules for one kind of kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Definition
from codesign.backends.tvm.task import Task
from codesign.errors import Diagnostic, InputError, raise_all

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


def expect_offered(where: str, choice: Choice, offered: Sequence[Choice]) -> None:
    """Raise InputError, with every key, unless `choice` has the keys of a choice offered, each with an offered value.

    The values may be put together in another way than in any choice offered.
    """
    forms = list(dict.fromkeys(tuple(other) for other in offered))
    if not forms:
        return
    place = f"schedule of {where}"
    form = next((keys for keys in forms if set(keys) == set(choice)), None)
    if form is None:
        nearest = min(forms, key=lambda keys: len(set(keys) ^ set(choice)))
        found = [Diagnostic(place, f"no key {key!r}", ", ".join(nearest)) for key in nearest if key not in choice]
        found += [Diagnostic(place, f"unknown key {key!r}", ", ".join(nearest)) for key in choice if key not in nearest]
        raise InputError(*found)
    problems = []
    for key in form:
        values = [repr(other[key]) for other in offered if key in other]  # repr: True is no 1
        if repr(choice[key]) not in values:
            allowed = ", ".join(sorted(set(values), key=lambda text: (len(text), text)))
            problems.append(Diagnostic(place, f"{key} is {choice[key]!r:.60}", allowed))
    raise_all(InputError, problems)
