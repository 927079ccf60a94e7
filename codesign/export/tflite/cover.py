"""Which operators become one kernel: the graph cut into kernels, and the values that pass between them.

A kernel of TFLite computes an exact sum (a convolution, a sum of two tensors) and rescales it at once. In the graph
these are several nodes: a base (Conv2d, Dense, AvgPool2d, Add, Mul …) and a chain of Requants, Thresholds and Reshapes
behind it. A value between two kernels is kept as a tensor; all others exist only inside a kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign.export.tflite.steps import constants
from codesign.frontend.inputs import clamp_levels
from codesign.ir.graph import Graph, Node
from codesign.ir.ops import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Dense,
    MaxPool2d,
    Mul,
    Pad,
    Requant,
    Reshape,
    Take,
    Threshold,
    Transpose,
)
from codesign.ir.types import IntType
from codesign.passes.rewrite import is_output

_CHAIN = (Requant, Threshold, Reshape)
_LINEAR = (Conv2d, Dense, Add, Mul)
_MOVES = (Take, Transpose, Pad, Concat)


@dataclass(frozen=True)
class Operand:
    """One input of an Add or Mul: a tensor, and what is between it and the operator.

    steps   Requants
    spread  Takes that repeat axes of length 1, as the kernels do themselves; Reshapes that put such axes in front
    """

    tensor: str
    steps: tuple[Node, ...]
    spread: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Kernel:
    """One kernel to be.

    node      the node whose value it computes
    base      the operator; None: the chain works on a tensor
    chain     the Requants, Thresholds and Reshapes behind the base, in order
    operands  of an Add or Mul
    tensors   the values that it reads
    inner     Takes in front of a base that is one, for it alone
    """

    node: Node
    base: Node | None
    chain: tuple[Node, ...]
    tensors: tuple[str, ...]
    operands: tuple[Operand, ...] = ()
    inner: tuple[Node, ...] = ()

    @property
    def only_moves(self) -> bool:
        """Whether nothing but the shape changes behind the base."""
        return all(isinstance(node.op, Reshape) for node in self.chain)


def cover(graph: Graph) -> list[Kernel]:
    """The kernels that compute every output, in topological order."""
    wanted = [port.name for port in graph.outputs]
    kernels: dict[str, Kernel] = {}
    while wanted:
        name = wanted.pop()
        if name in kernels or not graph.is_computed(name):
            continue
        kernels[name] = _kernel(graph, graph.node(name))
        wanted += kernels[name].tensors
    return [kernels[node.name] for node in graph.nodes if node.name in kernels]


def _kernel(graph: Graph, node: Node) -> Kernel:
    chain: list[Node] = []
    current = node
    while isinstance(current.op, _CHAIN):
        chain.insert(0, current)
        source = current.inputs[0]
        if _is_tensor(graph, source, chain):
            return Kernel(node, None, tuple(chain), (source,))
        current = graph.node(source)
    if isinstance(current.op, Add | Mul):
        operands = _operands(graph, current)
        return Kernel(node, current, tuple(chain), tuple(o.tensor for o in operands), operands)
    data = graph.data_inputs(current)
    inner: tuple[Node, ...] = ()
    if isinstance(current.op, Take):
        inner = _in_front(graph, data[0], Take)
    elif isinstance(current.op, AvgPool2d) and not current.op.mean:
        # The rows of a mean: its kernel takes any axes.
        moves = _in_front(graph, data[0], Reshape)
        data = (moves[0].inputs[0],) if moves else data
    return Kernel(node, current, tuple(chain), (inner[0].inputs[0],) if inner else data, (), inner)


def _in_front(graph: Graph, name: str, kind: type[Take | Reshape]) -> tuple[Node, ...]:
    """The nodes of one kind, one behind the other, that end in a value which nobody wants as a tensor."""
    found: list[Node] = []
    while graph.is_computed(name):
        node = graph.node(name)
        if not isinstance(node.op, kind) or not _is_unseen(graph, node) or len(graph.users(name)) > 1:
            break
        found.insert(0, node)
        name = node.inputs[0]
    return tuple(found)


def _operands(graph: Graph, node: Node) -> tuple[Operand, ...]:
    """Both inputs, each as small as it is before it is repeated; spread already where the kernel would not do it."""
    found = tuple(_operand(graph, name, repeats=True) for name in node.inputs)
    shapes = [graph.type(operand.tensor).shape for operand in found]
    if np.broadcast_shapes(*shapes) == graph.type(node.name).shape:
        return found
    return tuple(_operand(graph, name, repeats=False) for name in node.inputs)


def _operand(graph: Graph, name: str, *, repeats: bool) -> Operand:
    steps: list[Node] = []
    spread: list[Node] = []
    while graph.is_computed(name):
        node = graph.node(name)
        if repeats and _repeats(graph, node, behind=bool(spread)):
            spread.insert(0, node)
        elif isinstance(node.op, Requant) and not _is_tensor(graph, name, ()):
            steps.insert(0, node)
        else:
            break  # a tensor, or a wide sum: whoever emits the kernel says that it cannot be kept
        name = node.inputs[0]
    return Operand(name, tuple(steps), tuple(spread))


def _repeats(graph: Graph, node: Node, *, behind: bool) -> bool:
    """Whether a node repeats an axis of length 1, or, in front of one that does, adds such axes at the front."""
    source = graph.type(node.inputs[0]).shape
    if isinstance(node.op, Reshape):
        shape = graph.type(node.name).shape
        return behind and _is_unseen(graph, node) and shape == (1,) * (len(shape) - len(source)) + source
    return isinstance(node.op, Take) and source[node.op.axis] == 1 and _is_unseen(graph, node)


def _is_unseen(graph: Graph, node: Node) -> bool:
    """Whether neither the user nor the model's interface knows the value."""
    return node.quant is None and not is_output(graph, node.name)


