"""Biases as part of the level table behind them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Conv2d, Dense, Threshold
from codesign.ir.types import IntArray
from codesign.passes.levels import fits
from codesign.passes.rewrite import Edit, accepts, only_user, producer, rewrite


def merge_bias_into_threshold(graph: Graph) -> Graph:
    """Threshold(Conv2d or Dense with bias b), its only reader -> no bias, levels T - b: x + b >= T is x >= T - b."""
    return rewrite(graph, _rule)


def _merged_levels(linear: Node | None, graph: Graph) -> IntArray | None:
    """The levels less the bias, limited to the accumulator's range; None when there is nothing to merge."""
    if linear is None or not isinstance(linear.op, (Conv2d, Dense)) or len(linear.inputs) != 3:
        return None
    user = only_user(graph, linear.name)
    if user is None or not isinstance(user.op, Threshold):
        return None
    x, bias = graph.type(linear.name).dtype, graph.consts[linear.inputs[2]].value
    # Levels outside the accumulator's range are brought to its edge first: the sum of any two is then in 34 bits.
    levels = np.clip(graph.consts[user.inputs[1]].value, x.lo, x.hi + 1) - bias[:, None]
    return levels if fits(levels) and accepts(linear.op, graph.args(linear)[:2]) else None


def _rule(node: Node, edit: Edit) -> Node | None:
    if _merged_levels(node, edit.graph) is not None:
        return replace(node, inputs=node.inputs[:2])
    if isinstance(node.op, Threshold):
        levels = _merged_levels(producer(edit.graph, node.inputs[0]), edit.graph)
        if levels is not None:
            return replace(node, inputs=(node.inputs[0], edit.const(f"{node.name}.levels", levels)))
    return None
