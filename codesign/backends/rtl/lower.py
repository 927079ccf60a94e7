"""Units and a schedule -> the layers of a design, by a rule per operator; `check` says what is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from codesign.backends.base import Verdict
from codesign.backends.rtl.actors import buffer_name, least_capacity
from codesign.backends.rtl.blocks.base import Block
from codesign.backends.rtl.blocks.engines import Concat as ConcatEngine
from codesign.backends.rtl.blocks.engines import Fork, Join, Pass, Skid, WidthDown, WidthUp
from codesign.backends.rtl.blocks.engines import Pad as PadEngine
from codesign.backends.rtl.blocks.mac import Mac, MacDepthwise
from codesign.backends.rtl.blocks.reduce import Add as AddPipe
from codesign.backends.rtl.blocks.reduce import ArgMax as ArgMaxPipe
from codesign.backends.rtl.blocks.reduce import Max, Sum
from codesign.backends.rtl.blocks.rescale import Requant as RequantPipe
from codesign.backends.rtl.blocks.rescale import Threshold as ThresholdPipe
from codesign.backends.rtl.blocks.window import Window
from codesign.backends.rtl.blocks.window_parallel import WindowParallel
from codesign.backends.rtl.design import Design, Layer, Stream
from codesign.backends.rtl.units import Unit, cut, resolve_output
from codesign.ir.graph import Graph, Node
from codesign.ir.ops import (
    Add,
    ArgMax,
    AvgPool2d,
    Concat,
    Conv2d,
    Dense,
    MaxPool2d,
    Pad,
    Requant,
    Reshape,
    Softmax,
    Threshold,
)
from codesign.ir.types import IntArray, IntType
from codesign.schedule import Fold, RtlSchedule


def check(node: Node, graph: Graph) -> Verdict:
    """Whether the node, after the RTL passes, can be built; if not, a sentence."""
    op = node.op
    if type(op) not in _HEADS and not isinstance(op, Reshape | Softmax):
        return Verdict(False, f"{type(op).__name__} is not built by this backend")
    match op:
        case Conv2d() if op.dilation != (1, 1):
            return Verdict(False, f"dilation {op.dilation} is not built; the window engine takes dilation (1, 1)")
        case Threshold() if op.out.bits > 10:
            return Verdict(False, f"{op.out.count - 1} levels are not built; a Threshold gives at most 10 bits")
        case Requant() if op.out.bits > 32:
            return Verdict(False, f"a Requant to {op.out}; at most 32 bits")
        case Add() if any(name in graph.consts for name in node.inputs):
            return Verdict(False, "an Add of a constant is not built; fold it into a bias or a Threshold")
        case Add() if node.inputs[0] == node.inputs[1]:
            return Verdict(False, "an Add of a value to itself is not built; double the weights instead")
        case Softmax():
            return Verdict(False, "Softmax is not built; leave it to the host, the largest class stays the largest")
        case AvgPool2d(mean=True):
            return Verdict(False, "a mean over windows of unequal size is not built; pool without padding")
    return Verdict(True)


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """Each name as an identifier of SystemVerilog: unique, and without the `__` of the names of a layer's parts."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        base = re.sub(r"[\W_]+", "_", name, flags=re.ASCII).strip("_") or "layer"
        base = f"l_{base}" if base[0].isdigit() else base
        text, number = base, 2
        while text in taken:
            text, number = f"{base}_{number}", number + 1
        taken.add(text)
        found[name] = text
    return found


