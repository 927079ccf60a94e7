"""Tasks: the graph's nodes, fused to what one kernel computes."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace

from codesign.backends.tvm.pairs import patterns
from codesign.backends.tvm.storage import Storage
from codesign.ir.graph import Graph, Node
from codesign.ir.ops import (
    Add,
    ArgMax,
    AvgPool2d,
    Concat,
    Conv2d,
    Dense,
    Lookup,
    MaxPool2d,
    Mul,
    Pad,
    Requant,
    Reshape,
    Softmax,
    Take,
    Threshold,
    Transpose,
)
from codesign.ir.ops.linear import sum_bounds
from codesign.ir.types import IntArray, TensorType

ELEMENTWISE = (Requant, Threshold, Lookup, Add, Mul)
ALONE = (Softmax, ArgMax)  # kernels of several loops: nothing is computed in their last one
ANCHORS = (Conv2d, Dense, MaxPool2d, AvgPool2d, Reshape, Concat, Pad, Take, Transpose, *ALONE)
OPERATORS = (*ELEMENTWISE, *ANCHORS)
"""What there are rules for."""

MOST_NODES = 16
MOST_POINTERS = 24  # that a kernel can be called with, as deliver/app/kernel.h and tune/harness/harness.c
POINTERS = {Requant: 4, Threshold: 4, Lookup: 1, Conv2d: 2, Dense: 2, Take: 1, AvgPool2d: 1, Softmax: 2}  # to constants


@dataclass(frozen=True)
class Task:
    """One kernel: at most one anchor (any operator but the elementwise ones), and elementwise nodes around it.

    nodes    in the order of computation; the last one gives the output
    inputs   the tensors that are read from memory, in the order of their first use
    types    of every input and node
    consts   values of the constants that the nodes use
    storage  of every input and of the output

    Without nodes it copies its input to `target`.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    types: Mapping[str, TensorType]
    consts: Mapping[str, IntArray]
    storage: Mapping[str, Storage] = field(default_factory=dict)
    target: str = ""

    @property
    def output(self) -> str:
        """The tensor that is written."""
        return self.nodes[-1].name if self.nodes else self.target

    @property
    def anchor(self) -> Node | None:
        """The node that is not elementwise, if there is one."""
        return next((node for node in self.nodes if not isinstance(node.op, ELEMENTWISE)), None)

    @property
    def where(self) -> str:
        """The user's layers, for messages: that of the anchor, or of the last node."""
        node = self.anchor or (self.nodes[-1] if self.nodes else None)
        return node.where if node is not None else f"output {self.target}"

    def macs(self) -> int:
        """Multiply-accumulates of one frame."""
        anchor = self.anchor
        if anchor is None or not isinstance(anchor.op, Conv2d | Dense):
            return 0
        weights, output = self.consts[anchor.inputs[1]], self.types[anchor.name]
        return int(weights.size) * output.size // output.channels

    def key(self) -> str:
        """A digest of what determines the kernel, but not of the values of its constants nor of names."""
        names = {name: f"x{i}" for i, name in enumerate(self.inputs)}
        lines = [f"{self.types[name]} {self.storage[name]}" for name in self.inputs]
        for node in self.nodes:
            args = [names.get(i) or f"{self.consts[i].shape}" for i in node.inputs]
            lines.append(f"{node.op} {args} {self.types[node.name]}")
            names[node.name] = f"n{len(names)}"
        lines.append(str(self.storage[self.output]))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def fuse(graph: Graph) -> list[Task]:
    """The graph as tasks, in the order of computation.

    A Reshape is no task but another name of its input, unless it is an output of the graph, which has its own memory.
    """
    outputs = {port.name for port in graph.outputs}
    consts = {name: const.value for name, const in graph.consts.items()}
    sums = patterns(graph.nodes, graph.types(), consts, outputs)
    inside = {node.name for one in sums for node in one.nodes}  # each is one step of a kernel
    whole = {one.result: one for one in sums}
    group: dict[str, list[Node]] = {}  # by the group's output
    for node in graph.nodes:
        if (isinstance(node.op, Reshape) and node.name not in outputs) or node.name in inside - whole.keys():
            continue
        members, reads = [node], tuple(graph.data_inputs(node))
        if node.name in whole:
            members, reads = whole[node.name].nodes, (whole[node.name].a, whole[node.name].b)
        if isinstance(node.op, ELEMENTWISE):
            for name in dict.fromkeys(reads):
                if _joins(graph, group.get(name), members, name, inside):
                    members = [*group.pop(name), *members]
                elif name in group:
                    members = [*_taken_over(graph, group, members, name, inside), *members]
        group[node.name] = members
    order = {node.name: i for i, node in enumerate(graph.nodes)}
    tasks = [sorted(members, key=lambda n: order[n.name]) for members in group.values()]
    return [_task(graph, nodes) for nodes in sorted(tasks, key=lambda nodes: order[nodes[-1].name])]


