"""Which operators become one kernel: the graph cut into kernels, and the values that pass between them.

A kernel of TFLite computes an exact sum (a convolution, a sum of two tensors) and rescales it at once. In the graph
these are several nodes: a base (Conv2d, Dense, AvgPool2d, Add, Mul …) and a chain of Requants, Thresholds and Reshapes
behind it. A value between two kernels is kept as a tensor; all others exist only inside a kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign.frontend.inputs import clamp_levels
from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Add, AvgPool2d, Conv2d, Dense, MaxPool2d, Mul, Requant, Reshape, Threshold
from codesign.ir.types import IntType
from codesign.passes.rewrite import is_output

_CHAIN = (Requant, Threshold, Reshape)
_LINEAR = (Conv2d, Dense, Add, Mul)


@dataclass(frozen=True)
class Operand:
    """One input of an Add or Mul: a tensor, and the Requants between it and the operator."""

    tensor: str
    steps: tuple[Node, ...]


@dataclass(frozen=True)
class Kernel:
    """One kernel to be.

    node      the node whose value it computes
    base      the operator; None: the chain works on a tensor
    chain     the Requants, Thresholds and Reshapes behind the base, in order
    operands  of an Add or Mul
    tensors   the values that it reads
    """

    node: Node
    base: Node | None
    chain: tuple[Node, ...]
    tensors: tuple[str, ...]
    operands: tuple[Operand, ...] = ()

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
    data = graph.data_inputs(current)
    if not isinstance(current.op, Add | Mul):
        return Kernel(node, current, tuple(chain), data)
    operands = tuple(_operand(graph, name) for name in current.inputs)
    return Kernel(node, current, tuple(chain), tuple(o.tensor for o in operands), operands)


def _operand(graph: Graph, name: str) -> Operand:
    steps: list[Node] = []
    while not _is_tensor(graph, name, ()):
        producer = graph.node(name)
        if not isinstance(producer.op, Requant):
            break  # a wide sum: whoever emits the kernel says that it cannot be kept
        steps.insert(0, producer)
        name = producer.inputs[0]
    return Operand(name, tuple(steps))


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
        return shared or producer.quant is not None
    if isinstance(op, Reshape):
        return shared
    if isinstance(op, MaxPool2d | AvgPool2d) and behind and not shared and producer.quant is None:
        # With a clamp behind it, and nothing else that computes, it is one kernel.
        clamps = [clamp_of(graph, node) is not None for node in behind if not isinstance(node.op, Reshape)]
        return isinstance(behind[0].op, Reshape) or not all(clamps)
    return True


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
