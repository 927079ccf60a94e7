"""Depthwise convolutions as ordinary ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Conv2d
from codesign.passes.rewrite import Edit, rewrite


def depthwise_to_dense(graph: Graph, layers: Collection[str]) -> Graph:
    """Conv2d with groups == C == O -> Conv2d with groups 1, zero weights between different channels.

    layers  Conv2d nodes; one that `depthwise` does not list stays as it is

    It pays for few channels where an array multiplies across channels: C times the work, but all multipliers busy.
    """

    def rule(node: Node, edit: Edit) -> Node | None:
        if node.name not in layers or not is_depthwise(graph, node):
            return None
        assert isinstance(node.op, Conv2d)
        weight = edit.value(node.inputs[1])
        channels, height, width, _ = weight.shape
        full = np.zeros((channels, height, width, channels), dtype=np.int64)
        each = np.arange(channels)
        full[each, :, :, each] = weight[:, :, :, 0]
        name = edit.const(f"{node.name}.weight", full, edit.type(node.inputs[1]).dtype)
        return replace(node, op=replace(node.op, groups=1), inputs=(node.inputs[0], name, *node.inputs[2:]))

    return rewrite(graph, rule)


def depthwise(graph: Graph, most_channels: int) -> tuple[str, ...]:
    """The layers that `depthwise_to_dense` changes, of at most so many channels."""
    nodes = [node for node in graph.nodes if is_depthwise(graph, node)]
    return tuple(node.name for node in nodes if graph.type(node.name).channels <= most_channels)


def is_depthwise(graph: Graph, node: Node) -> bool:
    """Whether a node is a convolution of each channel by itself."""
    if not isinstance(node.op, Conv2d) or node.op.groups == 1:
        return False
    return node.op.groups == graph.type(node.inputs[0]).channels == graph.type(node.name).channels
