"""Which values occur: often fewer than a type holds, and levels that none of them reaches or misses are free."""

from __future__ import annotations

import numpy as np

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Conv2d, Dense, MaxPool2d, Requant, Reshape, Take, Threshold, Transpose
from codesign.ir.types import IntArray

Range = tuple[int, int]


def reaches(graph: Graph) -> dict[str, Range]:
    """The least and the largest integer of every value, as far as the operators and their constants tell."""
    found = {port.name: _whole(graph, port.name) for port in graph.inputs}
    for node in graph.nodes:
        x = found.get(node.inputs[0])  # None for a constant
        found[node.name] = _whole(graph, node.name) if x is None else _reach(graph, node, x)
    return found


def _whole(graph: Graph, name: str) -> Range:
    dtype = graph.type(name).dtype
    return dtype.lo, dtype.hi


def _reach(graph: Graph, node: Node, x: Range) -> Range:
    constants = [graph.consts[name].value for name in node.inputs if name in graph.consts]
    match node.op:
        case Conv2d() | Dense() as op:
            least, most = sums(constants[0], constants[1] if len(constants) > 1 else np.zeros(1, dtype=np.int64), op, x)
        case Requant() as op:
            least, most = np.sort(op.apply(np.array(x)[:, None], *constants), axis=0)
        case Threshold(out):
            least, most = (out.lo + out.step * (constants[0] <= end).sum(axis=1) for end in x)
        case MaxPool2d() | Reshape() | Transpose() | Take():
            return x
        case _:
            return _whole(graph, node.name)
    return int(least.min()), int(most.max())


def sums(weights: IntArray, bias: IntArray, op: Conv2d | Dense, x: Range) -> tuple[IntArray, IntArray]:
    """The least and the largest sum (O,) of weights (O, …) times values of the range x, and of padding."""
    if isinstance(op, Conv2d) and any(op.padding):
        x = min(x[0], op.pad_value), max(x[1], op.pad_value)
    flat = weights.reshape(len(weights), -1)
    least, most = np.sort(np.stack([flat * x[0], flat * x[1]]), axis=0).sum(axis=2)
    return least + bias, most + bias
