"""Values of the integer graph as TOSA tensors: which element type holds what, and how one becomes another."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from codesign.export.tosa import operators as t
from codesign.export.tosa.reach import reaches
from codesign.export.tosa.writer import Dtype, Tensor, Writer
from codesign.ir.graph import Graph, Node
from codesign.ir.types import IntArray, IntType
from codesign.passes.rewrite import only_user

# m / 2^s = 1 for a RESCALE of values below 2^29, and of those of 48 bits that fit 32.
UNIT, UNIT_SHIFT, UNIT_LIMIT = 1 << 30, 30, 1 << 29
UNIT_48, UNIT_48_SHIFT = 1 << 14, 14


class Refused(Exception):
    """A layer that has no exact form: what was found and what is allowed. The layer's name is added by the caller."""

    def __init__(self, found: str, allowed: str = "") -> None:
        super().__init__(found)
        self.found, self.allowed = found, allowed


@dataclass(frozen=True)
class Storage:
    """An element type and what is added to an element to get the value."""

    dtype: Dtype
    offset: int


def storage(dtype: IntType) -> Storage:
    """How a value of the graph is stored at the edges of the TOSA graph: in the narrowest of 8, 16 and 32 bits.

    TOSA's integers are signed: of u8 an element is value - 128, of u16 value - 32768. Raises Refused for values above
    2^31 - 1.
    """
    for bits, element in ((8, Dtype.I8), (16, Dtype.I16), (32, Dtype.I32)):
        whole = IntType(bits, True)
        if whole.lo <= dtype.lo and dtype.hi <= whole.hi:
            return Storage(element, 0)
        if bits < 32 and dtype == IntType(bits, False):
            return Storage(element, 1 << (bits - 1))
    raise Refused(f"values of type {dtype}, up to {dtype.hi}", f"at most {(1 << 31) - 1}: TOSA's integers are signed")


@dataclass(frozen=True)
class Value:
    """A value of the graph: tensor + offset, of type `dtype`.

    The tensor's axes are the batch and those of the graph, or others of the same size in the same order; the last one,
    the channels, is always the graph's.
    """

    tensor: Tensor
    dtype: IntType
    offset: int = 0


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums per channel, and how to have factor * sum + bias in their place; all (C,).

    make         (factor, bias) -> the tensor; Refused where the accumulator does not hold its sums
    most_factor  the largest factor
    least, most  the range of the sums
    """

    make: Callable[[IntArray, IntArray], Tensor]
    most_factor: IntArray
    least: IntArray
    most: IntArray


class Lowering:
    """The TOSA graph of an integer graph while it grows, and its values by name, with the ends of their ranges."""

    def __init__(self, graph: Graph, batch: int) -> None:
        self.graph, self.batch = graph, batch
        self.writer = Writer()
        self.reach = reaches(graph)
        self.values: dict[str, Value] = {}
        self._sums: dict[int, Sums] = {}

    def keep_sums(self, node: Node, value: Value, sums: Sums) -> None:
        """Remember how the sums of a node can be had otherwise, if one node alone reads them."""
        if only_user(self.graph, node.name):
            self._sums[value.tensor.index] = sums

    def sums(self, x: Value) -> Sums | None:
        """How the sums that x is can be had otherwise; None when it is none, or they are read by others."""
        tensor = self.writer.unshaped(x.tensor)
        return self._sums.get(tensor.index) if tensor.shape[-1] == x.tensor.shape[-1] else None

    def only_read_by(self, node: Node) -> Node | None:
        """The node that computes the first input of `node`, when nothing else reads it."""
        name = node.inputs[0]
        return self.graph.node(name) if self.graph.is_computed(name) and only_user(self.graph, name) else None

    def input(self, node: Node, number: int = 0) -> Value:
        """An input of a node, of whatever shape and element type."""
        return self.values[node.inputs[number]]

    def result(self, node: Node, tensor: Tensor, offset: int = 0) -> Value:
        """What a node computes, as a value of the node's type."""
        return Value(tensor, self.graph.type(node.name).dtype, offset)

    def constant(self, node: Node, number: int) -> IntArray:
        """A constant input of a node."""
        return self.graph.consts[node.inputs[number]].value

    def shaped(self, node: Node, number: int = 0) -> Value:
        """An input of a node in the axes that the graph gives it."""
        return reshaped(self.writer, self.input(node, number), self.graph.type(node.inputs[number]).shape)


def wide(w: Writer, x: Value) -> Value:
    """The same values in 32 bits, without an offset."""
    match x.tensor.dtype:
        case Dtype.I32:
            return x
        case Dtype.I48:
            return replace(x, tensor=t.rescale(w, x.tensor, Dtype.I32, UNIT_48, UNIT_48_SHIFT))
        case Dtype.I8:
            made = t.rescale(w, x.tensor, Dtype.I32, UNIT, UNIT_SHIFT, (-x.offset, 0))
        case _:
            made = t.rescale(w, x.tensor, Dtype.I32, UNIT, UNIT_SHIFT)
            made = t.with_const(w, "ADD", made, x.offset) if x.offset else made
    return Value(made, x.dtype)


def reshaped(w: Writer, x: Value, shape: tuple[int, ...]) -> Value:
    """The same values with the axes (batch, *shape); values of 48 bits, which only RESCALE takes, in 32."""
    shape = (x.tensor.shape[0], *shape)
    if x.tensor.shape == shape:
        return x
    x = wide(w, x) if x.tensor.dtype is Dtype.I48 else x
    return replace(x, tensor=t.reshape(w, x.tensor, shape))


def image(w: Writer, x: Value) -> Value:
    """The same values with the axes (batch, H, W, C), whatever H and W."""
    shape = x.tensor.shape
    return x if len(shape) == 4 else reshaped(w, x, (math.prod(shape[1:-1]), 1, shape[-1]))


def stored(w: Writer, x: Value, dtype: IntType | None = None) -> Value:
    """The same values as `storage` has them for their type, or for a wider one."""
    to = storage(dtype or x.dtype)
    if (x.tensor.dtype, x.offset) == (to.dtype, to.offset):
        return x
    if to.dtype is Dtype.I32:
        return wide(w, x)
    if x.tensor.dtype is Dtype.I8 and to.dtype is Dtype.I8:
        return Value(t.rescale(w, x.tensor, Dtype.I8, UNIT, UNIT_SHIFT, (-x.offset, -to.offset)), x.dtype, to.offset)
    if x.tensor.dtype is Dtype.I48 and to == Storage(Dtype.I16, 0):
        return replace(x, tensor=t.rescale(w, x.tensor, Dtype.I16, UNIT_48, UNIT_48_SHIFT))
    if x.tensor.dtype is Dtype.I8 and to == Storage(Dtype.I16, 0):
        return Value(t.rescale(w, x.tensor, Dtype.I16, UNIT, UNIT_SHIFT, (-x.offset, 0)), x.dtype)
    tensor = wide(w, x).tensor
    if to.dtype is Dtype.I16 and to.offset:
        tensor = t.with_const(w, "ADD", tensor, -to.offset)
    zero_point = -to.offset if to.dtype is Dtype.I8 else 0
    return Value(t.rescale(w, tensor, to.dtype, UNIT, UNIT_SHIFT, (0, zero_point)), x.dtype, to.offset)
