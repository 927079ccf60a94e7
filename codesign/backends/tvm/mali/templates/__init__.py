"""Schedules for GPUs: every family by its name."""

from __future__ import annotations

from collections.abc import Mapping

from codesign.backends.tvm.mali.gpu import Gpu
from codesign.backends.tvm.mali.templates.base import Template
from codesign.backends.tvm.mali.templates.depthwise import Depthwise
from codesign.backends.tvm.mali.templates.each import Each
from codesign.backends.tvm.mali.templates.products import Products
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.errors import InputError

TEMPLATES: Mapping[str, Template] = {t.name: t for t in (Products(), Depthwise(), Each())}


def choices(task: Task, gpu: Gpu) -> list[Choice]:
    """Every schedule of the first template that fits the task; `Each` fits all."""
    for template in TEMPLATES.values():
        found = list(template.choices(task, gpu))
        if found:
            return found
    raise AssertionError(f"{task.where}: no template")


def template_of(task: Task, choice: Choice) -> Template:
    """The template that a choice names. Raises InputError for one that there is not."""
    name = choice.get("template")
    if name not in TEMPLATES:
        raise InputError.at(task.where, f"a schedule of the template {name!r}", ", ".join(TEMPLATES))
    return TEMPLATES[str(name)]
