"""The integer graph as a TOSA graph: a rule per operator, and every refusal at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from codesign.arrays import write_bytes
from codesign.errors import Diagnostic, UnsupportedError, UsageError, raise_all
from codesign.export.tosa import arrange, classify, levels, linear, operators, pool, tables
from codesign.export.tosa.values import Lowering, Refused, Value, reshaped, storage, stored
from codesign.export.tosa.writer import Tensor
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
    Op,
    Pad,
    Requant,
    Reshape,
    Softmax,
    Take,
    Threshold,
    Transpose,
)
from codesign.passes import KERNELS, run_passes
from codesign.passes.fold_reshapes import fold_reshapes
from codesign.passes.positive_multipliers import positive_multipliers
from codesign.passes.remove_identity import remove_identity
from codesign.toolchain import require

RULES: dict[type[Op], Callable[[Lowering, Node], Value]] = {
    Conv2d: linear.conv2d,
    Dense: linear.dense,
    Requant: levels.requant,
    Threshold: levels.threshold,
    Lookup: tables.lookup,
    Add: arrange.add,
    Mul: arrange.mul,
    MaxPool2d: pool.max_pool,
    AvgPool2d: pool.avg_pool,
    Reshape: arrange.reshape,
    Concat: arrange.concat,
    Pad: arrange.pad,
    Take: arrange.take,
    Transpose: arrange.transpose,
    Softmax: classify.softmax,
    ArgMax: classify.arg_max,
}

_PASSES = (*KERNELS, fold_reshapes, remove_identity, positive_multipliers)


def export_tosa(graph: Graph, batch: int = 1) -> bytes:
    """A .tosa flatbuffer of TOSA 1.0 that computes the golden evaluation of `batch` frames on every bit.

    Inputs and outputs keep their names, their order and the axes of the graph, with the batch in front; `storage`
    says in which integers. Raises UnsupportedError with every layer that has no exact form, UsageError for a batch
    below 1, ToolError without tosa-tools.
    """
    return export_operators(graph, batch).content


@dataclass(frozen=True, eq=False)
class Written:
    """A file, and what is in it: names of layers are the user's.

    operators     (kind, layer) of every operator, constants included
    convolutions  (layer, weights with the multipliers and shifts behind them, biases), as bytes
    """

    content: bytes
    operators: tuple[tuple[str, str], ...]
    convolutions: tuple[tuple[str, bytes, bytes], ...]


def export_operators(graph: Graph, batch: int = 1) -> Written:
    """`export_tosa`, and what a reader of its operators needs to know."""
    if batch < 1:
        raise UsageError.at("batch", f"{batch} frames", "1 or more")
    require("tosa")
    c = Lowering(run_passes(graph, _PASSES), batch)
    found: list[Diagnostic] = []
    for port in c.graph.inputs:
        _define(c, port.name, found)
    for node in c.graph.nodes:
        c.writer.layer = node.name
        if not all(name in c.values or name in c.graph.consts for name in node.inputs):
            continue  # a value without a TOSA type, of which was said so
        try:
            storage(c.graph.type(node.name).dtype)
            c.values[node.name] = RULES[type(node.op)](c, node)
            c.writer.name(c.values[node.name].tensor, node.name)
        except Refused as refused:
            found.append(Diagnostic(node.where, f"{type(node.op).__name__} with {refused.found}", refused.allowed))
            _define(c, node.name, [])
    raise_all(UnsupportedError, found)
    content = c.writer.serialise(_outputs(c))
    names = {node.name: node.where for node in c.graph.nodes}
    operators = ((kind, names.get(layer, layer)) for kind, layer in c.writer.written)
    convolutions = ((names.get(layer, layer), key, biases) for layer, key, biases in c.writer.convolutions())
    return Written(content, tuple(operators), tuple(convolutions))


def write_tosa(graph: Graph, path: Path, batch: int = 1) -> None:
    """`export_tosa` into a file: the whole new one, or nothing changes. Raises InputError when that cannot be."""
    write_bytes(path, export_tosa(graph, batch))


def _define(c: Lowering, name: str, found: list[Diagnostic]) -> None:
    """An input of the TOSA graph; also for a refused value, so that what reads it is looked at, too."""
    type_ = c.graph.type(name)
    try:
        to = storage(type_.dtype)
    except Refused as refused:
        found.append(Diagnostic(f"input {name}", refused.found, refused.allowed))
        return
    c.values[name] = Value(c.writer.input(name, (c.batch, *type_.shape), to.dtype), type_.dtype, to.offset)


def _outputs(c: Lowering) -> list[tuple[str, Tensor]]:
    """Name and tensor of every output, as `storage` has it; each the result of an operator of its own."""
    made: list[tuple[str, Tensor]] = []
    inputs = {port.name for port in c.graph.inputs}
    for port in c.graph.outputs:
        c.writer.layer = port.name
        value = reshaped(c.writer, stored(c.writer, c.values[port.name]), c.graph.type(port.name).shape)
        tensor = value.tensor
        if c.writer.is_input(tensor) or any(tensor == other for _, other in made):
            tensor = operators.unary(c.writer, "IDENTITY", tensor)
        made.append((f"{port.name}/output" if port.name in inputs else port.name, tensor))
    return made
