"""A short way to write integer graphs by hand: `b = GraphBuilder(); x = b.input((8, 8, 3), U4); …; g = b.graph(y)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from codesign.ir.graph import Const, Graph, Node, Port
from codesign.ir.ops import Arg, Conv2d, Dense, Op, Requant, Rounding, Threshold
from codesign.ir.ops.base import Padding
from codesign.ir.types import IntArray, IntType, Quant, TensorType


class GraphBuilder:
    """Adds inputs, constants and nodes one by one; every method returns the name of the value it made.

    Types are inferred at once, so that a test can ask for the accumulator before it chooses levels. OpError comes
    from the operator; GraphError from `graph`.
    """

    def __init__(self) -> None:
        self.inputs: list[Port] = []
        self.consts: dict[str, Const] = {}
        self.nodes: list[Node] = []
        self.types: dict[str, TensorType] = {}

    def input(self, shape: Sequence[int], dtype: IntType, quant: Quant | None = None, name: str = "") -> str:
        """An input of the graph."""
        name = name or ("x" if not self.inputs else f"x{len(self.inputs) + 1}")
        type_ = TensorType(tuple(shape), dtype, quant)
        self.inputs.append(Port(name, type_))
        self.types[name] = type_
        return name

    def const(self, value: IntArray, dtype: IntType | None = None, name: str = "") -> str:
        """A constant, in the narrowest type unless one is given."""
        name = name or f"c{len(self.consts) + 1}"
        self.consts[name] = Const.of(np.asarray(value), dtype)
        return name

    def node(self, op: Op, *inputs: str, name: str = "", origin: str = "", quant: Quant | None = None) -> str:
        """The result of an operator."""
        name = name or f"{type(op).__name__.lower()}{len(self.nodes) + 1}"
        self.types[name] = replace(op.infer([self._arg(n) for n in inputs]), quant=quant)
        self.nodes.append(Node(name, op, inputs, origin, quant))
        return name

    def _arg(self, name: str) -> Arg:
        const = self.consts.get(name)
        return Arg(self.types[name]) if const is None else Arg(const.type, const.value)

    def type(self, name: str) -> TensorType:
        """The type of an input or a result."""
        return self.types[name]

    def graph(self, *outputs: str, sources: Sequence[Sequence[int]] = ()) -> Graph:
        """The graph with these outputs; verified."""
        axes = [tuple(s) for s in sources] or [()] * len(outputs)
        ports = tuple(Port(n, None, a) for n, a in zip(outputs, axes, strict=True))
        return Graph(tuple(self.inputs), dict(self.consts), tuple(self.nodes), ports)

    # -- the operators with constants, from arrays -------------------------------------------------------------------

    def conv(
        self,
        x: str,
        weights: IntArray,
        dtype: IntType | None = None,
        bias: IntArray | None = None,
        stride: tuple[int, int] = (1, 1),
        padding: Padding = (0, 0, 0, 0),
        groups: int = 1,
        dilation: tuple[int, int] = (1, 1),
        pad_value: int = 0,
        name: str = "",
    ) -> str:
        """Conv2d with weights (O, KH, KW, C / groups) of `dtype`, and bias (O)."""
        constants = [self.const(weights, dtype)] + ([] if bias is None else [self.const(bias)])
        return self.node(Conv2d(stride, padding, groups, dilation, pad_value), x, *constants, name=name)

    def dense(
        self, x: str, weights: IntArray, dtype: IntType | None = None, bias: IntArray | None = None, name: str = ""
    ) -> str:
        """Dense with weights (O, I) of `dtype`, and bias (O)."""
        constants = [self.const(weights, dtype)] + ([] if bias is None else [self.const(bias)])
        return self.node(Dense(), x, *constants, name=name)

    def threshold(self, x: str, levels: IntArray, out: IntType, name: str = "") -> str:
        """Threshold with levels (1 or C, L)."""
        return self.node(Threshold(out), x, self.const(levels), name=name)

    def requant(
        self,
        x: str,
        multiplier: Sequence[int],
        shift: Sequence[int],
        out: IntType,
        rounding: Rounding = Rounding.HALF_EVEN,
        zero_point: int = 0,
        name: str = "",
    ) -> str:
        """Requant with multiplier and shift, one or one per channel each."""
        constants = [self.const(np.asarray(v, dtype=np.int64)) for v in (multiplier, shift)]
        return self.node(Requant(out, rounding, zero_point), x, *constants, name=name)
