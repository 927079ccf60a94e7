"""Nodes that compute the same thing, once."""

from __future__ import annotations

from collections.abc import Hashable

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Op
from codesign.passes.rewrite import Edit, is_output, rewrite


def merge_equal(graph: Graph) -> Graph:
    """Two nodes of one operator with the same inputs and equal constants -> the first; an output keeps its node.

    So does a value with a meaning that the first one has not.
    """
    seen: dict[tuple[Op, tuple[Hashable, ...]], Node] = {}

    def rule(node: Node, edit: Edit) -> str | None:
        key = node.op, tuple(_identity(name, edit) for name in node.inputs)
        first = seen.setdefault(key, node)
        if first is node or is_output(edit.graph, node.name):
            return None
        if node.quant is not None and node.quant != first.quant:
            seen[key] = node
            return None
        return first.name

    return rewrite(graph, rule)


def _identity(name: str, edit: Edit) -> Hashable:
    """What two inputs have in common when they always have equal values."""
    const = edit.consts.get(name)
    return name if const is None else (const.type.dtype, const.value.shape, const.value.tobytes())
