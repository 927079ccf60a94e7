"""The network as OpenCL sees it: buffers, kernels, and the order in which they run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codesign.backends.tvm.definition import Tensor
from codesign.backends.tvm.mali.source import Kernel, kernel_of
from codesign.backends.tvm.mali.templates import template_of
from codesign.backends.tvm.plan import Plan
from codesign.backends.tvm.storage import NO_BORDER
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice

ALIGNMENT = 64  # of constants within their file

Choices = Mapping[str, Choice]  # by the output of the task


@dataclass(frozen=True, eq=False)
class Buffer:
    """Memory of its own.

    name    of the tensor; of a constant: which kernel reads it as what
    kind    `input`, `output`, `tensor` or `constant`
    dtype   of an element, as NumPy names it
    fill    what all of it holds before the first frame: the border is never written again
    offset  of a constant: bytes from the beginning of the constants' file; else -1
    values  of a constant
    """

    name: str
    kind: str
    dtype: str
    bytes: int
    fill: int = 0
    offset: int = -1
    values: np.ndarray[Any, Any] | None = None


@dataclass(frozen=True)
class Step:
    """One start of a kernel: `arguments` are indices of buffers, the last one is written.

    layers  the user's names of what it computes
    """

    kernel: str
    task: Task
    arguments: tuple[int, ...]
    layers: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Network:
    """Everything that is needed to run a network with OpenCL.

    kernels  by name, in the order of their first use
    inputs, outputs  indices of buffers, in the order of the graph's ports
    """

    buffers: tuple[Buffer, ...]
    kernels: Mapping[str, Kernel]
    steps: tuple[Step, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def constants(self) -> bytes:
        """The content of the constants' file."""
        last = max((b.offset + b.bytes for b in self.buffers if b.values is not None), default=0)
        data = bytearray(last)
        for buffer in self.buffers:
            if buffer.values is not None:
                data[buffer.offset : buffer.offset + buffer.bytes] = buffer.values.tobytes()
        return bytes(data)


def network_of(plan: Plan, choices: Choices, progress: Callable[[int, int], None] = lambda *_: None) -> Network:
    """The plan with a schedule for each of its tasks."""
    buffers = _tensors(plan)
    index = {buffer.name: i for i, buffer in enumerate(buffers)}
    known: dict[tuple[str, bytes], int] = {}
    kernels: dict[str, Kernel] = {}
    names: dict[str, str] = {}
    steps = []
    for i, task in enumerate(plan.tasks):
        progress(i, len(plan.tasks))
        choice = choices[task.output]
        definition = template_of(task, choice).make(task, choice)
        kernel = kernel_of(definition)
        name = names.setdefault(kernel.symbol, _name(len(names), task))
        kernels[name] = kernel
        arguments = []
        for argument in definition.arguments:
            if isinstance(argument, Tensor):
                arguments.append(index[plan.buffers[argument.name]])
                continue
            key = (str(argument.dtype), argument.tobytes())
            if key not in known:
                known[key] = len(buffers)
                buffers.append(_constant(f"{name}.{len(arguments)}", argument, buffers))
            arguments.append(known[key])
        layers = tuple(dict.fromkeys(node.where for node in task.nodes)) or (task.where,)
        steps.append(Step(name, task, tuple(arguments), layers))
    inputs = tuple(index[port.name] for port in plan.graph.inputs)
    return Network(tuple(buffers), kernels, tuple(steps), inputs, tuple(index[name] for name in plan.outputs))


def _tensors(plan: Plan) -> list[Buffer]:
    """One buffer per tensor that has memory of its own. None is reused: the borders keep what they were filled with."""
    inputs = {port.name for port in plan.graph.inputs}
    used = [*inputs, *(name for task in plan.tasks for name in (*task.inputs, task.output))]
    roots = dict.fromkeys(plan.buffers[name] for name in used)
    buffers = []
    for name in roots:
        storage = plan.storage[name]
        kind = "input" if name in inputs else "output" if name in plan.outputs else "tensor"
        fill = storage.border_value - storage.offset if storage.border != NO_BORDER else 0
        buffers.append(Buffer(name, kind, storage.dtype, storage.bytes, fill))
    return buffers


def _constant(name: str, values: np.ndarray[Any, Any], buffers: Sequence[Buffer]) -> Buffer:
    last = max((b.offset + b.bytes for b in buffers if b.values is not None), default=0)
    offset = -(-last // ALIGNMENT) * ALIGNMENT
    return Buffer(name, "constant", str(values.dtype), values.nbytes, offset=offset, values=values)


def _name(number: int, task: Task) -> str:
    """A kernel's name: its number, and what it computes."""
    anchor = task.anchor or (task.nodes[-1] if task.nodes else None)
    what = type(anchor.op).__name__.lower() if anchor is not None else "copy"
    return f"k{number}_{re.sub(r'[^a-z0-9]', '', what)}"
