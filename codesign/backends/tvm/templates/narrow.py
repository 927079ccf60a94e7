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
from codesign.backends.tvm.definition import Builder, Definition, Expr, integer
from codesign.backends.tvm.rules.elementwise import elementwise
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.backends.tvm.templates.neon import SUMS, WIDTH, across, narrow_dot, pairwise
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
PACKED = (1, 2, 4)  # bits of a weight


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
                        for bits in _bits(task, blocks):
                            unpacking = (2 if bits < 8 else 1) / pixels
                            ranked.append((sums // 8 + unpacking + 1 / channels, {**choice, "bits": bits}))
        ranked.sort(key=lambda pair: pair[0])
        return [choice for _, choice in ranked[:64]]

    def make(self, task: Task, cpu: Cpu, choice: Choice) -> Definition:
        windows, patches, sums = _fitting(task, cpu), bool(choice.get("patches")), int(choice.get("sums", 0))
        segments = None
        if windows is not None and sums in (8, 16) and patches in patched(task, windows, WIDTH):
            segments = _segments(task, windows, sums, patches)
        if windows is None or segments is None or choice.get("bits") not in _bits(task, int(choice["blocks"])):
            raise InputError.at(task.where, f"the schedule {dict(choice)}", "one that fits the layer and the core")
        builder = Builder(task, cpu)
        total = _sums(builder, windows, segments, sums, int(choice["bits"]), patches)
        definition = builder.finish(elementwise(builder, pixel(total, SUMS), raw_bias(task)))
        schedule = Schedule(definition.func)
        tiled(schedule, "total", choice, task.types[task.output].shape[-1] % SUMS == 0)
        outer, inner = len(segments.outer), len(segments.inner)
        cut = arranged(schedule, "acc", 4, outer)
        if cut is not None:
            schedule.compute_at(schedule.get_sblock("narrow"), cut, preserve_unit_loops=True)
        step = arranged(schedule, "narrow", 4 + outer, inner)
        unpacked = schedule.get_sblock("unpacked")
        schedule.compute_at(unpacked, step, preserve_unit_loops=True)
        *around, last = schedule.get_loops(unpacked)[-6:]
        schedule.vectorize(last)
        for loop in around:
            schedule.unroll(loop)
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


def _bits(task: Task, blocks: int) -> list[int]:
    """Of a weight in memory: the fewest that hold them all and whose bytes a tile of so many blocks fills, and 8."""
    weights = _weights(task)
    channels = blocks * SUMS
    for bits in PACKED:
        low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        holds = bool((np.abs(weights) == 1).all()) if bits == 1 else low <= weights.min() and weights.max() <= high
        if holds and channels % (8 // bits) == 0:
            return [bits, 8]
    return [8]


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


def _packed(weights: IntArray, bits: int) -> IntArray:
    """Weights (O, …) of neighbouring channels in one byte, the first in the lowest bits; one bit is set for -1."""
    each = 8 // bits
    grouped = np.pad(weights, ((0, -len(weights) % each), *(((0, 0),) * (weights.ndim - 1))))
    grouped = grouped.reshape(-1, each, *weights.shape[1:])
    fields = (grouped < 0) if bits == 1 else grouped & ((1 << bits) - 1)
    return np.asarray(sum(fields[:, i].astype(np.int64) << (bits * i) for i in range(each)))


def _sums(
    builder: Builder, windows: Windows, segments: Segments, sums: int, bits: int, patches: bool
) -> te.Tensor:  # fmt: skip
    """The sums of stored elements (rows, columns, channels / 4, 4), without a bias."""
    weights, element = operands(builder, windows, WIDTH, patches)
    weights = np.pad(weights, ((0, -len(weights) % SUMS), (0, 0), (0, 0), (0, 0)))
    outputs, kh, kw, width = weights.shape
    blocks = outputs // SUMS
    packed = (weights if bits == 8 else _packed(weights, bits)).astype(np.uint8).view(np.int8)
    w = builder.constant("weights", packed.reshape(len(packed), kh, kw, width // WIDTH, WIDTH))

    def unpack(o: Expr, ky: Expr, kx: Expr, j: Expr, c: Expr, n: Expr) -> Expr:
        channel, each = o * SUMS + c, 8 // bits
        byte = w(tirx.floordiv(channel, each), ky, kx, j, n)
        if bits == 8:
            return byte
        above = (integer(8 - bits, "int32") - tirx.floormod(channel, each) * bits).astype("int8")
        field = (byte << above) >> integer(8 - bits, "int8")
        return field | integer(1, "int8") if bits == 1 else field

    unpacked = te.compute((blocks, kh, kw, width // WIDTH, SUMS, WIDTH), unpack, "unpacked")
    sizes = {"kh": kh, "kw": kw, "jo": width // WIDTH // segments.steps, "ji": segments.steps}
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
