"""Images as one row where a layer does not look at a pixel's neighbours."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Conv2d, Reshape
from codesign.passes.rewrite import Edit, rewrite


def flatten_pointwise(graph: Graph, layers: Collection[str]) -> Graph:
    """Conv2d 1x1 on (H, W, C), stride 1, no padding -> Conv2d 1x1 on (1, H*W, C) between two Reshapes.

    layers  Conv2d nodes; one that `pointwise` does not list stays as it is

    It pays where hardware works on blocks of several rows and columns that H or W is no multiple of.
    """

    def rule(node: Node, edit: Edit) -> Node | None:
        if node.name not in layers or not _is_pointwise(graph, node):
            return None
        height, width, channels = edit.type(node.inputs[0]).shape
        row = edit.before(node, "row", Reshape((1, height * width, channels)), node.inputs[0])
        made = edit.before(node, "pointwise", node.op, row, *node.inputs[1:])
        return replace(node, op=Reshape(graph.type(node.name).shape), inputs=(made,))

    return rewrite(graph, rule)


def pointwise(graph: Graph) -> tuple[str, ...]:
    """The layers that `flatten_pointwise` flattens: 1x1 convolutions of images with more than one row."""
    return tuple(node.name for node in graph.nodes if _is_pointwise(graph, node))


def _is_pointwise(graph: Graph, node: Node) -> bool:
    if not isinstance(node.op, Conv2d) or node.op.stride != (1, 1) or any(node.op.padding):
        return False
    return graph.type(node.inputs[1]).shape[1:3] == (1, 1) and graph.type(node.inputs[0]).shape[0] > 1
