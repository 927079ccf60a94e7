"""Narrow Requants as level tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Requant, Threshold
from codesign.passes.levels import fits, preimage
from codesign.passes.rewrite import Edit, rewrite

# Up to here a table of 2^bits - 1 levels per channel is cheaper than a multiplier of 32 bits in every FPGA family.
MAX_BITS = 4


def requant_to_threshold(graph: Graph, max_bits: int = MAX_BITS) -> Graph:
    """Requant to at most `max_bits` bits that never decreases -> the Threshold of the same function.

    Left alone when a multiplier is negative, or a level above the input's range would need more than 32 bits.
    """

    def rule(node: Node, edit: Edit) -> Node | None:
        if not isinstance(node.op, Requant) or node.op.out.bits > max_bits:
            return None
        out = node.op.out
        x, constants = edit.type(node.inputs[0]).dtype, [edit.value(name) for name in node.inputs[1:]]
        levels = preimage(node.op, x, constants, np.arange(out.lo + 1, out.hi + 1)[None, :])
        if levels is None or not fits(levels):
            return None
        table = edit.const(f"{node.name}.levels", levels)
        return replace(node, op=Threshold(out), inputs=(node.inputs[0], table))

    return rewrite(graph, rule)
