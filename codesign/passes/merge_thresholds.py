"""A Threshold behind another monotone operator, as one Threshold."""

from __future__ import annotations

from dataclasses import replace

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Requant, Threshold
from codesign.passes.levels import fits, preimage
from codesign.passes.rewrite import Edit, only_user, producer, rewrite


def merge_thresholds(graph: Graph) -> Graph:
    """Threshold(Threshold(x)) and Threshold(Requant(x)) -> one Threshold of x, if only it reads the inner one.

    x reaches the merged level where the inner operator reaches the outer level: exact, since neither decreases.
    """
    return rewrite(graph, _rule)


def _rule(node: Node, edit: Edit) -> Node | None:
    made = None
    while isinstance(node.op, Threshold):
        inner = _inner(node, edit)
        if inner is None:
            break
        x, constants = edit.type(inner.inputs[0]).dtype, [edit.value(name) for name in inner.inputs[1:]]
        levels = preimage(inner.op, x, constants, edit.value(node.inputs[1]))
        if levels is None or not fits(levels):
            break
        made = node = replace(node, inputs=(inner.inputs[0], edit.const(f"{node.name}.levels", levels)))
    return made


def _inner(node: Node, edit: Edit) -> Node | None:
    """The monotone operator in front of `node` that only `node` reads, as the graph had it before the pass."""
    inner = producer(edit.graph, node.inputs[0])
    if inner is None or not isinstance(inner.op, (Requant, Threshold)) or only_user(edit.graph, inner.name) is None:
        return None
    return inner
