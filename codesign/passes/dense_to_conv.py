"""Dense layers on images as 1x1 convolutions."""

from __future__ import annotations

import math
from dataclasses import replace

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Conv2d, Dense, Reshape
from codesign.passes.rewrite import Edit, rewrite


def dense_to_conv(graph: Graph) -> Graph:
    """Dense on (…, C) with more than one axis -> Conv2d 1x1 on (H, W, C), reshaped to three axes and back if need be.

    A Dense on a vector (C) stays: it is the fully connected layer.
    """
    return rewrite(graph, _rule)


def _rule(node: Node, edit: Edit) -> Node | None:
    shape = edit.type(node.inputs[0]).shape
    if not isinstance(node.op, Dense) or len(shape) == 1:
        return None
    weight = edit.consts[node.inputs[1]]
    outputs, channels = weight.value.shape
    kernel = edit.const(f"{node.name}.weight", weight.value.reshape(outputs, 1, 1, channels), weight.type.dtype)
    if len(shape) == 3:
        return replace(node, op=Conv2d(), inputs=(node.inputs[0], kernel, *node.inputs[2:]))
    image = edit.before(node, "image", Reshape((1, math.prod(shape[:-1]), channels)), node.inputs[0])
    result = edit.before(node, "conv", Conv2d(), image, kernel, *node.inputs[2:])
    return replace(node, op=Reshape((*shape[:-1], outputs)), inputs=(result,))
