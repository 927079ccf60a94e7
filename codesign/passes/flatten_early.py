"""An input that is flattened anyway is flattened first."""

from __future__ import annotations

from dataclasses import replace

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Requant, Reshape, Threshold
from codesign.passes.rewrite import Edit, only_user, producer, rewrite


def flatten_early(graph: Graph) -> Graph:
    """Reshape of a Threshold or Requant per tensor of an input -> the Threshold or Requant of the reshaped input.

    A stream carries neighbouring channels only: an image of one channel goes one element a beat, a vector any number.
    """
    return rewrite(graph, _rule)


def _rule(node: Node, edit: Edit) -> Node | None:
    graph = edit.graph
    before = producer(graph, node.inputs[0])
    if not isinstance(node.op, Reshape) or before is None or not isinstance(before.op, Threshold | Requant):
        return None
    per_tensor = all(edit.value(name).shape[0] == 1 for name in before.inputs[1:])
    if not per_tensor or graph.is_computed(before.inputs[0]) or only_user(graph, before.name) != node:
        return None
    flat = edit.before(node, "flat", node.op, before.inputs[0])
    return replace(node, op=before.op, inputs=(flat, *before.inputs[1:]), origin=before.origin)
