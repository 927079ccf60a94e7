"""Conv2d and Dense of one or two bits by one or two bits on ARM cores: bits are multiplied by AND and added by CNT.

The sum of products of integers that are sums over bits is the sum, over pairs of a plane of each, of the number of
places where both bits are set. A register holds eight places of sixteen channels: AND (EOR where both are {-1, 1}: then
it counts where they differ), CNT and ADD do 128 products of a pair of planes, and what is counted is the sixteen sums.
A CNT is at most 8, so a byte holds the sum of 31 of them; then all pairs of planes are put together in 16 bits.

The planes of activations are packed first, for all channels of a strip of rows; those of weights are constants.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from tvm import te, tirx
from tvm.s_tir import Schedule

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Builder, Definition, Expr, integer
from codesign.backends.tvm.rules.elementwise import elementwise
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.backends.tvm.templates.bits import BYTE, Layer, image, layer_of, pack_planes, weights_of
from codesign.backends.tvm.templates.tiles import arranged, in_vectors, tiled
from codesign.backends.tvm.templates.windows import divisors, input_of, pixel, raw_bias
from codesign.errors import InputError
from codesign.ir.types import IntArray

LANES = 16  # channels of a register
WORD = 4  # of them that are packed at once
MOST_STACK = 1 << 15  # bytes of a strip's planes
REGISTERS = 8  # counts: steps overlap, and each has planes, what is counted, and the sums in 16 bits


class Bitserial:
    """A tile of rows x columns pixels and `blocks` times sixteen channels; the planes of `strip` tiles of rows."""

    name = "bitserial"

    def choices(self, task: Task, cpu: Cpu) -> Sequence[Choice]:
        return [choice for _, choice in _ranked(task, cpu)]

    def leads(self, task: Task, cpu: Cpu) -> bool:
        """Whether it takes fewer instructions than start while other templates do 128 products.

        Those are eight SDOT and a load; on in-order cores eight MLA and their loads; on the others MLA takes one of two
        pipes for two cycles: 32 places, of which loads have pipes of their own.
        """
        other = 9 if "dotprod" in cpu.extensions() else 12 if cpu.in_order else 30
        return any(cost < other for cost, _ in _ranked(task, cpu)[:1])

    def make(self, task: Task, cpu: Cpu, choice: Choice) -> Definition:
        layer = layer_of(task, cpu)
        if layer is None or choice not in self.choices(task, cpu):
            raise InputError.at(task.where, f"the schedule {dict(choice)}", "one that fits the layer and the core")
        builder = Builder(task, cpu)
        outer = [label for label in layer.axes if label not in layer.within]
        definition = builder.finish(
            elementwise(builder, pixel(_sums(builder, layer, outer), LANES), _bias(task, layer))
        )
        schedule = Schedule(definition.func)
        whole = task.types[task.output].shape[-1] % LANES == 0
        tiled(schedule, "sums", choice, whole, LANES)
        cut = arranged(schedule, "total", 3, len(outer))
        if cut is not None:
            schedule.compute_at(schedule.get_sblock("counts"), cut, preserve_unit_loops=True)
        unrolled = 4 + len(outer)
        arranged(schedule, "counts", unrolled, len(layer.within))
        in_vectors(schedule, "counts", unrolled, len(layer.within))
        in_vectors(schedule, "total", 3, len(outer))
        arranged(schedule, "sums", 3, 0)
        in_vectors(schedule, "sums", 3, 0)
        _packing(schedule, layer)
        return Definition(schedule.mod["main"], definition.arguments)


def _packing(schedule: Schedule, layer: Layer) -> None:
    """Of the planes: all of a word or register at once."""
    *_, plane, row, column, byte = schedule.get_loops(schedule.get_sblock("planes"))
    words = [b for b in schedule.get_child_blocks(schedule.get_sblock("root")) if schedule.get(b).name_hint == "words"]
    if words:
        word, within = schedule.split(byte, [None, WORD])
        schedule.reorder(row, column, word, plane, within)
        schedule.unroll(within)
        schedule.compute_at(words[0], plane, preserve_unit_loops=True)
        schedule.set_scope(words[0], 0, "local")
    elif layer.size * layer.groups % LANES == 0:
        word, within = schedule.split(byte, [None, LANES])
        schedule.reorder(row, column, word, plane, within)
        schedule.vectorize(within)
    schedule.unroll(plane)


def _ranked(task: Task, cpu: Cpu) -> list[tuple[float, Choice]]:
    """Instructions for 128 products, and the choice; the fewest first."""
    layer = layer_of(task, cpu)
    if layer is None:
        return []
    outputs = task.types[task.output].shape[-1]
    count, pairs = -(-outputs // LANES), len(layer.factors)
    ranked: list[tuple[float, Choice]] = []
    for rows, blocks in itertools.product(divisors(layer.rows, 4), divisors(count, REGISTERS)):
        strip = _strip(task, layer, rows, cpu.cores)
        for columns in divisors(layer.columns, REGISTERS):
            if rows * columns * blocks * pairs <= REGISTERS and strip:
                cost = _counting(layer, rows * columns, blocks) * count * LANES / outputs
                cost += _share_of_packing(layer, rows * strip, outputs)
                size = {"rows": rows, "columns": columns, "blocks": blocks, "strip": strip}
                ranked.append((cost, {"template": Bitserial.name, **size}))
    ranked.sort(key=lambda pair: pair[0])
    return ranked


def _counting(layer: Layer, pixels: int, blocks: int) -> float:
    """Instructions for 128 products: three a pair of planes, shares of loads, and of the counts' way to 16 bits."""
    pairs = len(layer.factors)
    length = np.prod([layer.axes[label] for label in layer.within])
    return float(3 * pairs + 2 * layer.x.count / blocks + layer.w.count / pixels + 3 * pairs / length)


