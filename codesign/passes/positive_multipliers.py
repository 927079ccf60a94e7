"""Negative multipliers of a Requant, moved into the weights before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codesign.ir.graph import Const, Graph, Node
from codesign.ir.ops import Arg, Conv2d, Dense, Requant
from codesign.ir.types import IntArray
from codesign.passes.rewrite import Edit, accepts, only_user, producer, rewrite


def positive_multipliers(graph: Graph) -> Graph:
    """Requant(Conv2d or Dense) with m < 0 in some channels -> those channels' weights and biases negated, and -m.

    Exact for every rounding, since the product x * m stays the same. Left alone when the negated weights would need
    a wider type, or when something else reads the accumulator.
    """
    return rewrite(graph, _rule)


def _signs(linear: Node | None, graph: Graph) -> IntArray | None:
    """-1 for each output of `linear` that is to be negated, else 1; None when nothing is to be done."""
    if linear is None or not isinstance(linear.op, (Conv2d, Dense)):
        return None
    user = only_user(graph, linear.name)
    if user is None or not isinstance(user.op, Requant):
        return None
    multiplier, weights = graph.consts[user.inputs[1]].value, graph.consts[linear.inputs[1]]
    signs = np.broadcast_to(np.where(multiplier < 0, -1, 1), (len(weights.value),))
    if not (signs < 0).any() or int(multiplier.min()) == -(1 << 31):
        return None
    if not weights.type.dtype.holds(_negated(weights.value, signs)):
        return None
    constants = [Const.of(_negated(graph.consts[name].value, signs)) for name in linear.inputs[1:]]
    args = [graph.args(linear)[0], *(Arg(const.type, const.value) for const in constants)]
    return signs if accepts(linear.op, args) else None


def _negated(values: IntArray, signs: IntArray) -> IntArray:
    return values * signs.reshape(-1, *([1] * (values.ndim - 1)))


def _rule(node: Node, edit: Edit) -> Node | None:
    signs = _signs(node, edit.graph)
    if signs is not None:
        made = [node.inputs[0]]
        for what, name in zip(("weight", "bias"), node.inputs[1:], strict=False):
            made.append(edit.const(f"{node.name}.{what}", _negated(edit.value(name), signs), edit.type(name).dtype))
        return replace(node, inputs=tuple(made))
    if isinstance(node.op, Requant) and _signs(producer(edit.graph, node.inputs[0]), edit.graph) is not None:
        positive = edit.const(f"{node.name}.multiplier", np.abs(edit.value(node.inputs[1])))
        return replace(node, inputs=(node.inputs[0], positive, node.inputs[2]))
    return None
