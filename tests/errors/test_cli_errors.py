"""What a user reads when something is wrong: the sentence, the exit status, no traceback, nothing half-written."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from codesign.cli import main
from codesign.ir.ops import Softmax
from codesign.ir.text import print_graph
from codesign.ir.types import IntType
from codesign.target import target_names
from tests.hw.networks import I2, U2, U8, Build
from tests.images import write_images

TARGETS = ", ".join(target_names()) + ", or a .toml file"
FIGURES = (
    "fps>=, interval_cycles<=, latency_cycles<=, latency_ns<=, lut<=, ff<=, bram<=, dsp<=, "
    "sram_bytes<=, flash_bytes<=, dram_bytes<="
)


def network() -> Build:
    b = Build((24,), U8)
    b.dense("fc0", 8, I2)
    b.threshold("act0", U2)
    b.dense("fc1", 5, I2)
    return b


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.txt"
    path.write_text(print_graph(network().graph()))
    return path


@pytest.fixture
def built(model: Path, tmp_path: Path) -> Path:
    out = tmp_path / "built"
    assert main(["compile", str(model), "-t", "pynq-z2", "-o", str(out), "--require", "interval_cycles<=24"]) == 0
    return out


def fails(capsys: pytest.CaptureFixture[str], status: int, *words: object) -> str:
    """Run a command that must end with `status`; what it says on stderr, progress left out."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == status
    lines = capsys.readouterr().err.splitlines()
    return "\n".join(line for line in lines if not line.endswith(" …"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("simulat x", "codesign: there is no command 'simulat'; try: codesign simulate"),
        ("xyzzy", "codesign: there is no command 'xyzzy'; try: codesign --help"),
        ("targets --jsn", "codesign targets: unrecognized arguments: --jsn; try: codesign targets --help"),
        (
            "check m.onnx",
            "codesign check: the following arguments are required: -t/--target; try: codesign check --help",
        ),
        ("targets x", f"codesign targets: target: there is no 'x'; allowed: {TARGETS}; try: codesign targets"),
        (
            "compile m.onnx -t pynq-z3 -o o",
            f"codesign compile: target: there is no 'pynq-z3'; allowed: {TARGETS}; try: -t pynq-z2",
        ),
        (
            "compile m.onnx -t pynq-z2 -o o --objective speed",
            "codesign compile: argument --objective: invalid choice: 'speed' (choose from 'latency', 'throughput', "
            "'area'); try: codesign compile --help",
        ),
        (
            "compile m.onnx -t pynq-z2 -o o --require luts<=5 --require fps>=9 --require fps<=3",
            f"codesign compile: --require 'luts<=5': there is no figure 'luts'; allowed: {FIGURES}\n"
            "codesign compile: --require: 'fps>=9' and 'fps<=3' contradict each other",
        ),
        (
            "compile m.onnx -t pynq-z2 -o o --objective area --schedule s.json",
            "codesign compile: --schedule: together with --objective; "
            "allowed: one of them: a replay has nothing to choose",
        ),
        ("simulate o --stall 1 --frames 0 --seed -1", "codesign simulate: --frames: 0; allowed: 1 or more\n"
         "codesign simulate: --stall: 1; allowed: from 0 to less than 1\n"
         "codesign simulate: --seed: -1; allowed: from 0 to 2147483647"),
        ("simulate o --trace-frame 3",
         "codesign simulate: --trace-frame: 3; allowed: 0 or more, together with --trace FILE.fst"),
        ("simulate o --frames 3 --trace t.fst --trace-frame 3",
         "codesign simulate: --trace-frame: 3; allowed: 0 to 2, the frames that run"),
        (
            "report /nowhere /proc",
            "codesign report: /nowhere: not a build directory; allowed: what 'codesign compile' wrote\n"
            "codesign report: /proc: not a build directory; allowed: what 'codesign compile' wrote",
        ),
        (
            "train /nowhere.toml -o o",
            "codesign train: /nowhere.toml: cannot be read: No such file or directory; try: examples/fashion_mlp.toml",
        ),
    ],
)  # fmt: skip
def test_bad_usage(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, 2, *words.split()) == message


