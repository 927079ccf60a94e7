"""The command line itself: help, dispatch, exit statuses, what it imports; parsing and showing of figures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from codesign.cli import COMMANDS, main
from codesign.commands.common import progress_bars
from codesign.commands.figures import error_of, number, sentence
from codesign.report import Comparison
from codesign.target import target_names


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, meaning in COMMANDS.items():
        assert f"  {name:<{max(map(len, COMMANDS))}}  {meaning}" in text


def test_without_a_command_help_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Usage: codesign COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"\nExample:\n  codesign {name}" in text
    assert COMMANDS[name].split(" ")[0].lower() in text.lower()


def test_help_imports_nothing_heavy() -> None:
    """What makes `codesign --help` quick: not even NumPy."""
    code = (
        "import sys; from codesign.cli import main; main(['--help']); "
        "print(sorted({'numpy', 'rich', 'torch', 'onnx', 'argparse'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("name", [n for n in COMMANDS if n not in ("train", "demo")])
def test_help_of_commands_without_torch(name: str) -> None:
    code = (
        f"import sys\nfrom codesign.cli import main\ntry: main([{name!r}, '--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'brevitas', 'onnx'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("codesign 0.")


def test_targets_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [t["name"] for t in data] == target_names()
    by_name = {t["name"]: t for t in data}
    assert by_name["pynq-z2"]["sources"]["lut"]
    assert by_name["ethos-u55-128"]["npu"] == {
        "accelerator": "ethos-u55-128",
        "system_config": "Ethos_U55_High_End_Embedded",
        "memory_mode": "Shared_Sram",
        "ini": "",
    }


def test_targets_as_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in target_names())
    assert main(["targets", "pynq-z2"]) == 0
    text = capsys.readouterr().out
    assert "106,400  AMD DS190, table 1, Z-7020" in text
    assert "of Vela" not in text
    assert main(["targets", "ethos-u85-256"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "system_config  Ethos_U85_SYS_DRAM_Mid" in lines
    assert "ini            the one of Vela" in lines


def test_a_reader_that_has_seen_enough() -> None:
    """`codesign targets | head -0` ends quietly."""
    command = f"{sys.executable} -m codesign targets pynq-z2 --json | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert {"python", "numpy", "torch", "brevitas", "c++", "verilator", "fashion-mnist", "cache"} <= set(rows)
    assert rows["numpy"]["version"]
    assert status == (4 if any(not row["version"] and not row["optional"] for row in rows.values()) else 0)


def test_doctor_says_how_to_get_a_missing_tool(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++")
    assert main(["doctor"]) == 4
    captured = capsys.readouterr()
    assert "MISSING" in captured.out
    message = "codesign doctor: c++: missing, needed for the cycle model and simulation; try: apt install g++"
    assert captured.err.startswith(message)


def test_doctor_can_do_without_the_arm_compiler(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = main(["doctor"])
    capsys.readouterr()
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "arm-none-eabi-gcc" else which(name))
    assert main(["doctor"]) == before
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("arm-gcc")]
    assert row.split("  ")[-1].strip() == "apt install gcc-arm-none-eabi"
    assert "MISSING" in row


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (12345, "12,345"), (22633.7, "22,634"), (0.12345, "0.1235"), (784.0, "784")]
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_errors_between_bases() -> None:
    assert error_of([5, 5]) == "0"
    assert error_of([110, None, 100]) == "+10.00%"
    assert error_of([90, 100]) == "-10.00%"
    assert error_of([1, None]) == ""


def test_sentences() -> None:
    assert sentence(Comparison("golden", 1000, 0, 0)) == "against golden: 1,000 frames, every output bit equal"
    expected = "against onnx: 32 frames, 5 output elements differ, by 1 at most, the same class in 96.88%"
    assert sentence(Comparison("onnx", 32, 5, 1, 0.96875)) == expected


def test_progress_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as progress:
        for done in range(3):
            progress("training", done, 2)
        progress("linking", 0, 0)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "training …\nlinking …\n")
