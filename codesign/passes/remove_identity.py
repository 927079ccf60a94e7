"""Operators that change nothing."""

from __future__ import annotations

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import AvgPool2d, Concat, MaxPool2d, Pad, Requant, Reshape
from codesign.passes.rewrite import Edit, is_output, rewrite


def remove_identity(graph: Graph) -> Graph:
    """Reshape to the same shape, Pad by nothing, 1x1 pooling, Concat of one, Requant by 1 into its own type -> nothing.

    An output of the graph stays, since its name is the user's.
    """
    return rewrite(graph, _rule)


def _rule(node: Node, edit: Edit) -> str | None:
    x, y = edit.type(node.inputs[0]), node.op.infer(edit.args(node))
    # Of another type it is no identity, even with the same values: a Concat wants one type for all.
    same = (x.shape, x.dtype) == (y.shape, y.dtype)
    return node.inputs[0] if same and _keeps_values(node, edit) and not is_output(edit.graph, node.name) else None


def _keeps_values(node: Node, edit: Edit) -> bool:
    """Whether an operator whose output is of its input's type and shape gives the values of its input."""
    match node.op:
        case Reshape() | Pad():
            return True
        case Concat():
            return len(node.inputs) == 1
        case MaxPool2d(kernel) | AvgPool2d(kernel, mean=False):
            return kernel == (1, 1)
        case Requant(zero_point=0):
            multiplier, shift = (edit.value(name) for name in node.inputs[1:])
            return bool((multiplier == 1 << shift).all())
    return False
