"""Conv2d and Dense by SDOT with an element: a register of activations is loaded once for up to four dot products.

The sum runs over rows of a window as in dot.py, in steps of `groups` times four bytes. A tile of pixels and blocks of
four channels fills the registers: each activation meets every block, each register of weights every pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import te, tirx
from tvm.s_tir import Schedule

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Builder, Definition, Expr, Value, integer
from codesign.backends.tvm.rules.elementwise import elementwise
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.backends.tvm.templates.intrinsics import QUAD, quad_dot
from codesign.backends.tvm.templates.neon import SUMS, WIDTH, lane_dot
from codesign.backends.tvm.templates.packing import pack, unpack, unpack_at, widths_of
from codesign.backends.tvm.templates.tiles import arranged, in_registers, tile, tiled
from codesign.backends.tvm.templates.windows import (
    Windows,
    are_bytes,
    divisors,
    input_of,
    operands,
    patched,
    pixel,
    raw_bias,
    windows_of,
)  # fmt: skip
from codesign.errors import InputError

MOST_SUMS = 24  # registers of accumulators
REGISTERS = 31  # with them, an activation for each pixel, and the weights of a group


class Lanes:
    """A tile of rows x columns pixels and `blocks` times four channels is kept in registers, summed in `groups`."""

    name = "lanes"

    def choices(self, task: Task, cpu: Cpu) -> Sequence[Choice]:
        windows = _fitting(task, cpu)
        if windows is None:
            return []
        ranked = []
        count = -(-task.types[task.output].shape[-1] // SUMS)
        for groups, patches in _loads(task, windows):
            for blocks in divisors(count, MOST_SUMS):
                for rows in divisors(windows.rows, 8):
                    for columns in divisors(windows.columns, MOST_SUMS // rows):
                        pixels = rows * columns
                        if pixels * blocks <= MOST_SUMS and pixels * (blocks + 1) + 2 <= REGISTERS:
                            choice = {"template": self.name, "groups": groups, **tile(rows, columns, blocks, patches)}
                            cost = _cost(windows, groups, pixels, blocks, patches)
                            for bits in _bits(task, groups):  # with one pixel the weights' way from memory costs
                                unpacking = (0 if pixels == 1 else 1) if bits < 8 else (1 if pixels == 1 else 0)
                                ranked.append((cost + unpacking, {**choice, "bits": bits}))
        ranked.sort(key=lambda pair: pair[0])
        return [choice for _, choice in ranked[:64]]

    def make(self, task: Task, cpu: Cpu, choice: Choice) -> Definition:
        windows = _fitting(task, cpu)
        patches = bool(choice.get("patches"))
        if windows is None or (choice.get("groups"), patches) not in _loads(task, windows):
            raise InputError.at(task.where, f"the schedule {dict(choice)}", "one that fits the layer and the core")
        groups, bits = int(choice["groups"]), int(choice.get("bits", 8))
        if bits not in _bits(task, groups):
            raise InputError.at(task.where, f"the schedule {dict(choice)}", "one whose weights fit their bits")
        builder = Builder(task, cpu)
        acc = _sums(builder, windows, groups, patches, bits)
        definition = builder.finish(elementwise(builder, _descaled(pixel(acc, SUMS), bits), raw_bias(task)))
        schedule = Schedule(definition.func)
        whole = task.types[task.output].shape[-1] % SUMS == 0
        tiled(schedule, "acc", choice, whole)
        scopes = ["local" if here else "global" for here in (patches, bits < 8)]
        intrinsic = lane_dot(groups, *scopes) if groups > 1 else quad_dot(SUMS, "int8", cpu.extensions())
        step = arranged(schedule, "acc", 3, 3)
        if bits < 8:
            unpack_at(schedule, step, 2)
        in_registers(schedule, "acc", 3, 3, intrinsic)
        return Definition(schedule.mod["main"], definition.arguments)


def _fitting(task: Task, cpu: Cpu) -> Windows | None:
    windows = windows_of(task)
    if cpu.arch != "aarch64" or "dotprod" not in cpu.extensions() or windows is None or not are_bytes(task, cpu):
        return None
    return windows if _loads(task, windows) else None


def _loads(task: Task, windows: Windows) -> list[tuple[int, bool]]:
    """The numbers of groups that waste few products or loads, and whether windows are copied first."""
    tail, words = task.storage[input_of(task)].tail, -(-windows.width // QUAD)
    fitting = []
    for groups in (4, 3, 2, 1):
        behind = -windows.width % (groups * QUAD) + (WIDTH - groups * QUAD if groups == 3 else 0)
        if behind <= tail and (words % groups == 0 or (groups == 4 and words > 8)):
            fitting.append((groups, False))
    return [*fitting, *((4, True) for patches in patched(task, windows, WIDTH) if patches)]


def _bits(task: Task, groups: int) -> list[int]:
    """Of a weight in memory: the fewest that hold them all, and 8. The four groups of a register share bytes."""
    assert task.anchor is not None
    weights = task.consts[task.anchor.inputs[1]]
    fewest = max(widths_of(task)[0], 2)
    largest = 128 * int(np.abs(weights).reshape(len(weights), -1).sum(axis=1).max()) << (8 - fewest)
    return [fewest, 8] if fewest < 8 and groups == 4 and largest < 1 << 31 else [8]


def _descaled(total: Value, bits: int) -> Value:
    """The sums of products with weights times 2^(8 - bits), without that factor."""
    return total if bits == 8 else lambda index: tirx.shift_right(total(index), integer(8 - bits, "int32"))


def _sums(builder: Builder, windows: Windows, groups: int, patches: bool, bits: int) -> te.Tensor:
    """The sums of stored elements (rows, columns, channels / 4, 4), without a bias."""
    weights, element = operands(builder, windows, groups * QUAD, patches)
    _, kh, kw, width = weights.shape
    weights = np.pad(weights, ((0, -len(weights) % SUMS), (0, 0), (0, 0), (0, 0)))
    packed = weights.reshape(-1, SUMS, kh, kw, width // QUAD // groups, groups, QUAD).transpose(0, 2, 3, 4, 5, 1, 6)
    packed = packed[:, :, :, :, 0] if groups == 1 else packed
    w = builder.constant("weights", pack(packed, 4, bits))
    if bits < 8:
        stored = w

        def unpacked_weight(o: Expr, ky: Expr, kx: Expr, j: Expr, g: Expr, lane: Expr, i: Expr) -> Expr:
            return unpack(stored(o, ky, kx, j, tirx.floordiv(g, 8 // bits), lane, i), g, bits, scaled=True)

        w = te.compute(packed.shape, unpacked_weight, "unpacked")
    sizes = {"kh": kh, "kw": kw, "j": width // QUAD // groups, "g": groups, "i": QUAD}
    if groups == 1:
        del sizes["g"]
    axes = [te.reduce_axis((0, n), label) for label, n in sizes.items()]
    ky, kx, j, *g, i = axes

    def total(h: Expr, v: Expr, o: Expr, lane: Expr) -> Expr:
        x = element((h, v, ky, kx, j * (groups * QUAD) + (g[0] * QUAD if g else 0) + i))
        return te.sum(x.astype("int32") * w(o, ky, kx, j, *g, lane, i).astype("int32"), axis=axes)

    return te.compute((windows.rows, windows.columns, packed.shape[0], SUMS), total, "acc")


def _cost(windows: Windows, groups: int, pixels: int, blocks: int, patches: bool) -> float:
    """Instructions per useful group of four bytes: the product, and its share of loads."""
    taps = windows.taps[0] * windows.taps[1]
    words = taps * windows.width / QUAD
    steps = -(-taps * windows.width // WIDTH) if patches else taps * -(-windows.width // (QUAD * groups))
    copies = 0.3 if patches else 0.0
    return (steps * groups * (1 + 1 / pixels) + steps / blocks) / words + 2 / (pixels * blocks) + copies
