"""Conv2d and Dense with weights of few bits on ARM cores: packed in memory, summed in 16 or 8 bits.

Small products leave room: 16 bits hold 31 of an activation of 8 bits and a weight of 4, 8 bits hold 21 of 2 and 2 bits.
So each register of 16 activations costs two SMLAL, or one MLA, and SADALP brings the sums to 32 bits once a `segment`:
the whole window, a row of it, or as much of a row as fits. A byte holds the weights of 8 / bits neighbouring channels,
which two shifts unpack in a register.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tvm import te, tirx
from tvm.s_tir import Schedule

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Builder, Definition, Expr
from codesign.backends.tvm.rules.elementwise import elementwise
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.backends.tvm.templates.neon import SUMS, WIDTH, across, narrow_dot, pairwise
from codesign.backends.tvm.templates.packing import pack, unpack, unpack_at, widths_of
from codesign.backends.tvm.templates.tiles import arranged, in_registers, tile, tiled
from codesign.backends.tvm.templates.windows import (
    Windows,
    are_bytes,
    divisors,
    input_of,
    operands,
    padded_weights,
    patched,
    pixel,
    raw_bias,
    windows_of,
)  # fmt: skip
from codesign.errors import InputError
from codesign.ir.types import IntArray

REGISTERS = 20  # narrow sums; the others hold activations and weights
FEWEST = 4  # registers of products added before they are extended: below it int8's way is as good


@dataclass(frozen=True)
class Segments:
    """How a reduction (tap rows, tap columns, steps) is cut: axes outside a segment, and within it."""

    outer: tuple[str, ...]
    inner: tuple[str, ...]
    steps: int  # of `ji`


class Narrow:
    """A tile of rows x columns pixels and `blocks` times four channels, in sums of `sums` bits, weights of `bits`."""

    name = "narrow"

    def choices(self, task: Task, cpu: Cpu) -> Sequence[Choice]:
        windows = _fitting(task, cpu)
        if windows is None:
            return []
        count = -(-task.types[task.output].shape[-1] // SUMS)
        ranked = []
        for blocks, patches, sums in itertools.product(divisors(count, 4), patched(task, windows, WIDTH), (8, 16)):
            if _segments(task, windows, sums, patches) is None:
                continue
            for rows in divisors(windows.rows, 8):
                for columns in divisors(windows.columns, REGISTERS // SUMS):
                    pixels, channels = rows * columns, blocks * SUMS
                    if pixels * channels <= REGISTERS:
                        choice = {"template": self.name, **tile(rows, columns, blocks, patches), "sums": sums}
                        for bits in _bits(task, windows, blocks, patches):
                            # With one pixel the weights' way from memory is what costs.
                            unpacking = (2 if bits < 8 else 1) / pixels if pixels > 1 else bits / 4
                            ranked.append((sums // 8 + unpacking + 1 / channels, {**choice, "bits": bits}))
        ranked.sort(key=lambda pair: pair[0])
        return [choice for _, choice in ranked[:64]]

    def make(self, task: Task, cpu: Cpu, choice: Choice) -> Definition:
        windows, patches, sums = _fitting(task, cpu), bool(choice.get("patches")), int(choice.get("sums", 0))
        segments = None
        if windows is not None and sums in (8, 16) and patches in patched(task, windows, WIDTH):
            segments = _segments(task, windows, sums, patches)
        bits = int(choice.get("bits", 8))
        fits = windows is not None and bits in _bits(task, windows, int(choice["blocks"]), patches)
        if windows is None or segments is None or not fits:
            raise InputError.at(task.where, f"the schedule {dict(choice)}", "one that fits the layer and the core")
        builder = Builder(task, cpu)
        total = _sums(builder, windows, segments, sums, bits, patches)
        definition = builder.finish(elementwise(builder, pixel(total, SUMS), raw_bias(task)))
        schedule = Schedule(definition.func)
        tiled(schedule, "total", choice, task.types[task.output].shape[-1] % SUMS == 0)
        outer, inner = len(segments.outer), len(segments.inner)
        cut = arranged(schedule, "acc", 4, outer)
        if cut is not None:
            schedule.compute_at(schedule.get_sblock("narrow"), cut, preserve_unit_loops=True)
        step = arranged(schedule, "narrow", 4 + outer, inner)
        unpack_at(schedule, step, 1)
        arranged(schedule, "total", 3, 0)
        in_registers(schedule, "total", 3, 0, across())
        in_registers(schedule, "acc", 4, outer, pairwise(sums))
        in_registers(schedule, "narrow", 4 + outer, inner, narrow_dot(sums, "local" if patches else "global"))
        return Definition(schedule.mod["main"], definition.arguments)


def _weights(task: Task) -> IntArray:
    assert task.anchor is not None
    return task.consts[task.anchor.inputs[1]]


def _fitting(task: Task, cpu: Cpu) -> Windows | None:
    windows = windows_of(task)
    return windows if cpu.arch == "aarch64" and windows is not None and are_bytes(task, cpu) else None


def _bits(task: Task, windows: Windows, blocks: int, patches: bool) -> list[int]:
    """Of a weight in memory: the fewest that hold them all and whose bytes a tile of so many blocks fills, and 8.

    One bit has no zero, so there must be nothing behind the bytes of a row.
    """
    taps = windows.taps[0] * windows.taps[1]
    exact = (taps * windows.width if patches else windows.width) % WIDTH == 0
    fitting = [b for b in widths_of(task) if blocks * SUMS % (8 // b) == 0 and (b > 1 or exact)]
    return fitting[:1] if fitting[0] == 8 else [fitting[0], 8]


def _segments(task: Task, windows: Windows, sums: int, patches: bool) -> Segments | None:
    """The longest segments whose sums fit so many bits, whatever the activations; None: they are not worth it."""
    dtype, offset = task.types[input_of(task)].dtype, task.storage[input_of(task)].offset
    weights = np.abs(padded_weights(task, windows, WIDTH, patches))
    lanes = weights.reshape(*weights.shape[:3], -1, sums // 8, 128 // sums).sum(axis=4)  # (O, kh, kw, steps, lane)
    room = ((1 << (sums - 1)) - 1) // max(abs(dtype.lo - offset), abs(dtype.hi - offset), 1)
    steps = lanes.shape[3]
    if lanes.sum(axis=(1, 2, 3)).max() <= room:
        return Segments((), ("kh", "kw", "jo", "ji"), steps)
    if lanes.shape[2] * steps >= FEWEST and lanes.sum(axis=(2, 3)).max() <= room:
        return Segments(("kh",), ("kw", "jo", "ji"), steps)
    for length in reversed(divisors(steps, steps)):
        cut = lanes.reshape(*lanes.shape[:3], -1, length, lanes.shape[4]).sum(axis=4)
        if length >= FEWEST and cut.max() <= room:
            return Segments(("kh", "kw", "jo"), ("ji",), length)
    return None


def _sums(
    builder: Builder, windows: Windows, segments: Segments, sums: int, bits: int, patches: bool
) -> te.Tensor:  # fmt: skip
    """The sums of stored elements (rows, columns, channels / 4, 4), without a bias."""
    weights, element = operands(builder, windows, WIDTH, patches)
    weights = np.pad(weights, ((0, -len(weights) % SUMS), (0, 0), (0, 0), (0, 0)))
    outputs, kh, kw, width = weights.shape
    blocks, steps, each = outputs // SUMS, width // WIDTH, 8 // bits
    unit = max(each, SUMS)  # channels whose weights lie together
    grouped = weights.reshape(-1, unit, kh, kw, steps, WIDTH).transpose(0, 2, 3, 4, 1, 5)
    w = builder.constant("weights", pack(grouped, 4, bits))

    def unpacked_weight(o: Expr, ky: Expr, kx: Expr, j: Expr, c: Expr, n: Expr) -> Expr:
        channel = o * SUMS + c
        group, within = tirx.floordiv(channel, unit), tirx.floormod(channel, unit)
        return unpack(w(group, ky, kx, j, tirx.floordiv(within, each), n), within, bits)

    unpacked = te.compute((blocks, kh, kw, steps, SUMS, WIDTH), unpacked_weight, "unpacked")
    sizes = {"kh": kh, "kw": kw, "jo": steps // segments.steps, "ji": segments.steps}
    dtype, lanes = f"int{sums}", 128 // sums
    inner = {label: te.reduce_axis((0, sizes[label]), label) for label in segments.inner}
    half = [te.reduce_axis((0, 2), "half")] if sums == 16 else []

    def product(h: Expr, v: Expr, o: Expr, c: Expr, *rest: Expr) -> Expr:
        at = {**dict(zip(segments.outer, rest[:-1], strict=True)), **inner}
        j, n = at["jo"] * segments.steps + at["ji"] if "jo" in at else at["ji"], rest[-1]
        byte = half[0] * lanes + n if half else n
        x = element((h, v, at["kh"], at["kw"], j * WIDTH + byte))
        return te.sum(
            x.astype(dtype) * unpacked(o, at["kh"], at["kw"], j, c, byte).astype(dtype), axis=[*inner.values(), *half]
        )

    space = (windows.rows, windows.columns, blocks, SUMS)
    outer = [te.reduce_axis((0, sizes[label]), f"{label}.outer") for label in segments.outer]
    narrow = te.compute((*space, *(sizes[label] for label in segments.outer), lanes), product, "narrow")
    i = te.reduce_axis((0, 32 // sums), "i")

    def extended(h: Expr, v: Expr, o: Expr, c: Expr, lane: Expr) -> Expr:
        value = narrow(h, v, o, c, *outer, lane * (32 // sums) + i)
        return te.sum(value.astype("int32"), axis=[*outer, i])

    acc = te.compute((*space, SUMS), extended, "acc")
    lane = te.reduce_axis((0, SUMS), "lane")
    return te.compute(space, lambda *at: te.sum(acc(*at, lane), axis=lane), "total")
