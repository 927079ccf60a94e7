"""Conv2d and Dense on ARM cores without a dot product: SMULL, SMLAL2 and SADALP over 16 bytes of a window's row.

Each output has four 32-bit sums in a register, of which lane l adds the products of the bytes 2l, 2l + 1, 8 + 2l and
9 + 2l; three ADDP make four outputs' sums of four such registers. Rows of windows are read as dot.py does, in 16 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import te
from tvm.s_tir import Schedule

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Builder, Definition, Expr
from codesign.backends.tvm.rules.elementwise import elementwise
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.backends.tvm.templates.dot import (
    Windows,
    _input,
    _narrow,
    _pixel,
    raw_bias,
    window_weights,
    windows_of,
)  # fmt: skip
from codesign.backends.tvm.templates.neon import SUMS, WIDTH, across, widening_dot
from codesign.errors import InputError

REGISTERS = 24  # accumulators; the others hold an activation, weights and products
MOST_CHANNELS = 32


class Widening:
    """A tile of rows x columns pixels and `blocks` times four channels is kept in registers."""

    name = "widening"

    def choices(self, task: Task, cpu: Cpu) -> Sequence[Choice]:
        windows = _fitting(task, cpu)
        if windows is None:
            return []
        outputs = task.types[task.output].shape[-1]
        ranked = []
        for blocks in _divisors(-(-outputs // SUMS), MOST_CHANNELS // SUMS):
            for rows in _divisors(windows.rows, 8):
                for columns in _divisors(windows.columns, REGISTERS // SUMS):
                    pixels = rows * columns
                    if pixels * blocks * SUMS <= REGISTERS:
                        choice = {"template": self.name, "rows": rows, "columns": columns, "blocks": blocks}
                        ranked.append((_cost(pixels, blocks * SUMS), choice))
        ranked.sort(key=lambda pair: pair[0])
        return [choice for _, choice in ranked]

    def make(self, task: Task, cpu: Cpu, choice: Choice) -> Definition:
        windows = _fitting(task, cpu)
        if windows is None:
            raise InputError.at(task.where, f"the schedule {dict(choice)}", "one that fits the layer and the core")
        rows, columns, blocks = (int(choice[key]) for key in ("rows", "columns", "blocks"))
        builder = Builder(task, cpu)
        total, pairs = _sums(builder, windows)
        definition = builder.finish(elementwise(builder, _pixel(total, SUMS), raw_bias(task)))
        schedule = Schedule(definition.func)
        at = _tiles(schedule, rows, columns, blocks)
        for block in reversed(schedule.get_child_blocks(schedule.get_sblock("root"))):
            if schedule.get(block).name_hint.startswith("stage"):
                schedule.compute_at(block, at, preserve_unit_loops=True)
                schedule.set_scope(block, 0, "local")
        for name in ("total", "acc"):
            schedule.compute_at(schedule.get_sblock(name), at, preserve_unit_loops=True)
            schedule.set_scope(schedule.get_sblock(name), 0, "local")
        _add_across(schedule)
        _accumulate(schedule, widening_dot(pairs))
        return Definition(schedule.mod["main"], definition.arguments)


def _fitting(task: Task, cpu: Cpu) -> Windows | None:
    windows = windows_of(task)
    if cpu.arch != "aarch64" or windows is None or not _narrow(task, cpu):
        return None
    readable = -windows.width % WIDTH <= task.storage[_input(task)].tail
    even = task.types[task.output].shape[-1] % SUMS == 0
    return windows if readable and even else None


def _sums(builder: Builder, windows: Windows) -> tuple[te.Tensor, bool]:
    """The sums of stored elements (rows, columns, channels / 4, 4), and whether products may be added in 16 bits."""
    task = builder.task
    name = _input(task)
    weights = window_weights(task, windows, WIDTH)
    outputs, kh, kw, width = weights.shape
    weights = np.pad(weights, ((0, -outputs % SUMS), (0, 0), (0, 0), (0, 0)))
    packed = weights.reshape(-1, SUMS, kh, kw, width // WIDTH, 2, SUMS, 2).transpose(0, 2, 3, 4, 1, 5, 6, 7)
    w = builder.constant("weights", packed.astype(np.int8))
    storage = task.storage[name]
    row = storage.strides[0] if len(storage.shape) == 3 else windows.step * windows.columns
    height = (windows.rows - 1) * windows.rows_step + (kh - 1) * windows.tap_rows + 1
    length = (windows.columns - 1) * windows.step + (kw - 1) * windows.tap_bytes + width
    x = builder.view(name, (height, length), (row, 1), windows.start)
    sizes = {"kh": kh, "kw": kw, "j": width // WIDTH, "half": 2, "i": 2}
    axes = [te.reduce_axis((0, n), label) for label, n in sizes.items()]
    ky, kx, j, half, i = axes

    def partial(h: Expr, v: Expr, o: Expr, c: Expr, lane: Expr) -> Expr:
        byte = v * windows.step + kx * windows.tap_bytes + j * WIDTH + half * 8 + lane * 2 + i
        element = x(h * windows.rows_step + ky * windows.tap_rows, byte)
        return te.sum(element.astype("int32") * w(o, ky, kx, j, c, half, lane, i).astype("int32"), axis=axes)

    shape = (windows.rows, windows.columns, packed.shape[0], SUMS)
    acc = te.compute((*shape, SUMS), partial, "acc")
    lane = te.reduce_axis((0, SUMS), "lane")
    return te.compute(shape, lambda *at: te.sum(acc(*at, lane), axis=lane), "total"), int(weights.min()) > -128


def _tiles(schedule: Schedule, rows: int, columns: int, blocks: int) -> object:
    """Tiles of the output, its channels in one vector; the loop that a tile's sums belong into."""
    out = schedule.get_sblock("out")
    while len(schedule.get_loops(out)) < 3:  # (O) and (N, O) as images of one row
        schedule.add_unit_loop(schedule.get_loops(out)[0])
    h, w, o = schedule.get_loops(out)
    outer_h, inner_h = schedule.split(h, [None, rows])
    outer_w, inner_w = schedule.split(w, [None, columns])
    outer_o, inner_o = schedule.split(o, [None, blocks * SUMS])
    schedule.reorder(outer_o, outer_h, outer_w, inner_h, inner_w, inner_o)
    schedule.vectorize(inner_o)
    schedule.parallel(schedule.fuse(outer_o, outer_h))
    for loop in (inner_h, inner_w):
        schedule.unroll(loop)
    return outer_w


