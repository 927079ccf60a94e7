"""A copy of the model's input where a layer reads it more than once."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Conv2d, MaxPool2d, Reshape
from codesign.passes.rewrite import Edit, rewrite

_CHANNELS = 16  # of the copy: a whole number of words of any memory, and the depth of an NPU's feature map bricks


def buffer_input(graph: Graph, layers: Collection[str]) -> Graph:
    """Conv2d of an input of the graph -> Conv2d of a copy of it, which MaxPool2d 1x1 makes in rows of 16 channels.

    layers  Conv2d nodes; one that `reads_input` does not list stays as it is

    It pays where inputs lie in a slow memory and results in a fast one: windows overlap, and every reading of a pixel
    of few channels takes a whole burst.
    """

    def rule(node: Node, edit: Edit) -> Node | None:
        if node.name not in layers or not _reads_input(graph, node):
            return None
        source = node.inputs[0]
        type_ = edit.type(source)
        channels = math.gcd(_CHANNELS, type_.size)
        flat = Reshape((1, type_.size // channels, channels))
        row = edit.before(node, "row", flat, source, quant=type_.quant)
        copy = edit.before(node, "copy", MaxPool2d((1, 1), (1, 1)), row, quant=type_.quant)
        image = edit.before(node, "image", Reshape(type_.shape), copy, quant=type_.quant)
        return replace(node, inputs=(image, *node.inputs[1:]))

    return rewrite(graph, rule)


def reads_input(graph: Graph) -> tuple[str, ...]:
    """The layers that `buffer_input` changes: convolutions of an input with windows that overlap."""
    return tuple(node.name for node in graph.nodes if _reads_input(graph, node))


def _reads_input(graph: Graph, node: Node) -> bool:
    if not isinstance(node.op, Conv2d) or graph.is_computed(node.inputs[0]):
        return False
    height, width = graph.type(node.inputs[1]).shape[1:3]
    return height > node.op.stride[0] or width > node.op.stride[1]
