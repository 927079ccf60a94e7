"""Tuning records: what was tried for a kernel, kept for every network that has the same one.

One file per core, `CORE+FEATURES.jsonl`, in $CODESIGN_RECORDS, else in tvm-records of the cache. One line per trial:

    {"format": 1, "key": "…", "choice": {"template": …}, "status": "exact", "cost": 5120.0, "unit": "cycle",
     "basis": "model", "reason": "", "date": "2026-01-31", "task": "conv2d 32x32x16 …"}

`key` is a digest of all that determines a kernel except the values of its constants: the task, how its constants are
kept (which shows the form of each rescaling), the weights' range, the core and its features, and KERNELS. Lines are
only ever added, each in one write under a lock, so several processes may share a store; a line cut off by a crash is
removed by the next one that writes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from codesign.backends.tvm.cpu import NATIVE, Cpu
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.backends.tvm.tune.measure import Measurer, Trial
from codesign.backends.tvm.tune.records import Record, append, records_dir, scan, told
from codesign.errors import InputError, raise_all
from codesign.ir.types import IntType
from codesign.toolchain import digest

KERNELS = 1
"""To be raised when templates change so that old costs or choices mislead."""


def record_of(task: Task, trial: Trial, key: str, measurer: Measurer) -> Record:
    """What is kept of a trial."""
    basis, unit, today = measurer.basis.value, measurer.unit, date.today().isoformat()
    return Record(key, trial.choice, trial.status, trial.cost, unit, basis, trial.reason, today, summary(task))


def key_of(task: Task, cpu: Cpu) -> str:
    """The record key of a task on a core."""
    from codesign.backends.tvm.rules import define

    constants = [a for a in define(task, cpu).arguments if isinstance(a, np.ndarray)]
    kept = [f"{a.dtype}{a.shape}" for a in constants]
    return digest(task.key(), *kept, _weights(task), core_name(cpu), str(KERNELS))


def _weights(task: Task) -> str:
    """The weights' type, and whether they hold its least value, which some instructions' products overflow with."""
    if not task.macs() or task.anchor is None:
        return ""
    weights = task.consts[task.anchor.inputs[1]]
    return str(IntType.smallest(int(weights.min()), int(weights.max())))


def core_name(cpu: Cpu) -> str:
    """The core and its features; for this machine's own, what LLVM calls it."""
    core = cpu.core
    if core == NATIVE:
        import tvm

        core = f"host-{tvm.get_global_func('target.llvm_get_system_cpu')()}"
    return "+".join([core, *sorted(cpu.extensions())])


def summary(task: Task) -> str:
    """For a reader: the operators and the output's shape."""
    names = [type(node.op).__name__.lower() for node in task.nodes] or ["copy"]
    return f"{'+'.join(names)} {'x'.join(map(str, task.types[task.output].shape))}"


class Store:
    """The records of one core. Everything is read once, when it is opened; `add` writes at once.

    InputError: a file that cannot be read or written, or lines that are no records, with how to repair it.
    """

    def __init__(self, cpu: Cpu, folder: Path | None = None) -> None:
        self.path = (folder or records_dir()) / f"{core_name(cpu)}.jsonl"
        self._records: dict[str, dict[str, Record]] = {}
        records, problems = scan(self.path)
        if problems:
            raise_all(InputError, told(self.path, problems))
        for record in records:
            self._remember(record)

    def trials(self, key: str) -> Sequence[Record]:
        """What is known of a kernel, one record for each choice: the last one."""
        return list(self._records.get(key, {}).values())

    def best(self, key: str) -> list[Record]:
        """The exact choices, the fastest first."""
        exact = [record for record in self.trials(key) if record.status == "exact"]
        return sorted(exact, key=lambda record: record.cost)

    def add(self, records: Sequence[Record]) -> None:
        """Keep these records, now and for every other process."""
        append(self.path, records)
        for record in records:
            self._remember(record)

    def _remember(self, record: Record) -> None:
        self._records.setdefault(record.key, {})[choice_text(record.choice)] = record


def choice_text(choice: Choice) -> str:
    """Equal for equal choices."""
    return json.dumps(choice, sort_keys=True)
