"""What `codesign tune` and `codesign records` say of wrong options and a damaged store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codesign.backends.tvm.tune.records import Record, append
from codesign.cli import main
from codesign.errors import ToolError
from codesign.ir.text import print_graph
from codesign.testing.cases import CASES

RECORD = Record("k", {"template": "dot"}, "exact", 10.0, "cycles", "model", "", "2026-01-31", "conv2d 4x4x4")


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "graph.txt"
    path.write_text(print_graph(CASES["add"]()), encoding="utf-8")
    return str(path)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "records"
    monkeypatch.setenv("CODESIGN_RECORDS", str(folder))
    return folder


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--minutes", "0"), "--minutes: 0; allowed: more than 0"),
        (("--minutes", "nan"), "--minutes: nan; allowed: more than 0"),
        (("--trials", "0"), "--trials: 0; allowed: 1 or more"),
        (("--trials", "5", "--minutes", "1"), "--trials: together with --minutes; allowed: one of them"),
    ],
)
def test_a_budget_that_is_none_is_refused(
    model: str, options: tuple[str, ...], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", model, "-t", "host-x86", "-o", str(tmp_path / "out"), *options]) == 2
    assert capsys.readouterr().err == f"codesign tune: {text}\n"


def test_a_target_without_kernels_is_refused(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", model, "-t", "pynq-z2", "-o", str(tmp_path / "out")]) == 2
    hint = "codesign compile -t pynq-z2, which searches by itself"
    expected = f"target: pynq-z2 has no kernels to tune; allowed: a processor; try: {hint}"
    assert capsys.readouterr().err == f"codesign tune: {expected}\n"


@pytest.mark.parametrize("command", ["tune", "compile"])
def test_a_damaged_store_stops_both_before_any_work(
    model: str, command: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = store / "cortex-a76+dotprod.jsonl"
    append(path, [RECORD])
    with path.open("a") as file:
        file.write("oops\n")
    assert main([command, model, "-t", "cortex-a76", "-o", str(tmp_path / "out")]) == 2
    hint = "codesign records --repair, which keeps all other lines"
    expected = f"{path}, line 2: is not JSON: 'oops'; allowed: a tuning record; try: {hint}"
    assert capsys.readouterr().err.splitlines()[-1] == f"codesign {command}: {expected}"
    assert not (tmp_path / "out").exists()
    assert main(["records", "--repair"]) == 0
    assert capsys.readouterr().out == f"1 damaged lines moved aside in {store}\n"
    assert main(["records", "--json"]) == 0
    row = {"core": "cortex-a76+dotprod", "kernels": 1, "trials": 1, "damaged": 0}
    assert json.loads(capsys.readouterr().out) == [row]


def test_records_are_exported_and_imported(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append(store / "cortex-a76.jsonl", [RECORD])
    out = tmp_path / "all.jsonl"
    assert main(["records", "--export", str(out)]) == 0
    assert capsys.readouterr().out == f"1 records written to {out}\n"
    (store / "cortex-a76.jsonl").unlink()
    assert main(["records", "--import", str(out)]) == 0
    assert capsys.readouterr().out == f"1 new records in {store}\n"
    assert main(["records", "--import", str(tmp_path / "nowhere")]) == 2
    expected = f"{tmp_path / 'nowhere'}: cannot be read: No such file or directory"
    assert capsys.readouterr().err == f"codesign records: {expected}\n"


def test_a_missing_cross_compiler_is_named(
    model: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from codesign.backends.tvm.tune import measure

    def without(name: str) -> None:
        raise ToolError.at(name, "not found (none on PATH)", hint="apt install it")

    monkeypatch.setattr(measure.toolchain, "require", without)
    assert main(["tune", model, "-t", "cortex-a76", "-o", str(tmp_path / "out"), "--trials", "2"]) == 4
    assert capsys.readouterr().err.splitlines()[-1].endswith("not found (none on PATH); try: apt install it")