def _add_across(schedule: Schedule) -> None:
    """Four sums of a register each become four sums in one."""
    total = schedule.get_sblock("total")
    h, w, o, c, lane = schedule.get_loops(total)[-5:]
    for loop in (h, w, o):
        schedule.unroll(loop)
    init = schedule.decompose_reduction(total, h)
    _unrolled(schedule, init, 3)
    schedule.tensorize(c, across())


def _accumulate(schedule: Schedule, intrinsic: str) -> None:
    """The sums in registers: every loop over accumulators unrolled inside the reduction."""
    acc = schedule.get_sblock("acc")
    h, w, o, c, lane, ky, kx, j, half, i = schedule.get_loops(acc)[-10:]
    schedule.reorder(ky, kx, j, o, c, h, w, lane, half, i)
    for loop in (h, w, o, c):
        schedule.unroll(loop)
    init = schedule.decompose_reduction(acc, ky)
    _unrolled(schedule, init, 4)
    schedule.tensorize(lane, intrinsic)


def _unrolled(schedule: Schedule, init: object, loops: int) -> None:
    *outer, last = schedule.get_loops(init)
    schedule.vectorize(last)
    for loop in outer[len(outer) - loops :]:
        schedule.unroll(loop)


def _divisors(n: int, most: int) -> list[int]:
    return [d for d in range(1, min(n, most) + 1) if n % d == 0]


def _cost(pixels: int, channels: int) -> float:
    """Instructions per product of 16 bytes, of which a load and the sum across the lanes are shared."""
    return 3 + (pixels + channels) / (pixels * channels)
