"""A Requant or Threshold behind a maximum comes before it."""

from __future__ import annotations

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import MaxPool2d, Requant, Threshold
from codesign.passes.rewrite import Edit, only_user, producer, rewrite


def quantise_before_pooling(graph: Graph) -> Graph:
    """MaxPool2d -> Threshold or Requant: the other way round, where it never decreases and narrows what is pooled."""
    return rewrite(graph, _rule)


def _rule(node: Node, edit: Edit) -> Node | None:
    graph = edit.graph
    if not isinstance(node.op, Requant | Threshold):
        return None
    pool = producer(graph, node.inputs[0])
    if pool is None or not isinstance(pool.op, MaxPool2d) or only_user(graph, pool.name) is None:
        return None
    x, constants = pool.inputs[0], node.inputs[1:]
    if node.op.out.bits >= edit.type(x).dtype.bits:
        return None
    if isinstance(node.op, Requant) and edit.value(constants[0]).min() < 0:
        return None
    early = edit.before(node, "early", node.op, edit.aliases.get(x, x), *constants)
    return Node(node.name, pool.op, (early,), node.origin, node.quant)
