"""How far the golden evaluation is from the source model, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from codesign.errors import Diagnostic, InputError, MismatchError, raise_all
from codesign.frontend.context import Probe
from codesign.frontend.imported import Imported
from codesign.ir.graph import Graph, Port
from codesign.ir.types import IntArray, Quant, RealArray, TensorType


@dataclass(frozen=True)
class LayerGap:
    """One compared tensor.

    layer             the user's layer, or `output NAME`
    node              the value in the graph
    elements          how many integers were compared, all samples together
    mismatches        how many differ; max_diff: by how many integer steps at most
    argmax_agreement  for an output vector: the share of samples with the same largest element; a sample without a
                      mismatch counts as the same, since only the source's own rounding decides between equal integers
    """

    layer: str
    node: str
    elements: int
    mismatches: int
    max_diff: int
    argmax_agreement: float | None = None

    @property
    def mismatch_rate(self) -> float:
        """mismatches / elements."""
        return self.mismatches / self.elements if self.elements else 0.0

    @property
    def is_gross(self) -> bool:
        """Whether this is another function, not rounding: a quarter of a layer differs by more than one step, or one
        class in four is another. Float rounding in the source moves single ties by one step.
        """
        if self.argmax_agreement is not None:
            return self.mismatches > 0 and self.argmax_agreement < 0.75
        return not self.layer.startswith("output ") and self.mismatch_rate > 0.25 and self.max_diff > 1


def require_close(gaps: Sequence[LayerGap], source: str) -> None:
    """Raise MismatchError with every layer that computes something else than the source model does."""
    raise_all(
        MismatchError,
        [
            Diagnostic(
                row.layer,
                f"{row.mismatches:,} of {row.elements:,} elements differ from {source}, by up to {row.max_diff:,}",
                "single steps, where float rounding in the source decides",
                "codesign inspect MODEL, and other quantisers in the first layer that differs",
            )
            for row in gaps
            if row.is_gross
        ],
    )


def gap_frames(graph: Graph) -> int:
    """The frames of a comparison: 32, or fewer of a large model, all of whose tensors are kept."""
    from codesign.export import comparable_frames

    return min(32, comparable_frames(graph))


def gap(imported: Imported, *samples: np.ndarray[Any, Any], count: int | None = None, seed: int = 0) -> list[LayerGap]:
    """Golden evaluation against the source at every quantiser and output.

    samples  one array per input, as `Graph.quantise_inputs` takes them; none: `count` random frames that cover the
             range of the input's quantiser; without a count see gap_frames

    Raises InputError when there is no source model to compare with, or no frame to compare on.
    """
    if imported.source is None:
        allowed = "a Brevitas module, an ONNX file, or a TFLite file and LiteRT"
        raise InputError.at("graph", "no source model to compare with", allowed)
    graph = imported.graph
    if count is None:
        count = gap_frames(graph)
    arrays = samples or random_inputs(graph, count, seed)
    feeds = graph.quantise_inputs(*arrays)
    reals = [_as_source(graph, *each) for each in zip(graph.inputs, arrays, feeds, strict=True)]
    with ThreadPoolExecutor(1) as pool:  # while the source computes; NumPy lets others compute
        golden_values = pool.submit(graph.evaluate_all, *feeds)
        outputs, traced = imported.source.trace(imported.probes, *reals)
        golden = golden_values.result()
    rows = []
    for i, probe in enumerate(imported.probes):
        if i in traced and probe.node in golden:
            expected = _integers(probe, traced[i], graph.type(probe.node))
            rows.append(_compare(probe.layer, probe.node, golden[probe.node], expected))
    for port, real in zip(graph.outputs, outputs, strict=True):
        rows.append(_compare_output(graph, port, golden[port.name], real, imported.layouts.get(port.name)))
    return rows


def _as_source(graph: Graph, port: Port, array: np.ndarray[Any, Any], feed: IntArray) -> RealArray:
    """The real numbers that the source model is given: in its axes, with a batch; integers as what they stand for."""
    type_ = graph.type(port.name)
    if np.issubdtype(array.dtype, np.integer):
        return _to_source_axes(port, type_.quant.dequantise(feed) if type_.quant is not None else feed)
    if array.ndim == len(type_.shape):
        array = array[None]
    in_source_axes = array.shape[1:] == port.source_shape(type_.shape)
    return np.asarray(array if in_source_axes else _to_source_axes(port, array), dtype=np.float64)


def _to_source_axes(port: Port, array: np.ndarray[Any, Any]) -> RealArray:
    """A batch in the graph's axes, in those of the user's model."""
    axes = np.argsort(port.source_axes) if port.source_axes else range(array.ndim - 1)
    return np.asarray(array.transpose(0, *(1 + int(a) for a in axes)), dtype=np.float64)


def random_inputs(graph: Graph, count: int, seed: int = 0) -> tuple[RealArray, ...]:
    """Random frames in the model's axes: integers of the whole input range, as the real numbers they stand for."""
    rng = np.random.default_rng(seed)
    arrays = []
    for port in graph.inputs:
        type_ = graph.type(port.name)
        q = rng.integers(0, type_.dtype.count, size=(count, *type_.shape)) * type_.dtype.step + type_.dtype.lo
        real = type_.quant.dequantise(q) if type_.quant is not None else q.astype(np.float64)
        arrays.append(_to_source_axes(port, real).astype(np.float32).astype(np.float64))
    return tuple(arrays)


def _integers(probe: Probe, real: RealArray, type_: TensorType) -> IntArray:
    """The source's tensor as the graph's integers, in the graph's order."""
    flat = _in_graph_order(real, probe.layout)
    a, b = probe.a.astype(np.float64), probe.b.astype(np.float64)
    integers: IntArray = np.rint((flat.reshape(-1, *type_.shape) - b) / a).astype(np.int64)
    return integers


def _in_graph_order(real: RealArray, layout: IntArray) -> RealArray:
    """The source's tensor (N, …), each frame as one row in the order of the graph's elements."""
    flat = np.empty((len(real), layout.size))
    flat[:, layout.reshape(-1)] = real.reshape(len(real), -1)
    return flat


def _compare(layer: str, node: str, golden: IntArray, expected: IntArray) -> LayerGap:
    difference = np.abs(golden.reshape(expected.shape) - expected)
    return LayerGap(layer, node, difference.size, int((difference != 0).sum()), int(difference.max(initial=0)))


def _compare_output(
    graph: Graph, port: Port, golden: IntArray, real: RealArray, layout: IntArray | None = None
) -> LayerGap:
    type_ = graph.type(port.name)
    quant = type_.quant or Quant((1.0,))
    if layout is not None:
        real = _in_graph_order(real, layout)
    elif port.source_axes:
        real = real.transpose(0, *(1 + a for a in port.source_axes))
    real = real.reshape(golden.shape)
    rank = golden.ndim - 1
    expected = np.rint(real / _spread(quant.scale, quant, rank) + _spread(quant.zero_point, quant, rank)).astype(
        np.int64
    )
    row = _compare(f"output {port.name}", port.name, golden, expected)
    if rank != 1 or type_.channels < 2:
        return row
    same = np.argmax(quant.dequantise(golden), -1) == np.argmax(real, -1)
    return replace(row, argmax_agreement=float((same | (golden == expected).all(axis=-1)).mean()))


def _spread(values: Sequence[float], quant: Quant, rank: int) -> RealArray:
    array = np.asarray(values, dtype=np.float64)
    return (
        array if array.size == 1 else array.reshape([-1 if i == (quant.axis or 0) % rank else 1 for i in range(rank)])
    )
