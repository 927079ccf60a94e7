"""TOSA's reference model, Arm's implementation of the specification: what a .tosa file computes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.errors import InputError, ToolError
from codesign.export.tosa.lower import export_tosa
from codesign.export.tosa.values import storage
from codesign.ir.graph import Feed, Graph
from codesign.ir.types import IntArray
from codesign.toolchain import require, run

_SECONDS = 600.0


def run_reference(
    content: bytes, feeds: Sequence[NDArray[Any]], time_limit_s: float = _SECONDS, *, by_frame: bool = False
) -> list[NDArray[Any]]:
    """The outputs of the .tosa file `content` for feeds in its own types and shapes.

    by_frame  the file has a batch of one: it is run once for each frame of the feeds

    In a process of its own. Raises ToolError when the model is missing, refuses the file or ends for it. Where the
    specification leaves a result open the model mostly gives one all the same: a product that overflows, for instance.
    """
    tool = require("tosa")
    with tempfile.TemporaryDirectory(prefix="codesign-tosa-") as name:
        folder = Path(name)
        (folder / "model.tosa").write_bytes(content)
        for number, feed in enumerate(feeds):
            np.save(folder / f"inputs_{number}.npy", feed, allow_pickle=False)
        log = folder / "tosa.log"
        try:
            run(tool, [folder, *(["frames"] if by_frame else [])], cwd=folder, log=log, time_limit_s=time_limit_s)
        except ToolError as error:
            raise ToolError.at(tool.name, f"the reference model has no result: {_reason(log, error)}") from error
        return [np.load(folder / f"outputs_{i}.npy") for i in range(len(list(folder.glob("outputs_*.npy"))))]


def _reason(log: Path, error: ToolError) -> str:
    """The condition that failed, as the model says it, else its last two lines, else how its process ended."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[1:]]
    lines = [line for line in lines if line and not line.startswith("WARNING")]
    failed = [line.rpartition("): ")[2] for line in lines if "ERROR_IF" in line or "ASSERTION" in line]
    failed += [line for line in lines if " failure: " in line]
    return next(iter(failed), " ".join(lines[-2:]) or error.diagnostics[0].found)


def encode(graph: Graph, feeds: Sequence[Feed]) -> list[NDArray[Any]]:
    """Feeds of the golden evaluation as the exported file takes them."""
    made = []
    for port, feed in zip(graph.inputs, feeds, strict=True):
        to = storage(graph.type(port.name).dtype)
        made.append((np.asarray(feed, dtype=np.int64) - to.offset).astype(to.dtype.numpy))
    return made


def decode(graph: Graph, outputs: Sequence[NDArray[Any]]) -> list[IntArray]:
    """Outputs of the exported file as the golden evaluation has them."""
    offsets = [storage(graph.type(port.name).dtype).offset for port in graph.outputs]
    return [np.asarray(o, dtype=np.int64) + offset for o, offset in zip(outputs, offsets, strict=True)]


def offsets(graph: Graph) -> dict[str, int]:
    """Inputs and outputs that the file does not store as they are: stored integer less the graph's value."""
    ends = {port.name: -storage(graph.type(port.name).dtype).offset for port in (*graph.inputs, *graph.outputs)}
    return {name: offset for name, offset in ends.items() if offset}


def evaluate_reference(graph: Graph, *feeds: Feed) -> list[IntArray]:
    """What the reference model computes of the exported graph, in the place of `graph.evaluate`.

    Raises UnsupportedError for a graph that is not exported, ToolError as `run_reference`.
    """
    if not feeds or not len(feeds[0]):
        raise InputError.at("inputs", "no frames", "1 or more")
    content = export_tosa(graph, len(feeds[0]))
    return decode(graph, run_reference(content, encode(graph, feeds)))


def evaluate_content(content: bytes, graph: Graph, *feeds: Feed) -> list[IntArray]:
    """What the reference model computes of a file that `graph` was exported to with a batch of one, frame by frame."""
    return decode(graph, run_reference(content, encode(graph, feeds), by_frame=True))
