"""Running tools and keeping what they make: lines, logs, processes, cache entries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from codesign import toolchain
from codesign.backends.rtl import timing
from codesign.errors import ToolError

PYTHON = toolchain.Tool("python", (sys.executable, "-u", "-c"), "", "tests", "")


def ended(pid: int) -> bool:
    """Whether the process is gone, or dead with nobody to collect it (a container without init), given a moment."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CODESIGN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_lines_go_to_the_callback_the_result_and_the_log(tmp_path: Path) -> None:
    seen: list[str] = []
    code = "import sys; print('one'); print('two', file=sys.stderr); print('three')"
    done = toolchain.run(PYTHON, [code], cwd=tmp_path, log=tmp_path / "logs" / "a.log", on_line=seen.append)
    assert seen == ["one", "two", "three"]
    assert done.lines == ("one", "two", "three")
    assert done.seconds > 0
    first, *rest = (tmp_path / "logs" / "a.log").read_text().splitlines()
    assert first.startswith(f"$ {sys.executable} -u -c ")
    assert rest == ["one", "two", "three"]


def test_a_tool_runs_in_its_directory_with_its_environment(tmp_path: Path) -> None:
    tool = toolchain.Tool("python", PYTHON.command, "", "", "", {"CS_TEST": "here"})
    code = "import os; print(os.getcwd(), os.environ['CS_TEST'])"
    assert toolchain.run(tool, [code], cwd=tmp_path, log=tmp_path / "log").lines == (f"{tmp_path.resolve()} here",)


def test_the_time_limit_ends_the_children_too(tmp_path: Path) -> None:
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid); p.wait()"
    seen: list[str] = []
    started = time.monotonic()
    with pytest.raises(ToolError, match=r"stopped after its time limit of 0\.5 s"):
        toolchain.run(PYTHON, [code], cwd=tmp_path, log=tmp_path / "log", time_limit_s=0.5, on_line=seen.append)
    assert time.monotonic() - started < 10
    assert ended(int(seen[0]))


def test_an_interrupt_leaves_no_process(tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    code = "import os, time; print(os.getpid()); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        toolchain.run(PYTHON, [code], cwd=tmp_path, log=tmp_path / "log", on_line=interrupt)
    assert ended(pids[0])


def test_what_is_survey_can_be_required() -> None:
    for tool in toolchain.survey():
        assert tool.name
        assert tool.needed_for
        assert tool.install
        if tool.missing:
            assert tool.found
        else:
            assert toolchain.require(tool.name) == tool


def test_digests_tell_parts_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"ab")
    assert toolchain.digest("ab", "c") != toolchain.digest("a", "bc")
    assert toolchain.digest("ab") == toolchain.digest(b"ab") == toolchain.digest(tmp_path / "file")


def test_an_entry_is_made_once(cache: Path) -> None:
    calls: list[Path] = []

    def make(entry: Path) -> None:
        calls.append(entry)
        (entry / "data").write_text("made")

    first = toolchain.cached("things", "abc", make)
    assert toolchain.cached("things", "abc", make) == first == cache / "things" / "abc"
    assert (first / "data").read_text() == "made"
    assert len(calls) == 1
    assert [p.name for p in first.parent.iterdir()] == ["abc"]


def test_a_failed_entry_leaves_nothing(cache: Path) -> None:
    def fail(entry: Path) -> None:
        (entry / "half").write_text("")
        raise ToolError.at("tool", "failed")

    with pytest.raises(ToolError):
        toolchain.cached("things", "abc", fail)
    assert list((cache / "things").iterdir()) == []


def test_two_makers_of_one_entry_both_get_it(cache: Path) -> None:
    barrier = threading.Barrier(2)
    entries: list[Path] = []

    def make(entry: Path) -> None:
        (entry / "data").write_text("made")
        barrier.wait()  # both are at it before either is done

    threads = [threading.Thread(target=lambda: entries.append(toolchain.cached("t", "k", make))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert entries == [cache / "t" / "k"] * 2
    assert [p.name for p in (cache / "t").iterdir()] == ["k"]
    assert (cache / "t" / "k" / "data").read_text() == "made"


def test_entries_that_were_not_used_for_long_are_forgotten(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "ENTRIES_KEPT", 2)
    for age, key in ((30, "a"), (20, "b")):
        entry = toolchain.cached("things", key, lambda entry: None)
        os.utime(entry, (time.time() - age, time.time() - age))
    toolchain.cached("things", "a", lambda entry: None)  # used again
    toolchain.cached("things", "c", lambda entry: None)
    assert sorted(p.name for p in (cache / "things").iterdir()) == ["a", "c"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: (entry / "data").write_bytes(b"\xff" * 4),  # of the same size
        lambda entry: (entry / "data").write_text("ma"),
        lambda entry: (entry / "data").unlink(),
        lambda entry: (entry / "more").write_text("x"),
        lambda entry: (entry / "checksums").write_bytes(b"\xff"),
        lambda entry: (entry / "checksums").unlink(),
        lambda entry: (shutil.rmtree(entry), entry.write_text("a file")),
    ],
)
def test_a_damaged_entry_is_made_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object]
) -> None:
    def make(entry: Path) -> None:
        (entry / "data").write_text("made")

    entry = toolchain.cached("things", "abc", make)
    damage(entry)
    monkeypatch.setattr(toolchain, "_verified", set())  # as another process
    assert toolchain.cached("things", "abc", make) == entry
    assert (entry / "data").read_text() == "made"
    assert sorted(p.name for p in entry.iterdir()) == ["checksums", "data"]
    assert [p.name for p in (cache / "things").iterdir()] == ["abc"]


@pytest.mark.parametrize("content", [b"garbage", None])
def test_a_damaged_cycle_model_is_compiled_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch, cxx: str, content: bytes | None
) -> None:
    """In a process of its own, which a broken library could end."""
    code = (
        "from codesign.backends.rtl.timing import *; from tests.unit.test_timing import chain; "
        "print(CycleModel(chain()).simulate(2).latency_cycles)"
    )
    command = [sys.executable, "-c", code]
    good = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (library,) = cache.glob("timing/*/timing.so")
    library.write_bytes(library.read_bytes()[:5000] if content is None else content)
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == good
    assert library.stat().st_size > 5000


def test_the_log_of_a_failed_compilation_stays(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/bin/false")
    timing._kernel.cache_clear()
    with pytest.raises(ToolError, match=r"^c\+\+: failed with exit status 1, log (.*)$") as caught:
        timing._kernel()
    timing._kernel.cache_clear()
    log = Path(str(caught.value).rpartition("log ")[2])
    assert log.parent == cache / "logs"
    assert log.read_text().startswith("$ /bin/false ")
