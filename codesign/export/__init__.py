"""Graphs as files of other tools: one package per format, each exact, or refusing the graph with a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from codesign.backends.base import Progress, ignore_progress
from codesign.errors import Diagnostic, MismatchError, raise_all
from codesign.ir.graph import Graph

if TYPE_CHECKING:
    from codesign.export.tflite.verify import TensorDifference

FORMATS = (".tflite", ".tosa")

MOST_FRAMES = 100
_MOST_MACS = 2_000_000_000  # of a comparison: reference kernels do about 0.7 billion a second


@dataclass(frozen=True)
class Written:
    """What `export_file` wrote and compared.

    reference    the interpreter that ran the file on `frames` random frames; empty: none is installed
    differences  of every value that the file keeps in a tensor, or of the outputs
    inexact      values that are only the nearest that the format has, and why
    offsets      of the inputs and outputs that are not stored as they are: stored integer less the graph's
    """

    size: int
    reference: str
    frames: int
    differences: Sequence[TensorDifference]
    inexact: Mapping[str, str]
    offsets: Mapping[str, int]
    notes: tuple[str, ...] = ()


def export_file(
    graph: Graph, path: Path, *, nearest: bool = False, frames: int = 0, progress: Progress = ignore_progress
) -> Written:
    """Write `graph` as the suffix of `path` says, run the file, and compare with the golden evaluation.

    nearest  TFLite only: layers that have no exact form become the nearest; see `export_tflite`
    frames   how many random frames to compare; 0: up to MOST_FRAMES, fewer for large models

    The file is compared before it is written. Raises UnsupportedError with every layer that the format cannot hold,
    MismatchError with every value that differs though it should not (then there is no file), InputError when the file
    cannot be written.
    """
    frames = frames or comparable_frames(graph)
    return (_tflite if path.suffix == ".tflite" else _tosa)(graph, path, nearest, frames, progress)


def comparable_frames(graph: Graph) -> int:
    """How many frames a reference interpreter runs in a few seconds: MOST_FRAMES, or fewer for large models."""
    macs = sum(work.macs for work in graph.work().values())
    return int(np.clip(_MOST_MACS // max(macs, 1), 2, MOST_FRAMES))


def _tflite(graph: Graph, path: Path, nearest: bool, frames: int, progress: Progress) -> Written:
    from codesign.arrays import write_bytes
    from codesign.build import example_feeds
    from codesign.export.tflite import export_tflite
    from codesign.export.tflite.verify import differences
    from codesign.frontend.tflite.source import INSTALL, litert_version

    exported = export_tflite(graph, nearest=nearest)
    version = litert_version()
    found: Sequence[TensorDifference] = ()
    if version:
        found = differences(exported, graph, example_feeds(graph, frames), progress)
    if not nearest:
        _expect_equal(found)
    write_bytes(path, exported.content)
    ends = zip((*graph.inputs, *graph.outputs), (*exported.inputs, *exported.outputs), strict=True)
    return Written(
        len(exported.content),
        f"LiteRT {version}, reference kernels" if version else "",
        frames if version else 0,
        found,
        exported.inexact,
        {port.name: offset for port, offset in ends if offset},
        () if version else (f"not compared with LiteRT's reference kernels, which are not installed; {INSTALL}",),
    )


def _tosa(graph: Graph, path: Path, nearest: bool, frames: int, progress: Progress) -> Written:
    from codesign.arrays import write_bytes
    from codesign.build import example_feeds
    from codesign.export.tflite.verify import TensorDifference
    from codesign.export.tosa import evaluate_content, export_tosa, offsets

    content = export_tosa(graph)
    feeds = example_feeds(graph, frames)
    progress("running TOSA's reference model", 0, 0)
    pairs = zip(graph.outputs, graph.evaluate(*feeds), evaluate_content(content, graph, *feeds), strict=True)
    found = [TensorDifference.of(port.name, expected, got) for port, expected, got in pairs]
    _expect_equal(found)
    write_bytes(path, content)
    return Written(len(content), "TOSA's reference model", frames, found, {}, offsets(graph))


def _expect_equal(found: Sequence[TensorDifference]) -> None:
    """Raise MismatchError with every value that differs."""
    wrong = [row for row in found if row.mismatches]
    raise_all(
        MismatchError, [Diagnostic(row.name, f"{row.mismatches} of {row.elements} elements differ") for row in wrong]
    )
