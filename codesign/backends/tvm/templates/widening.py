"""Conv2d and Dense on ARM cores without a dot product: SMULL, SMLAL2 and SADALP over 16 bytes of a window's row.

Each output has four 32-bit sums in a register, of which lane l adds the products of the bytes 2l, 2l + 1, 8 + 2l and
9 + 2l; three ADDP make four outputs' sums of four such registers. Rows of windows are read as dot.py does, in 16 bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from tvm import te
from tvm.s_tir import Schedule

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Builder, Definition, Expr
from codesign.backends.tvm.rules.elementwise import elementwise
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.backends.tvm.templates.neon import SUMS, WIDTH, across, widening_dot
from codesign.backends.tvm.templates.tiles import arranged, in_registers, tile, tiled
from codesign.backends.tvm.templates.windows import (
    Windows,
    are_bytes,
    divisors,
    operands,
    patched,
    pixel,
    raw_bias,
    windows_of,
)  # fmt: skip
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
        counts = divisors(-(-outputs // SUMS), MOST_CHANNELS // SUMS)
        for blocks, patches in itertools.product(counts, patched(task, windows, WIDTH)):
            for rows in divisors(windows.rows, 8):
                for columns in divisors(windows.columns, REGISTERS // SUMS):
                    pixels = rows * columns
                    if pixels * blocks * SUMS <= REGISTERS:
                        choice = {"template": self.name, **tile(rows, columns, blocks, patches)}
                        ranked.append((_cost(windows, pixels, blocks * SUMS, patches), choice))
        ranked.sort(key=lambda pair: pair[0])
        return [choice for _, choice in ranked]

    def make(self, task: Task, cpu: Cpu, choice: Choice) -> Definition:
        windows = _fitting(task, cpu)
        patches = bool(choice.get("patches"))
        if windows is None or patches not in patched(task, windows, WIDTH):
            raise InputError.at(task.where, f"the schedule {dict(choice)}", "one that fits the layer and the core")
        builder = Builder(task, cpu)
        total, pairs = _sums(builder, windows, patches)
        definition = builder.finish(elementwise(builder, pixel(total, SUMS), raw_bias(task)))
        schedule = Schedule(definition.func)
        whole = task.types[task.output].shape[-1] % SUMS == 0
        tiled(schedule, "total", choice, whole)
        arranged(schedule, "total", 3, 0)
        arranged(schedule, "acc", 4, 3)
        in_registers(schedule, "total", 3, 0, across())
        in_registers(schedule, "acc", 4, 3, widening_dot(pairs, "local" if patches else "global"))
        return Definition(schedule.mod["main"], definition.arguments)


def _fitting(task: Task, cpu: Cpu) -> Windows | None:
    windows = windows_of(task)
    if cpu.arch != "aarch64" or windows is None or not are_bytes(task, cpu):
        return None
    return windows if patched(task, windows, WIDTH) else None


def _sums(builder: Builder, windows: Windows, patches: bool) -> tuple[te.Tensor, bool]:
    """The sums of stored elements (rows, columns, channels / 4, 4), and whether products may be added in 16 bits."""
    weights, element = operands(builder, windows, WIDTH, patches)
    outputs, kh, kw, width = weights.shape
    weights = np.pad(weights, ((0, -outputs % SUMS), (0, 0), (0, 0), (0, 0)))
    packed = weights.reshape(-1, SUMS, kh, kw, width // WIDTH, 2, SUMS, 2).transpose(0, 2, 3, 4, 1, 5, 6, 7)
    w = builder.constant("weights", packed.astype(np.int8))
    sizes = {"kh": kh, "kw": kw, "j": width // WIDTH, "half": 2, "i": 2}
    axes = [te.reduce_axis((0, n), label) for label, n in sizes.items()]
    ky, kx, j, half, i = axes

    def partial(h: Expr, v: Expr, o: Expr, c: Expr, lane: Expr) -> Expr:
        x = element((h, v, ky, kx, j * WIDTH + half * 8 + lane * 2 + i))
        return te.sum(x.astype("int32") * w(o, ky, kx, j, c, half, lane, i).astype("int32"), axis=axes)

    shape = (windows.rows, windows.columns, packed.shape[0], SUMS)
    acc = te.compute((*shape, SUMS), partial, "acc")
    lane = te.reduce_axis((0, SUMS), "lane")
    return te.compute(shape, lambda *at: te.sum(acc(*at, lane), axis=lane), "total"), int(weights.min()) > -128


def _cost(windows: Windows, pixels: int, channels: int, patches: bool) -> float:
    """Instructions per window and channel: three and a share of loads for 16 bytes."""
    taps = windows.taps[0] * windows.taps[1]
    steps = -(-taps * windows.width // WIDTH) if patches else taps * -(-windows.width // WIDTH)
    return steps * (3 + (pixels + channels) / (pixels * channels))
