"""Weights of 1, 2 or 4 bits: several in a byte of memory, unpacked in registers by two shifts."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import tirx
from tvm.s_tir import Schedule

from codesign.backends.tvm.definition import Expr, integer
from codesign.backends.tvm.task import Task
from codesign.ir.types import IntArray

BYTE = 8


def widths_of(task: Task) -> list[int]:
    """The bits that hold every weight of the anchor: the fewest first, 8 last. One bit holds -1 and 1."""
    assert task.anchor is not None
    weights = task.consts[task.anchor.inputs[1]]
    found = []
    for bits in (1, 2, 4, BYTE):
        low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        if bool((np.abs(weights) == 1).all()) if bits == 1 else low <= weights.min() and weights.max() <= high:
            found.append(bits)
    return found


def pack(weights: IntArray, axis: int, bits: int) -> np.ndarray[Any, np.dtype[np.int8]]:
    """Neighbours along an axis, a multiple of 8 / bits of them, in one byte: the first in the lowest bits.

    One bit is set for -1; others hold the two's complement.
    """
    if bits == BYTE:
        return weights.astype(np.int8)
    each = BYTE // bits
    moved = np.moveaxis(weights, axis, 0)
    fields = (moved < 0).astype(np.int64) if bits == 1 else moved & ((1 << bits) - 1)
    grouped = fields.reshape(-1, each, *fields.shape[1:])
    total = sum(grouped[:, i] << (bits * i) for i in range(each))
    return np.ascontiguousarray(np.moveaxis(np.asarray(total), 0, axis)).astype(np.uint8).view(np.int8)


def unpack(byte: Expr, position: Expr, bits: int, scaled: bool = False) -> Expr:
    """The weight at a position (along the axis, of any size) in its byte.

    scaled  times 2^(8 - bits) instead, which saves a shift; not for one bit
    """
    if bits == BYTE:
        return byte
    above = integer(BYTE - bits, "int32") - tirx.floormod(position, BYTE // bits) * bits
    raised = byte << above.astype("int8")
    if scaled:
        return raised & integer(-(1 << (BYTE - bits)), "int8")
    field = raised >> integer(BYTE - bits, "int8")
    return field | integer(1, "int8") if bits == 1 else field


def unpack_at(schedule: Schedule, loop: Any, axes: int) -> None:
    """The block "unpacked" in a loop of its reader's, its last `axes` axes a register of sixteen weights."""
    block = schedule.get_sblock("unpacked")
    schedule.compute_at(block, loop, preserve_unit_loops=True)
    own = schedule.get_loops(block)[-len(schedule.get(block).iter_vars) :]
    for other in own[:-axes]:
        schedule.unroll(other)
    schedule.vectorize(schedule.fuse(*own[-axes:]) if axes > 1 else own[-1])
