"""Channels between two layers in an order that compresses."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import AvgPool2d, Conv2d, Dense, Lookup, MaxPool2d, Pad, Requant, Reshape, Threshold
from codesign.ir.types import IntArray
from codesign.passes.depthwise_to_dense import is_depthwise
from codesign.passes.rewrite import Edit, is_output, rewrite

_MOVES = (Requant, Threshold, Lookup, MaxPool2d, AvgPool2d, Pad, Reshape)


def order_channels(graph: Graph, layers: Collection[str]) -> Graph:
    """Conv2d or Dense whose results other layers sum up -> the same with channels sorted by the size of their weights.

    layers  Conv2d and Dense nodes; one that `orderable` does not list stays as it is

    Sorted are the geometric means of |w| over the rows that make a channel and the columns that read it: an encoder
    that adapts to the weights as they come then finds large ones beside large ones.
    """
    chosen = {name: readers for name, readers in _orderable(graph).items() if name in layers}
    orders = {name: _order(graph, name, readers) for name, readers in chosen.items()}
    by_value: dict[str, IntArray] = {}

    def rule(node: Node, edit: Edit) -> Node | None:
        before, own = by_value.get(node.inputs[0]), orders.get(node.name)
        if before is None and own is None:
            return None
        inputs, sums = list(node.inputs), isinstance(node.op, Conv2d | Dense) and not is_depthwise(graph, node)
        for place, name in enumerate(node.inputs[1:], 1):
            value = edit.value(name)
            if sums and place == 1 and before is not None:
                value = value[..., before]
            rows = own if sums else before
            if rows is not None and len(value) == len(rows):
                value = value[rows]
            if value is not edit.value(name):
                inputs[place] = edit.const(f"{name}.ordered", value, edit.type(name).dtype)
        if own is not None:
            by_value[node.name] = own
        elif not sums and before is not None:
            by_value[node.name] = _through(graph, node, before)
        return replace(node, inputs=tuple(inputs))

    return rewrite(graph, rule)


def orderable(graph: Graph) -> tuple[str, ...]:
    """The layers whose channels `order_channels` sorts: whatever reads them sums over them or keeps them apart."""
    return tuple(_orderable(graph))


def _orderable(graph: Graph) -> dict[str, list[Node]]:
    """By layer: the layers that sum over its channels."""
    found = {}
    for node in graph.nodes:
        if isinstance(node.op, Conv2d | Dense) and not (isinstance(node.op, Conv2d) and node.op.groups > 1):
            readers = _readers(graph, node.name)
            if readers:
                found[node.name] = readers
    return found


def _readers(graph: Graph, name: str) -> list[Node] | None:
    """The layers that sum over the channels of a value; None where somebody minds their order."""
    quant = graph.type(name).quant
    if is_output(graph, name) or (quant is not None and quant.axis is not None):
        return None
    found: list[Node] = []
    for user in graph.users(name):
        if isinstance(user.op, _MOVES) or is_depthwise(graph, user):
            if isinstance(user.op, Reshape) and user.op.shape[-1] % graph.type(name).channels:
                return None
            behind = _readers(graph, user.name)
            if behind is None:
                return None
            found += behind
        elif isinstance(user.op, Conv2d | Dense) and getattr(user.op, "groups", 1) == 1:
            found.append(user)
        else:
            return None
    return found


def _through(graph: Graph, node: Node, order: IntArray) -> IntArray:
    """The order behind a node that keeps channels apart; a Reshape may put those of several pixels into one vector."""
    pixels = graph.type(node.name).channels // len(order)
    return (np.arange(pixels)[:, None] * len(order) + order).reshape(-1)


def _order(graph: Graph, name: str, readers: list[Node]) -> IntArray:
    """The channels of a layer by the size of their weights."""
    own = graph.consts[graph.node(name).inputs[1]].value
    channels = len(own)
    size = _log_mean(own.reshape(channels, -1))
    for reader in readers:
        weight = graph.consts[reader.inputs[1]].value
        size = size + _log_mean(np.moveaxis(weight.reshape(-1, weight.shape[-1] // channels, channels), -1, 0))
    return np.argsort(size, kind="stable")


def _log_mean(weights: IntArray) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """log(1 + mean |w|) of each first index."""
    return np.asarray(np.log1p(np.abs(weights.reshape(len(weights), -1)).mean(axis=1)))
