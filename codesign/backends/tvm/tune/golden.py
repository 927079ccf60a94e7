"""What a task must compute: its nodes evaluated one by one, on inputs as they lie in a kernel's memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from codesign.backends.tvm.storage import Storage
from codesign.backends.tvm.task import Task
from codesign.ir.graph import Const
from codesign.ir.ops import Arg
from codesign.ir.types import IntArray, Values

FRAMES = 2
UNTOUCHED = 0xA5  # every byte that a kernel must not write
JUNK = 0x5A  # bytes that may be read, and must not matter

Flat = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Frame:
    """One evaluation in memory: every input; the output's memory before and after."""

    inputs: Mapping[str, Flat]
    before: Flat
    after: Flat


def golden(task: Task, feeds: Mapping[str, IntArray]) -> IntArray:
    """The task's output for its inputs, the first axis of each being the batch: the graph's own evaluation."""
    values: dict[str, Values] = {name: np.asarray(feeds[name], dtype=np.int64) for name in task.inputs}
    for node in task.nodes:
        inputs = [values[name] if name in values else task.consts[name] for name in node.inputs]
        values[node.name] = node.op.evaluate(inputs, [_arg(task, name) for name in node.inputs])
    result = values[task.output if task.nodes else task.inputs[0]]
    return np.asarray(result, dtype=np.int64)


def _arg(task: Task, name: str) -> Arg:
    if name in task.consts:
        const = Const.of(task.consts[name])
        return Arg(const.type, const.value)
    return Arg(task.types[name])


def frames(task: Task, seed: int = 0) -> list[Frame]:
    """Inputs and outputs of the task: the first frame uniformly random, the others of smallest and largest values."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, IntArray] = {}
    for name in task.inputs:
        type_ = task.types[name]
        steps = rng.integers(0, type_.dtype.count, (FRAMES, *type_.shape))
        steps[1:] = np.where(steps[1:] * 2 < type_.dtype.count, 0, type_.dtype.count - 1)
        feeds[name] = type_.dtype.lo + type_.dtype.step * steps
    outputs = golden(task, feeds)
    storage = task.storage[task.output]
    result = []
    for i in range(FRAMES):
        inputs = {name: _input(task.storage[name], feeds[name][i]) for name in task.inputs}
        before = np.full(storage.bytes, UNTOUCHED, dtype=np.uint8).view(storage.dtype)
        result.append(Frame(inputs, before, _output(storage, outputs[i])))
    return result


def _input(storage: Storage, values: IntArray) -> Flat:
    flat = storage.store(values)
    if storage.tail:
        flat[-storage.tail :] = np.full(storage.tail * storage.itemsize, JUNK, dtype=np.uint8).view(storage.dtype)
    return flat


def _output(storage: Storage, values: IntArray) -> Flat:
    """The output's memory when only the tensor was written, neither border nor tail."""
    flat = np.full(storage.bytes, UNTOUCHED, dtype=np.uint8).view(storage.dtype)
    inside = np.lib.stride_tricks.as_strided(
        flat[storage.origin :], storage.shape, [stride * storage.itemsize for stride in storage.strides]
    )
    inside[...] = (values - storage.offset).astype(storage.dtype)
    return flat
