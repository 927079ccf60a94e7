"""The integer graph as a `.tflite` file that TFLite's reference kernels run to the same bits.

Every kernel is proved: its multiplier and shift are the graph's own, or its result is compared with the graph's at both
sides of every level, for every sum that can occur. What cannot be proved is refused, all of it together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codesign.errors import Diagnostic, UnsupportedError, raise_all
from codesign.export.tflite import elementwise, spatial, table, take
from codesign.export.tflite.context import Export
from codesign.export.tflite.cover import Kernel, cover
from codesign.export.tflite.linear import linear
from codesign.export.tflite.storage import Storage, storages
from codesign.frontend.problems import Refusal
from codesign.ir.graph import Graph
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
    Softmax,
    Take,
    Transpose,
)  # fmt: skip
from codesign.ir.types import IntArray
from codesign.passes import KERNELS, run_passes


@dataclass(frozen=True, eq=False)
class Exported:
    """A `.tflite` file and what its integers are in the graph.

    inputs, outputs  for each port: stored integer less the graph's value
    shapes           of the graph's outputs, without the batch
    tensors          of the graph's values that are kept: index in the file, and stored integer less the value
    layers           for each operator of the file: the user's name of the layer that it (helps to) compute
    inexact          values that are only the nearest that TFLite has, with what is not exact about them
    """

    content: bytes
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    tensors: Mapping[str, tuple[int, int]]
    layers: tuple[str, ...]
    inexact: Mapping[str, str]

    def feeds(self, values: list[IntArray]) -> list[IntArray]:
        """The graph's inputs as the file's tensors hold them."""
        return [value + offset for value, offset in zip(values, self.inputs, strict=True)]

    def results(self, stored: list[IntArray]) -> list[IntArray]:
        """The file's outputs, (frames, …), as the graph's values."""
        ends = zip(stored, self.outputs, self.shapes, strict=True)
        return [value.astype(np.int64).reshape(len(value), *shape) - offset for value, offset, shape in ends]


def export_tflite(graph: Graph, *, nearest: bool = False) -> Exported:
    """The graph as a `.tflite` file of int8 or int16 tensors, channels last. UnsupportedError names every layer.

    nearest  where no exact rescaling is found, take the nearest instead of refusing the layer, and say so
    """
    graph = run_passes(graph, KERNELS)
    kernels = cover(graph)
    if not kernels:
        raise UnsupportedError.at("graph", "nothing is computed between the inputs and the outputs", "an operator")
    export = Export(graph, storages(graph, kernels), nearest=nearest)
    found: list[Diagnostic] = []
    for port in graph.inputs:
        try:
            export.file.inputs.append(export.declare(port.name))
        except Refusal as refusal:
            found.append(refusal.at(f"input {port.name}"))
    for kernel in kernels:
        if any(graph.is_computed(name) and name not in export.storages for name in kernel.tensors):
            continue  # the kernel that computes it is refused, and says why
        try:
            _emit(export, kernel)
        except Refusal as refusal:
            found.append(refusal.at(kernel.node.where))
    raise_all(UnsupportedError, list(dict.fromkeys(found)))
    export.file.outputs += [export.tensors[port.name] for port in graph.outputs]
    ends = export.storages
    return Exported(
        export.file.content(),
        tuple(ends[port.name].offset for port in graph.inputs),
        tuple(_offset(ends, port.name) for port in graph.outputs),
        tuple(graph.type(port.name).shape for port in graph.outputs),
        {name: (index, _offset(ends, name)) for name, index in export.tensors.items()},
        tuple(export.layers),
        export.inexact,
    )


def _offset(ends: Mapping[str, Storage], name: str) -> int:
    return ends[name].offset if name in ends else 0  # an index is kept as it is


def _emit(export: Export, kernel: Kernel) -> None:
    """One kernel, by its base."""
    match kernel.base.op if kernel.base is not None else None:
        case None if kernel.only_moves:
            spatial.reshape(export, kernel)
        case None:
            table.rescaled(export, kernel)
        case AvgPool2d(mean=True) | MaxPool2d():
            spatial.pool(export, kernel)
        case AvgPool2d():
            if not spatial.mean(export, kernel):
                linear(export, kernel)
        case Conv2d() | Dense():
            linear(export, kernel)
        case Add():
            elementwise.add(export, kernel)
        case Mul():
            elementwise.multiply(export, kernel)
        case Concat():
            spatial.concat(export, kernel)
        case Pad():
            spatial.pad(export, kernel)
        case Take():
            take.take(export, kernel)
        case Transpose():
            spatial.transpose(export, kernel)
        case Lookup():
            table.lookup(export, kernel)
        case Softmax():
            table.softmax(export, kernel)
        case ArgMax():
            table.argmax(export, kernel)
