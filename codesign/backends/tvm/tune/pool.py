"""Worker processes that compile candidates: started when first needed, and again after a crash or a hang."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from codesign import toolchain
from codesign.backends.tvm.tune.jobs import Built, Job, write_whole
from codesign.errors import ToolError
from codesign.finders import python

HANG_S = 90.0
"""How long one candidate may take to be compiled."""


class Pool:
    """As many workers as the machine has processors, as a context; `build` may be called from several threads."""

    def __init__(self, size: int | None = None, hang_s: float = HANG_S) -> None:
        self.size = size or max(1, os.cpu_count() or 1)
        self._folder = Path(tempfile.mkdtemp(prefix="codesign-tune-"))
        self._free: queue.Queue[_Worker] = queue.Queue()
        self._all = [_Worker(self._folder / f"worker{i}", hang_s) for i in range(self.size)]
        for worker in self._all:
            self._free.put(worker)
        self._batches = 0
        self._closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        for worker in self._all:
            worker.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Have every worker end behind the candidate that it is at."""
        self._closed = True
        for worker in self._all:
            worker.stop()

    def folder(self) -> Path:
        """A new empty folder, gone when the pool is."""
        with self._lock:
            self._batches += 1
            path = self._folder / f"batch{self._batches}"
        path.mkdir()
        return path

    def build(self, job: Job) -> list[Built]:
        """Every choice of the job, compiled; a crash or a hang is the error of the choice that caused it."""
        worker = self._free.get()
        try:
            left = list(job.numbers)
            while left:
                broken, reason = worker.work(replace(job, numbers=left))
                if self._closed:
                    raise ToolError.at("tune-worker", "stopped")
                left = [n for n in left if not (job.folder / f"{n}.built").exists()]
                if broken is not None and broken in left:
                    write_whole(job.folder / f"{broken}.built", Built(error=reason))
                    left.remove(broken)
                elif left and reason:
                    raise ToolError.at("tune-worker", f"cannot be started: {reason}")
        finally:
            self._free.put(worker)
        return [pickle.loads((job.folder / f"{n}.built").read_bytes()) for n in job.numbers]


class _Worker:
    """One process, which may be in its next life."""

    def __init__(self, folder: Path, hang_s: float) -> None:
        self._folder = folder
        self._hang_s = hang_s
        self._thread: threading.Thread | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._lives = 0
        self._jobs = 0

    def work(self, job: Job) -> tuple[int | None, str]:
        """Have it done; (the choice that the worker died of, why), or (None, why it died of nothing)."""
        self._start()
        self._jobs += 1
        name = f"{self._jobs:06d}"
        write_whole(self._home / f"{name}.job", job)
        current: int | None = None
        while True:
            words = self._lines.get().split(maxsplit=1)
            match words[0]:
                case "start":
                    current = int(words[1].split()[1])
                case "done":
                    current = None
                case "end" if words[1] == name:
                    return None, ""
                case "died":
                    self._thread = None
                    return current, words[1]

    def _start(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        self._lives += 1
        self._home = self._folder / f"life{self._lives}"
        self._home.mkdir(parents=True)
        self._lines = queue.Queue()
        self._thread = threading.Thread(target=self._run, args=(self._home, self._lines), daemon=True)
        self._thread.start()

    def _run(self, home: Path, lines: queue.Queue[str]) -> None:
        tool = python("codesign.backends.tvm.tune.worker", "tune-worker")
        try:
            toolchain.run(
                tool, [home], cwd=home, log=home / "log", quiet_limit_s=self._hang_s, on_line=_only_ours(lines)
            )
            lines.put("died at its end")
        except ToolError as error:
            found = error.diagnostics[0].found
            lines.put(f"died compiler {found.partition(', log ')[0]}")

    def stop(self) -> None:
        if self._thread is not None:
            with contextlib.suppress(OSError):
                (self._home / "stop").touch()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()


def _only_ours(lines: queue.Queue[str]) -> Callable[[str], None]:
    """Hands on the worker's own words; TVM may print others."""

    def hear(line: str) -> None:
        if line.startswith(("start ", "done ", "end ")):
            lines.put(line)

    return hear
