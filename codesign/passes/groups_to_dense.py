"""Grouped convolutions as ordinary ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Conv2d
from codesign.ir.types import IntArray
from codesign.passes.rewrite import Edit, rewrite


def groups_to_dense(graph: Graph) -> Graph:
    """Conv2d with 1 < groups, but for depthwise of one output per channel -> groups 1, zero weights between groups."""
    return rewrite(graph, _rule)


def _rule(node: Node, edit: Edit) -> Node | None:
    op = node.op
    if not isinstance(op, Conv2d) or op.groups == 1:
        return None
    channels, weights = edit.type(node.inputs[0]).channels, edit.value(node.inputs[1])
    if op.groups == channels == len(weights):
        return None
    name = edit.const(f"{node.name}.weight", ungrouped(weights, op.groups), edit.type(node.inputs[1]).dtype)
    return replace(node, op=replace(op, groups=1), inputs=(node.inputs[0], name, *node.inputs[2:]))


def ungrouped(weights: IntArray, groups: int) -> IntArray:
    """Weights (O, KH, KW, C / groups) as (O, KH, KW, C), with zeros between the groups."""
    outputs, height, width, per_group = weights.shape
    full = np.zeros((outputs, height, width, groups * per_group), dtype=np.int64)
    per_out = outputs // groups
    for g in range(groups):
        rows = slice(g * per_out, (g + 1) * per_out)
        full[rows, :, :, g * per_group : (g + 1) * per_group] = weights[rows]
    return full
