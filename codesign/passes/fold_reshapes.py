"""Chains of Reshape as one."""

from __future__ import annotations

from dataclasses import replace

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Reshape
from codesign.passes.rewrite import Edit, producer, rewrite


def fold_reshapes(graph: Graph) -> Graph:
    """Reshape of a Reshape -> one Reshape of the first one's input."""
    return rewrite(graph, _rule)


def _rule(node: Node, edit: Edit) -> Node | None:
    if not isinstance(node.op, Reshape):
        return None
    source = node.inputs[0]
    while (before := producer(edit.graph, source)) is not None and isinstance(before.op, Reshape):
        source = before.inputs[0]
    return replace(node, inputs=(source,)) if source != node.inputs[0] else None
