"""Build directories: whole or not there at all, never in place of something else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from codesign.backends.base import Objective
from codesign.build import _objective_notes, pick_backend
from codesign.builddir import Build, is_build, read_build, staged, write_build, write_json
from codesign.errors import CodesignError, InputError, UsageError
from codesign.ir.graph import Graph, Port
from codesign.ir.graph import Node as N
from codesign.ir.ops import ArgMax
from codesign.ir.types import IntType, TensorType
from codesign.report import Report
from codesign.target import load_target

GRAPH = Graph((Port("x", TensorType((3,), IntType(8, False))),), {}, (N("y", ArgMax(), ("x",)),), (Port("y"),))
FEEDS = [np.array([[1, 2, 3], [250, 4, 5]])]


def write(out: Path, note: str = "") -> None:
    target = load_target("pynq-z2")
    manifest = {
        "model": "m",
        "digest": GRAPH.digest(),
        "target": {"name": "pynq-z2", "data": target.to_data()},
        "backend": "rtl",
        "tools": {"codesign": "1"},
    }
    with staged(out) as directory:
        write_build(directory, manifest, GRAPH, Report("pynq-z2", [], notes=[note]), FEEDS, GRAPH.evaluate(*FEEDS))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_written_and_read_back(tmp_path: Path) -> None:
    write(tmp_path / "new" / "out", "n")
    build: Build = read_build(tmp_path / "new" / "out")
    inputs, outputs = build.golden()
    assert (inputs[0] == FEEDS[0]).all()
    assert outputs[0].tolist() == [[2], [0]]
    assert build.report.notes == ("n",)
    assert build.target == load_target("pynq-z2")
    assert names(tmp_path / "new") == ["out"]
    assert np.load(tmp_path / "new" / "out" / "golden" / "inputs.npy").dtype == np.uint8


def test_a_build_directory_is_replaced_and_others_are_not(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write(out, "first")
    write(out, "second")
    assert read_build(out).report.notes == ("second",)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(UsageError) as caught:
        write(tmp_path / "mine")
    allowed = "a new, empty or codesign build directory; try: another -o"
    assert str(caught.value) == f"{tmp_path / 'mine'}: is a directory that codesign did not make; allowed: {allowed}"
    with pytest.raises(UsageError, match="is a file; allowed: a new, empty or codesign build directory"):
        write(tmp_path / "mine" / "thesis.txt")
    assert names(tmp_path) == ["mine", "out"]


@pytest.mark.parametrize("error", [InputError.at("x", "y"), KeyboardInterrupt(), ValueError()])
def test_nothing_stays_behind_when_the_body_raises(tmp_path: Path, error: BaseException) -> None:
    def work() -> None:
        with staged(tmp_path / "a" / "b") as directory:
            (directory / "half").write_text("x")
            raise error

    with pytest.raises(type(error)):
        work()
    assert names(tmp_path) == []


def test_the_old_build_stays_when_the_new_one_fails(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")

    def work() -> None:
        with staged(tmp_path / "out"):
            raise InputError.at("x", "y")

    with pytest.raises(InputError):
        work()
    assert read_build(tmp_path / "out").report.notes == ("old",)
    assert names(tmp_path) == ["out"]


def test_a_place_that_cannot_be_written() -> None:
    with pytest.raises(InputError, match=r"^/proc/nothing/out: cannot be written: .*; try: another -o$"):
        write(Path("/proc/nothing/out"))


def test_what_is_no_build(tmp_path: Path) -> None:
    assert not is_build(tmp_path)
    with pytest.raises(InputError) as caught:
        read_build(tmp_path)
    assert str(caught.value) == f"{tmp_path}: not a build directory; allowed: what 'codesign compile' wrote"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "graph.txt").unlink(), "damaged: FileNotFoundError"),
        (lambda d: (d / "report.json").write_text("{"), "report.json: not a JSON file"),
        (lambda d: (d / "report.json").unlink(), "report.json: cannot be read: No such file or directory"),
        (lambda d: (d / "report.json").write_text("[" * 100_000), "report.json: not a JSON file: too many brackets"),
        (
            lambda d: (d / "manifest.json").write_text("{"),
            "manifest.json: corrupt manifest: not a JSON file: Expecting",
        ),
        (lambda d: (d / "manifest.json").write_text("[" * 100_000), "manifest.json: corrupt manifest: not a JSON file"),
        (lambda d: (d / "graph.txt").write_text("graph 1\njunk"), "out/graph.txt, line 2: cannot be read: no 'name ="),
        (lambda d: (d / "graph.txt").write_text(GRAPH_TEXT_OF_ANOTHER), "graph.txt: not the graph that was compiled"),
        (lambda d: edit(d, "schema", 9), "schema 9; allowed: schema 1; try: codesign compile makes a new one"),
        (lambda d: edit(d, "target", None), "damaged: TypeError"),
        (lambda d: edit(d, "target", {"name": "x", "data": {}}), "description is missing"),
    ],
)
def test_damage_is_found(tmp_path: Path, damage: object, message: str) -> None:
    write(tmp_path / "out")
    assert callable(damage)
    damage(tmp_path / "out")
    with pytest.raises(CodesignError) as caught:
        read_build(tmp_path / "out")
    assert message in str(caught.value)


GRAPH_TEXT_OF_ANOTHER = "graph 1\ninput x: u8[4]\ny = ArgMax()(x): u2[1]\noutput y\n"


def edit(directory: Path, key: str, value: object) -> None:
    data = json.loads((directory / "manifest.json").read_text())
    write_json(directory / "manifest.json", data | {key: value})


def test_missing_golden_arrays(tmp_path: Path) -> None:
    write(tmp_path / "out")
    (tmp_path / "out" / "golden" / "inputs.npy").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"inputs\.npy: not an array"):
        read_build(tmp_path / "out").golden()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (
            shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'"), ("c", "d", "?")]),
            "No space left on device",
        ),
        (shutil.Error("'a' and 'a' are the same file"), "'a' and 'a' are the same file"),
        (OSError("125 requested and 0 written"), "125 requested and 0 written"),
        (OSError(), "OSError"),
    ],
)
def test_every_reason_is_told(tmp_path: Path, error: OSError, reason: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError) as caught, staged(out):
        raise error
    assert str(caught.value) == f"{out}: cannot be written: {reason}; try: another -o"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("target", "objective", "notes"),
    [
        (
            "cortex-a76",
            "area",
            ["--objective area changes nothing for cortex-a76: tvm knows latency and throughput only"],
        ),
        ("cortex-a76", "latency", []),
        ("cortex-a76", None, []),
        ("pynq-z2", "area", []),
    ],
)
def test_an_objective_without_effect_is_noted(target: str, objective: Objective | None, notes: list[str]) -> None:
    device = load_target(target)
    assert _objective_notes(pick_backend(device, None), device, objective) == notes