def _is_tensor(graph: Graph, name: str, behind: Sequence[Node]) -> bool:
    """Whether a value is kept between kernels: it fits, and somebody else wants it, or it is one by nature.

    behind  the chain that reads it
    """
    if not graph.is_computed(name):
        return True
    producer = graph.node(name)
    op = producer.op
    shared = is_output(graph, name) or len(graph.users(name)) > 1
    if graph.type(name).dtype.bits > 16:
        return False
    if isinstance(op, _LINEAR) or (isinstance(op, AvgPool2d) and not op.mean):
        return shared and graph.type(name).dtype.bits <= 8
    if isinstance(op, Requant | Threshold):
        return producer.quant is not None or (shared and not _is_inside(graph, producer))
    if isinstance(op, Reshape):
        named = producer.quant is not None and _is_tensor(graph, producer.inputs[0], ())
        return named or (shared and not _is_inside(graph, producer))
    if isinstance(op, _MOVES) and behind and not shared and producer.quant is None:
        return not all(isinstance(node.op, Reshape) for node in behind)
    if isinstance(op, MaxPool2d | AvgPool2d) and behind and not shared and producer.quant is None:
        # With a clamp behind it, and nothing else that computes, it is one kernel.
        clamps = [clamp_of(graph, node) is not None for node in behind if not isinstance(node.op, Reshape)]
        return isinstance(behind[0].op, Reshape) or not all(clamps)
    return True


def _is_inside(graph: Graph, node: Node) -> bool:
    """Whether every reader computes a shared value itself: x + c, which kernels do with their inputs."""
    if not _is_unseen(graph, node):
        return False
    if isinstance(node.op, Reshape):
        return graph.is_computed(node.inputs[0]) and _is_inside(graph, graph.node(node.inputs[0]))
    if not isinstance(node.op, Requant) or constants(graph, node) != ([1], [0]):
        return False
    return graph.type(node.name).dtype.bits > 8 or _is_tensor(graph, node.inputs[0], ())


def clamp_of(graph: Graph, node: Node) -> tuple[int, int] | None:
    """(low, high) of a Threshold that only limits its input to low … high; None for anything else."""
    if not isinstance(node.op, Threshold) or graph.type(node.inputs[0]).dtype != node.op.out:
        return None
    levels, dtype = graph.consts[node.inputs[1]].value, node.op.out
    if levels.shape[0] != 1 or dtype.bipolar:
        return None
    low = int(dtype.lo + np.count_nonzero(levels <= dtype.lo))
    high = int(dtype.lo + np.count_nonzero(levels <= dtype.hi))
    same = np.array_equal(levels, clamp_levels(dtype, low, high))
    return (low, high) if same else None


def fits(dtype: IntType) -> str:
    """The type of tensor that holds the values of `dtype`: int8, int16, or '' for none."""
    if dtype.hi - dtype.lo < 1 << 8:
        return "int8"
    return "int16" if dtype.lo >= -(1 << 15) and dtype.hi < 1 << 15 else ""
