"""Nodes that compute the same thing, once."""

from __future__ import annotations

from collections.abc import Hashable

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Op
from codesign.passes.rewrite import Edit, is_output, rewrite


def merge_equal(graph: Graph) -> Graph:
    """Two nodes of one operator with the same inputs and equal constants -> the first; an output keeps its node."""
    seen: dict[tuple[Op, tuple[Hashable, ...]], str] = {}

    def rule(node: Node, edit: Edit) -> str | None:
        key = node.op, tuple(_identity(name, edit) for name in node.inputs)
        first = seen.setdefault(key, node.name)
        return first if first != node.name and not is_output(edit.graph, node.name) else None

    return rewrite(graph, rule)


def _identity(name: str, edit: Edit) -> Hashable:
    """What two inputs have in common when they always have equal values."""
    const = edit.consts.get(name)
    return name if const is None else (const.type.dtype, const.value.shape, const.value.tobytes())
