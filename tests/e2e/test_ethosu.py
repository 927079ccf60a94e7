"""From a model file to an audited Ethos-U build, on the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codesign.backends.ethosu.product import product
from codesign.builddir import read_build
from codesign.cli import main
from codesign.frontend import import_model
from codesign.ir.graph import Graph
from codesign.ir.text import print_graph
from codesign.ir.types import IntType
from codesign.schedule import EthosuSchedule
from codesign.target import load_target
from codesign.testing.build import GraphBuilder

U4, I4, U8 = IntType(4, False), IntType(4, True), IntType(8, False)


def network(width: int = 16) -> Graph:
    """Convolution, pooling and scores, of 4 bits, with thresholds of a scale and an offset per channel."""
    rng = np.random.default_rng(3)
    b = GraphBuilder()
    x = b.input((12, 12, 2), U8, name="image")
    conv = b.conv(x, rng.integers(-7, 8, (width, 3, 3, 2)), I4, name="conv")
    spread = rng.uniform(150, 300, (width, 1))
    levels = np.ceil((np.arange(1, 16) - 0.5) * spread + rng.uniform(-500, 500, (width, 1))).astype(np.int64)
    act = b.threshold(conv, levels, U4, name="act")
    return b.graph(b.dense(act, rng.integers(-7, 8, (10, width)), I4, name="scores"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "net.txt"
    path.write_text(print_graph(network()))
    return path


@pytest.fixture(scope="module")
def build(model: Path) -> Path:
    out = model.parent / "build"
    assert main(["compile", str(model), "-t", "ethos-u55-128", "-o", str(out)]) == 0
    return out


def report(build: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((build / "report.json").read_text())
    return data


def test_a_build_has_everything(build: Path) -> None:
    names = {path.name for path in (build / "artifact").iterdir()}
    assert {"source.tflite", "model.tflite", "audit.json", "off_npu.json", "layers.csv", "layers.svg", "app"} <= names
    data = report(build)
    assert data["verification"] == {"reference": "golden", "samples": 100, "mismatches": 0, "max_abs_diff": 0,
                                    "argmax_agreement": 1}  # fmt: skip
    assert {m["basis"] for m in data["metrics"] if m["name"] == "latency_cycles"} == {"tool"}
    audit = json.loads((build / "artifact" / "audit.json").read_text())
    assert audit["constants"] == audit["constants_proved"] > 400
    assert {row["verdict"] for row in audit["operations"]} == {"proved"}


def test_it_is_never_worse_than_vela_s_default(build: Path) -> None:
    target = load_target("ethos-u55-128")
    assert target.npu is not None
    made = read_build(build)
    default = product(made.graph, EthosuSchedule(target.npu.memory_mode), target.npu)
    assert report(build)["metrics"][0]["value"] <= default.compiled.performance["totalCycles"]


def test_simulate_runs_the_model_that_vela_was_given(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(build), "--frames", "40"]) == 0
    assert "against golden: 40 frames, every output bit equal" in capsys.readouterr().out


def test_a_damaged_model_is_a_mismatch(build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    copy = tmp_path / "build"
    shutil.copytree(build, copy)
    path = copy / "artifact" / "source.tflite"
    content = bytearray(path.read_bytes())
    graph = read_build(copy).graph
    weights = next(c.value for name, c in graph.consts.items() if c.value.shape == (10, 16))
    at = content.find(weights.astype(np.int8).tobytes())
    assert at > 0
    content[at] ^= 0x01
    path.write_bytes(bytes(content))
    assert main(["simulate", str(copy)]) == 1
    expected = f"codesign simulate: {path}: not what was compared and audited; try: codesign compile\n"
    assert capsys.readouterr().err == expected
    sums = copy / "artifact" / "SHA256SUMS"
    kept = [line for line in sums.read_text().splitlines(keepends=True) if "source.tflite" not in line]
    sums.write_text("".join(kept))
    assert main(["simulate", str(copy)]) == 1
    assert "differ from the golden evaluation" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (["--stall", "0.5"], "codesign simulate: --stall: not for this build; allowed: a streaming design"),
        (["--trace", "x.fst"], "codesign simulate: --trace: not for this build; allowed: a streaming design"),
    ],
)
def test_what_only_a_streaming_design_has(
    option: list[str], sentence: str, build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", str(build), *option]) == 2
    assert capsys.readouterr().err == f"{sentence}\n"


def test_a_missing_model_of_a_build(build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    copy = tmp_path / "build"
    shutil.copytree(build, copy)
    path = copy / "artifact" / "SHA256SUMS"
    path.unlink()
    assert main(["simulate", str(copy)]) == 2
    expected = f"codesign simulate: {path}: cannot be read: No such file or directory; try: codesign compile makes a "
    assert capsys.readouterr().err == f"{expected}new one\n"


def test_an_arena_that_is_too_small(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "small"
    command = ["compile", str(model), "-t", "ethos-u55-128", "-o", str(out), "--require", "sram_bytes<=100"]
    assert main(command) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("codesign compile: --require 'sram_bytes<=100': the closest schedule has sram_bytes ")
    assert not out.exists()


def test_a_schedule_is_replayed(build: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    schedule = str(build / "manifest.json")
    assert main(["compile", str(model), "-t", "ethos-u55-128", "-o", str(out), "--schedule", schedule]) == 0
    assert (out / "artifact" / "model.tflite").read_bytes() == (build / "artifact" / "model.tflite").read_bytes()


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        ({"optimise": "Speed"}, "schedule: no memory_mode; allowed: {\"memory_mode\": \"Shared_Sram\", "
         "\"optimise\": \"Performance\"}"),
        ({"memory_mode": "Shared_Sram", "optimise": "Speed"},
         "schedule, optimise: 'Speed'; allowed: Performance or Size"),
        ({"memory_mode": "Shared_Sram", "arena_limit": -1},
         "schedule, arena_limit: -1; allowed: a number of bytes from 1 to 1099511627776, or null"),
        ({"memory_mode": "Shared_Sram", "disabled": ["Nonsense"]},
         "schedule, disabled: ['Nonsense']; allowed: a list of Grouping, FWD, Cascading, WeightBuffering, ReuseIFM"),
        ({"memory_mode": "Bogus"}, "schedule, memory_mode: 'Bogus'; allowed: Shared_Sram, Sram_Only of the target"),
    ],
)  # fmt: skip
def test_a_schedule_of_the_wrong_form(
    schedule: dict[str, Any], sentence: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "schedule.json"
    path.write_text(json.dumps(schedule))
    command = ["compile", str(model), "-t", "ethos-u55-128", "-o", str(tmp_path / "out"), "--schedule", str(path)]
    assert main(command) == 2
    assert capsys.readouterr().err == f"codesign compile: {sentence}\n"


def test_check_says_what_stays_on_the_cpu(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(model), "-t", "ethos-u55-128"]) == 0
    out = capsys.readouterr().out
    assert "note: scores: on the CPU: CAST: CAST does not run on ethos-u55; the NPU takes it on ethos-u85" in out
    assert main(["check", str(model), "-t", "ethos-u85-256", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []


@pytest.mark.parametrize("name", ["ad01_int8", "kws_ref_model"])
@pytest.mark.parametrize("target", ["ethos-u55-32", "ethos-u65-512", "ethos-u85-1024"])
def test_the_mlperf_tiny_models(name: str, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = os.environ.get("CODESIGN_CASES")
    if not folder:
        pytest.skip("the folder of third-party cases is missing: set CODESIGN_CASES")
    path = Path(folder) / "mlperf_tiny" / f"{name}.tflite"
    out = tmp_path / "build"
    assert main(["compile", str(path), "-t", target, "-o", str(out)]) == 0
    assert report(out)["verification"]["samples"] == 100
    audit = json.loads((out / "artifact" / "audit.json").read_text())
    assert (
        audit["constants_proved"]
        == audit["constants"]
        >= sum(c.value.size for c in import_model(path).graph.consts.values() if c.value.ndim > 1)
    )
