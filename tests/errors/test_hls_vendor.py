"""The vendor's tools, with scripts in their place: figures of their reports, failures, hangs, corrupt reports.

The reports of tests/hls_reports have the form of Vitis HLS 2023.2 and Vivado; they were written by hand.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from codesign.backends.hls.reports import read_reports
from codesign.cli import main
from codesign.errors import InputError
from codesign.ir.text import print_graph
from tests.hw.networks import I2, U2, U8, Build

REPORTS = Path(__file__).parent.parent / "hls_reports"
CSYNTH = (REPORTS / "network_csynth.xml").read_text()
PERIOD = "UserAssignments/TargetClockPeriod"
LUT = "AreaEstimates/Resources/LUT"
INTERVAL = "PerformanceEstimates/SummaryOfOverallLatency/Interval-max"
SYNTHESIS = "artifact/network_prj/solution1/syn/report"


@pytest.fixture
def build(tmp_path: Path, cxx: str) -> Path:
    """A small HLS build."""
    b = Build((24,), U8)
    b.dense("fc0", 8, I2)
    b.threshold("act0", U2)
    (tmp_path / "model.txt").write_text(print_graph(b.graph()))
    out = tmp_path / "out"
    words = ["compile", str(tmp_path / "model.txt"), "-t", "pynq-z2", "--backend", "hls", "-o", str(out)]
    assert main([*words, "--require", "lut<=5000"]) == 0
    return out


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in front of PATH for scripts with the names of the tools."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def figures(folder: Path) -> dict[str, float]:
    return {m.name: m.value for m in read_reports(folder).metrics}


def test_csynth_alone(tmp_path: Path) -> None:
    shutil.copy(REPORTS / "network_csynth.xml", tmp_path)
    assert figures(tmp_path) == {
        "latency_cycles": 64, "latency_ns": 640, "interval_cycles": 28, "fps": round(1e8 / 28, 4),
        "fmax_mhz": 137.931, "lut": 3141, "ff": 2718, "bram": 1.5, "dsp": 5,
    }  # fmt: skip


def test_the_strongest_report_counts() -> None:
    """Cycles of co-simulation, resources and clock of the implementation."""
    assert figures(REPORTS) == {
        "latency_cycles": 62, "latency_ns": 620, "interval_cycles": 27, "fps": round(1e8 / 27, 4), "fmax_mhz": 125,
        "lut": 1618, "ff": 2003, "bram": 1.5, "dsp": 5,
    }  # fmt: skip


def test_reports_from_another_machine(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--vendor", str(REPORTS)]) == 0
    assert "note: tool: network_csynth.xml, network_cosim.rpt, utilisation.rpt, timing.rpt" in capsys.readouterr().out
    assert main(["report", str(build), "--vendor", str(REPORTS)]) == 0
    text = capsys.readouterr().out
    assert "requirement lut<=5000: met, 1,618 (tool)" in text
    assert "error" in text.splitlines()[1]  # the model's, beside both
    assert main(["report", str(build)]) == 0
    assert "1,618" in capsys.readouterr().out  # kept in report.json


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("network_csynth.xml", "<profile>", "a corrupt report: no element found: line 1, column 9"),
        ("network_csynth.xml", "<profile/>", "a corrupt report: no AreaEstimates/Resources"),
        (
            "network_csynth.xml",
            "<profile><AreaEstimates><Resources><LUT>many</LUT></Resources></AreaEstimates></profile>",
            "a corrupt report: AreaEstimates/Resources/LUT is 'many'",
        ),
        ("network_cosim.rpt", "", "a corrupt report: no line of a simulated language"),
        ("network_csynth.xml", CSYNTH.replace(">10.00<", ">0.0<"), f"a corrupt report: {PERIOD} is 0"),
        ("network_csynth.xml", CSYNTH.replace(">10.00<", ">nan<"), f"a corrupt report: {PERIOD} is 'nan'"),
        ("network_csynth.xml", CSYNTH.replace(">10.00<", ">inf<"), f"a corrupt report: {PERIOD} is 'inf'"),
        ("network_csynth.xml", CSYNTH.replace(">28<", ">0<"), f"a corrupt report: {INTERVAL} is 0"),
        ("network_csynth.xml", CSYNTH.replace(">3141<", ">-5<"), f"a corrupt report: {LUT} is '-5'"),
        ("utilisation.rpt", "| Slice LUTs | 3 |", "a corrupt report: no row of ff"),
        ("timing.rpt", "", "a corrupt report: no worst negative slack"),
        ("timing.rpt", "WNS(ns)\n----\n 1.0\n", "a corrupt report: no clock ap_clk"),
        (
            "timing.rpt", "WNS(ns)\n----\n -1.0\nap_clk {0.0 0.0} 0.000 0.000",
            "a corrupt report: a slack of -1.0 ns in a period of 0.000 ns",
        ),
    ],
)  # fmt: skip
def test_a_corrupt_report(name: str, text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        read_reports(tmp_path)
    assert str(caught.value) == f"{tmp_path / name}: {says}; try: the tool makes it again"


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("network_csynth.xml", "xc7z020-clg400-1", "xczu7ev-ffvc1156-2-e", "part xczu7ev-ffvc1156-2-e"),
        ("network_csynth.xml", ">network<", ">myproject<", "top myproject"),
        ("utilisation.rpt", "1. Slice Logic", "| Design : myproject", "top myproject"),
        ("timing.rpt", "| Clock Summary", "| Device : 7a100t-csg324", "part 7a100t-csg324"),
    ],
)
def test_a_report_of_another_design(
    name: str, old: str, new: str, says: str, build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / name).write_text((REPORTS / name).read_text().replace(old, new))
    before = (build / "report.json").read_bytes()
    assert main(["report", str(build), "--vendor", str(folder)]) == 2
    wanted = "xc7z020clg400-1" if says.startswith("part") else "network"
    text = f"codesign report: {folder / name}: a report of another design: {says}; allowed: {wanted}\n"
    assert capsys.readouterr().err.endswith(text)
    assert (build / "report.json").read_bytes() == before


def test_a_clock_that_is_missed(tmp_path: Path) -> None:
    """A slack of -2 ns in a period of 10 ns."""
    text = (REPORTS / "timing.rpt").read_text().replace("      2.000 ", "     -2.000 ")
    (tmp_path / "timing.rpt").write_text(text)
    assert figures(tmp_path) == {"fmax_mhz": 83.3333}


def test_a_device_as_vivado_writes_it(tmp_path: Path) -> None:
    text = (REPORTS / "timing.rpt").read_text()
    (tmp_path / "timing.rpt").write_text(f"| Design : network\n| Device : 7z020-clg400\n{text}")
    assert read_reports(tmp_path, "xc7z020clg400-1", "network").metrics[0].value == 125


def test_a_co_simulation_that_fails(build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its cycles do not count, the figures of the other reports do; a later one that passes takes its place."""
    folder = tmp_path / "reports"
    shutil.copytree(REPORTS, folder)
    (folder / "network_cosim.rpt").write_text("| Verilog| Fail| NA| NA| NA| NA| NA| NA|")
    says = "co-simulation of the Verilog says Fail, not Pass"
    capsys.readouterr()
    assert main(["report", "--vendor", str(folder)]) == 1
    assert capsys.readouterr().err == f"codesign report: {folder}: {says}\n"
    for words in (["--vendor", str(folder)], []):
        assert main(["report", str(build), *words]) == 1
        out, err = capsys.readouterr()
        assert err == f"codesign report: {build}: {says}\n"
        assert f"note: tool: {says}" in out
        assert "1,618" in out
    assert tool_figures(build)["interval_cycles"] == 28
    assert main(["report", str(build), "--vendor", str(REPORTS)]) == 0
    assert says not in capsys.readouterr().out
    assert tool_figures(build)["interval_cycles"] == 27


