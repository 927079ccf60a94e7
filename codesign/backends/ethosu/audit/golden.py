"""The golden graph by operators of the model: which nodes compute an operator, and what they compute together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codesign.frontend.imported import Imported
from codesign.frontend.tflite.context import frame
from codesign.frontend.tflite.schema import Model, Operator
from codesign.ir.graph import Graph, Node
from codesign.ir.ops import (
    Add,
    AvgPool2d,
    Conv2d,
    Dense,
    Lookup,
    MaxPool2d,
    Mul,
    Requant,
    Reshape,
    Rounding,
    Take,
    Threshold,
)
from codesign.ir.types import IntArray, IntType


@dataclass(frozen=True, eq=False)
class Convolution:
    """y = clamp(round((b + sum (x - pad) * w) * multiplier / 2^shift) + zero_point, low, high).

    weights      (outputs, height, width, inputs per group); a Dense has height and width 1
    bias         less the sum of the weights times the input's zero point, as the graph has it
    dense        computes on pixels alone: no window, stride or padding
    accumulator  the type of the sums
    """

    weights: IntArray
    bias: IntArray
    op: Conv2d
    dense: bool
    multiplier: IntArray
    shift: IntArray
    rounding: Rounding
    zero_point: int
    low: int
    high: int
    out: IntType
    accumulator: IntType


@dataclass(frozen=True, eq=False)
class Pool:
    """A MaxPool2d or AvgPool2d, and the limits behind it."""

    op: MaxPool2d | AvgPool2d
    low: int
    high: int
    out: IntType


class Golden:
    """The golden graph of a model, operator by operator.

    The graph is what `import_tflite` made of the model: every tensor that an operator computes is a value of it.
    """

    def __init__(self, model: Model, imported: Imported) -> None:
        self.model = model
        self.graph: Graph = imported.graph
        self.values: dict[int, str] = {int(p.tensor): p.node for p in imported.probes}
        ports = [port.name for port in self.graph.inputs]
        for index, name in zip(model.inputs, ports, strict=True):
            self.values[self._integers(index)] = name
        self._nodes: Mapping[str, Node] = {node.name: node for node in self.graph.nodes}
        self._tensors = {name: index for index, name in self.values.items()}

    def _integers(self, index: int) -> int:
        """A model input, or the result of the QUANTIZE that its integers come from."""
        if self.model.tensors[index].kind != "float32":
            return index
        return next(op.outputs[0] for op in self.model.operators if index in op.inputs)

    def where(self, operator: int) -> str:
        """The user's name of a layer."""
        op = self.model.operators[operator]
        return self.model.tensors[op.outputs[0]].where if op.outputs else op.name

    def shape(self, tensor: int) -> tuple[int, ...]:
        """A tensor's shape without the batch."""
        return frame(self.model.tensors[tensor].shape)

    def operator(self, index: int) -> Operator:
        return self.model.operators[index]

    def nodes(self, tensor: int, through: Sequence[int] = ()) -> list[Node]:
        """The nodes between a tensor and the tensors that it is computed from, in order.

        through  tensors between that are not an end
        """
        found: dict[str, Node] = {}
        start = self.values.get(tensor)
        ends = {self.values[t] for t in self.values if t not in through} - {start}
        pending = [start] if start is not None and start in self._nodes else []
        while pending:
            node = self._nodes[pending.pop()]
            if node.name in found:
                continue
            found[node.name] = node
            pending += [n for n in node.inputs if n in self._nodes and n not in ends]
        return [node for node in self.graph.nodes if node.name in found]

    def ends(self, nodes: Sequence[Node]) -> list[int]:
        """The tensors that these nodes read, in order."""
        inside = {node.name for node in nodes}
        names = [n for node in nodes for n in node.inputs if n not in inside and n not in self.graph.consts]
        return [self._tensors[name] for name in dict.fromkeys(names)]

    def constant(self, node: Node, index: int) -> IntArray:
        """A constant input of a node."""
        return self.graph.consts[node.inputs[index]].value

    def constants(self, operator: int) -> int:
        """How many constants an operator has; the levels of a clamp count as its two limits."""
        count = 0
        for tensor in self.operator(operator).outputs:
            for node in self.nodes(tensor):
                sizes = [self.graph.consts[n].value.size for n in node.inputs if n in self.graph.consts]
                count += 2 if isinstance(node.op, Threshold) else sum(sizes)
        return count

    # -- what nodes compute ------------------------------------------------------------------------------------------

    def convolution(self, tensor: int) -> Convolution | None:
        """The convolution that computes a tensor; None when it is none, or something else is behind it."""
        linear: Node | None = None
        scale: Node | None = None
        limits: tuple[int, int] | None = None
        for node in self.nodes(tensor):
            if isinstance(node.op, Conv2d | Dense) and linear is None:
                linear = node
            elif isinstance(node.op, Requant) and linear is not None and scale is None:
                scale, limits = node, (node.op.out.lo, node.op.out.hi)
            elif isinstance(node.op, Threshold) and scale is not None:
                limits = self._limits(node)
            elif not isinstance(node.op, Reshape):
                return None
        if linear is None or scale is None or limits is None:
            return None
        assert isinstance(scale.op, Requant)
        weights = self.constant(linear, 1)
        dense = isinstance(linear.op, Dense)
        if dense:
            weights = weights[:, None, None, :]
        op = linear.op if isinstance(linear.op, Conv2d) else Conv2d()
        dense = dense or (weights.shape[1:3] == (1, 1) and op == Conv2d())
        bias = self.constant(linear, 2) if len(linear.inputs) > 2 else np.zeros(len(weights), dtype=np.int64)
        spread = np.ones(len(weights), dtype=np.int64)
        return Convolution(
            weights, bias, op, dense, self.constant(scale, 1) * spread, self.constant(scale, 2) * spread,
            scale.op.rounding, scale.op.zero_point, *limits, scale.op.out, self.graph.type(linear.name).dtype,
        )  # fmt: skip

    def pool(self, tensor: int) -> Pool | None:
        """The pooling that computes a tensor; None when it is none, or something else is behind it."""
        nodes = self.nodes(tensor)
        if not nodes or not isinstance(nodes[0].op, MaxPool2d | AvgPool2d) or len(nodes) > 2:
            return None
        op, out = nodes[0].op, self.graph.type(nodes[-1].name).dtype
        limits: tuple[int, int] | None = (out.lo, out.hi)
        if len(nodes) == 2:
            limits = self._limits(nodes[1]) if isinstance(nodes[1].op, Threshold) else None
        return None if limits is None else Pool(op, *limits, out)

    def _limits(self, node: Node) -> tuple[int, int] | None:
        """The limits of a Threshold that is a clamp of its own type; None for any other."""
        assert isinstance(node.op, Threshold)
        x, levels = self.graph.type(node.inputs[0]).dtype, self.constant(node, 1)
        if x != node.op.out or len(levels) != 1 or x.bits > 16:
            return None
        domain = np.arange(x.lo, x.hi + 1)
        y = x.lo + np.searchsorted(levels[0], domain, side="right")
        low, high = int(y.min()), int(y.max())
        return (low, high) if (y == np.clip(domain, low, high)).all() else None

    def pointwise(self, nodes: Sequence[Node], feeds: Mapping[int, IntArray]) -> IntArray | None:
        """What nodes compute of the values in `feeds`, by tensor, elementwise; None for a node that is not.

        The last axis of a feed are the channels, or it is 1. Reshapes and repetitions of an axis change no value.
        """
        return self.evaluate(nodes, {self.values[tensor]: values for tensor, values in feeds.items()})

    def evaluate(self, nodes: Sequence[Node], feeds: Mapping[str, IntArray]) -> IntArray | None:
        """`pointwise`, of values by name."""
        values = dict(feeds)
        for node in nodes:
            source = node.inputs[0]
            if isinstance(node.op, Reshape) or (isinstance(node.op, Take) and not any(node.op.indices)):
                values[node.name] = values[source]
                continue
            if not _elementwise(node):
                return None
            args = [values[n] if n in values else self.graph.consts[n].value for n in node.inputs]
            values[node.name] = np.asarray(node.op.evaluate(args, self.graph.args(node)), dtype=np.int64)
        return values[nodes[-1].name] if nodes else next(iter(values.values()))


def _elementwise(node: Node) -> bool:
    return isinstance(node.op, Requant | Threshold | Lookup | Add | Mul)
