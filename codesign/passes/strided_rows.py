"""Strides across kernels of one pixel as a choice of pixels."""

from __future__ import annotations

from dataclasses import replace

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Conv2d, Take
from codesign.passes.rewrite import Edit, rewrite


def strided_rows(graph: Graph) -> Graph:
    """Conv2d with a stride across a kernel of one row or pixel -> Take of what counts, then the Conv2d without it.

    hls4ml's streaming convolution ignores the vertical stride of a kernel of one row; and it multiplies at every pixel
    that comes in, used or not.
    """
    return rewrite(graph, _rule)


def _rule(node: Node, edit: Edit) -> Node | None:
    op = node.op
    if not isinstance(op, Conv2d):
        return None
    _, kernel_h, kernel_w, _ = edit.value(node.inputs[1]).shape
    down = op.stride[0] if kernel_h == 1 else 1
    right = op.stride[1] if kernel_h == kernel_w == 1 else 1
    if down == right == 1 or any(op.padding):
        return None
    image, (height, width, _) = node.inputs[0], edit.type(node.inputs[0]).shape
    if down > 1:
        image = edit.before(node, "rows", Take(0, tuple(range(0, height, down))), image)
    if right > 1:
        image = edit.before(node, "columns", Take(1, tuple(range(0, width, right))), image)
    stride = (op.stride[0] // down, op.stride[1] // right)
    return replace(node, op=replace(op, stride=stride), inputs=(image, *node.inputs[1:]))