def test_inputs_that_cannot_be_used(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = tmp_path / "x.npy", tmp_path / "y.npy"
    command = ("evaluate", model, "--inputs", x, "-o", y)
    start = f"codesign evaluate: {x}: "
    assert fails(capsys, 2, *command) == start + "cannot be read: No such file or directory; allowed: a .npy file"
    x.write_bytes(b"junk")
    assert fails(capsys, 2, *command).startswith(start + "not an array: ")
    np.save(x, np.array([{}], dtype=object))
    assert fails(capsys, 2, *command).startswith(start + "not an array: Object arrays cannot be loaded")
    np.savez(tmp_path / "x.npz", np.zeros(3))
    (tmp_path / "x.npz").rename(x)
    assert fails(capsys, 2, *command) == start + "an archive of arrays; allowed: a .npy file; try: numpy.save"
    np.save(x, np.zeros((2, 25), np.int64))
    start = "codesign evaluate: input x: "
    assert fails(capsys, 2, *command) == start + "an array of shape (2, 25); allowed: (batch, 24)"
    np.save(x, np.full((2, 24), 256))
    expected = "integers from 256 to 256; allowed: u8: 0 to 255; try: pass real values as float"
    assert fails(capsys, 2, *command) == start + expected
    np.save(x, np.full((2, 24), np.nan))
    assert fails(capsys, 2, *command) == start + "NaN or infinite values; allowed: finite values"
    assert not y.exists()


def test_outputs_that_cannot_be_written(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = tmp_path / "x.npy"
    np.save(x, np.zeros((2, 24), np.int64))
    text = fails(capsys, 2, "evaluate", model, "--inputs", x, "-o", "/proc/y.npy")
    assert text.startswith("codesign evaluate: /proc/y.npy: cannot be written: ")
    text = fails(capsys, 2, "evaluate", model, "--inputs", x, "-o", tmp_path / "a", "-o", tmp_path / "b")
    assert text == "codesign evaluate: -o: 2 files; allowed: 1, one for each output: fc1"
    text = fails(capsys, 2, "compile", model, "-t", "pynq-z2", "-o", "/proc/out")
    assert text.startswith("codesign compile: /proc/out: cannot be written: ")
    assert text.endswith("; try: another -o")


def test_a_directory_of_the_user_is_left_alone(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = (
        f"codesign compile: {tmp_path}: is a directory that codesign did not make; "
        "allowed: a new, empty or codesign build directory; try: another -o"
    )
    assert fails(capsys, 2, "compile", model, "-t", "pynq-z2", "-o", tmp_path) == expected
    assert [p.name for p in tmp_path.iterdir()] == ["model.txt"]


def test_a_full_disk(model: Path, tmp_path: Path) -> None:
    """A limit on the size of files makes every larger write fail, as a full disk does."""
    out = tmp_path / "new" / "out"
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400)); "
        "from codesign.cli import main; "
        f"sys.exit(main(['compile', {str(model)!r}, '-t', 'pynq-z2', '-o', {str(out)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"codesign compile: {out}: cannot be written: File too large")
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["model.txt"]


def test_an_unsupported_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = Build((5,), IntType(8, True))
    b.add("soft", Softmax(1 << 30, 1, IntType(8, True)))
    path = tmp_path / "soft.txt"
    path.write_text(print_graph(b.graph()))
    text = fails(capsys, 3, "check", path, "-t", "pynq-z2")
    assert text.startswith("codesign check: net.soft: Softmax")
    other = fails(capsys, 3, "compile", path, "-t", "pynq-z2", "-o", tmp_path / "o")
    assert other == text.replace("check", "compile", 1)
    assert not (tmp_path / "o").exists()


def test_a_requirement_out_of_reach(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "o"
    text = fails(capsys, 1, "compile", model, "-t", "pynq-z2", "-o", out, "--require", "lut<=3")
    assert text.startswith("codesign compile: ")
    assert "lut" in text
    assert not out.exists()


def test_a_replayed_schedule_that_misses_a_requirement(
    model: Path, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schedule = built / "manifest.json"
    words = ("compile", model, "-t", "pynq-z2", "-o", tmp_path / "o", "--schedule", schedule)
    text = fails(capsys, 1, *words, "--require", "interval_cycles<=2")
    reached = next(
        m["value"] for m in json.loads((built / "report.json").read_text())["metrics"] if m["name"] == "interval_cycles"
    )
    assert text == f"codesign compile: requirement interval_cycles<=2: not met: {reached} (model)"
    assert not (tmp_path / "o").exists()


def test_a_file_that_is_no_schedule(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.json"
    words = ("compile", model, "-t", "pynq-z2", "-o", tmp_path / "o", "--schedule", path)
    assert fails(capsys, 2, *words) == f"codesign compile: {path}: cannot be read: No such file or directory"
    path.write_text("[1]")
    expected = "no schedule; allowed: the schedule of a manifest.json, or that file itself"
    assert fails(capsys, 2, *words) == f"codesign compile: {path}: {expected}"
    path.write_text("{")
    assert fails(capsys, 2, *words).startswith(f"codesign compile: {path}: not a JSON file: ")


def test_a_wrong_bit_is_found(built: Path, capsys: pytest.CaptureFixture[str], cxx: str) -> None:
    path = built / "golden" / "outputs.npy"
    outputs = np.load(path).astype(np.int64)
    outputs[3, 2] += 5
    np.save(path, outputs)
    text = fails(capsys, 1, "simulate", built)
    expected = "1 of 80 output elements differ from the golden evaluation, by 5 at most"
    assert text == f"codesign simulate: {built}: {expected}"
    assert json.loads((built / "report.json").read_text())["verification"]["mismatches"] == 1


def test_the_trace_of_an_earlier_run_is_removed(built: Path, cxx: str) -> None:
    (built / "mismatch.fst").write_bytes(b"of an earlier run")
    assert main(["simulate", str(built)]) == 0
    assert not (built / "mismatch.fst").exists()


def test_a_wrong_cycle_is_found(built: Path, capsys: pytest.CaptureFixture[str], cxx: str) -> None:
    path = built / "report.json"
    report = json.loads(path.read_text())
    metric = next(m for m in report["metrics"] if m["name"] == "interval_cycles")
    metric["value"] += 1
    path.write_text(json.dumps(report))
    text = fails(capsys, 1, "simulate", built)
    real = metric["value"] - 1
    expected = f"{real} simulated; allowed: {real + 1}, which the model predicts"
    assert text == f"codesign simulate: interval_cycles: {expected}"


def test_a_missing_compiler(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++")
    monkeypatch.setenv("CODESIGN_CACHE", str(tmp_path / "cache"))
    text = fails(capsys, 4, "simulate", built)
    assert text.startswith("codesign simulate: c++: not found (CXX=/nowhere/g++ is not a program)")
    assert "apt install g++" in text


def test_interrupted_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C: status 130, one line, and the next run goes on."""
    pytest.importorskip("brevitas")
    recipe = tmp_path / "r.toml"
    model = '[model]\nkind = "mlp"\nhidden = [8]\n'
    recipe.write_text(f'data = "fashion-mnist"\n{model}[training]\nepochs = 10000\nbatch = 100\n')
    write_images(tmp_path / "images")
    monkeypatch.setenv("CODESIGN_FASHION_MNIST", str(tmp_path / "images"))
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "codesign", "train", str(recipe), "-o", str(out)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (out / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 130
    assert text.splitlines()[-1] == "codesign train: interrupted"
    assert "Traceback" not in text
    assert [p.name for p in out.iterdir()] == ["checkpoint.pt"]


def test_a_missing_package(tmp_path: Path) -> None:
    """As where only the core is installed: the import of torch fails."""
    recipe = tmp_path / "r.toml"
    recipe.write_text('data = "digits"\n[model]\nkind = "mlp"\n')
    code = (
        "import sys; sys.modules['torch'] = None; from codesign.cli import main; "
        f"sys.exit(main(['train', {str(recipe)!r}, '-o', {str(tmp_path / 'o')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 4
    assert done.stderr == "codesign train: torch: not installed; try: pip install 'codesign[brevitas]'\n"


def test_more_frames_than_memory(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = fails(capsys, 2, "simulate", built, "--frames", 10**11)
    found = re.fullmatch(
        r"codesign simulate: frames: 10{11}; allowed: at most (\d+), which fit into the free memory", text
    )
    assert found
    assert 1000 < int(found[1]) < 10**11


def test_a_build_with_a_missing_file(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("top.sv", "monitors.sv", "files.f"):
        path = built / "artifact" / name
        content = path.read_bytes()
        path.unlink()
        text = fails(capsys, 2, "simulate", built)
        assert text == (
            f"codesign simulate: {path}: cannot be read: No such file or directory; try: codesign compile again"
        )
        path.write_bytes(content)


def test_a_build_with_a_damaged_memory_file(built: Path, capsys: pytest.CaptureFixture[str], cxx: str) -> None:
    path = next((built / "artifact" / "mem").iterdir())
    path.write_text("no hexadecimal digits\n")
    text = fails(capsys, 2, "simulate", built)
    assert text.startswith(f"codesign simulate: memory file: mem/{path.name}:0: $readmem file syntax error")
    assert text.endswith("; try: compile the model again")


def test_inputs_without_a_frame(model: Path, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = tmp_path / "x.npy"
    np.save(x, np.zeros((0, 24), np.int64))
    expected = "inputs: no frames; allowed: 1 or more"
    text = fails(capsys, 2, "compile", model, "-t", "pynq-z2", "-o", tmp_path / "o", "--inputs", x)
    assert text == f"codesign compile: {expected}"
    assert fails(capsys, 2, "simulate", built, "--inputs", x) == f"codesign simulate: {expected}"
    text = fails(capsys, 2, "evaluate", model, "--inputs", x, "-o", tmp_path / "y.npy")
    assert text == f"codesign evaluate: {expected}"
    assert not (tmp_path / "y.npy").exists()
