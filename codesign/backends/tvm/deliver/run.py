"""Executing a deliverable: outputs for frames, and times where there is a real processor."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codesign.backends.base import Progress, ignore_progress
from codesign.backends.tvm.cpu import NATIVE, Cpu
from codesign.backends.tvm.deliver.ports import frames_from_bytes, frames_to_bytes, ports_of
from codesign.backends.tvm.deliver.runners import Runner, lacks_instruction, runner_of
from codesign.backends.tvm.deliver.write import DESCRIPTION, SCHEMA
from codesign.errors import InputError, MismatchError, ToolError, reason_of
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray


@dataclass(frozen=True)
class Times:
    """Measured nanoseconds of an inference: the least and the median of many; `layers` in the order of computation."""

    least_ns: int
    median_ns: int
    layers: tuple[LayerTime, ...]


@dataclass(frozen=True)
class LayerTime:
    """Measured nanoseconds of one layer: the least and the median of many."""

    name: str
    least_ns: int
    median_ns: int


def thread_counts(cpu: Cpu) -> tuple[int, ...]:
    """Numbers of threads to verify a deliverable with: one, and all cores."""
    cores = (os.cpu_count() or 1) if cpu.core == NATIVE else cpu.cores
    return (1,) if cores == 1 else (1, min(cores, 64))


def execute(
    directory: Path,
    graph: Graph,
    feeds: Sequence[IntArray],
    cpu: Cpu,
    threads: Sequence[int] = (1,),
    progress: Progress = ignore_progress,
) -> list[IntArray]:
    """The outputs (frames, …) that the deliverable in `directory` computes of `feeds`, on each number of threads.

    Where it runs says `runner_of`. Raises InputError for a damaged deliverable, MismatchError when a number of threads
    changes an output, ToolError when a program fails; one that meets an instruction that the core lacks says so.
    """
    data = read_description(directory)
    runner = runner_of(cpu)
    inputs, outputs = ports_of(graph)
    frames = len(feeds[0])
    results: list[list[IntArray]] = []
    with _scratch() as made:
        ends = made / "inputs.bin", made / "outputs.bin"
        ends[0].write_bytes(frames_to_bytes(inputs, feeds))
        for count in threads:
            ends[1].unlink(missing_ok=True)
            what = f"run on {runner.place}" + (f", {count} threads" if count > 1 else "")
            progress(what, 0, frames)
            _frames(runner, directory, data, ends, count, lambda line, w=what: _tell(progress, w, line, frames))
            content = ends[1].read_bytes() if ends[1].exists() else b""
            wanted = frames * sum(port.bytes for port in outputs)
            if len(content) != wanted:
                raise ToolError.at(f"{data['name']}_test", f"wrote {len(content)} bytes of outputs, not {wanted}")
            results.append(frames_from_bytes(outputs, content))
            progress(what, frames, frames)
    for count, result in zip(threads, results, strict=True):
        for port, first, found in zip(outputs, results[0], result, strict=True):
            if not np.array_equal(first, found):
                frame = int(np.argwhere(first != found)[0][0])
                text = f"{count} threads compute something else than {threads[0]}, first in frame {frame}"
                raise MismatchError.at(f"output {port.name}", text)
    return results[0]


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A directory for the frames of a run. Raises InputError when it cannot be written."""
    try:
        with tempfile.TemporaryDirectory(prefix="codesign-") as made:
            yield Path(made)
    except OSError as error:
        hint = "TMPDIR=a directory with room for the frames"
        raise InputError.at(tempfile.gettempdir(), f"cannot be written: {reason_of(error)}", hint=hint) from error


def measure(directory: Path, cpu: Cpu, repeat: int = 100, threads: int = 1) -> Times:
    """The time of an inference on this machine or on the board. Raises UsageError where there is but an emulator."""
    data = read_description(directory)
    try:
        lines = runner_of(cpu).repeat(directory, data["name"], repeat, threads)
    except ToolError as error:
        raise _explained(error, data, runner_of(cpu)) from error
    whole, layers = (0, 0), []
    for line in lines:
        words = line.split(" ")
        if words[0] == "network":
            whole = int(words[1]), int(words[2])
        elif words[0] == "layer":
            layers.append(LayerTime(data["layers"][int(words[1])]["name"], int(words[2]), int(words[3])))
    return Times(*whole, tuple(layers))


def read_description(directory: Path) -> dict[str, Any]:
    """network.json. Raises InputError when it is missing, damaged or of another version."""
    path, hint = directory / DESCRIPTION, "codesign compile makes a new one"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError.at(str(path), f"cannot be read: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise InputError.at(str(path), f"damaged: {error}", hint=hint) from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else None
        raise InputError.at(str(path), f"schema {found}", f"schema {SCHEMA}", hint)
    return data


def _frames(
    runner: Runner, directory: Path, data: Mapping[str, Any], ends: tuple[Path, Path], threads: int, on_line: Any
) -> None:
    try:
        runner.frames(directory, data["name"], ends, threads, on_line)
    except ToolError as error:
        raise _explained(error, data, runner) from error


def _explained(error: ToolError, data: Mapping[str, Any], runner: Runner) -> ToolError:
    """The error, with what is known when an instruction was missing."""
    if not lacks_instruction(error):
        return error
    marker = "illegal instruction in layer "
    line = next((line for line in str(error).splitlines() if marker in line), "")
    layer = line.partition(marker)[2].partition(", ")[2] or "a kernel"
    cpu = data["cpu"]
    features = ", ".join(cpu["features"]) or "none of the optional extensions"
    built = "the processor it was made on" if cpu["core"] == NATIVE else cpu["core"]
    return ToolError.at(
        layer,
        f"uses an instruction that {runner.place} lacks; it was built for {built} with {features}",
        hint="codesign compile for a target whose features the processor has",
    )


def _tell(progress: Progress, what: str, line: str, frames: int) -> None:
    words = line.split(" ")
    if len(words) == 2 and words[0] == "frame" and words[1].isdigit():
        progress(what, int(words[1]), frames)
