"""Operators that change nothing."""

from __future__ import annotations

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import AvgPool2d, Concat, MaxPool2d, Pad, Requant, Reshape
from codesign.ir.types import TensorType
from codesign.passes.rewrite import Edit, is_output, rewrite


def remove_identity(graph: Graph) -> Graph:
    """Reshape to the same shape, Pad by nothing, 1x1 pooling, Concat of one, Requant by 1 into its own type -> nothing.

    An output of the graph stays, since its name is the user's.
    """
    return rewrite(graph, _rule)


def _rule(node: Node, edit: Edit) -> str | None:
    if is_output(edit.graph, node.name) or not _changes_nothing(node, edit, edit.type(node.inputs[0])):
        return None
    return node.inputs[0]


def _changes_nothing(node: Node, edit: Edit, x: TensorType) -> bool:
    match node.op:
        case Reshape(shape):
            return shape == x.shape
        case Pad(padding):
            return not any(padding)
        case MaxPool2d(kernel, stride) | AvgPool2d(kernel, stride, mean=False):
            return kernel == (1, 1) and stride == (1, 1)
        case Concat():
            return len(node.inputs) == 1
        case Requant(out, _, zero_point):
            scale, shift = (edit.value(name) for name in node.inputs[1:])
            return out == x.dtype and zero_point == 0 and bool((scale == 1 << shift).all())
    return False
