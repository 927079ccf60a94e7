"""Conv2d and Dense of one or two bits by one or two bits on ARM cores: bits are multiplied by AND and added by CNT.

The sum of products of integers that are sums over bits is the sum, over pairs of a plane of each, of the number of
places where both bits are set. A register holds eight places of sixteen channels: AND (EOR where both are {-1, 1}: then
it counts where they differ), CNT and ADD do 128 products of a pair of planes, and what is counted is the sixteen sums.
A CNT is at most 8, so a byte holds the sum of `MOST_BYTES` of them; then all pairs of planes are put together in 16 bits.

The planes of activations are packed first, for all channels of a strip of rows; those of weights are constants.
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
from codesign.backends.tvm.templates.bits import BYTE, Planes, pack_planes, planes_of_type, planes_of_weights
from codesign.backends.tvm.templates.tiles import arranged, in_vectors, tile, tiled
from codesign.backends.tvm.templates.windows import divisors, input_of, pixel, raw_bias, windows_of
from codesign.errors import InputError
from codesign.ir.ops import Conv2d
from codesign.ir.types import IntArray

LANES = 16  # channels of a register
MOST_BYTES = 255 // BYTE  # whose bits are counted in a byte
REGISTERS = 8  # counts: steps overlap, and each has planes, what is counted, and the sums in 16 bits


@dataclass(frozen=True)
class Layer:
    """A product that can be counted.

    rows, columns  output pixels                 taps  (kernel rows, kernel columns)
    stride, dilation  as the operator's          groups, size  bytes of a pixel's plane: `groups` times `size`
    x, w           planes of activations, weights
    """

    rows: int
    columns: int
    taps: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    size: int
    x: Planes
    w: Planes

    @property
    def differ(self) -> bool:
        """Whether products are counted where bits differ."""
        return bool(self.x.constant and self.w.constant)

    @property
    def needs_sums(self) -> bool:
        """Whether the sum of a window's activations is part of the result: of x * (1 - 2 b)."""
        return bool(self.w.constant and not self.x.constant)

    @property
    def factors(self) -> list[int]:
        """By which the counts of pairs of planes are multiplied."""
        if self.differ:
            return [-2]
        return [a * b for a, b in itertools.product(self.x.coefficients, self.w.coefficients)]

    @property
    def within(self) -> tuple[str, ...]:
        """The axes that are counted in a byte; of the others each step is put together in 16 bits."""
        kh, kw = self.taps
        axes = {"ky": kh, "kx": kw, "group": self.groups}
        size, inner = self.size, []
        for label in reversed(axes):
            if size * axes[label] > MOST_BYTES:
                break
            size *= axes[label]
            inner.insert(0, label)
        return (*inner, "byte")

    @property
    def axes(self) -> dict[str, int]:
        return {"ky": self.taps[0], "kx": self.taps[1], "group": self.groups, "byte": self.size}


