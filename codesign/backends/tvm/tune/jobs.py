"""What the workers are given and give back, as files: pickled, since both sides are codesign's own."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.task import Task

if TYPE_CHECKING:
    from codesign.backends.tvm.definition import Argument
    from codesign.backends.tvm.templates.base import Choice, Template


@dataclass(frozen=True, eq=False)
class Job:
    """Choices to be compiled into `folder`; `numbers` are those still to be done."""

    task: Task
    cpu: Cpu
    choices: Sequence[Choice]
    numbers: Sequence[int]
    templates: Sequence[Template]
    folder: Path


@dataclass(frozen=True, eq=False)
class Built:
    """What became of a choice: its code and how it is called, or the reason why there is none."""

    symbol: str = ""
    steps: int = 0
    path: Path = Path()
    arguments: tuple[Argument, ...] = ()
    error: str = ""


@dataclass(frozen=True, eq=False)
class MetaJob:
    """One search of MetaSchedule's: `layout` is a choice without a trace; `batch` candidates are measured together."""

    task: Task
    cpu: Cpu
    layout: Choice
    trials: int
    batch: int
    population: int
    seed: int


def write_whole(path: Path, data: object) -> None:
    """Pickle `data` into `path`, which is there when it is whole."""
    aside = path.with_suffix(".aside")
    aside.write_bytes(pickle.dumps(data))
    aside.rename(path)
