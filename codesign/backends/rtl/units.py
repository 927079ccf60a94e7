"""The graph cut into units: one stream engine each, with the activations that are fused behind it.

A unit is what is folded, scheduled and built as one layer. Reshapes vanish (a stream has no shape), a Threshold or
Requant that is the only reader of a result joins the unit that computes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import ArgMax, AvgPool2d, Concat, Conv2d, Dense, MaxPool2d, Pad, Requant, Reshape, Threshold
from codesign.ir.types import TensorType
from codesign.schedule import Fold


@dataclass(frozen=True)
class Unit:
    """One layer to be.

    head         the node that decides the engine
    activations  Threshold and Requant nodes fused behind it, in order
    inputs       the values that it reads as streams, reshapes resolved
    in_types     their types; out_type the type of what it gives; acc_type the type of the head's own result
    """

    graph: Graph
    head: Node
    activations: tuple[Node, ...]
    inputs: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the head node, which folds and reports use."""
        return self.head.name

    @property
    def output(self) -> str:
        """The value that the unit computes."""
        return (self.activations or (self.head,))[-1].name

    @property
    def where(self) -> str:
        """The user's name of the layer."""
        return self.head.where

    @cached_property
    def in_types(self) -> tuple[TensorType, ...]:
        return tuple(self.graph.type(name) for name in self.graph.data_inputs(self.head))

    @cached_property
    def acc_type(self) -> TensorType:
        return self.graph.type(self.head.name)

    @cached_property
    def out_type(self) -> TensorType:
        return self.graph.type(self.output)

    @cached_property
    def window(self) -> Geometry | None:
        """The window engine's geometry; None for units without a window."""
        return _geometry(self)

    @property
    def depthwise(self) -> bool:
        """Whether every channel is worked on by itself (depthwise convolution, pooling)."""
        return self.window is not None and self.window.channelwise

    @property
    def is_matrix(self) -> bool:
        """Whether every result depends on all channels: Dense, Conv2d, ArgMax."""
        return self.window is not None and not self.window.channelwise

    def in_lanes(self, fold: Fold) -> int:
        """Elements per beat that the engine takes."""
        return fold.simd if self.is_matrix else fold.pe

    def out_lanes(self, fold: Fold) -> int:
        """Elements per beat that the unit gives."""
        return fold.pe

    def legal_folds(self) -> list[Fold]:
        """Every fold that can be built: pe divides the outputs, simd the channels; all taps of a kernel at once when
        the channels of a pixel, or all outputs, are worked on at once too (see cs_window_parallel)."""
        if isinstance(self.head.op, ArgMax):
            return [Fold(1)]
        if self.is_matrix and self.window is not None:
            outputs, channels = self.out_type.channels, self.window.channels
            folds = [Fold(p, s) for p in divisors(outputs) for s in divisors(channels)]
            if self.window.area > 1:
                folds += [Fold(p, channels, self.window.area) for p in divisors(outputs)]
                folds += [Fold(outputs, s, self.window.area) for s in divisors(channels)[:-1]]
            return folds
        channels = self.in_types[0].channels
        common = [d for d in divisors(channels) if all(t.channels % d == 0 for t in self.in_types)]
        return [Fold(p) for p in common]

    def steps(self, fold: Fold) -> int:
        """Steps of the unit's slowest actor per frame: its least interval in cycles."""
        if self.window is not None:
            writes, outer = self.window.writes(self.in_lanes(fold)), self.window.outer(self.acc_type.channels, fold)
            if fold.taps > 1:
                return writes + (outer - 1) * self.window.positions
            return max(writes, self.window.positions * outer * self.window.inner(fold))
        if isinstance(self.head.op, Pad | Concat):
            return self.acc_type.size // fold.pe
        return self.in_types[0].size // fold.pe

    def macs(self) -> int:
        """Multiply-accumulates per frame."""
        return self.head.op.work(self.graph.args(self.head)).macs


@dataclass(frozen=True)
class Geometry:
    """The window of a convolution, a pooling or a dense layer (1x1 on a 1x1 image, or on one row of several)."""

    height: int
    width: int
    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    channelwise: bool

    @property
    def out_height(self) -> int:
        return (self.height - self.kernel[0]) // self.stride[0] + 1

    @property
    def out_width(self) -> int:
        return (self.width - self.kernel[1]) // self.stride[1] + 1

    @property
    def positions(self) -> int:
        return self.out_height * self.out_width

    def writes(self, lanes: int) -> int:
        """Words of a frame: one per `lanes` channels."""
        return self.height * self.width * self.channels // lanes

    def outer(self, outputs: int, fold: Fold) -> int:
        """Runs of the inner loop per position: neuron folds or channel folds."""
        return (self.channels if self.channelwise else outputs) // fold.pe

    @property
    def area(self) -> int:
        """Positions of the kernel."""
        return self.kernel[0] * self.kernel[1]

    def inner(self, fold: Fold) -> int:
        """Steps that make one output beat."""
        return self.area if self.channelwise else self.area * self.channels // (fold.simd * fold.taps)


def _geometry(unit: Unit) -> Geometry | None:
    op = unit.head.op
    shape = unit.in_types[0].shape
    if isinstance(op, Dense | ArgMax):
        return Geometry(unit.in_types[0].size // shape[-1], 1, shape[-1], (1, 1), (1, 1), False)
    if isinstance(op, Conv2d):
        _, kh, kw, per_group = unit.graph.type(unit.head.inputs[1]).shape
        channelwise = per_group == 1 and op.groups > 1
        return Geometry(shape[0], shape[1], shape[2], (kh, kw), op.stride, channelwise)
    if isinstance(op, MaxPool2d | AvgPool2d):
        return Geometry(shape[0], shape[1], shape[2], op.kernel, op.stride, True)
    return None


def divisors(n: int) -> list[int]:
    """The divisors of n, ascending."""
    small = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return small + [n // d for d in reversed(small) if d * d != n]


def cut(graph: Graph) -> tuple[Unit, ...]:
    """The units of a graph, in order. The graph has been through the RTL passes."""
    alias: dict[str, str] = {}
    by_output: dict[str, Unit] = {}
    outputs = {port.name for port in graph.outputs}

    def resolve(name: str) -> str:
        while name in alias:
            name = alias[name]
        return name

    for node in graph.nodes:
        if isinstance(node.op, Reshape):
            alias[node.name] = node.inputs[0]
            continue
        source = node.inputs[0]
        if isinstance(node.op, Threshold | Requant) and source in by_output and source not in outputs:
            unit = by_output[source]
            if len(graph.users(source)) == 1 and not isinstance(unit.head.op, ArgMax):
                del by_output[source]
                by_output[node.name] = replace(unit, activations=(*unit.activations, node))
                continue
        by_output[node.name] = Unit(graph, node, (), tuple(resolve(n) for n in graph.data_inputs(node)))
    return tuple(by_output.values())


def resolve_output(graph: Graph, name: str) -> str:
    """The value behind reshapes: what the stream called `name` really is."""
    while graph.is_computed(name) and isinstance(graph.node(name).op, Reshape):
        name = graph.node(name).inputs[0]
    return name
