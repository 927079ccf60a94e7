"""Which part of the output a work-item computes: what all templates schedule alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tvm.s_tir import Schedule
from tvm.tirx import IterVar

from codesign.backends.tvm.mali.templates.base import MOST_ITEMS

LANES = (16, 8, 4, 2)  # of OpenCL's vectors, but for 3
MOST_ROWS = 8


def divisors(n: int, most: int) -> list[int]:
    """The divisors of n up to `most`, the largest first."""
    return [d for d in range(min(n, most), 0, -1) if n % d == 0]


def grid(shape: Sequence[int], rows: int, channels: int) -> tuple[int, int, int]:
    """Work-items along x (the last axis), y (the last but one) and z (all others), where each has rows x channels."""
    y = shape[-2] // rows if len(shape) > 1 else 1
    z = 1
    for size in shape[:-2]:
        z *= size
    return shape[-1] // channels, y, z


def groups(items: tuple[int, int, int]) -> Iterator[tuple[int, int, int]]:
    """Sizes of work-groups that divide the grid; small ones only where the grid is small."""
    x, y, z = items
    least = min(16, x * y * z)
    found = False
    for lx in divisors(x, 64):
        for ly in divisors(y, MOST_ITEMS // lx):
            for lz in divisors(z, MOST_ITEMS // (lx * ly)):
                if lx * ly * lz >= least:
                    found = True
                    yield lx, ly, lz
    if not found:  # prime sizes
        yield divisors(x, 64)[0], divisors(y, 1)[0], divisors(z, 1)[0]


def divide(schedule: Schedule, rows: int, channels: int, local: Sequence[int]) -> list[Any]:
    """Bind the output: `rows` neighbours of the last axis but one and `channels` of the last per work-item.

    local  work-items of a group along x, y, z, as `grid` counts them

    Returns the loop that everything else of a work-item is computed at, then its loops over rows and channels.
    """
    loops = schedule.get_loops(schedule.get_sblock("out"))
    x, channel = schedule.split(loops[-1], [None, channels])
    y, row = schedule.split(loops[-2], [None, rows]) if len(loops) > 1 else (None, None)
    z = schedule.fuse(*loops[:-2]) if len(loops) > 2 else None
    bound, items = [], []
    for loop, n, axis in zip((x, y, z), local, "xyz", strict=True):
        if loop is not None:
            group, item = schedule.split(loop, [None, n])
            bound.append((group, item, axis))
            items.append(item)
    inner = [loop for loop in (row, channel) if loop is not None]
    schedule.reorder(*(group for group, _, _ in reversed(bound)), *reversed(items), *inner)
    for group, item, axis in bound:
        schedule.bind(group, f"blockIdx.{axis}")
        schedule.bind(item, f"threadIdx.{axis}")
    return [items[0], *inner]


def stages(schedule: Schedule) -> list[Any]:
    """The blocks before the output."""
    return list(schedule.get_child_blocks(schedule.get_sblock("root"))[:-1])


def sums(schedule: Schedule, block: Any) -> int:
    """How many of the block's axes are summed over; they are its last."""
    return sum(int(axis.iter_type) == IterVar.CommReduce for axis in schedule.get(block).iter_vars)


def at_once(schedule: Schedule, loops: Sequence[Any], vector: bool) -> None:
    """The last of the loops in vectors, or unrolled, the others unrolled: then no array is indexed by a variable."""
    for loop in loops[:-1]:
        schedule.unroll(loop)
    if vector and int(schedule.get(loops[-1]).extent) in LANES:
        schedule.vectorize(loops[-1])
    else:
        schedule.unroll(loops[-1])


def compute_inside(
    schedule: Schedule, at: Any, vector: bool, rank: int, loads: Sequence[int] = (), words: bool = False
) -> None:
    """All blocks before the output in each work-item, in registers, their tiles (the last two axes) at once.

    loads  operands of sums (0, 1) that are loaded into registers first, each once per step
    words  whether an operand is a word: a step is one of them. Otherwise a step is the innermost axis of the sums,
           along which operands are loaded in one vector; unrolled, so that neighbouring windows share what they load
    """
    for block in reversed(stages(schedule)):
        schedule.compute_at(block, at, preserve_unit_loops=True)
        schedule.set_scope(block, 0, "local")
        loops, n = schedule.get_loops(block), sums(schedule, block)
        tile = loops[len(loops) - n - min(rank, 2) : len(loops) - n]
        if n:
            over = loops[len(loops) - n :]
            schedule.reorder(*over, *tile)
            step = over[-1] if words else over[-2]
            if not words and int(schedule.get(over[-1]).extent) <= MOST_ROWS:
                schedule.unroll(over[-1])
            for operand in loads:
                read = schedule.cache_read(block, operand, "local")
                schedule.compute_at(read, step, preserve_unit_loops=True)
                inside = schedule.get_loops(read)[len(loops) - len(tile) - (not words) :]
                at_once(schedule, inside, not words)
            at_once(schedule, tile, vector)
            schedule.decompose_reduction(block, over[0])
        else:
            at_once(schedule, tile, vector)
