"""What a work-item does, counted from the task and its tile: loads, products, registers.

Counted as a driver's compiler would leave it: a value that several products use is loaded once per step of the inner
loop, and loads of neighbours are one instruction of up to 16 bytes. Instructions of a rescaling are a rough figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codesign.backends.tvm.mali.templates.base import Work
from codesign.backends.tvm.mali.templates.work import grid
from codesign.backends.tvm.storage import element
from codesign.backends.tvm.task import ALONE, Task
from codesign.ir.ops import Add, AvgPool2d, Conv2d, Dense, Lookup, MaxPool2d, Mul, Requant, Threshold
from codesign.ir.types import IntArray, IntType

DOT = 4  # bytes that the dot product instruction multiplies
LOAD_BYTES = 16  # of one load instruction
RESCALE = 8  # instructions: conversion, product, sum, conversion, two limits, an offset, the narrowing
SOFTMAX = 160  # of 64-bit arithmetic for a row, and as many again per element
STEP = 4  # instructions of the inner loop itself: addresses, counter, branch
FIXED_REGISTERS = 10  # addresses and loop counters


@dataclass(frozen=True)
class _Inner:
    """The inner loop: how often, and per step what is loaded, multiplied, converted, and alive."""

    rounds: int
    input_loads: int
    input_bytes: int
    weight_loads: int
    weight_bytes: int
    macs: int
    others: int
    registers: int


def counted(task: Task, rows: int, channels: int, local: Sequence[int], *, dot: bool, vector: bool) -> Work:
    """The work of a task whose work-items compute rows x channels of the output.

    dot     whether products are made by the dot product instruction
    vector  whether neighbouring channels are loaded together
    """
    shape = task.types[task.output].shape
    inner = _inner(task, rows, channels, dot, vector)
    sides = _sides(task, rows, channels, vector)
    constants = sum(v.size * _bytes(IntType.smallest(int(v.min()), int(v.max()))) for v in task.consts.values())
    tensors = sum(task.storage[name].bytes for name in (*task.inputs, task.output))
    lx, ly, lz = (int(n) for n in local)
    return Work(
        grid=grid(shape, rows, channels),
        local=(lx, ly, lz),
        rounds=inner.rounds + 1,
        macs=inner.rounds * inner.macs,
        dot=dot,
        others=inner.rounds * (inner.others + STEP) + rows * channels * _epilogue(task),
        input_loads=inner.rounds * inner.input_loads + sides,
        weight_loads=inner.rounds * inner.weight_loads + sides,
        input_bytes=inner.rounds * inner.input_bytes + rows * channels * (len(task.inputs) - 1),
        weight_bytes=inner.rounds * inner.weight_bytes + 8 * channels,  # multiplier and offset of each channel
        stores=rows * (-(-channels // LOAD_BYTES) if vector else channels),
        registers=inner.registers + FIXED_REGISTERS,
        group_bytes=_group_bytes(task, inner, rows, channels, (lx, ly, lz)),
        kernel_bytes=constants,
        kernel_tensor_bytes=tensors,
    )


def _bytes(dtype: IntType) -> int:
    return int(np.dtype(element(dtype)).itemsize)


def _loads(elements: int, size: int, vector: bool) -> int:
    return -(-elements * size // LOAD_BYTES) if vector else elements


def _inner(task: Task, rows: int, channels: int, dot: bool, vector: bool) -> _Inner:
    anchor = task.anchor
    op = anchor.op if anchor is not None else None
    tile = rows * channels
    if anchor is None or not isinstance(op, (Conv2d, Dense, MaxPool2d, AvgPool2d, *ALONE)):
        return _Inner(0, 0, 0, 0, 0, 0, 0, tile)
    size = task.storage[anchor.inputs[0]].itemsize
    if isinstance(op, ALONE):
        row = task.types[anchor.inputs[0]].channels
        return _Inner(3 * row, 1, size, 1, 4, 0, SOFTMAX // 4, 16)
    if isinstance(op, MaxPool2d | AvgPool2d):
        window = op.kernel[0] * op.kernel[1]
        return _Inner(window, _loads(channels, size, vector), channels * size, 0, 0, 0, 2 * channels, 2 * channels)
    weights = task.consts[anchor.inputs[1]]
    kernel = weights.shape[1] * weights.shape[2] if isinstance(op, Conv2d) else 1
    per_group = weights.shape[-1]
    width = _bytes(IntType.smallest(int(weights.min()), int(weights.max())))
    if isinstance(op, Conv2d) and op.groups > 1:  # neighbouring channels have inputs of their own
        kw = weights.shape[2]  # a kernel row at once: neighbouring windows share its columns
        columns = (rows - 1) * op.stride[1] + kw if op.dilation[1] == 1 else rows * kw
        return _Inner(
            rounds=kernel // kw * per_group,
            input_loads=columns * _loads(channels, size, vector),
            input_bytes=columns * channels * size,
            weight_loads=kw * _loads(channels, width, vector),
            weight_bytes=kw * channels * width,
            macs=kw * tile,
            others=(columns + kw) * channels,
            registers=tile + (columns + 1) * channels,
        )
    if dot:
        words = _loads(4 * channels, width, True)
        alive = tile + rows + channels
        return _Inner(dot_words(op, weights), rows, 4 * rows, words, 4 * channels, 4 * tile, 0, alive)
    step = 4 if per_group % 4 == 0 and vector else 1
    weight_loads = step * _loads(channels, width, vector)
    moved = step * rows * size
    alive = tile + rows * step + channels
    others = step * (rows + channels)  # operands of 8 bits as 32
    return _Inner(
        kernel * per_group // step, rows, moved, weight_loads, step * channels * width, step * tile, others, alive
    )


def dot_words(op: Any, weights: IntArray) -> int:
    """Dot products of one sum."""
    if not isinstance(op, Conv2d):
        return -(-int(weights.shape[-1]) // DOT)
    _, kh, kw, depth = weights.shape
    if depth % DOT and op.dilation[1] == 1:
        return int(kh * -(-kw * depth // DOT))
    return int(kh * kw * -(-depth // DOT))


def _sides(task: Task, rows: int, channels: int, vector: bool) -> int:
    """Loads of the fused operators, from tensors, and as many from constants."""
    operands = max(len(task.inputs) - (1 if task.anchor is not None else 0), 0)
    return max(1, operands) * rows * _loads(channels, 1, vector)


def _epilogue(task: Task) -> int:
    """Instructions per element of the output."""
    total = 1
    for node in task.nodes:
        match node.op:
            case Requant():
                total += RESCALE
            case Threshold():
                total += min(2 * (node.op.out.count - 1), RESCALE)
            case Add() | Mul():
                total += 2
            case Lookup():
                total += 3
            case _:
                total += 2
    return total


def _group_bytes(task: Task, inner: _Inner, rows: int, channels: int, local: tuple[int, int, int]) -> int:
    """Bytes that a group reads, each once: weights of its channels, inputs under its windows."""
    lx, ly, lz = local
    anchor = task.anchor
    elements = lx * ly * lz * rows * channels
    if anchor is None or not isinstance(anchor.op, Conv2d | Dense | MaxPool2d | AvgPool2d):
        return elements * len(task.inputs)
    type_, size = task.types[anchor.inputs[0]], task.storage[anchor.inputs[0]].itemsize
    weight_bytes = lx * inner.rounds * inner.weight_bytes
    if isinstance(anchor.op, Dense):
        return weight_bytes + ly * rows * lz * type_.channels * size
    op = anchor.op
    kernel = op.kernel if not isinstance(op, Conv2d) else task.consts[anchor.inputs[1]].shape[1:3]
    high = (lz - 1) * op.stride[0] + kernel[0]
    wide = (ly * rows - 1) * op.stride[1] + kernel[1]
    alike = isinstance(op, Conv2d) and op.groups == 1
    deep = type_.channels if alike else lx * channels
    return weight_bytes + high * wide * deep * size
