"""Build directories: written aside and renamed, read back with everything checked.

manifest.json  graph.txt  report.json  golden/inputs.npy  golden/outputs.npy  artifact/
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codesign.arrays import Array, array_paths, read_array, write_array
from codesign.errors import CodesignError, InputError, UsageError, reason_of
from codesign.ir.graph import Graph
from codesign.ir.text import parse_graph, print_graph
from codesign.ir.types import IntArray
from codesign.report import Report, report_from_data
from codesign.target import Target, target_from_data

SCHEMA = 1


@dataclass(frozen=True)
class Build:
    """What a build directory holds; `manifest` has schema, model, digest, target, backend, schedule, tools."""

    directory: Path
    manifest: Mapping[str, Any]
    target: Target
    graph: Graph
    report: Report

    @property
    def artifact(self) -> Path:
        """The folder of the backend's own files."""
        return self.directory / "artifact"

    def golden(self) -> tuple[list[IntArray], list[IntArray]]:
        """The stored inputs and outputs of the golden evaluation. Raises InputError for missing or damaged files."""
        folder = self.directory / "golden"
        inputs = [read_array(p) for p in array_paths(folder, "inputs", len(self.graph.inputs))]
        outputs = [read_array(p) for p in array_paths(folder, "outputs", len(self.graph.outputs))]
        return self.graph.quantise_inputs(*inputs), [output.astype("int64") for output in outputs]


class _Undone(Exception):
    """Ends a trial: nothing stays."""


def expect_place(out: Path) -> None:
    """Raise what `staged` would, before long work whose result goes there."""
    with contextlib.suppress(_Undone), staged(out):
        raise _Undone


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A fresh directory beside `out` that takes its place when the body ends; when it raises, nothing stays behind.

    `out` may be absent, empty, or a build directory, which is replaced. Raises UsageError for anything else that is
    there, InputError when the place cannot be written or the disk is full.
    """
    out = Path(os.path.realpath(out))
    made: list[Path] = []
    try:
        _check_replaceable(out)
        for parent in reversed([p for p in out.parents if not p.exists()]):
            parent.mkdir()
            made.append(parent)
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            aside.chmod(0o755)
            yield aside
            _take_place(aside, out)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except BaseException as error:
        for parent in reversed(made):
            with contextlib.suppress(OSError):
                parent.rmdir()
        if isinstance(error, OSError):
            where = f" ({error.filename})" if error.filename and not str(error.filename).startswith(str(out)) else ""
            raise InputError.at(str(out), f"cannot be written: {reason_of(error)}{where}", hint="another -o") from error
        raise


def _check_replaceable(out: Path) -> None:
    if not os.path.lexists(out):
        return
    if out.is_dir() and (not any(out.iterdir()) or is_build(out)):
        return
    kind = "a directory that codesign did not make" if out.is_dir() else "a file"
    raise UsageError.at(str(out), f"is {kind}", "a new, empty or codesign build directory", "another -o")


def _take_place(aside: Path, out: Path) -> None:
    """Rename `aside` to `out`; what was there goes only when the new one is in its place."""
    if not out.exists():
        aside.rename(out)
        return
    old = aside.with_name(aside.name + "-old")
    out.rename(old)
    try:
        aside.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def is_build(directory: Path) -> bool:
    """Whether codesign made this directory."""
    try:
        manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and "codesign" in manifest.get("tools", {})


def write_build(
    directory: Path,
    manifest: Mapping[str, Any],
    graph: Graph,
    report: Report,
    inputs: list[IntArray],
    outputs: list[IntArray],
) -> None:
    """Everything of a build but the artifact. Arrays are kept in the narrowest type that holds them."""
    (directory / "golden").mkdir()
    for name, arrays in (("inputs", inputs), ("outputs", outputs)):
        for path, array in zip(array_paths(directory / "golden", name, len(arrays)), arrays, strict=True):
            write_array(path, _narrow(array))
    (directory / "graph.txt").write_text(print_graph(graph), encoding="utf-8")
    write_json(directory / "manifest.json", {"schema": SCHEMA, **manifest})
    write_json(directory / "report.json", report.to_data())


def _narrow(array: IntArray) -> Array:
    import numpy as np

    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    signed = low < 0
    bits = next(b for b in (8, 16, 32, 64) if signed * -(1 << (b - 1)) <= low and high < 1 << (b - signed))
    return array.astype(np.dtype(f"{'i' if signed else 'u'}{bits // 8}"))


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write aside and rename. Raises InputError when that is not possible."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            aside.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise InputError.at(str(path), f"cannot be written: {reason_of(error)}") from error


def read_build(directory: Path) -> Build:
    """The build in `directory`. Raises InputError when it is none, is damaged, or comes from another version."""
    where = str(directory)
    if not is_build(directory):
        _check_manifest(directory / "manifest.json")
        raise InputError.at(where, "not a build directory", "what 'codesign compile' wrote")
    manifest = read_json(directory / "manifest.json")
    if manifest.get("schema") != SCHEMA:
        found = f"schema {manifest.get('schema')!r}"
        raise InputError.at(where, found, f"schema {SCHEMA}", "codesign compile makes a new one")
    try:
        text = (directory / "graph.txt").read_text(encoding="utf-8")
        target = target_from_data(manifest["target"]["name"], manifest["target"]["data"], where=where)
        digest = manifest["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = f"damaged: {type(error).__name__} {error}"
        raise InputError.at(where, found, hint="codesign compile makes a new one") from error
    try:
        graph = parse_graph(text)
    except CodesignError as error:
        path, hint = f"{where}/graph.txt", "codesign compile makes a new one"
        raise InputError(*(replace(d, where=f"{path}, {d.where}", hint=hint) for d in error.diagnostics)) from error
    if graph.digest() != digest:
        raise InputError.at(f"{where}/graph.txt", "not the graph that was compiled", hint="codesign compile")
    report = report_from_data(read_json(directory / "report.json"), f"{where}/report.json")
    return Build(directory, manifest, target, graph, report)


def _check_manifest(path: Path) -> None:
    """InputError for a manifest that is there, but cannot be read."""
    if not path.is_file():
        return
    try:
        read_json(path)
    except InputError as error:
        found = f"corrupt manifest: {error.diagnostics[0].found}"
        raise InputError.at(str(path), found, hint="codesign compile makes a new one") from error


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises InputError for a missing or damaged one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError.at(str(path), f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError.at(str(path), f"not a JSON file: {error}") from error
    except RecursionError as error:
        raise InputError.at(str(path), "not a JSON file: too many brackets within each other") from error
