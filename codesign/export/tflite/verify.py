"""An exported file run by LiteRT's reference kernels, and every tensor of it compared with the golden evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from codesign.backends.base import Progress, ignore_progress
from codesign.export.tflite.exporter import Exported
from codesign.frontend.tflite.source import interpreter
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray


@dataclass(frozen=True)
class TensorDifference:
    """One value: elements compared, how many differ, by how much at most."""

    name: str
    elements: int
    mismatches: int
    largest: int

    @classmethod
    def of(cls, name: str, expected: IntArray, found: IntArray) -> TensorDifference:
        """Element by element, of arrays of one shape."""
        apart = np.abs(found - expected)
        return cls(name, expected.size, int(np.count_nonzero(apart)), int(apart.max()))


def run_reference(
    exported: Exported, feeds: Sequence[IntArray], progress: Progress = ignore_progress
) -> list[IntArray]:
    """The graph's outputs as LiteRT's reference kernels compute them, frame by frame."""
    names = [f"output {number}" for number in range(len(exported.outputs))]
    found = _run(exported, feeds, {}, progress)
    return exported.results([found[name] for name in names])


def differences(
    exported: Exported, graph: Graph, feeds: Sequence[IntArray], progress: Progress = ignore_progress
) -> list[TensorDifference]:
    """Every value of `graph` that the file keeps in a tensor, compared on every frame; the outputs among them."""
    return compare_tensors(exported, graph, feeds, progress)[0]


def compare_tensors(
    exported: Exported, graph: Graph, feeds: Sequence[IntArray], progress: Progress = ignore_progress
) -> tuple[list[TensorDifference], list[IntArray]]:
    """`differences`, and the outputs of the golden evaluation."""
    kept = {name: place for name, place in exported.tensors.items() if name in graph.types()}
    outputs = [port.name for port in graph.outputs]
    with ThreadPoolExecutor(1) as pool:  # NumPy and LiteRT both let the other compute
        golden_values = pool.submit(graph.evaluate_all, *feeds, names=dict.fromkeys((*kept, *outputs)))
        found = _run(exported, feeds, {name: index for name, (index, _) in kept.items()}, progress)
        golden = golden_values.result()
    rows = []
    for name, (_, offset) in kept.items():
        expected = golden[name]
        values = found[name].reshape(expected.shape).astype(np.int64) - offset
        rows.append(TensorDifference.of(name, expected, values))
    return rows, [golden[name] for name in outputs]


def _run(
    exported: Exported, feeds: Sequence[IntArray], tensors: dict[str, int], progress: Progress
) -> dict[str, IntArray]:
    """The stored integers of tensors by name, and of every output as `output N`: the first axis are the frames."""
    run = interpreter(exported.content)
    stored = exported.feeds(list(feeds))
    ends = {f"output {i}": detail["index"] for i, detail in enumerate(run.get_output_details())}
    wanted = {**tensors, **ends}
    found: dict[str, list[IntArray]] = {name: [] for name in wanted}
    frames = len(stored[0])
    for frame in range(frames):
        for detail, feed in zip(run.get_input_details(), stored, strict=True):
            run.set_tensor(detail["index"], feed[frame].reshape(detail["shape"]).astype(detail["dtype"]))
        run.invoke()
        for name, index in wanted.items():
            found[name].append(run.get_tensor(index).copy())
        progress("running LiteRT's reference kernels", frame + 1, frames)
    return {name: np.stack(arrays) for name, arrays in found.items()}
