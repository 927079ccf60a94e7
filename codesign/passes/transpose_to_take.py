"""Axes in another order, as a choice of elements."""

from __future__ import annotations

import numpy as np

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Reshape, Take, Transpose
from codesign.passes.rewrite import Edit, rewrite


def transpose_to_take(graph: Graph) -> Graph:
    """Transpose -> Reshape, Take, Reshape: all elements in one row, picked in the new order."""
    return rewrite(graph, _rule)


def _rule(node: Node, edit: Edit) -> Node | None:
    if not isinstance(node.op, Transpose):
        return None
    type_ = edit.type(node.inputs[0])
    order = np.arange(type_.size).reshape(type_.shape).transpose(node.op.axes)
    row = edit.before(node, "row", Reshape((type_.size,)), node.inputs[0])
    picked = edit.before(node, "picked", Take(0, tuple(order.reshape(-1).tolist())), row)
    return Node(node.name, Reshape(order.shape), (picked,), node.origin, node.quant)
