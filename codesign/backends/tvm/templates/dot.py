"""Conv2d and Dense by four-byte dot products: VNNI on x86, SDOT on ARM.

The bytes of a window row, KW * C, lie side by side in memory, so the sum runs over kernel rows and groups of four:
acc[h, w, o] = sum over (kh, j, i < 4) of row[h*s + kh][w*s*C + 4*j + i] * W[o, kh, 4*j + i], the weights behind the
last byte being zero. No channel is padded, no window copied: a tensor's border holds the padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tvm import te
from tvm.s_tir import Schedule

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Builder, Definition, Expr, Value
from codesign.backends.tvm.rules.elementwise import elementwise
from codesign.backends.tvm.rules.linear import bias_of
from codesign.backends.tvm.storage import Storage
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.backends.tvm.templates.intrinsics import QUAD, lanes_of, quad_dot
from codesign.errors import InputError
from codesign.ir.ops import Conv2d, Dense
from codesign.ir.types import IntArray

REGISTERS = 32
MOST_TILES = 28  # accumulators: the others hold weights and an activation


@dataclass(frozen=True)
class Windows:
    """A product as windows over rows of bytes.

    rows, columns  output pixels          taps   (kernel rows, kernel columns that are not side by side)
    step           bytes between the windows of two neighbouring columns; rows_step: rows between two output rows
    tap_rows       rows between two taps; tap_bytes: bytes between two tap columns
    width          bytes of a window's row that lie side by side
    start          elements before the first window, from the beginning of the memory
    """

    rows: int
    columns: int
    taps: tuple[int, int]
    step: int
    rows_step: int
    tap_rows: int
    tap_bytes: int
    width: int
    start: int


def windows_of(task: Task) -> Windows | None:
    """The anchor's windows; None with groups, and where a padding is in no border of the input."""
    anchor = task.anchor
    if anchor is None or not isinstance(anchor.op, Conv2d | Dense):
        return None
    storage, out = task.storage[anchor.inputs[0]], task.types[anchor.name].shape
    channels = storage.shape[-1]
    if isinstance(anchor.op, Dense):
        rows, columns = (out[0], out[1]) if len(out) == 3 else (1, int(np.prod(out[:-1], dtype=np.int64)))
        if len(out) > 3:
            return None
        return Windows(rows, columns, (1, 1), channels, 1, 1, channels, channels, storage.origin)
    op = anchor.op
    top, left, _, _ = op.padding
    if op.groups > 1 or not bordered(storage, op):
        return None
    _, kh, kw, _ = task.consts[anchor.inputs[1]].shape
    beside = op.dilation[1] == 1
    taps, width = ((kh, 1), kw * channels) if beside else ((kh, kw), channels)
    above, before = storage.border[0] - top, storage.border[1] - left
    start = above * storage.strides[0] + before * storage.strides[1]
    steps = op.stride[1] * channels, op.stride[0], op.dilation[0], op.dilation[1] * channels
    return Windows(out[0], out[1], taps, *steps, width, start)


def bordered(storage: Storage, op: Conv2d) -> bool:
    """Whether the border of the input holds the padding of the convolution."""
    if not any(op.padding):
        return True
    wide = all(have >= need for have, need in zip(storage.border, op.padding, strict=True))
    return wide and storage.border_value == op.pad_value


def window_weights(task: Task, windows: Windows, group: int) -> IntArray:
    """The anchor's weights (O, tap rows, tap columns, width), the width filled with zeros to a multiple of `group`."""
    anchor = task.anchor
    assert anchor is not None
    weights = task.consts[anchor.inputs[1]]
    shaped = weights.reshape(len(weights), *windows.taps, windows.width)
    missing = -windows.width % group
    padded: IntArray = np.pad(shaped, ((0, 0), (0, 0), (0, 0), (0, missing)))
    return padded


def raw_bias(task: Task) -> IntArray:
    """What is to be added to sums of stored elements: the bias, and the offset of the storage times the weights."""
    anchor = task.anchor
    assert anchor is not None
    weights = task.consts[anchor.inputs[1]]
    bias = bias_of(task)
    total: IntArray = weights.reshape(len(weights), -1).sum(axis=1) * task.storage[anchor.inputs[0]].offset
    return total if bias is None else total + bias


