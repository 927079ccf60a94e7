"""An HLS project through every command, as a user calls them, and what is in it."""

from __future__ import annotations

import json
import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from codesign.cli import main
from codesign.ir.graph import Graph
from codesign.ir.text import print_graph
from codesign.ir.types import BIPOLAR, Quant
from codesign.testing.build import GraphBuilder
from codesign.testing.graphs import feeds
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


def test_from_model_to_verified_project(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["compile", str(model), "-t", "pynq-z2", "--backend", "hls", "-o", str(out)]
    assert main([*words, "--require", "interval_cycles<=30"]) == 0
    text = capsys.readouterr().out
    assert "requirement interval_cycles<=30: met" in text
    assert "the C simulation of the project equals the golden evaluation on every bit; no vendor tool has run" in text
    readme = (out / "artifact" / "README.md").read_text()
    assert "16 frames (all smallest, all largest and random frames; `tb_data`)" in readme
    assert "Not verified: everything a vendor's tool does." in readme
    assert "    vitis-run --mode hls --tcl build_prj.tcl\n" in readme
    assert "create_clock -name ap_clk -period 10 " in (out / "artifact" / "constraints.xdc").read_text()
    assert 'set part "xc7z020clg400-1"' in (out / "artifact" / "project.tcl").read_text()
    assert str(tmp_path) not in "".join(p.read_text() for p in out.rglob("*.yml"))
    assert main(["simulate", str(out), "--frames", "40"]) == 0
    assert "against golden: 40 frames, every output bit equal" in capsys.readouterr().out
    replayed = tmp_path / "replayed"
    assert main([*words[:-1], str(replayed), "--schedule", str(out / "manifest.json")]) == 0
    assert (replayed / "artifact" / "design.json").read_text() == (out / "artifact" / "design.json").read_text()


@pytest.mark.parametrize(
    ("backend", "target", "files"),
    [
        ("hls-quartus", "arria10-gx", ["Makefile"]),
        ("hls-oneapi", "arria10-gx", ["CMakeLists.txt", "src/network_test.cpp", "emulation/network_ports.h"]),
        ("hls-catapult", "pynq-z2", ["build_prj.tcl", "network_weights.h"]),
    ],
)
def test_projects_for_other_tools(model: Path, tmp_path: Path, backend: str, target: str, files: list[str]) -> None:
    """The README names what is there, and nothing of Xilinx's tools is."""
    out = tmp_path / "out"
    assert main(["compile", str(model), "-t", target, "--backend", backend, "-o", str(out)]) == 0
    readme = (out / "artifact" / "README.md").read_text()
    for name in files:
        assert (out / "artifact" / name).is_file()
        assert f"`{name}`" in readme
    assert not (out / "artifact" / "implement.tcl").exists()
    assert "implement.tcl" not in readme
    assert ("stand-ins of Intel's headers" in readme) == (backend == "hls-oneapi")


def test_both_deliverables_in_one_report(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    builds = [str(tmp_path / name) for name in ("hls", "rtl")]
    for out in builds:
        assert main(["compile", str(model), "-t", "pynq-z2", "--backend", Path(out).name, "-o", out]) == 0
        assert main(["simulate", out, "--frames", "20"]) == 0
    capsys.readouterr()
    assert main(["report", *builds]) == 0
    text = capsys.readouterr().out
    assert "interval_cycles  model" in text
    assert "interval_cycles  rtl_sim" in text
    assert text.count("20 frames, every output bit equal") == 2


def test_a_changed_weight_is_found(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["compile", str(model), "-t", "pynq-z2", "--backend", "hls", "-o", str(out)]) == 0
    weights = sorted((out / "artifact" / "firmware" / "weights").glob("w*.txt"))[0]
    first, rest = weights.read_text().split(",", 1)
    weights.write_text(f"{int(first) ^ 1},{rest}")
    header = weights.with_suffix(".h")  # the tools' copy, which would be said to differ
    header.write_text(header.read_text().replace(f"= {{{first},", f"= {{{int(first) ^ 1},"))
    capsys.readouterr()
    assert main(["simulate", str(out)]) == 1
    assert "output elements differ from the golden evaluation" in capsys.readouterr().err


def test_the_driver_on_a_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """host.py with hls4ml's driver replaced by the golden evaluation: words, scales and the replay."""
    b = GraphBuilder()
    x = b.input((6,), BIPOLAR, Quant((1.0,)))
    weights = np.random.default_rng(1).choice([-1, 1], (3, 6))
    y = b.dense(x, weights, BIPOLAR)
    b.nodes[-1] = type(b.nodes[-1])(y, b.nodes[-1].op, b.nodes[-1].inputs, "", Quant((0.5, 0.25, 2.0), axis=0))
    graph = b.graph(y)
    (tmp_path / "model.txt").write_text(print_graph(graph))
    out = tmp_path / "out"
    words = ["compile", str(tmp_path / "model.txt"), "-t", "pynq-z2", "--backend", "hls-pynq", "-o", str(out)]
    assert main(words) == 0
    project = out / "artifact"
    assert (project / "axi_stream_driver.py").is_file()
    assert (project / "design.tcl").is_file()

    class Overlay:
        def __init__(self, bitfile: str, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> None:
            assert (Path(bitfile).name, x_shape, y_shape) == ("network.bit", (6,), (3,))

        def predict(self, frame: np.ndarray) -> np.ndarray:
            assert frame.dtype == np.float32
            return graph.evaluate(2 * frame.astype(np.int64)[None] - 1)[0][0].astype(np.float32)

    driver = types.ModuleType("axi_stream_driver")
    driver.NeuralNetworkOverlay = Overlay  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "axi_stream_driver", driver)
    host = runpy.run_path(str(project / "host.py"), run_name="host")
    assert host["main"]() == 0
    (feed,) = feeds(graph, 4, 1)
    expected = graph.dequantise_outputs(graph.evaluate(feed))[0]
    np.testing.assert_array_equal(host["Network"]().predict(feed.astype(float)), expected)
    with pytest.raises(ValueError, match="inputs from 3 to 3; allowed: -1 to 1"):
        host["Network"]().predict(np.full((1, 6), 3))
    golden = json.loads((project / "design.json").read_text())["ports"]["input"]
    assert golden == {
        "shape": [6], "lo": -1, "hi": 1, "bipolar": True,
        "quant": {"scale": [1.0], "zero_point": [0.0], "axis": None},
    }  # fmt: skip