def _joins(graph: Graph, group: list[Node] | None, members: list[Node], name: str, simple: Container[str]) -> bool:
    """Whether the group that computes `name` can be one kernel with `members`, which use it."""
    if group is None or len(group) + len(members) > MOST_NODES:
        return False
    if _pointers(graph, [*group, *members], simple) > MOST_POINTERS:
        return False
    if any(port.name == name for port in graph.outputs) or len(graph.users(name)) != 1:
        return False
    anchors = [node for node in (*group, *members) if not isinstance(node.op, ELEMENTWISE)]
    if any(isinstance(node.op, ALONE) for node in anchors) or len(anchors) > 1:
        return False
    # An anchor may have another shape than its input, elementwise nodes may not.
    return graph.type(name).shape == graph.type(members[-1].name).shape


def _pointers(graph: Graph, nodes: list[Node], simple: Container[str]) -> int:
    """The pointers that a kernel of these nodes takes at most: what it reads, its constants, its output."""
    own = {node.name for node in nodes}
    inputs = {name for node in nodes for name in graph.data_inputs(node)} - own
    return 1 + len(inputs) + sum(POINTERS.get(type(node.op), 0) for node in nodes if node.name not in simple)


def _taken_over(
    graph: Graph, group: dict[str, list[Node]], members: list[Node], name: str, simple: Container[str]
) -> list[Node]:
    """The last nodes of the group of `name` that rather belong to `members`: they widen what goes through memory."""
    path, node = [name], graph.node(name)
    while isinstance(node.op, ELEMENTWISE) and node.name not in simple and len(graph.data_inputs(node)) == 1:
        (source,) = graph.data_inputs(node)
        if source not in {n.name for n in group[name]} or len(graph.users(source)) != 1:
            break
        path.append(source)
        node = graph.node(source)
    narrowest = min(range(len(path)), key=lambda i: graph.type(path[i]).dtype.bits)
    moved = [n for n in group[name] if n.name in path[:narrowest]]
    if not moved or not _joins(graph, moved, members, name, simple):
        return []
    kept = [n for n in group.pop(name) if n not in moved]
    group[path[narrowest]] = kept
    return moved


def _task(graph: Graph, nodes: list[Node]) -> Task:
    own = {node.name for node in nodes}
    inputs = dict.fromkeys(name for node in nodes for name in graph.data_inputs(node) if name not in own)
    consts = {name: graph.consts[name].value for node in nodes for name in node.inputs if name in graph.consts}
    types = {name: graph.type(name) for name in (*inputs, *own)}
    return Task(tuple(nodes), tuple(inputs), types, consts)


def stored(task: Task, storage: Mapping[str, Storage]) -> Task:
    """The task with the storage of its tensors."""
    return replace(task, storage={name: storage[name] for name in (*task.inputs, task.output)})


def bounds_of(task: Task) -> tuple[IntArray, IntArray] | None:
    """The smallest and the largest result of the anchor in each channel, bias included; None for other operators."""
    anchor = task.anchor
    if anchor is None or not isinstance(anchor.op, Conv2d | Dense):
        return None
    weights, dtype = task.consts[anchor.inputs[1]], task.types[anchor.inputs[0]].dtype
    lo, hi = dtype.lo, dtype.hi
    if isinstance(anchor.op, Conv2d) and any(anchor.op.padding):
        lo, hi = min(lo, anchor.op.pad_value), max(hi, anchor.op.pad_value)
    bias = task.consts[anchor.inputs[2]] if len(anchor.inputs) > 2 else None
    return sum_bounds(lo, hi, weights.reshape(len(weights), -1), bias)
