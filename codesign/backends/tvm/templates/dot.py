"""Conv2d and Dense by four-byte dot products: VNNI on x86, SDOT on ARM.

The bytes of a window row, KW * C, lie side by side in memory, so the sum runs over kernel rows and groups of four:
acc[h, w, o] = sum over (kh, j, i < 4) of row[h*s + kh][w*s*C + 4*j + i] * W[o, kh, 4*j + i], the weights behind the
last byte being zero. No channel is padded, no window copied: a tensor's border holds the padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from tvm import te
from tvm.s_tir import Schedule

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Builder, Definition, Expr
from codesign.backends.tvm.rules.elementwise import elementwise
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.backends.tvm.templates.intrinsics import QUAD, lanes_of, quad_dot
from codesign.backends.tvm.templates.windows import (
    Windows,
    are_bytes,
    divisors,
    input_of,
    pixel,
    raw_bias,
    rows_of,
    window_weights,
    windows_of,
)  # fmt: skip
from codesign.errors import InputError

MOST_TILES = 28  # accumulators, of 32 registers: the others hold weights and an activation
MOST_CHOICES = 64
MOST_TILES_AVX2 = 9  # of 16, where weights and activations need two each


class Dot:
    """A tile of rows x columns pixels and `blocks` vectors of `lanes` channels is kept in registers."""

    name = "dot"

    def choices(self, task: Task, cpu: Cpu) -> Sequence[Choice]:
        windows, extensions = windows_of(task), cpu.extensions()
        found = lanes_of(extensions)
        if windows is None or not found or not _fits(task, windows, cpu):
            return []
        most = MOST_TILES if cpu.arch == "aarch64" or "avx512vnni" in extensions else MOST_TILES_AVX2
        outputs = task.types[task.output].shape[-1]
        ranked = []
        for lanes in found:
            if outputs % lanes and lanes != found[0] and any(outputs % n == 0 for n in found):
                continue
            if lanes > 2 * outputs and lanes != found[-1]:
                continue
            sizes = divisors(windows.rows, most), divisors(windows.columns, most), divisors(-(-outputs // lanes), most)
            for rows, columns, blocks in product(*sizes):
                if rows * columns * blocks <= most:
                    size = {"lanes": lanes, "rows": rows, "columns": columns, "blocks": blocks}
                    choice = {"template": self.name, **size}
                    ranked.append((_cost(windows, outputs, choice), choice))
        ranked.sort(key=lambda pair: pair[0])
        return [choice for _, choice in ranked[:MOST_CHOICES]]

    def make(self, task: Task, cpu: Cpu, choice: Choice) -> Definition:
        lanes, rows, columns, blocks = (int(choice[key]) for key in ("lanes", "rows", "columns", "blocks"))
        definition = dot_sums(task, cpu, lanes)
        schedule = Schedule(definition.func)
        whole = task.types[task.output].shape[-1] % lanes == 0
        at = (tiles_of_output if whole else tiles_of_sums)(schedule, rows, columns, blocks, lanes)
        _accumulate(schedule, at, dot_intrinsic(task, cpu, lanes), whole)
        return Definition(schedule.mod["main"], definition.arguments)


def dot_sums(task: Task, cpu: Cpu, lanes: int) -> Definition:
    """The task over sums of groups of four bytes, not scheduled. Raises InputError where core or layer has none."""
    windows = windows_of(task)
    if windows is None or lanes not in lanes_of(cpu.extensions()) or not _fits(task, windows, cpu):
        raise InputError.at(task.where, f"dot products of {lanes} lanes", "what fits the layer and the core")
    builder = Builder(task, cpu)
    acc = _sums(builder, windows, lanes)
    return builder.finish(elementwise(builder, pixel(acc, lanes), raw_bias(task)))


def dot_intrinsic(task: Task, cpu: Cpu, lanes: int) -> str:
    """The registered instruction for the innermost two loops of these sums."""
    return quad_dot(lanes, task.storage[input_of(task)].dtype, cpu.extensions())


def _fits(task: Task, windows: Windows, cpu: Cpu) -> bool:
    """Whether operands are bytes, and what is read behind a window in whole groups lies in the tensor's memory."""
    return are_bytes(task, cpu) and -windows.width % QUAD <= task.storage[input_of(task)].tail


def tiles_of_output(schedule: Schedule, rows: int, columns: int, blocks: int, lanes: int) -> object:
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
    for block in reversed(helper_stages(schedule)):
        schedule.compute_at(block, outer_w, preserve_unit_loops=True)
        schedule.set_scope(block, 0, "local")
    return outer_w


def helper_stages(schedule: Schedule) -> list[object]:
    """Blocks of the rescaling between the sums and the output, in order: they belong to a tile."""
    blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    return [block for block in blocks if schedule.get(block).name_hint.startswith("stage")]


def tiles_of_sums(schedule: Schedule, rows: int, columns: int, blocks: int, lanes: int) -> object:
    """Tiles of the sums, more channels than the output has; of each tile, the channels that there are are stored."""
    h, w, o, lane, *sums = schedule.get_loops(schedule.get_sblock("acc"))
    outer_h, inner_h = schedule.split(h, [None, rows])
    outer_w, inner_w = schedule.split(w, [None, columns])
    outer_o, inner_o = schedule.split(o, [None, blocks])
    schedule.reorder(outer_o, outer_h, outer_w, *sums[:-1], inner_h, inner_w, inner_o, lane, sums[-1])
    schedule.parallel(schedule.fuse(outer_o, outer_h))
    for block in helper_stages(schedule):
        schedule.reverse_compute_at(block, outer_w, preserve_unit_loops=True)
        schedule.set_scope(block, 0, "local")
    schedule.reverse_compute_at(schedule.get_sblock("out"), outer_w, preserve_unit_loops=True)
    return outer_w


def _sums(builder: Builder, windows: Windows, lanes: int) -> te.Tensor:
    """The sums of stored elements (rows, columns, channel blocks, lanes), without a bias."""
    task = builder.task
    weights = window_weights(task, windows, QUAD)
    outputs, kh, kw, width = weights.shape
    weights = np.pad(weights, ((0, -outputs % lanes), (0, 0), (0, 0), (0, 0)))
    packed = weights.reshape(-1, lanes, kh, kw, width // QUAD, QUAD).transpose(0, 2, 3, 4, 1, 5).astype(np.int8)
    w = builder.constant("weights", packed)
    element = rows_of(builder, windows, width)
    sizes = {"kh": kh, "kw": kw, "j": width // QUAD, "i": QUAD}
    axes = [te.reduce_axis((0, n), label) for label, n in sizes.items()]
    ky, kx, j, i = axes

    def total(h: Expr, v: Expr, o: Expr, lane: Expr) -> Expr:
        x = element((h, v, ky, kx, j * QUAD + i))
        return te.sum(x.astype("int32") * w(o, ky, kx, j, lane, i).astype("int32"), axis=axes)

    return te.compute((windows.rows, windows.columns, packed.shape[0], lanes), total, "acc")


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


def _cost(windows: Windows, outputs: int, choice: Choice) -> tuple[float, int]:
    """Cycles of the inner loop for the whole layer, a product a cycle, two loads a cycle, a latency of four or five."""
    tiles = choice["rows"] * choice["columns"] * choice["blocks"]
    loads = choice["rows"] * choice["columns"] + choice["blocks"]
    repeats = windows.rows * windows.columns * -(-outputs // choice["lanes"]) / tiles
    return repeats * max(tiles, loads / 2, 5), -tiles
