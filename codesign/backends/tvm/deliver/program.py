"""A plan and its kernels as the tables that network.c walks: data, nothing of TVM's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codesign.backends.tvm.plan import ALIGNMENT, TAIL_BYTES, Plan
from codesign.backends.tvm.storage import NO_BORDER, Storage
from codesign.backends.tvm.task import MOST_POINTERS
from codesign.errors import Diagnostic, UnsupportedError, raise_all

if TYPE_CHECKING:
    from codesign.backends.tvm.codegen import Object
    from codesign.backends.tvm.definition import Argument, Definition
    from codesign.backends.tvm.task import Task

SPLIT_WORK = 40_000
"""Multiply-accumulates from which a kernel is shared between threads: to call them costs a microsecond or two."""

ELEMENT_WORK = 8


@dataclass(frozen=True)
class Kernel:
    """How one task of a plan is computed: its scheduled definition, and the object code of that."""

    definition: Definition
    object: Object


@dataclass(frozen=True)
class Address:
    """Where an argument of a kernel is.

    space   ARENA, CONSTANT, INPUT or OUTPUT
    index   of the input or output
    offset  bytes from the beginning of that memory
    """

    space: str
    index: int
    offset: int


@dataclass(frozen=True)
class Fill:
    """The border of an image in the arena as runs of elements: `before` the first row, `between` two, `after` the last.

    offset  of the memory, in bytes; row: elements of an image's row, which are left as they are; rows: of the image
    """

    offset: int
    itemsize: int
    value: int
    before: int
    row: int
    between: int
    after: int
    rows: int


@dataclass(frozen=True)
class Step:
    """One call of a kernel.

    layer      the user's layers that it computes
    symbol     the kernel; steps: of its outermost loop
    arguments  its pointers; fill: what is filled before
    split      whether threads share its steps
    macs       multiply-accumulates of one call
    """

    layer: str
    symbol: str
    steps: int
    arguments: tuple[Address, ...]
    split: bool
    fill: Fill | None
    macs: int


@dataclass(frozen=True)
class Program:
    """The network: steps in their order, the constants' bytes, the arena's size."""

    steps: tuple[Step, ...]
    constants: bytes
    arena_bytes: int


def program_of(plan: Plan, kernels: Sequence[Kernel]) -> Program:
    """The tables of `plan` with a kernel per task.

    Equal constants are stored once. Raises UnsupportedError, with every layer, for kernels of too many arguments.
    """
    found = [
        Diagnostic(
            task.where,
            f"one kernel with {len(kernel.definition.arguments)} tensors and constants",
            f"{MOST_POINTERS} at most",
            "join the tensors in several steps",
        )
        for task, kernel in zip(plan.tasks, kernels, strict=True)
        if len(kernel.definition.arguments) > MOST_POINTERS
    ]
    raise_all(UnsupportedError, found)
    constants = _Constants()
    steps = []
    for task, kernel in zip(plan.tasks, kernels, strict=True):
        addresses = tuple(_address(plan, argument, constants) for argument in kernel.definition.arguments)
        made = kernel.object
        split = made.steps > 1 and _work(task) >= SPLIT_WORK
        fill = _fill(plan, task.output)
        steps.append(Step(task.where, made.symbol, made.steps, addresses, split, fill, task.macs()))
    # Kernels read whole vectors: behind the last constant, and behind the arena's last tensor, there is something.
    return Program(tuple(steps), bytes(constants.content) + bytes(TAIL_BYTES), max(plan.arena_bytes, ALIGNMENT))


def _work(task: Task) -> int:
    """About what a kernel has to do, in multiply-accumulates: elements are worth some, they are loaded and rescaled."""
    sizes = [task.types[name].size for name in (*task.inputs, task.output)]
    return task.macs() + ELEMENT_WORK * max(sizes)


class _Constants:
    """Arrays one behind the other, each aligned, equal bytes once."""

    def __init__(self) -> None:
        self.content = bytearray()
        self._offsets: dict[bytes, int] = {}

    def offset(self, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> int:
        data = values.tobytes()
        if data not in self._offsets:
            self._offsets[data] = len(self.content)
            self.content += data + bytes(-len(data) % ALIGNMENT)
        return self._offsets[data]


def _address(plan: Plan, argument: Argument, constants: _Constants) -> Address:
    if isinstance(argument, np.ndarray):
        return Address("CONSTANT", 0, constants.offset(argument))
    name = argument.name
    root, offset = plan.buffers[name], argument.start * plan.storage[name].itemsize
    if root in plan.offsets:
        return Address("ARENA", 0, plan.offsets[root] + offset)
    inputs = [port.name for port in plan.graph.inputs]
    if root in inputs:
        return Address("INPUT", inputs.index(root), offset)
    return Address("OUTPUT", plan.outputs.index(root), offset)


def _fill(plan: Plan, output: str) -> Fill | None:
    """What of the memory of `output` its kernel does not write, but convolutions read."""
    root = plan.buffers[output]
    storage = plan.storage[root]
    return None if storage.border == NO_BORDER else fill_of(storage, plan.offsets[root])


def fill_of(storage: Storage, offset: int) -> Fill:
    """The border of an image at `offset` bytes of the arena."""
    height, width, channels = storage.shape
    _, left, below, right = storage.border
    row = storage.physical[1] * channels
    return Fill(
        offset,
        storage.itemsize,
        storage.border_value - storage.offset,
        storage.origin,
        width * channels,
        (left + right) * channels,
        right * channels + below * row,
        height,
    )
