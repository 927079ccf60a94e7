"""What a template for GPUs is: a family of schedules for one kind of kernel, and what a work-item of it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from codesign.backends.tvm.definition import Definition
from codesign.backends.tvm.mali.gpu import Gpu
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice

MOST_ITEMS = 256  # of a work-group: what every Mali takes


@dataclass(frozen=True)
class Work:
    """What the cost model knows of a kernel before a driver's compiler has seen it, of one work-item if not said.

    grid           work-items along x (the last axis), y (the last but one), z (all others)
    local          of a group
    rounds         steps of the inner loop, each of which waits for what it loads
    macs           multiply-accumulates of 8-bit operands
    dot            whether they are made by the dot product instruction
    others         other arithmetic on 32-bit scalars: rescaling, conversions, addresses
    input_loads, weight_loads  load instructions of at most 16 bytes: of tensors; of constants, which only x decides
    input_bytes, weight_bytes  that they move
    stores         store instructions
    registers      32-bit registers that are alive in the inner loop
    group_bytes    that a group reads, each byte counted once
    kernel_bytes   that the kernel reads from constants, each counted once
    kernel_tensor_bytes   that the kernel reads from and writes to tensors, each counted once
    """

    grid: tuple[int, int, int]
    local: tuple[int, int, int]
    rounds: int
    macs: int
    dot: bool
    others: int
    input_loads: int
    weight_loads: int
    input_bytes: int
    weight_bytes: int
    stores: int
    registers: int
    group_bytes: int
    kernel_bytes: int
    kernel_tensor_bytes: int


class Template(Protocol):
    """Kernels for the tasks that it fits.

    choices  every schedule worth trying; empty where the template does not fit the task
    make     the scheduled function of one choice
    work     what its work-items do
    """

    name: str

    def choices(self, task: Task, gpu: Gpu) -> Sequence[Choice]: ...

    def make(self, task: Task, choice: Choice) -> Definition: ...

    def work(self, task: Task, choice: Choice) -> Work: ...