class Dot:
    """A tile of rows x columns pixels and `blocks` vectors of `lanes` channels is kept in registers."""

    name = "dot"

    def choices(self, task: Task, cpu: Cpu) -> Sequence[Choice]:
        windows = windows_of(task)
        found = lanes_of(cpu.extensions())
        if windows is None or not found or not _narrow(task, cpu):
            return []
        outputs = task.types[task.output].shape[-1]
        ranked = []
        for lanes in found:
            if outputs % lanes and lanes != found[0] and any(outputs % n == 0 for n in found):
                continue
            if lanes > 2 * outputs:
                continue
            count = -(-outputs // lanes)
            for blocks in _divisors(count):
                for rows in _divisors(windows.rows):
                    for columns in _divisors(windows.columns):
                        tiles = rows * columns * blocks
                        if tiles <= MOST_TILES:
                            choice = {
                                "template": self.name,
                                "lanes": lanes,
                                "rows": rows,
                                "columns": columns,
                                "blocks": blocks,
                            }
                            ranked.append((_cost(windows, outputs, choice), choice))
        ranked.sort(key=lambda pair: pair[0])
        return [choice for _, choice in ranked[:64]]

    def make(self, task: Task, cpu: Cpu, choice: Choice) -> Definition:
        lanes, rows, columns, blocks = (int(choice[key]) for key in ("lanes", "rows", "columns", "blocks"))
        definition = dot_sums(task, cpu, lanes)
        schedule = Schedule(definition.func)
        whole = task.types[task.output].shape[-1] % lanes == 0
        at = (_from_output if whole else _from_sums)(schedule, rows, columns, blocks, lanes)
        for block in reversed(schedule.get_child_blocks(schedule.get_sblock("root"))):
            if schedule.get(block).name_hint.startswith("stage"):  # of the rescaling, for a tile at once
                schedule.compute_at(block, at, preserve_unit_loops=True)
                schedule.set_scope(block, 0, "local")
        _accumulate(schedule, at, dot_intrinsic(task, lanes), whole)
        return Definition(schedule.mod["main"], definition.arguments)


def dot_sums(task: Task, cpu: Cpu, lanes: int) -> Definition:
    """The task over sums of groups of four bytes, not scheduled. Raises InputError where core or layer has none."""
    windows = windows_of(task)
    if windows is None or lanes not in lanes_of(cpu.extensions()) or not _narrow(task, cpu):
        raise InputError.at(task.where, f"dot products of {lanes} lanes", "what fits the layer and the core")
    builder = Builder(task, cpu)
    acc = _sums(builder, windows, lanes)
    return builder.finish(elementwise(builder, _pixel(acc, lanes), raw_bias(task)))


def dot_intrinsic(task: Task, lanes: int) -> str:
    """The registered instruction for the innermost two loops of these sums."""
    return quad_dot(lanes, task.storage[_input(task)].dtype)


def _from_output(schedule: Schedule, rows: int, columns: int, blocks: int, lanes: int) -> object:
    """Tiles of the output in whole vectors; the loop that the sums of a tile belong into."""
    out = schedule.get_sblock("out")
    while len(schedule.get_loops(out)) < 3:  # (O) and (N, O) as images of one row
        schedule.add_unit_loop(schedule.get_loops(out)[0])
    h, w, o = schedule.get_loops(out)
    outer_h, inner_h = schedule.split(h, [None, rows])
    outer_w, inner_w = schedule.split(w, [None, columns])
    outer_o, inner_o, lane = schedule.split(o, [None, blocks, lanes])
    schedule.reorder(outer_o, outer_h, outer_w, inner_h, inner_w, inner_o, lane)
    schedule.vectorize(lane)
    schedule.parallel(schedule.fuse(outer_o, outer_h))
    for loop in (inner_h, inner_w, inner_o):
        schedule.unroll(loop)
    return outer_w


def _from_sums(schedule: Schedule, rows: int, columns: int, blocks: int, lanes: int) -> object:
    """Tiles of the sums, more channels than the output has; of each tile, the channels that there are are stored."""
    h, w, o, lane, *sums = schedule.get_loops(schedule.get_sblock("acc"))
    outer_h, inner_h = schedule.split(h, [None, rows])
    outer_w, inner_w = schedule.split(w, [None, columns])
    outer_o, inner_o = schedule.split(o, [None, blocks])
    schedule.reorder(outer_o, outer_h, outer_w, *sums[:-1], inner_h, inner_w, inner_o, lane, sums[-1])
    schedule.parallel(schedule.fuse(outer_o, outer_h))
    schedule.reverse_compute_at(schedule.get_sblock("out"), outer_w, preserve_unit_loops=True)
    return outer_w


def _input(task: Task) -> str:
    anchor = task.anchor
    assert anchor is not None
    return anchor.inputs[0]


def _narrow(task: Task, cpu: Cpu) -> bool:
    """Whether elements and weights are the bytes that the instruction takes, and no sum leaves 32 bits."""
    anchor = task.anchor
    assert anchor is not None
    storage, weights = task.storage[anchor.inputs[0]], task.consts[anchor.inputs[1]]
    operand = "uint8" if cpu.arch == "x86_64" else "int8"
    if storage.dtype != operand or weights.min() < -128 or weights.max() > 127:
        return False
    bound = 255 * int(np.abs(weights.reshape(len(weights), -1)).sum(axis=1).max()) + int(np.abs(raw_bias(task)).max())
    return bound < 1 << 31


def _sums(builder: Builder, windows: Windows, lanes: int) -> te.Tensor:
    """The sums of stored elements (rows, columns, channel blocks, lanes), without a bias."""
    task = builder.task
    name = _input(task)
    weights = window_weights(task, windows, QUAD)
    outputs, kh, kw, width = weights.shape
    weights = np.pad(weights, ((0, -outputs % lanes), (0, 0), (0, 0), (0, 0)))
    packed = weights.reshape(-1, lanes, kh, kw, width // QUAD, QUAD).transpose(0, 2, 3, 4, 1, 5).astype(np.int8)
    w = builder.constant("weights", packed)
    storage = task.storage[name]
    row = storage.strides[0] if len(storage.shape) == 3 else windows.step * windows.columns
    height = (windows.rows - 1) * windows.rows_step + (kh - 1) * windows.tap_rows + 1
    length = (windows.columns - 1) * windows.step + (kw - 1) * windows.tap_bytes + width
    x = builder.view(name, (height, length), (row, 1), windows.start)
    axes = [
        te.reduce_axis((0, n), label)
        for n, label in zip((kh, kw, width // QUAD, QUAD), ("kh", "kw", "j", "i"), strict=True)
    ]
    ky, kx, j, i = axes

    def total(h: Expr, v: Expr, o: Expr, lane: Expr) -> Expr:
        byte = v * windows.step + kx * windows.tap_bytes + j * QUAD + i
        element = x(h * windows.rows_step + ky * windows.tap_rows, byte)
        return te.sum(element.astype("int32") * w(o, ky, kx, j, lane, i).astype("int32"), axis=axes)

    return te.compute((windows.rows, windows.columns, packed.shape[0], lanes), total, "acc")


def _pixel(acc: te.Tensor, lanes: int) -> Value:
    """The sum at an index of the output, which may have one, two or three axes."""

    def value(index: Sequence[Expr]) -> Expr:
        *place, o = index
        pixel = [0, 0, *place][-2:]
        return acc(*pixel, o // lanes, o % lanes)

    return value


def _accumulate(schedule: Schedule, at: object, intrinsic: str, moved: bool) -> None:
    """The sums in registers: loops over accumulators unrolled inside the reduction, the innermost an instruction."""
    acc = schedule.get_sblock("acc")
    if moved:
        schedule.compute_at(acc, at, preserve_unit_loops=True)
        h, w, o, lane, ky, kx, j, i = schedule.get_loops(acc)[-8:]
        schedule.reorder(ky, kx, j, h, w, o, lane, i)
    schedule.set_scope(acc, 0, "local")
    ky, kx, j, h, w, o, lane, i = schedule.get_loops(acc)[-8:]
    for loop in (h, w, o):
        schedule.unroll(loop)
    init = schedule.decompose_reduction(acc, ky)
    initial = schedule.get_loops(init)
    schedule.vectorize(initial[-1])
    for loop in initial[-4:-1]:
        schedule.unroll(loop)
    schedule.tensorize(lane, intrinsic)


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, min(n, MOST_TILES) + 1) if n % d == 0]


def _cost(windows: Windows, outputs: int, choice: Choice) -> tuple[float, int]:
    """Cycles of the inner loop for the whole layer, a product a cycle, two loads a cycle, a latency of four or five."""
    tiles = choice["rows"] * choice["columns"] * choice["blocks"]
    loads = choice["rows"] * choice["columns"] + choice["blocks"]
    repeats = windows.rows * windows.columns * -(-outputs // choice["lanes"]) / tiles
    return repeats * max(tiles, loads / 2, 5), -tiles
