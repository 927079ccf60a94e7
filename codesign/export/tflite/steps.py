"""Requants that the kernels of TFLite have inside: their constants, and that nothing limits what passes through them.

A Requant limits its result to its type. The kernels limit only at their end, so a step inside one is the kernel's own
when no value of its input's type reaches a limit.
"""

from __future__ import annotations

from codesign.frontend.tflite.params import Rescale
from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Requant
from codesign.ir.ops.rescale import round_shift

_INT32 = 1 << 31


def constants(graph: Graph, node: Node) -> tuple[list[int], list[int]]:
    """(multipliers, shifts) of a Requant."""
    multiplier, shift = (graph.consts[name].value.tolist() for name in node.inputs[1:])
    return multiplier, shift


def is_exact(graph: Graph, node: Node, factor: int, offset: int) -> bool:
    """Whether the node computes x * factor + offset, for every x of its input's type."""
    op = node.op
    same = isinstance(op, Requant) and op.zero_point == offset and constants(graph, node) == ([factor], [0])
    return same and is_unlimited(graph, node)


def is_rescale(graph: Graph, node: Node, by: Rescale, zero_point: int) -> bool:
    """Whether the node is clamp(by(x) + zero_point) to its own type, and the kernel has 32 bits enough to shift x."""
    op, reach = node.op, graph.type(node.inputs[0]).dtype
    return (
        isinstance(op, Requant)
        and op.rounding is by.rounding
        and op.zero_point == zero_point
        and constants(graph, node) == (by.multiplier.tolist(), by.shift.tolist())
        and max(-reach.lo, reach.hi + 1) << by.left <= _INT32
    )


def is_unlimited(graph: Graph, node: Node) -> bool:
    """Whether the type of a Requant, a monotone function, holds its result for every value of its input's type."""
    op, reach = node.op, graph.type(node.inputs[0]).dtype
    assert isinstance(op, Requant)
    multiplier, shift = (graph.consts[name].value for name in node.inputs[1:])
    ends = [round_shift(end * multiplier, shift, op.rounding) + op.zero_point for end in (reach.lo, reach.hi)]
    return all(op.out.lo <= int(end.min()) and int(end.max()) <= op.out.hi for end in ends)
