"""Loops of a product over tiles of its output, the sums of a tile in registers: what the templates for ARM share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvm.s_tir import Schedule

from codesign.backends.tvm.templates.neon import SUMS

Loop = Any


def tile(rows: int, columns: int, blocks: int, patches: bool) -> dict[str, int]:
    """The part of a choice that says how large a tile is, and whether its windows are copied first."""
    return {"rows": rows, "columns": columns, "blocks": blocks, "patches": patches}


def tiled(schedule: Schedule, sums: str, size: Mapping[str, Any], whole: bool) -> None:
    """Tiles of rows x columns pixels and `blocks` times four channels, and all that they need in the loop over tiles.

    sums   the block whose values (rows, columns, blocks, 4) the output is made from
    size   a choice with what `tile` gives
    whole  whether the output has that many channels; otherwise of the last tile only those that exist are stored
    """
    patches = bool(size.get("patches"))
    at = (_tiles_of_output if whole else _tiles_of_sums)(schedule, sums, size, patches)
    blocks = {schedule.get(block).name_hint: block for block in schedule.get_child_blocks(schedule.get_sblock("root"))}
    behind = [name for name in blocks if name.startswith("stage")]  # of the rescaling: between the sums and the output
    if not whole:
        for name in (*behind, "out"):
            schedule.reverse_compute_at(blocks[name], at, preserve_unit_loops=True)
    for name in reversed(blocks):
        if name == "patch":  # for all channels
            around = schedule.get_loops(schedule.get_sblock(sums))[1]
            schedule.compute_at(blocks[name], around, preserve_unit_loops=True)
            _side_by_side(schedule, blocks[name])
        elif name != "out" and (whole or name not in (*behind, sums)):
            schedule.compute_at(blocks[name], at, preserve_unit_loops=True)
        if name != "out":
            schedule.set_scope(blocks[name], 0, "local")


def _side_by_side(schedule: Schedule, patch: Any) -> None:
    *pixel, tap, byte = schedule.get_loops(patch)[-4:]
    schedule.vectorize(byte)
    for loop in (*pixel, tap):
        schedule.unroll(loop)
    width = int(schedule.get(byte).extent)
    schedule.transform_layout(patch, ("write", 0), lambda h, v, t, j: [h, v, t * width + j])


def _tiles_of_output(schedule: Schedule, sums: str, size: Mapping[str, Any], patches: bool) -> Loop:
    out = schedule.get_sblock("out")
    while len(schedule.get_loops(out)) < 3:  # (O) and (N, O) as images of one row
        schedule.add_unit_loop(schedule.get_loops(out)[0])
    h, w, o = schedule.get_loops(out)
    at, inner = _split(schedule, (h, w, o), size, SUMS, (), patches)
    schedule.vectorize(inner[-1])
    for loop in inner[:-1]:
        schedule.unroll(loop)
    return at


def _tiles_of_sums(schedule: Schedule, sums: str, size: Mapping[str, Any], patches: bool) -> Loop:
    h, w, o, *rest = schedule.get_loops(schedule.get_sblock(sums))
    at, _ = _split(schedule, (h, w, o), size, 1, tuple(rest), patches)
    return at


def _split(
    schedule: Schedule, loops: Sequence[Loop], size: Mapping[str, Any], unit: int, rest: Sequence[Loop], patches: bool
) -> tuple[Loop, list[Loop]]:  # fmt: skip
    """The innermost loop over tiles, and the loops within one.

    Channels are the outermost loop, for the weights of a tile to stay in the cache for the whole image; with patches
    the innermost.
    """
    (h, w, o), blocks = loops, int(size["blocks"]) * unit
    outer_h, inner_h = schedule.split(h, [None, int(size["rows"])])
    outer_w, inner_w = schedule.split(w, [None, int(size["columns"])])
    outer_o, inner_o = schedule.split(o, [None, blocks])
    inner = [inner_h, inner_w, inner_o]
    if patches:
        schedule.reorder(outer_h, outer_w, outer_o, *inner, *rest)
        schedule.parallel(outer_h)
        return outer_o, inner
    schedule.reorder(outer_o, outer_h, outer_w, *inner, *rest)
    schedule.parallel(schedule.fuse(outer_o, outer_h))
    return outer_w, inner


def arranged(schedule: Schedule, name: str, unrolled: int, reductions: int) -> Loop:
    """The block's first reductions outside its loops over sums; the innermost of them, or None where there is none.

    The block's loops are `unrolled` ones over sums, one that its intrinsic begins with, and the reduction, whose first
    `reductions` loops are not the intrinsic's.
    """
    own = _own_loops(schedule, name)
    (h, w, *others), first = own[:unrolled], own[unrolled]
    outer, inner = own[unrolled + 1 :][:reductions], own[unrolled + 1 + reductions :]
    schedule.reorder(*outer, *others, h, w, first, *inner)
    return outer[-1] if outer else None


def in_registers(schedule: Schedule, name: str, unrolled: int, reductions: int, intrinsic: str) -> None:
    """Sums in registers: of an `arranged` block, the loops over sums unrolled, the rest an instruction."""
    block, own = schedule.get_sblock(name), _own_loops(schedule, name)
    outer, over = own[:reductions], own[reductions : reductions + unrolled]
    for loop in over:
        schedule.unroll(loop)
    init = schedule.decompose_reduction(block, (outer or over)[0])
    *around, last = schedule.get_loops(init)
    schedule.vectorize(last)
    for loop in around[len(around) - unrolled :]:
        schedule.unroll(loop)
    schedule.tensorize(own[reductions + unrolled], intrinsic)


def _own_loops(schedule: Schedule, name: str) -> list[Loop]:
    block = schedule.get_sblock(name)
    return list(schedule.get_loops(block)[-len(schedule.get(block).iter_vars) :])
