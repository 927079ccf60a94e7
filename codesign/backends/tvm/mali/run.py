"""Runs a deliverable on this machine's OpenCL: PoCL, or whatever device there is."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from codesign.backends.tvm.mali.deliver import HOST, SOURCES, frames_bytes
from codesign.errors import InputError
from codesign.ir.types import IntArray
from codesign.toolchain import Tool, cache_dir, cached, digest, require, run

TIME_LIMIT_S = 1800.0
PROGRAMS_KEPT = 100  # of what PoCL compiled


@dataclass(frozen=True, eq=False)
class Execution:
    """What a run gave.

    outputs  of every port, with the batch as first axis
    device   that ran it, as OpenCL names it
    tensors  of every buffer that is no constant: (frames, bytes), in the order of network.txt; None where not asked for
    ns       of every step, on average; empty where not asked for
    """

    outputs: tuple[IntArray, ...]
    device: str
    tensors: Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]] | None = None
    ns: tuple[float, ...] = ()


def execute(
    directory: Path, feeds: Sequence[IntArray], tensors: bool = False, repeats: int = 0, group: int = 0
) -> Execution:
    """The deliverable in `directory`, run on `feeds` (of every port, with the batch as first axis).

    tensors  also read back every tensor; repeats: also time every kernel
    group    no work-groups of more work-items; 0: as the schedule has them

    Raises ToolError where OpenCL or a compiler is missing, or the program fails or crashes (PoCL may); InputError for
    a directory that is no deliverable.
    """
    manifest = _manifest(directory)
    buffers = manifest["buffers"]
    dtypes = [buffers[port["buffer"]]["dtype"] for port in manifest["inputs"]]
    tool = _host((directory / "kernels.cl").read_bytes())
    with tempfile.TemporaryDirectory(prefix="codesign-opencl-") as name:
        work = Path(name)
        (work / "inputs.bin").write_bytes(frames_bytes(feeds, dtypes))
        options: list[str | Path] = ["-a", work / "tensors.bin"] if tensors else []
        options += ["-n", str(repeats)] if repeats else []
        options += ["-g", str(group)] if group else []
        arguments = (*options, directory.resolve(), work / "inputs.bin", work / "outputs.bin")
        done = run(tool, arguments, cwd=work, log=work / "host.log", time_limit_s=TIME_LIMIT_S)
        raw = np.fromfile(work / "outputs.bin", np.uint8).reshape(len(feeds[0]), -1)
        outputs, at = [], 0
        for port in manifest["outputs"]:
            buffer = buffers[port["buffer"]]
            part = np.ascontiguousarray(raw[:, at : at + buffer["bytes"]]).view(buffer["dtype"])
            outputs.append(part.astype(np.int64).reshape(len(raw), *port["shape"]))
            at += buffer["bytes"]
        memory = np.fromfile(work / "tensors.bin", np.uint8).reshape(len(raw), -1) if tensors else None
    found, at = {}, 0
    for buffer in buffers if memory is not None else ():
        if buffer["kind"] != "constant":
            assert memory is not None
            found[buffer["name"]] = memory[:, at : at + buffer["bytes"]]
            at += buffer["bytes"]
    device = next((line.removeprefix("device ") for line in done.lines if line.startswith("device ")), "")
    times = [re.fullmatch(r"kernel \S+ \S+ (\d+) ns", line) for line in done.lines]
    return Execution(tuple(outputs), device, found if tensors else None, tuple(float(t[1]) for t in times if t))


def _manifest(directory: Path) -> dict[str, Any]:
    path = directory / "manifest.json"
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for key in ("buffers", "inputs", "outputs"):
            data[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = f"cannot be read: {type(error).__name__} {error}"
        raise InputError.at(str(path), found, hint="codesign compile makes a new one") from error
    return data


def _host(kernels: bytes) -> Tool:
    """The host program, compiled for this machine, with a place for what PoCL compiles from these kernels."""
    opencl = require("opencl")
    sources = [HOST / name for name in SOURCES if name.endswith((".c", ".h"))]

    def make(directory: Path) -> None:
        files = [path for path in sources if path.suffix == ".c"]
        options: tuple[str | Path, ...] = ("-std=c99", "-O2", *files, "-o", directory / "host", "-lOpenCL")
        run(opencl, options, cwd=HOST, log=directory / "compile.log", time_limit_s=120)

    entry = cached("opencl-host", digest(" ".join(opencl.command), opencl.version, *sources), make)
    programs = cache_dir() / "pocl"
    place = programs / digest(kernels)
    place.mkdir(parents=True, exist_ok=True)
    place.touch()
    for old in sorted(programs.iterdir(), key=lambda path: path.stat().st_mtime)[:-PROGRAMS_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return replace(opencl, command=(str(entry / "host"),), environment={"POCL_CACHE_DIR": str(place)})
