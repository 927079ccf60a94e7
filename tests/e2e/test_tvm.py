"""Networks on processors and GPUs as a user compiles them: every bit equal, figures, schedules replayed."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

import codesign
from codesign.cli import main
from codesign.ir.graph import Graph
from codesign.ir.text import print_graph
from codesign.resources import resource_dir
from codesign.target import load_target
from codesign.testing import networks

TARGETS = ("cortex-a53", "cortex-a72", "cortex-a76", "host-x86", "mali-g52", "mali-g76")


def _demo_cnn() -> Graph:
    """The demo's CNN before its training: the same layers and bit widths."""
    import torch

    from codesign.frontend.brevitas import import_brevitas
    from codesign.train.models import build, example_input
    from codesign.train.recipe import read_recipe

    torch.manual_seed(0)
    recipe = read_recipe(resource_dir("examples") / "fashion_cnn.toml")
    return import_brevitas(build(recipe.model).eval(), example_input()).graph


def _case(name: str) -> Callable[[], Graph]:
    def load() -> Graph:
        folder = os.environ.get("CODESIGN_CASES")
        if not folder:
            pytest.skip("the folder of third-party cases is missing: set CODESIGN_CASES")
        return codesign.load(Path(folder) / "mlperf_tiny" / name)

    return load


NETWORKS: dict[str, Callable[[], Graph]] = {
    "demo_cnn": _demo_cnn,
    "resnet8": networks.resnet8,
    "ds_cnn": networks.ds_cnn,
    "autoencoder": networks.autoencoder,
    "kws": _case("kws_ref_model.tflite"),
    "ad": _case("ad01_int8.tflite"),
}
graph_of = cache(lambda name: NETWORKS[name]())


def compiled(name: str, target: str, folder: Path) -> Path:
    """A build; compile itself compares 16 frames, on one thread and on all cores."""
    model, out = folder / f"{name}.txt", folder / "out"
    model.write_text(print_graph(graph_of(name)))
    assert main(["compile", str(model), "-t", target, "-o", str(out)]) == 0
    return out


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_bit_is_equal(name: str, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = compiled(name, target, tmp_path)
    assert "against golden: 16 frames, every output bit equal" in capsys.readouterr().out
    assert main(["simulate", str(out), "--frames", "20"]) == 0
    assert "against golden: 20 frames, every output bit equal" in capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    assert report["verification"]["mismatches"] == 0
    bases = {m["name"]: m["basis"] for m in report["metrics"]}
    assert bases["latency_ns"] == ("measured" if target == "host-x86" else "model")
    with (out / "artifact" / "layers.csv").open() as file:
        layers = list(csv.DictReader(file))
    weighted = sum(work.macs > 0 for work in graph_of(name).work().values())
    assert sum(int(row["macs"]) > 0 for row in layers) == weighted


def test_the_table_of_layers_is_what_calibrate_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a board that takes twice the time; a build made with the calibration gives the same factors again."""
    monkeypatch.setenv("CODESIGN_CONFIG", str(tmp_path / "config"))
    for cycles_of_simulated in (1.0, 2.0):
        table = compiled("autoencoder", "rpi5", tmp_path) / "artifact" / "layers.csv"
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        simulated = [int(row["pipeline_cycles"]) + int(row["stall_cycles"]) for row in rows]
        for row, cycles in zip(rows, simulated, strict=True):
            assert int(row["cycles"]) == pytest.approx(cycles_of_simulated * cycles, abs=3)
            row["measured_ms"] = str(2 * cycles / load_target("rpi5").clock_hz * 1e3)
        with (tmp_path / "measured.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        capsys.readouterr()
        assert main(["calibrate", str(tmp_path / "measured.csv"), "-t", "rpi5"]) == 0
        assert "pipeline x 2.000, stalls x 2.000" in capsys.readouterr().out


def test_a_schedule_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = compiled("autoencoder", "cortex-a76", tmp_path)
    manifest = json.loads((out / "manifest.json").read_text())
    first = next(iter(manifest["schedule"]["kernels"]))
    manifest["schedule"]["kernels"][first] = {"template": "loops", "lanes": 1}
    changed = tmp_path / "schedule.json"
    changed.write_text(json.dumps(manifest["schedule"]))
    again = ["compile", str(tmp_path / "autoencoder.txt"), "-t", "cortex-a76", "-o", str(tmp_path / "again")]
    assert main([*again, "--schedule", str(changed)]) == 0
    assert json.loads((tmp_path / "again" / "manifest.json").read_text())["schedule"] == manifest["schedule"]

    del manifest["schedule"]["kernels"][first]
    manifest["schedule"]["kernels"]["nobody"] = {"template": "loops", "lanes": 1}
    changed.write_text(json.dumps(manifest["schedule"]))
    capsys.readouterr()
    assert main([*again[:-1], str(tmp_path / "third"), "--schedule", str(changed)]) == 2
    error = capsys.readouterr().err
    assert f"schedule of {first}: missing" in error
    assert "schedule of nobody: no kernel writes this tensor" in error
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"template": "magic"}, "the template 'magic'"),
        ({"template": "depthwise", "lanes": 8, "columns": 1}, "one that fits the layer"),
        ({"lanes": 8}, '{"template": "name", …}'),
    ],
)
def test_a_wrong_choice_is_told(
    choice: dict[str, object], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = compiled("autoencoder", "cortex-a76", tmp_path)
    schedule = json.loads((out / "manifest.json").read_text())["schedule"]
    schedule["kernels"][next(iter(schedule["kernels"]))] = choice
    (tmp_path / "schedule.json").write_text(json.dumps(schedule))
    words = ["compile", str(tmp_path / "autoencoder.txt"), "-t", "cortex-a76", "-o", str(tmp_path / "again")]
    assert main([*words, "--schedule", str(tmp_path / "schedule.json")]) == 2
    assert message in capsys.readouterr().err


def test_a_requirement_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model.txt"
    model.write_text(print_graph(graph_of("autoencoder")))
    words = ["compile", str(model), "-t", "cortex-a53", "-o", str(tmp_path / "out")]
    assert main([*words, "--require", "fps>=1e9"]) == 1
    assert "requirement fps>=1000000000: not met" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*words, "--require", "fps>=100"]) == 0


def test_the_python_runner_needs_numpy_alone(tmp_path: Path) -> None:
    """The deliverable's own runner, in a process that has no codesign, on the golden frames."""
    out = compiled("autoencoder", "host-x86", tmp_path)
    code = (
        "import sys, numpy as np; sys.path[:0] = [sys.argv[1] + '/artifact/python']; import network;"
        "x = np.load(sys.argv[1] + '/golden/inputs.npy'); y = np.load(sys.argv[1] + '/golden/outputs.npy');"
        "n = network.Network(); z = np.stack([n.run(f.astype(np.int8))[0] for f in x]);"
        "assert (z.reshape(y.shape) == y).all();"
        "assert 'codesign' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", code, str(out)], check=True, cwd=tmp_path)
