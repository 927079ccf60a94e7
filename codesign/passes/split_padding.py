"""Padding of convolutions and poolings as a Pad of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Arg, AvgPool2d, Concat, Conv2d, MaxPool2d, Pad, Requant
from codesign.passes.rewrite import Edit, accepts, rewrite

_NONE = (0, 0, 0, 0)


def split_padding(graph: Graph) -> Graph:
    """Conv2d, MaxPool2d and AvgPool2d(mean=False) with padding -> Pad, then the operator without.

    A max pool is padded with the smallest value of its type, which never wins. A mean divides by the pixels inside
    the image and keeps its padding: `mean_to_sum` comes first.
    """
    return rewrite(graph, _rule)


def _rule(node: Node, edit: Edit) -> Node | None:
    op = node.op
    if not isinstance(op, (Conv2d, MaxPool2d, AvgPool2d)) or not any(op.padding):
        return None
    if isinstance(op, AvgPool2d) and op.mean:
        return None
    value = edit.type(node.inputs[0]).dtype.lo if isinstance(op, MaxPool2d) else op.pad_value
    pad, args = Pad(op.padding, value), edit.args(node)
    unpadded = replace(op, padding=_NONE) if isinstance(op, MaxPool2d) else replace(op, padding=_NONE, pad_value=0)
    if not accepts(pad, args[:1]) or not accepts(unpadded, padded := [Arg(pad.infer(args[:1])), *args[1:]]):
        return None
    image = edit.before(node, "pad", pad, node.inputs[0])
    out = edit.graph.type(node.name).dtype
    if unpadded.infer(padded).dtype != out and any(isinstance(user.op, Concat) for user in edit.graph.users(node.name)):
        # A padding that widens the image widens the sum, if only by type; a Concat wants one type for all.
        wide = edit.before(node, "wide", unpadded, image, *node.inputs[1:])
        one = edit.const(f"{node.name}.multiplier", np.array([1]))
        none = edit.const(f"{node.name}.shift", np.array([0]))
        return replace(node, op=Requant(out), inputs=(wide, one, none))
    return replace(node, op=unpadded, inputs=(image, *node.inputs[1:]))