def _share_of_packing(layer: Layer, rows: int, outputs: int) -> float:
    """Of the instructions that make a strip's planes: eighty for 128 elements of one plane."""
    taps, (sh, sw) = layer.taps, layer.stride
    read = (((rows - 1) * sh + (taps[0] - 1) * layer.dilation[0] + 1) / rows) * sw
    return 80 * layer.x.count * read / (outputs * taps[0] * taps[1])


def _strip(task: Task, layer: Layer, rows: int, cores: int) -> int:
    """Tiles of so many rows whose planes are packed together: the most that leave work for all cores; 0 for none."""
    tiles = layer.rows // rows
    (_, width, _), _, _ = image(task, layer)
    each = width * (layer.x.count * layer.groups * layer.size + (4 if layer.needs_sums else 0))
    reach = (layer.taps[0] - 1) * layer.dilation[0] + 1
    fitting = [n for n in divisors(tiles, tiles) if ((n * rows - 1) * layer.stride[0] + reach) * each <= MOST_STACK]
    return max((n for n in fitting if tiles // n >= min(cores, tiles)), default=0)


def _planes(builder: Builder, layer: Layer) -> te.Tensor:
    """The planes (planes, rows, columns, bytes) of the input: bit i of byte g is of channel i * bytes + g.

    Where they lie so, four bytes are made at once as a word, by the block "words".
    """
    (height, width, channels), strides, start = image(builder.task, layer)
    size = layer.groups * layer.size
    if channels == BYTE * size and size % LANES and size % WORD == 0:
        return _by_words(builder, layer)
    x = builder.view(input_of(builder.task), (height, width, channels), strides, start)

    def byte(p: Expr, h: Expr, v: Expr, g: Expr) -> Expr:
        total = integer(0, "uint8")
        for i in range(min(BYTE, -(-channels // size))):
            c, last = g + i * size, (i + 1) * size > channels
            element = x(h, v, tirx.min(c, channels - 1) if last else c).astype("uint8")
            bit = (element >> (p + layer.x.first).astype("uint8")) & integer(1, "uint8")
            if last:
                bit = tirx.Select(c < channels, bit, integer(0, "uint8"))
            total = total | (bit << integer(i, "uint8"))
        return total

    return te.compute((layer.x.count, height, width, size), byte, "planes")


def _by_words(builder: Builder, layer: Layer) -> te.Tensor:
    (height, width, channels), strides, start = image(builder.task, layer)
    kind, size = "uint32", layer.groups * layer.size
    shape = (height, width, channels // WORD)
    x = builder.view(input_of(builder.task), shape, (*(n // WORD for n in strides[:2]), 1), start, kind)

    def word(p: Expr, h: Expr, v: Expr, j: Expr) -> Expr:
        total = integer(0, kind)
        for i in range(BYTE):
            bits = (x(h, v, i * (size // WORD) + j) >> (p + layer.x.first).astype(kind)) & integer(0x01010101, kind)
            total = total | (bits << integer(i, kind))
        return total

    words = te.compute((layer.x.count, height, width, size // WORD), word, "words")

    def byte(p: Expr, h: Expr, v: Expr, g: Expr) -> Expr:
        place = tirx.floormod(g, WORD) * BYTE
        return (words(p, h, v, tirx.floordiv(g, WORD)) >> place.astype(kind)).astype("uint8")

    return te.compute((layer.x.count, height, width, size), byte, "planes")


def _bias(task: Task, layer: Layer) -> IntArray:
    """The bias, and what the constants of the planes add to each sum."""
    weights = weights_of(task, layer)
    added = np.full(len(weights), weights[0].size) if layer.differ else layer.x.constant * weights.sum(axis=(1, 2, 3))
    total: IntArray = raw_bias(task) + added
    return total


def _sums(builder: Builder, layer: Layer, outer: Sequence[str]) -> te.Tensor:
    """The sums of products (rows, columns, channels / 16, 16), without what `_bias` adds."""
    shaped = weights_of(builder.task, layer)
    planes = _planes(builder, layer)
    filled = np.pad(pack_planes(shaped, layer.w, layer.groups * layer.size), ((0, -len(shaped) % LANES), *[(0, 0)] * 4))
    blocked = filled.reshape(-1, LANES, *filled.shape[1:]).transpose(0, 2, 3, 5, 4, 1)
    w = builder.constant("weights", blocked)  # block, ky, kx, byte, plane, channel
    kinds = len(layer.factors)
    inner = {label: te.reduce_axis((0, layer.axes[label]), label) for label in layer.within}
    (sh, sw), (dh, dw) = layer.stride, layer.dilation

    def count(h: Expr, v: Expr, o: Expr, pair: Expr, *rest: Expr) -> Expr:
        at = {**dict(zip(outer, rest[:-1], strict=True)), **inner}
        ky, kx, g = at["ky"], at["kx"], at["group"] * layer.size + at["byte"]
        a = planes(tirx.floordiv(pair, layer.w.count), h * sh + ky * dh, v * sw + kx * dw, g)
        b = w(o, ky, kx, g, tirx.floormod(pair, layer.w.count), rest[-1])
        return te.sum(tirx.popcount(a ^ b if layer.differ else a & b), axis=[*inner.values()])

    space = (layer.rows, layer.columns, blocked.shape[0])
    counts = te.compute((*space, kinds, *(layer.axes[label] for label in outer), LANES), count, "counts")
    around = [te.reduce_axis((0, layer.axes[label]), f"{label}.outer") for label in outer]
    common = layer.factors[0]  # the smallest, which divides all
    most = shaped[0].size * sum(abs(f // common) for f in layer.factors)
    dtype = "int16" if most < 1 << 15 else "int32"

    def together(h: Expr, v: Expr, o: Expr, lane: Expr) -> Expr:
        value = integer(0, "int16")
        for pair, factor in enumerate(layer.factors):
            term = counts(h, v, o, pair, *around, lane).astype("int16") * integer(factor // common, "int16")
            value = value + term if pair else term
        return te.sum(value.astype(dtype), axis=around) if around else value.astype(dtype)

    total = te.compute((*space, LANES), together, "total")
    window = _window_sums(builder, layer) if layer.needs_sums else None

    def scaled(h: Expr, v: Expr, o: Expr, lane: Expr) -> Expr:
        value = total(h, v, o, lane).astype("int32") * common
        return value if window is None else value + window(h, v)

    return te.compute((*space, LANES), scaled, "sums")


def _window_sums(builder: Builder, layer: Layer) -> te.Tensor:
    """The sum of the activations of each window (rows, columns)."""
    (height, width, channels), strides, start = image(builder.task, layer)
    x = builder.view(input_of(builder.task), (height, width, channels), strides, start)
    c = te.reduce_axis((0, channels), "c")
    sums = te.compute((height, width), lambda h, v: te.sum(x(h, v, c).astype("int32"), axis=c), "elements")
    ky, kx = (te.reduce_axis((0, n), label) for n, label in zip(layer.taps, ("y", "x"), strict=True))
    (sh, sw), (dh, dw) = layer.stride, layer.dilation

    def of_window(h: Expr, v: Expr) -> Expr:
        return te.sum(sums(h * sh + ky * dh, v * sw + kx * dw), axis=[ky, kx])

    return te.compute((layer.rows, layer.columns), of_window, "window")
