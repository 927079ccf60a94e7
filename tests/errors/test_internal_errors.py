"""What a user reads when codesign itself is at fault, or its output cannot be written: one sentence, no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codesign.cli import main
from codesign.commands import targets
from codesign.interrupts import deferred_interrupt


def fault(error: BaseException) -> object:
    def run(_args: object) -> int:
        raise error

    return run


def test_an_internal_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CODESIGN_CACHE", str(tmp_path))
    monkeypatch.setattr(targets, "run", fault(ZeroDivisionError("by nothing\nat all")))
    assert main(["targets"]) == 2
    (log,) = (tmp_path / "logs").iterdir()
    expected = f"ZeroDivisionError: by nothing; try: {log} holds the details, please report it"
    assert capsys.readouterr().err == f"codesign targets: internal error: {expected}\n"
    assert "Traceback" in log.read_text()
    assert log.read_text().endswith("ZeroDivisionError: by nothing\nat all\n")


def test_an_internal_error_without_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CODESIGN_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(targets, "run", fault(KeyError()))
    assert main(["targets"]) == 2
    (log,) = tmp_path.glob("error-*.log")
    assert capsys.readouterr().err.startswith(f"codesign targets: internal error: KeyError: no message; try: {log} ")


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(targets, "run", fault(MemoryError()))
    assert main(["targets"]) == 2
    expected = "codesign targets: needs more memory than there is; try: fewer frames, or a smaller model\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("word", ["targets", "--help"])
def test_an_output_that_is_full(word: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "codesign", word], stdout=full, stderr=subprocess.PIPE, text=True)
    name = "codesign targets" if word == "targets" else "codesign"
    assert (done.returncode, done.stderr) == (2, f"{name}: cannot write: No space left on device\n")


def test_an_output_that_is_closed() -> None:
    command = f"{sys.executable} -m codesign targets >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_that_waits() -> None:
    reached = []

    def work() -> None:
        with deferred_interrupt() as check:
            check()
            signal.raise_signal(signal.SIGINT)
            reached.append("after")
            check()
            reached.append("never")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["after"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), deferred_interrupt():
        signal.raise_signal(signal.SIGINT)


def test_an_ignored_interrupt_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred_interrupt() as check:
            signal.raise_signal(signal.SIGINT)
            check()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_second_interrupt_ends_the_process() -> None:
    code = (
        "import signal; from codesign.interrupts import deferred_interrupt\n"
        "with deferred_interrupt():\n    [signal.raise_signal(signal.SIGINT) for _ in range(2)]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_an_interrupt_while_torch_is_imported(tmp_path: Path) -> None:
    pytest.importorskip("brevitas")
    recipe = tmp_path / "r.toml"
    recipe.write_text('data = "digits"\n[model]\nkind = "mlp"\n')
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "codesign", "train", str(recipe), "-o", str(tmp_path / "o")],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "torch." in line:  # the first of its modules is there
            break
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    text = process.stderr.read()
    assert process.wait() == 130
    assert time.monotonic() - started < 60
    assert "codesign train: interrupted\n" in text
    assert "Traceback" not in text
    assert not (tmp_path / "o").exists()
