"""A model through every command, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import codesign
from codesign.cli import main
from codesign.ir.graph import Graph
from codesign.ir.text import print_graph
from tests.hw.networks import I2, U2, U8, Build

pytestmark = pytest.mark.usefixtures("cxx")


def network() -> Graph:
    """24 bytes in, two layers of 2-bit weights, 5 scores out."""
    b = Build((24,), U8)
    b.dense("fc0", 8, I2)
    b.threshold("act0", U2)
    b.dense("fc1", 5, I2)
    return b.graph()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.txt"
    path.write_text(print_graph(network()))
    return path


def run_json(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, object]:
    """The JSON that a successful command prints."""
    capsys.readouterr()
    assert main([*map(str, words), "--json"]) == 0
    data: dict[str, object] = json.loads(capsys.readouterr().out)
    return data


def test_from_model_to_verified_design(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["check", str(model), "-t", "ulx3s-85f"]) == 0
    assert "can run on ulx3s-85f (rtl)" in capsys.readouterr().out
    assert main(["compile", str(model), "-t", "ulx3s-85f", "-o", str(out), "--require", "interval_cycles<=24"]) == 0
    text = capsys.readouterr().out
    assert "requirement interval_cycles<=24: met" in text
    assert f"next: codesign simulate {out}" in text
    assert sorted(p.name for p in out.iterdir()) == ["artifact", "golden", "graph.txt", "manifest.json", "report.json"]
    assert main(["simulate", str(out), "--frames", "40"]) == 0
    text = capsys.readouterr().out
    assert "against golden: 40 frames, every output bit equal" in text
    assert "as predicted" in text
    report = json.loads((out / "report.json").read_text())
    figures = {(m["name"], m["basis"]): m["value"] for m in report["metrics"]}
    for name in ("interval_cycles", "latency_cycles", "fps", "latency_ns"):
        assert figures[name, "rtl_sim"] == figures[name, "model"]
    assert figures["interval_cycles", "model"] <= 24
    assert report["verification"] == {
        "reference": "golden", "samples": 40, "mismatches": 0, "max_abs_diff": 0, "argmax_agreement": 1,
    }  # fmt: skip
    interval = figures["interval_cycles", "rtl_sim"]
    assert report["requirements"] == [
        {"requirement": "interval_cycles<=24", "value": interval, "basis": "rtl_sim", "met": True}
    ]
    assert main(["report", str(out)]) == 0
    assert "every output bit equal" in capsys.readouterr().out
    assert main(["report", str(out), str(out)]) == 0
    assert "interval_cycles  rtl_sim" in capsys.readouterr().out


def test_stalls_seed_and_other_inputs(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    images = tmp_path / "x.npy"
    np.save(images, np.random.default_rng(1).integers(0, 256, (7, 24)).astype(np.uint8))
    run_json(capsys, "compile", model, "-t", "pynq-z2", "-o", out, "--require", "interval_cycles<=24")
    data = run_json(capsys, "simulate", out, "--inputs", images, "--stall", "0.5", "--seed", "3")
    assert data["verification"]["samples"] == 7  # type: ignore[index]
    assert data["verification"]["mismatches"] == 0  # type: ignore[index]
    assert not [m for m in data["metrics"] if m["basis"] == "rtl_sim"]  # type: ignore[attr-defined]
    again = run_json(capsys, "simulate", out, "--inputs", images, "--stall", "0.5", "--seed", "3")
    other = run_json(capsys, "simulate", out, "--inputs", images, "--stall", "0.5", "--seed", "4")
    assert again["frames"] == data["frames"] != other["frames"]


def test_a_trace_of_one_frame(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fst: None) -> None:
    out, file = tmp_path / "out", tmp_path / "wave.fst"
    run_json(capsys, "compile", model, "-t", "pynq-z2", "-o", out, "--require", "interval_cycles<=24")
    assert main(["simulate", str(out), "--trace", str(file), "--trace-frame", "2"]) == 0
    text = capsys.readouterr().out
    assert "signals of frame 2, cycles " in text
    assert text.endswith(f": {file}\n")
    assert file.stat().st_size > 0


def test_a_schedule_is_replayed(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    run_json(capsys, "compile", model, "-t", "pynq-z2", "-o", first, "--require", "interval_cycles<=24")
    run_json(capsys, "compile", model, "-t", "pynq-z2", "-o", second, "--schedule", first / "manifest.json")
    for name in ("artifact/top.sv", "graph.txt", "golden/outputs.npy"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_one_model_gives_the_same_bytes(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = []
    for name in "ab":
        run_json(capsys, "compile", model, "-t", "pynq-z2", "-o", tmp_path / name)
        files = sorted(p for p in (tmp_path / name).rglob("*") if p.is_file())
        folders.append({str(p.relative_to(tmp_path / name)): p.read_bytes() for p in files})
    assert folders[0] == folders[1]


def test_evaluate(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(2).integers(0, 256, (3, 24))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "one.npy", x[0])
    expected = network().evaluate(x)[0]
    y = tmp_path / "y.npy"
    assert main(["evaluate", str(model), "--inputs", str(tmp_path / "x.npy"), "-o", str(y), "--raw"]) == 0
    assert (np.load(y) == expected).all()
    assert np.load(y).dtype == np.int64
    assert main(["evaluate", str(model), "--inputs", str(tmp_path / "one.npy"), "-o", str(y)]) == 0
    assert (np.load(y) == expected[0].astype(float)).all()
    data = run_json(capsys, "evaluate", model, "--inputs", tmp_path / "x.npy", "-o", y)
    assert data == [{"file": str(y), "output": "fc1", "frames": 3, "shape": [5]}]


def test_inspect(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(model)]) == 0
    text = capsys.readouterr().out
    assert "3 layers, 232 MACs a frame" in text
    data = run_json(capsys, "inspect", model)
    assert [row["operator"] for row in data["layers"]] == ["Dense", "Threshold", "Dense"]  # type: ignore[attr-defined]
    assert data["macs"] == 24 * 8 + 8 * 5
    assert main(["inspect", str(model), "--text"]) == 0
    assert capsys.readouterr().out == model.read_text()


def test_in_python(model: Path, tmp_path: Path) -> None:
    graph = codesign.load(model)
    report = codesign.compile(graph, "pynq-z2", tmp_path / "out", require=["interval_cycles<=24"])
    assert [r.met for r in report.requirements] == [True]
    result = codesign.simulate(tmp_path / "out", frames=5)
    assert not result.failures
    assert (result.outputs[0] == np.load(tmp_path / "out" / "golden" / "outputs.npy")[:5]).all()
