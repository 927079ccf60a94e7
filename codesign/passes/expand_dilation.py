"""Dilated convolutions as ordinary ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Conv2d
from codesign.passes.rewrite import Edit, rewrite


def expand_dilation(graph: Graph) -> Graph:
    """Conv2d with dilation d -> dilation 1 and a kernel of d * (k - 1) + 1 with zeros between its weights."""
    return rewrite(graph, _rule)


def _rule(node: Node, edit: Edit) -> Node | None:
    op = node.op
    if not isinstance(op, Conv2d) or op.dilation == (1, 1):
        return None
    weights = edit.value(node.inputs[1])
    outputs, height, width, per_group = weights.shape
    dy, dx = op.dilation
    full = np.zeros((outputs, dy * (height - 1) + 1, dx * (width - 1) + 1, per_group), dtype=np.int64)
    full[:, ::dy, ::dx] = weights
    name = edit.const(f"{node.name}.weight", full, edit.type(node.inputs[1]).dtype)
    return replace(node, op=replace(op, dilation=(1, 1)), inputs=(node.inputs[0], name, *node.inputs[2:]))
