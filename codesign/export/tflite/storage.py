"""How the values of the graph are kept in tensors: stored integer q = value + offset, real (q - zero_point) * scale.

Kernels that only move or choose values (pooling, concatenation, reshaping, padding) demand one meaning of their inputs
and results, so storage is decided for classes of values that such kernels connect.

TFLite's kernels limit results to the whole type, or to what a fused activation leaves. A type of fewer bits therefore
lies at an end of int8, which limits it on that side, and a fused activation limits it on the other: 0 … 15 at the upper
end, with RELU at the zero point; -4 … 3 at the upper end, with RELU_N1_TO_1 at the scale 1/4, which leaves -4 … 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign.export.tflite.cover import Kernel, fits
from codesign.frontend.tflite.params import DTYPES, Params
from codesign.ir.graph import Graph
from codesign.ir.ops import (
    Add,
    ArgMax,
    AvgPool2d,
    Concat,
    Conv2d,
    MaxPool2d,
    Pad,
    Requant,
    Softmax,
    Take,
    Threshold,
    Transpose,
)
from codesign.ir.types import Quant


@dataclass(frozen=True)
class Storage:
    """Of one value: int8 or int16; the stored integer less the value; scale and zero point of the stored integer."""

    kind: str
    offset: int
    scale: float
    zero_point: int

    @property
    def params(self) -> Params:
        """The same as the importer's rules take it."""
        return Params(self.scale, self.zero_point, DTYPES[self.kind])

    @property
    def zero(self) -> int:
        """The value that the kernels take as the real 0: what a padded convolution adds around its image."""
        return self.zero_point - self.offset


def storages(graph: Graph, kernels: Sequence[Kernel]) -> dict[str, Storage]:
    """The storage of every input and every kernel's value; those that no tensor holds are left out."""
    tensors = [k.node.name for k in kernels if k.base is None or not isinstance(k.base.op, ArgMax)]  # indices are int32
    names = [port.name for port in graph.inputs] + tensors
    classes = _classes(graph, names, kernels)
    found = {}
    for connected in classes:
        members = {name for name in connected if fits(graph.type(name).dtype)}
        if members:
            made = _storage(graph, members, [k for k in kernels if k.node.name in members], kernels)
            found.update(dict.fromkeys(members, made))
    return found


def _classes(graph: Graph, names: Sequence[str], kernels: Sequence[Kernel]) -> list[set[str]]:
    """Values that one meaning connects."""
    root = {name: name for name in names}

    def find(name: str) -> str:
        while root[name] != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    for kernel in kernels:
        connected = [*kernel.tensors, kernel.node.name] if keeps_meaning(kernel) else _terms(graph, kernel)
        for name in connected[1:]:
            root[find(name)] = find(connected[0])
    classes: dict[str, set[str]] = {}
    for name in names:
        classes.setdefault(find(name), set()).add(name)
    return list(classes.values())


def _terms(graph: Graph, kernel: Kernel) -> list[str]:
    """The tensors of a sum that rounds neither of its terms: they are added as they are, so they need one scale."""
    if kernel.base is None or not isinstance(kernel.base.op, Add):
        return []
    shifts = [graph.consts[step.inputs[2]].value for operand in kernel.operands for step in operand.steps]
    return [operand.tensor for operand in kernel.operands] if not any(s.any() for s in shifts) else []


def keeps_meaning(kernel: Kernel) -> bool:
    """Whether the kernel's result has the scale and zero point of its inputs."""
    if kernel.base is None:
        return kernel.only_moves
    op = kernel.base.op
    return isinstance(op, MaxPool2d | Concat | Pad | Take | Transpose) or (isinstance(op, AvgPool2d) and op.mean)


def _storage(graph: Graph, members: set[str], makers: Sequence[Kernel], kernels: Sequence[Kernel]) -> Storage:
    types = [graph.type(name).dtype for name in members]
    lo, hi = min(t.lo for t in types), max(t.hi for t in types)
    ends = {port.name for port in (*graph.inputs, *graph.outputs)} & members
    if any(kernel.base is not None and isinstance(kernel.base.op, Softmax) for kernel in makers):
        return Storage("int16", 0, 2.0**-15, 0) if hi - lo >= 1 << 8 else Storage("int8", -128 - lo, 2.0**-8, -128)
    scale, zero = _meaning(graph, members, ends)
    if hi - lo >= 1 << 8:
        return Storage("int16", 0, scale or 1.0, 0)
    if zero is None:
        zero = _padding(members, kernels)
    if zero is None:
        zero = lo if lo > 0 else min(0, hi)
    limited = any(isinstance(n.op, Requant | Threshold) for k in makers if not keeps_meaning(k) for n in k.chain)
    offset = 0 if lo >= -128 and hi <= 127 else -128 - lo
    if hi - lo < 255 and limited:
        offset, limit = (127 - hi, zero - lo) if hi - zero <= zero - lo or zero == lo else (-128 - lo, hi - zero)
        if limit > 0 and not (ends and scale):
            scale = 1 / limit
    if not -128 <= zero + offset <= 127:
        zero = lo
    return Storage("int8", offset, float(np.float32(scale or 1.0)), zero + offset)


def _meaning(graph: Graph, members: set[str], ends: set[str]) -> tuple[float | None, int | None]:
    """Scale and zero point that the graph knows for one of the values, the model's inputs and outputs first."""
    for name in sorted(members, key=lambda n: (n not in ends, n)):
        quant = graph.type(name).quant
        if quant is not None and _is_plain(quant):
            return float(np.float32(quant.scale[0])), int(quant.zero_point[0])
    return None, None


def _is_plain(quant: Quant) -> bool:
    """Whether a TFLite activation can carry the meaning: one positive scale, an integer zero point."""
    one = len(quant.scale) == 1 and len(quant.zero_point) == 1
    return (
        one
        and bool(np.float32(quant.scale[0]) > 0)
        and quant.zero_point[0].is_integer()
        and abs(quant.zero_point[0]) < 1 << 16
    )


def _padding(members: set[str], kernels: Sequence[Kernel]) -> int | None:
    """What a convolution that reads one of the values pads with."""
    for kernel in kernels:
        if kernel.base is not None and kernel.tensors and kernel.tensors[0] in members:
            op = kernel.base.op
            if isinstance(op, Conv2d | AvgPool2d) and any(op.padding) and not getattr(op, "mean", False):
                return op.pad_value
    return None
