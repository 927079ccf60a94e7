"""Calibration: factors found again from rows made with them, outliers outvoted, every error's text."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from codesign.backends.tvm.sim.calibrate import (
    Calibration,
    Row,
    calibration_path,
    fit,
    load,
    median_error,
    read_measurements,
    save,
)
from codesign.cli import main
from codesign.errors import InputError

HEAD = "layer,pipeline_cycles,stall_cycles,measured_ms\n"


def rows(pipeline: float, stall: float, count: int = 12) -> list[Row]:
    made = [(1000.0 + 700 * i, 300.0 + 450 * ((7 * i) % 5)) for i in range(count)]
    return [Row(f"layer{i}", p, s, pipeline * p + stall * s) for i, (p, s) in enumerate(made)]


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODESIGN_CONFIG", str(tmp_path / "settings"))


def test_both_factors_are_found_again() -> None:
    found = fit(rows(1.3, 0.6))
    assert (found.pipeline, found.stall) == (pytest.approx(1.3), pytest.approx(0.6))
    assert (found.rows, found.error) == (12, pytest.approx(0, abs=1e-9))


def test_one_factor_for_few_rows_or_no_stalls() -> None:
    few = fit(rows(1.3, 1.3, 3))
    assert few.pipeline == few.stall == pytest.approx(1.3)
    without = fit([Row("l", c, 0.0, 2 * c) for c in (100.0, 300.0, 500.0, 700.0, 900.0, 1100.0)])
    assert without.pipeline == without.stall == pytest.approx(2)


def test_an_outlier_is_outvoted() -> None:
    good = rows(1.2, 0.8)
    bad = [*good[:-1], Row("odd", good[-1].pipeline_cycles, good[-1].stall_cycles, 10 * good[-1].measured_cycles)]
    found = fit(bad)
    assert found.pipeline == pytest.approx(1.2, rel=0.03)
    assert found.stall == pytest.approx(0.8, rel=0.06)


def test_the_command_fits_says_and_keeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = HEAD + "".join(
        f"{r.layer},{r.pipeline_cycles},{r.stall_cycles},{r.measured_cycles / 1.5e6}\n" for r in rows(1.3, 0.6)
    )
    path = tmp_path / "m.csv"
    path.write_text(text + "unmeasured,5,5,\n")
    assert main(["calibrate", str(path), "-t", "rpi4", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["pipeline"], data["stall"], data["rows"]) == (pytest.approx(1.3), pytest.approx(0.6), 12)
    assert data["error"] < 1e-6 < data["error_before"]
    assert load("rpi4").pipeline == pytest.approx(1.3)
    assert load("rpi4").note == "cycles are calibrated with 12 measurements, median error 0%"
    assert load("rpi5") == Calibration()
    assert "uncalibrated" in load("rpi5").note
    assert main(["calibrate", str(path), "-t", "rpi4"]) == 0
    shown = capsys.readouterr().out
    assert "layer3" in shown
    before = statistics.median(
        abs((r.pipeline_cycles + r.stall_cycles) / r.measured_cycles - 1) for r in rows(1.3, 0.6)
    )
    assert f"pipeline x 1.300, stalls x 0.600; median error {before:.1%} before, 0.0% after" in shown


def test_what_is_kept_reads_back() -> None:
    assert save(Calibration(1.5, 0.5, 9, 0.125), "rpi3") == calibration_path("rpi3")
    assert load("rpi3") == Calibration(1.5, 0.5, 9, 0.125)
    assert median_error(rows(1, 1), load("rpi3")) > 0.1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer,ms\na,1\n", "no column pipeline_cycles, stall_cycles, measured_ms; allowed: layer, pipeline_cycles, "),
        (HEAD, "holds no measurement; allowed: a row with measured_ms for each layer measured"),
        (HEAD + "a,1,-1,x\n", "line 2: stall_cycles is '-1'; allowed: a number, 0 or more\n"),
        (HEAD + "a,1,-1,x\n", "line 2: measured_ms is 'x'; allowed: a number above 0"),
        (HEAD + "a,0,1\n", "holds no measurement"),
        (HEAD + "a,nan,1,1\n", "line 2: pipeline_cycles is 'nan'; allowed: a number above 0"),
    ],
)
def test_bad_measurements(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_measurements(path, 1e9)
    assert message in str(caught.value) + "\n"


def test_a_wrong_unit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.csv"
    path.write_text(HEAD + "a,1500000,0,1000\n")  # microseconds instead of milliseconds
    assert main(["calibrate", str(path), "-t", "rpi4"]) == 2
    assert capsys.readouterr().err == (
        f"codesign calibrate: {path}: measured / simulated is 1e+03 and 1e+03 for stalls; allowed: 0.1 to 10; "
        "try: the target's clock_hz, the unit (ms of one inference, one thread), and that the rows are of this target\n"
    )
    assert not calibration_path("rpi4").exists()


def test_other_targets_and_missing_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "m.csv", "-t", "pynq-z2"]) == 2
    assert "target: pynq-z2 has no simulated cycles to calibrate; allowed: a target whose" in capsys.readouterr().err
    assert main(["calibrate", str(tmp_path / "none.csv"), "-t", "rpi4"]) == 2
    assert "none.csv: cannot be read: No such file or directory" in capsys.readouterr().err


def test_a_damaged_calibration_is_said() -> None:
    path = calibration_path("rpi4")
    path.parent.mkdir(parents=True)
    path.write_text('{"pipeline": 1}')
    with pytest.raises(InputError) as caught:
        load("rpi4")
    assert str(caught.value) == f"{path}: is no calibration: 'stall'; try: codesign calibrate again, or remove the file"