@dataclass
class _Builder:
    """Collects layers and keeps track of which streams carry which value."""

    graph: Graph
    schedule: RtlSchedule
    layers: list[Layer] = field(default_factory=list)
    streams: dict[str, Stream] = field(default_factory=dict)
    branches: dict[str, list[str]] = field(default_factory=dict)  # value -> streams not yet taken

    def add(
        self, name: str, where: str, unit: str, what: str, engine: Block, pipes: tuple[Block, ...],
        inputs: tuple[str, ...], outputs: tuple[tuple[str, IntType, int, int], ...],
    ) -> None:  # fmt: skip
        """Append a layer; its outputs are (name, type, lanes, beats) and get the scheduled depth, or a generous one."""
        latency = engine.latency + sum(pipe.latency for pipe in pipes)
        depths = {} if isinstance(engine, Skid) else self.schedule.depths  # a skid buffer has its two words
        made = tuple(
            Stream(stream, dtype, lanes, beats, depths.get(stream, latency + 2))
            for stream, dtype, lanes, beats in outputs
        )
        self.streams.update({s.name: s for s in made})
        self.layers.append(Layer(name, where, unit, what, engine, pipes, inputs, made))

    def take(self, value: str, reader: str, lanes: int, index: int, where: str) -> str:
        """The next free stream of a value, brought to `lanes` elements per beat."""
        stream = self.streams[self.branches[value].pop(0)]
        base = f"{reader}__in{index}" if index else f"{reader}__in"
        common = math.gcd(stream.lanes, lanes)
        if common < stream.lanes:
            ratio = stream.lanes // common
            name = base if common == lanes else f"{base}_down"
            engine: Block = WidthDown(out_width=common * stream.dtype.bits, ratio=ratio)
            output = (name, stream.dtype, common, stream.beats * ratio)
            self.add(name, where, reader, f"{stream.lanes} lanes to {common}", engine, (), (stream.name,), (output,))
            stream = self.streams[name]
        if common < lanes:
            ratio = lanes // common
            engine = WidthUp(in_width=common * stream.dtype.bits, ratio=ratio)
            output = (base, stream.dtype, lanes, stream.beats // ratio)
            self.add(base, where, reader, f"{common} lanes to {lanes}", engine, (), (stream.name,), (output,))
            stream = self.streams[base]
        return stream.name

    def publish(self, value: str, stream: str, readers: list[str]) -> None:
        """Offer the stream of a value to its readers, through a fork when there are several."""
        if len(readers) <= 1:
            self.branches[value] = [stream]
            return
        source = self.streams[stream]
        names = [
            f"{stream}__to_{reader}" + (f"_{readers[:i].count(reader) + 1}" if reader in readers[:i] else "")
            for i, reader in enumerate(readers)
        ]
        outputs = tuple((name, source.dtype, source.lanes, source.beats) for name in names)
        engine = Fork(width=source.width, outputs=len(readers))
        self.add(f"{stream}__fork", "", readers[0], f"to {', '.join(readers)}", engine, (), (stream,), outputs)
        self.branches[value] = names


def lower(graph: Graph, schedule: RtlSchedule) -> Design:
    """The design of a graph that has been through the RTL passes, with one input and one output."""
    units = cut(graph)
    output = resolve_output(graph, graph.outputs[0].name)
    port = graph.inputs[0].name
    named = identifiers([port, *(unit.name for unit in units)])
    names = {unit.output: named[unit.name] for unit in units}
    readers: dict[str, list[str]] = {}
    for unit in units:
        for value in unit.inputs:
            readers.setdefault(value, []).append(names[unit.output])
    readers.setdefault(output, []).append("output")
    build = _Builder(graph, schedule)
    in_type = graph.type(port)
    lanes = _edge_lanes(units, port, schedule)
    first = named[port]
    edge = (first, in_type.dtype, lanes, in_type.size // lanes)
    build.add(first, "", first, "input edge", Skid(width=lanes * in_type.dtype.bits), (), (), (edge,))
    build.publish(port, first, readers[port])
    for unit in units:
        _unit(build, unit, names[unit.output])
        build.publish(unit.output, names[unit.output], readers.get(unit.output, []))
    return Design(tuple(build.layers), first, build.branches[output][0], in_type, graph.type(graph.outputs[0].name))


def _edge_lanes(units: tuple[Unit, ...], port: str, schedule: RtlSchedule) -> int:
    """The input comes with the lanes of its first reader."""
    reader = next(unit for unit in units if port in unit.inputs)
    return reader.in_lanes(schedule.folds[reader.name])


def _unit(build: _Builder, unit: Unit, name: str) -> None:
    fold = build.schedule.folds[unit.name]
    sources = tuple(
        build.take(value, name, unit.in_lanes(fold), index, unit.where) for index, value in enumerate(unit.inputs)
    )
    engine, pipes = unit_blocks(unit, fold, build.schedule)
    if isinstance(engine, Window):
        buffer = buffer_name(name)
        engine = replace(engine, capacity=build.schedule.depths.get(buffer, engine.capacity))
    kinds = "+".join(type(node.op).__name__ for node in (unit.head, *unit.activations))
    what = f"{kinds}, pe {fold.pe}, simd {fold.simd}" + (f" x {fold.taps} taps" if fold.taps > 1 else "")
    what += f", {unit.steps(fold)} steps a frame"
    out = unit.out_type
    lanes = unit.out_lanes(fold)
    build.add(name, unit.where, name, what, engine, pipes, sources, ((name, out.dtype, lanes, out.size // lanes),))


def unit_blocks(unit: Unit, fold: Fold, schedule: RtlSchedule) -> tuple[Block, tuple[Block, ...]]:
    """The engine and the pipes of a unit under a fold."""
    engine, pipes = _HEADS[type(unit.head.op)](unit, fold, schedule)
    dtype = unit.acc_type.dtype
    head_is_activation = isinstance(unit.head.op, Threshold | Requant)
    for node in (unit.head, *unit.activations) if head_is_activation else unit.activations:
        if node is unit.head:
            dtype = unit.in_types[0].dtype
        pipes = (*pipes, _activation(unit.graph, node, dtype, fold.pe, schedule))
        dtype = unit.graph.type(node.name).dtype
    return engine, pipes


def _activation(graph: Graph, node: Node, dtype: IntType, lanes: int, schedule: RtlSchedule) -> Block:
    op = node.op
    channels = graph.type(node.name).channels
    if isinstance(op, Threshold):
        levels = np.broadcast_to(graph.consts[node.inputs[1]].value, (channels, graph.type(node.inputs[1]).shape[1]))
        return ThresholdPipe(levels=levels, in_type=dtype, out_type=op.out, lanes=lanes)
    assert isinstance(op, Requant)
    multiplier, shift = (np.broadcast_to(graph.consts[n].value, (channels,)) for n in node.inputs[1:])
    return RequantPipe(
        multiplier=multiplier, shift=shift, zero_point=op.zero_point, rounding=op.rounding,
        in_type=dtype, out_type=op.out, lanes=lanes,
    )  # fmt: skip


def _window(unit: Unit, fold: Fold, schedule: RtlSchedule) -> Window | WindowParallel:
    """The window engine of a unit; a circular one has room for what arrives while its last position is read."""
    geometry = unit.window
    assert geometry is not None
    lanes = unit.in_lanes(fold)
    folds = geometry.channels // lanes
    if fold.taps > 1:
        return WindowParallel(
            word_width=lanes * unit.in_types[0].dtype.bits, height=geometry.height, width=geometry.width, folds=folds,
            kernel_h=geometry.kernel[0], kernel_w=geometry.kernel[1],
            stride_h=geometry.stride[0], stride_w=geometry.stride[1],
            outer=geometry.outer(unit.acc_type.channels, fold), style=schedule.memory.get(unit.name, "auto"),
        )  # fmt: skip
    engine = Window(
        word_width=lanes * unit.in_types[0].dtype.bits, height=geometry.height, width=geometry.width, folds=folds,
        kernel_h=geometry.kernel[0], kernel_w=geometry.kernel[1],
        stride_h=geometry.stride[0], stride_w=geometry.stride[1],
        outer=geometry.outer(unit.acc_type.channels, fold), channel_outer=geometry.channelwise,
        capacity=1, style=schedule.memory.get(unit.name, "auto"),
    )  # fmt: skip
    row = geometry.stride[0] * geometry.width * folds
    return replace(engine, capacity=least_capacity(engine) + max(row, 2))


def _linear(unit: Unit, fold: Fold, schedule: RtlSchedule) -> tuple[Block, tuple[Block, ...]]:
    weights = unit.graph.consts[unit.head.inputs[1]]
    bias: IntArray | None = unit.graph.consts[unit.head.inputs[2]].value if len(unit.head.inputs) == 3 else None
    outputs = weights.value.shape[0]
    in_type, acc_type = unit.in_types[0].dtype, unit.acc_type.dtype
    if unit.depthwise:
        mac: Block = MacDepthwise(
            weights=weights.value.reshape(outputs, -1), weight_type=weights.type.dtype, bias=bias,
            in_type=in_type, acc_type=acc_type, lanes=fold.pe, mul_style=schedule.multiply.get(unit.name, "auto"),
            mul_reg=schedule.levels > 0,
        )  # fmt: skip
    else:
        # A step of the parallel window holds `simd` channels of every kernel position: the order of its weights.
        steps = weights.value.reshape(outputs, fold.taps, -1, fold.simd).swapaxes(1, 2)
        mac = Mac(
            weights=steps.reshape(outputs, -1), weight_type=weights.type.dtype, bias=bias,
            in_type=in_type, acc_type=acc_type, pe=fold.pe, simd=fold.simd * fold.taps,
            mul_style=schedule.multiply.get(unit.name, "auto"), mem_style=schedule.memory.get(unit.name, "auto"),
            mul_reg=schedule.levels > 0, tree_stride=schedule.levels,
        )  # fmt: skip
    return _window(unit, fold, schedule), (mac,)


def _pool(unit: Unit, fold: Fold, schedule: RtlSchedule) -> tuple[Block, tuple[Block, ...]]:
    in_type = unit.in_types[0].dtype
    if isinstance(unit.head.op, MaxPool2d):
        return _window(unit, fold, schedule), (Max(lanes=fold.pe, dtype=in_type),)
    return _window(unit, fold, schedule), (Sum(lanes=fold.pe, in_type=in_type, acc_type=unit.acc_type.dtype),)


def _argmax(unit: Unit, fold: Fold, schedule: RtlSchedule) -> tuple[Block, tuple[Block, ...]]:
    in_type = unit.in_types[0]
    pipe = ArgMaxPipe(dtype=in_type.dtype, count=in_type.channels, out_type=unit.acc_type.dtype)
    return _window(unit, fold, schedule), (pipe,)


def _add(unit: Unit, fold: Fold, schedule: RtlSchedule) -> tuple[Block, tuple[Block, ...]]:
    a, b = (t.dtype for t in unit.in_types)
    pipe = AddPipe(lanes=fold.pe, a_type=a, b_type=b, out_type=unit.acc_type.dtype)
    return Join(width_a=fold.pe * a.bits, width_b=fold.pe * b.bits), (pipe,)


def _elementwise(unit: Unit, fold: Fold, schedule: RtlSchedule) -> tuple[Block, tuple[Block, ...]]:
    return Pass(width=fold.pe * unit.in_types[0].dtype.bits), ()


def _concat(unit: Unit, fold: Fold, schedule: RtlSchedule) -> tuple[Block, tuple[Block, ...]]:
    folds = tuple(t.channels // fold.pe for t in unit.in_types)
    return ConcatEngine(width=fold.pe * unit.in_types[0].dtype.bits, folds=folds), ()


def _pad(unit: Unit, fold: Fold, schedule: RtlSchedule) -> tuple[Block, tuple[Block, ...]]:
    op = unit.head.op
    assert isinstance(op, Pad)
    height, width, channels = unit.in_types[0].shape
    top, left, bottom, right = op.padding
    engine = PadEngine(
        lanes=fold.pe, in_type=unit.in_types[0].dtype, out_type=unit.acc_type.dtype, height=height, width=width,
        top=top, left=left, bottom=bottom, right=right, folds=channels // fold.pe, value=op.value,
    )  # fmt: skip
    return engine, ()


_Rule = Callable[[Unit, Fold, RtlSchedule], tuple[Block, tuple[Block, ...]]]
_HEADS: dict[type, _Rule] = {
    Conv2d: _linear, Dense: _linear, MaxPool2d: _pool, AvgPool2d: _pool, ArgMax: _argmax, Add: _add,
    Threshold: _elementwise, Requant: _elementwise, Concat: _concat, Pad: _pad,
}  # fmt: skip