def tool_figures(build: Path) -> dict[str, float]:
    metrics = json.loads((build / "report.json").read_text())["metrics"]
    return {m["name"]: m["value"] for m in metrics if m["basis"] == "tool"}


def test_newer_reports_replace_those_of_their_kind(
    build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures of synthesis are replaced as a whole; those after placement stay the strongest."""
    first, newer = tmp_path / "first", tmp_path / "newer"
    first.mkdir()
    newer.mkdir()
    (first / "network_csynth.xml").write_text(CSYNTH)
    (newer / "network_csynth.xml").write_text(CSYNTH.replace(">3141<", ">9999<").replace("<DSP>5</DSP>", ""))
    assert main(["report", str(build), "--vendor", str(first)]) == 0
    assert tool_figures(build)["dsp"] == 5
    assert main(["report", str(build), "--vendor", str(newer)]) == 1  # 9,999 LUTs
    assert "dsp" not in tool_figures(build)
    assert main(["report", str(build), "--vendor", str(REPORTS)]) == 0
    assert main(["report", str(build), "--vendor", str(newer)]) == 0
    assert (tool_figures(build)["lut"], tool_figures(build)["fmax_mhz"]) == (1618, 125)
    capsys.readouterr()
    assert main(["report", str(build)]) == 0
    text = capsys.readouterr().out
    assert text.count("note: tool: ") == 1
    assert "no vendor tool has run" not in text


def test_a_requirement_that_the_tool_finds_unmet(
    build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / "network_csynth.xml").write_text(CSYNTH.replace(">3141<", ">9999<"))
    capsys.readouterr()
    for words in (["--vendor", str(folder)], []):
        assert main(["report", str(build), *words]) == 1
        out, err = capsys.readouterr()
        assert "requirement lut<=5000: NOT MET, 9,999 (tool)" in out
        assert err == "codesign report: requirement lut<=5000: not met: 9999 (tool)\n"
    assert main(["report", str(build), str(build)]) == 1
    assert f"codesign report: {build}, requirement lut<=5000: not met" in capsys.readouterr().err


def test_a_latency_that_the_tool_does_not_know(tmp_path: Path) -> None:
    text = (REPORTS / "network_csynth.xml").read_text().replace(">64<", ">undef<").replace(">28<", ">?<")
    (tmp_path / "network_csynth.xml").write_text(text)
    assert {"latency_cycles", "interval_cycles", "fps"}.isdisjoint(figures(tmp_path))
    assert figures(tmp_path)["lut"] == 3141


def test_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--vendor", str(tmp_path)]) == 2
    assert f"codesign report: {tmp_path}: no report of a vendor's tool; allowed: network_axi_csynth.xml, " in (
        capsys.readouterr().err
    )


def test_without_the_tool(build: Path, tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(build), "--run", "csynth"]) == 4
    assert capsys.readouterr().err.splitlines()[-1] == (
        "codesign report: vitis-run: not found (no vitis-run on PATH), needed for synthesis of HLS projects; try: "
        "source settings64.sh of Vitis, or take the project to a machine that has it"
    )


def test_the_steps_in_order(build: Path, tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What each call of a tool is told, and that its reports stand beside the model's prediction."""
    script(
        tools / "vitis-run",
        f'echo "$@" >>calls; grep -E " 1$" build_opt.tcl >>calls; mkdir -p {SYNTHESIS.removeprefix("artifact/")}\n'
        f"cp {REPORTS}/network_csynth.xml {SYNTHESIS.removeprefix('artifact/')}",
    )
    script(tools / "vivado", f'echo "$@" >>calls; cp {REPORTS}/utilisation.rpt {REPORTS}/timing.rpt .')
    assert main(["report", str(build), "--run", "implement,csynth,cosim"]) == 0
    text = capsys.readouterr().out
    assert (build / "artifact" / "calls").read_text().split() == [
        "--mode", "hls", "--tcl", "build_prj.tcl", "synth", "1",
        "--mode", "hls", "--tcl", "build_prj.tcl", "cosim", "1", "validation", "1",
        "-mode", "batch", "-nojournal", "-nolog", "-source", "implement.tcl",
    ]  # fmt: skip
    assert (build / "artifact" / "logs" / "csynth.log").is_file()
    assert "requirement lut<=5000: met, 1,618 (tool)" in text


def test_a_tool_that_fails(build: Path, tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script(tools / "vitis-run", 'echo "ERROR: [HLS 200-70] Pre-synthesis failed."; exit 3')
    assert main(["report", str(build), "--run", "csynth"]) == 4
    log = build / "artifact" / "logs" / "csynth.log"
    assert capsys.readouterr().err.endswith(
        f"codesign report: vitis-run: failed with exit status 3, log {log}\n"
        "  | ERROR: [HLS 200-70] Pre-synthesis failed.\n"
    )


def test_a_tool_that_hangs(build: Path, tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script(tools / "vitis-run", 'echo "INFO: Unrolling loop"; sleep 60')
    assert main(["report", str(build), "--run", "csynth", "--time-limit", "0.5"]) == 4
    log = build / "artifact" / "logs" / "csynth.log"
    assert capsys.readouterr().err.endswith(
        f"codesign report: vitis-run: stopped after its time limit of 0.5 s, log {log}\n  | INFO: Unrolling loop\n"
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--run", "synth"], "--run: there is no step 'synth'; allowed: csim, csynth, cosim, export, implement"),
        (["--run", "csynth", "--time-limit", "0"], "--time-limit: 0; allowed: above 0"),
    ],
)
def test_wrong_options(build: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(build), *words]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"codesign report: {says}"


def test_tools_for_another_backend(tmp_path: Path, cxx: str, capsys: pytest.CaptureFixture[str]) -> None:
    b = Build((24,), U8)
    b.dense("fc0", 8, I2)
    (tmp_path / "model.txt").write_text(print_graph(b.graph()))
    out = tmp_path / "out"
    assert main(["compile", str(tmp_path / "model.txt"), "-t", "pynq-z2", "-o", str(out)]) == 0
    assert main(["report", str(out), "--run", "csynth"]) == 2
    says = f"--run: {out} is one of rtl; allowed: a build of the HLS backends"
    assert capsys.readouterr().err.splitlines()[-1] == f"codesign report: {says}"
    words = ["compile", str(tmp_path / "model.txt"), "-t", "pynq-z2", "--backend", "hls-catapult", "-o", str(out)]
    assert main(words) == 0
    assert main(["report", str(out), "--run", "csynth"]) == 2
    says = "Catapult: is not driven from here; allowed: Vitis and Vivado; try: in"
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"codesign report: {says} {out / 'artifact'}: catapult -shell -file build_prj.tcl"
    )
    assert main(["report", str(out), str(out), "--vendor", str(REPORTS)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "codesign report: --vendor: 2 builds; allowed: one"


@pytest.mark.parametrize("top", ["network", "network_axi"])
def test_implementation_takes_the_top_of_the_synthesis(top: str, tmp_path: Path) -> None:
    """implement.tcl in an interpreter of Tcl, with procedures in place of Vivado's commands."""
    tkinter = pytest.importorskip("tkinter")
    rtl = tmp_path / "network_prj" / "solution1" / "syn" / "verilog"
    rtl.mkdir(parents=True)
    for name in {"network", top}:
        (rtl / f"{name}.v").touch()
    source = Path(__file__).parents[2] / "codesign" / "backends" / "hls" / "tcl" / "implement.tcl"
    shutil.copy(source, tmp_path)
    (tmp_path / "project.tcl").write_text('set project_name network\nset part "xc7z020clg400-1"\n')
    tcl = tkinter.Tcl()
    tcl.eval("set calls {}; proc unknown {args} { lappend ::calls $args }")
    tcl.call("source", str(tmp_path / "implement.tcl"))
    calls = tcl.eval("join $calls \\n").splitlines()
    assert f"synth_design -top {top} -part xc7z020clg400-1 -mode out_of_context" in calls
    assert calls[-1].startswith("report_timing_summary ")


def test_no_build_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report"]) == 2
    assert capsys.readouterr().err == (
        "codesign report: DIR: none given; allowed: one or more build directories, or --vendor DIR\n"
    )