class Bitserial:
    """A tile of rows x columns pixels and `blocks` times sixteen channels; the planes of `strip` tiles of rows."""

    name = "bitserial"

    def choices(self, task: Task, cpu: Cpu) -> Sequence[Choice]:
        layer = _fitting(task, cpu)
        if layer is None:
            return []
        count = -(-task.types[task.output].shape[-1] // LANES)
        pairs, ranked = len(layer.factors), []
        for rows, blocks in itertools.product(divisors(layer.rows, 4), divisors(count, 8)):
            for columns in divisors(layer.columns, 8):
                pixels = rows * columns
                if pixels * blocks * pairs > REGISTERS:
                    continue
                cost = instructions(layer, pixels, blocks)
                for strip in _strips(layer.rows // rows):
                    again = (strip * rows * layer.stride[0] + layer.taps[0] - 1) / (strip * rows * layer.stride[0])
                    choice = {"template": self.name, **tile(rows, columns, blocks, False), "strip": strip}
                    del choice["patches"]
                    ranked.append((cost * (1 + 0.1 * again), choice))
        ranked.sort(key=lambda pair: pair[0])
        return [choice for _, choice in ranked[:64]]

    def make(self, task: Task, cpu: Cpu, choice: Choice) -> Definition:
        layer = _fitting(task, cpu)
        if layer is None:
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
        *_, plane, _, _, _ = schedule.get_loops(schedule.get_sblock("planes"))
        schedule.unroll(plane)
        return Definition(schedule.mod["main"], definition.arguments)


def instructions(layer: Layer, pixels: int, blocks: int) -> float:
    """For 128 products: three for each pair of planes, and the shares of loads and of the counts' way to 16 bits."""
    pairs = len(layer.factors)
    length = np.prod([layer.axes[label] for label in layer.within])
    return float(3 * pairs + 2 * layer.x.count / blocks + layer.w.count / pixels + 3 * pairs / length)


def _fitting(task: Task, cpu: Cpu) -> Layer | None:
    windows = windows_of(task)
    if cpu.arch != "aarch64" or windows is None:
        return None
    anchor = task.anchor
    assert anchor is not None
    name, weights = anchor.inputs[0], task.consts[anchor.inputs[1]]
    dtype, storage = task.types[name].dtype, task.storage[name]
    x, w = planes_of_type(dtype), planes_of_weights(weights)
    if x is None or w is None or storage.dtype not in ("int8", "uint8") or storage.offset:
        return None
    taps, stride, dilation = (1, 1), (1, 1), (1, 1)
    if isinstance(anchor.op, Conv2d):
        op = anchor.op
        pad = op.pad_value
        if any(op.padding) and not (dtype.lo <= pad <= dtype.hi and (pad or not dtype.bipolar)):
            return None
        taps, stride, dilation = (weights.shape[1], weights.shape[2]), op.stride, op.dilation
    size = -(-storage.shape[-1] // BYTE)
    groups = -(-size // MOST_BYTES)
    return Layer(windows.rows, windows.columns, taps, stride, dilation, groups, -(-size // groups), x, w)


def _strips(tiles: int) -> list[int]:
    """Tiles of rows whose planes are packed together: all, and about a quarter for threads."""
    return sorted({tiles, min(divisors(tiles, tiles), key=lambda n: abs(4 * n - tiles))})


def _elements(builder: Builder, layer: Layer) -> te.Tensor:
    """The stored elements (rows, columns, channels) with the padding around them."""
    task = builder.task
    name = input_of(task)
    storage = task.storage[name]
    op = task.anchor.op if task.anchor is not None else None
    if not isinstance(op, Conv2d):
        channels = storage.shape[-1]
        shape = (layer.rows, layer.columns, channels)
        return builder.view(name, shape, (layer.columns * channels, channels, 1), storage.origin)
    (top, left, bottom, right), (height, width, channels) = op.padding, storage.shape
    if not any(op.padding):
        return builder.tensor(name)
    start = (storage.border[0] - top) * storage.strides[0] + (storage.border[1] - left) * storage.strides[1]
    return builder.view(name, (height + top + bottom, width + left + right, channels), storage.strides, start)


def _packed(x: te.Tensor, layer: Layer) -> te.Tensor:
    """The planes (planes, rows, columns, bytes): bit i of byte g is of channel i * bytes + g, as `pack_planes` has it."""
    height, width, channels = (int(n) for n in x.shape)
    size = layer.groups * layer.size

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


def _weights(task: Task, layer: Layer) -> IntArray:
    assert task.anchor is not None
    weights = task.consts[task.anchor.inputs[1]]
    return weights.reshape(len(weights), *layer.taps, -1)


def _bias(task: Task, layer: Layer) -> IntArray:
    """The bias, and what the constants of the planes add to each sum."""
    weights = _weights(task, layer)
    added = np.full(len(weights), weights[0].size) if layer.differ else layer.x.constant * weights.sum(axis=(1, 2, 3))
    return raw_bias(task) + added


def _sums(builder: Builder, layer: Layer, outer: Sequence[str]) -> te.Tensor:
    """The sums of products (rows, columns, channels / 16, 16), without what `_bias` adds."""
    shaped = _weights(builder.task, layer)
    elements = _elements(builder, layer)
    planes = _packed(elements, layer)
    filled = np.pad(pack_planes(shaped, layer.w, layer.groups * layer.size), ((0, -len(shaped) % LANES), *[(0, 0)] * 4))
    blocked = filled.reshape(-1, LANES, *filled.shape[1:]).transpose(
        0, 2, 3, 5, 4, 1
    )  # block, ky, kx, byte, plane, lane
    w = builder.constant("weights", blocked)
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
    window = _window_sums(elements, layer) if layer.needs_sums else None

    def scaled(h: Expr, v: Expr, o: Expr, lane: Expr) -> Expr:
        value = total(h, v, o, lane).astype("int32") * common
        return value if window is None else value + window(h, v)

    return te.compute((*space, LANES), scaled, "sums")


def _window_sums(elements: te.Tensor, layer: Layer) -> te.Tensor:
    """The sum of the activations of each window (rows, columns)."""
    height, width, channels = (int(n) for n in elements.shape)
    c = te.reduce_axis((0, channels), "c")
    sums = te.compute((height, width), lambda h, v: te.sum(elements(h, v, c).astype("int32"), axis=c), "elements")
    ky, kx = (te.reduce_axis((0, n), label) for n, label in zip(layer.taps, ("y", "x"), strict=True))
    (sh, sw), (dh, dw) = layer.stride, layer.dilation

    def of_window(h: Expr, v: Expr) -> Expr:
        return te.sum(sums(h * sh + ky * dh, v * sw + kx * dw), axis=[ky, kx])

    return te.compute((layer.rows, layer.columns), of_window, "window")
