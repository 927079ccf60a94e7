"""Where a deliverable's programs run: on this machine, in QEMU, or on a board over SSH. All take the same arguments.

    --inputs FILE --outputs FILE | --repeat N --layers        --threads N

A board is named by the environment: CODESIGN_BOARD=user@host, which `ssh` reaches without asking for a password.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from codesign.backends.tvm.cpu import Cpu
from codesign.errors import CodesignError, InputError, ToolError, UsageError, reason_of
from codesign.toolchain import Completed, Tool, cache_dir, lines_of, require, run

BOARD = "CODESIGN_BOARD"
QUIET_SECONDS = 1800.0  # a frame in QEMU takes that long only when it hangs
_SSH_OPTIONS = ("-o", "BatchMode=yes")
_ARCHITECTURES = {"arm64": "aarch64", "AMD64": "x86_64"}
_STAND_INS = {"i8mm": "max", "dotprod": "cortex-a76"}  # a core of QEMU's that has the feature, the newest first

_ELF = b"\x7fELF"

OnLine = Callable[[str], None]


class Runner(Protocol):
    """place   where it runs, for messages

    frames  run the frames of a file, write the outputs to another; both are on this machine
    repeat  run the built-in frame so many times, the lines of which the self-test prints
    """

    @property
    def place(self) -> str: ...

    def frames(self, directory: Path, name: str, ends: tuple[Path, Path], threads: int, on_line: OnLine) -> None: ...

    def repeat(self, directory: Path, name: str, count: int, threads: int) -> Sequence[str]: ...


def runner_of(cpu: Cpu) -> Runner:
    """The board of the environment, else this machine where it is of the core's architecture, else QEMU.

    Raises ToolError when QEMU is missing, UsageError when nothing can run the core's code.
    """
    board = os.environ.get(BOARD, "")
    if board and cpu.arch == "aarch64":
        return Board(board)
    machine = _ARCHITECTURES.get(platform.machine(), platform.machine())
    if machine == cpu.arch:
        return Native()
    if cpu.arch == "aarch64":
        return Emulated(require("qemu-aarch64"), model_of(cpu))
    found = f"{cpu.arch} code, but this machine is {machine}"
    raise UsageError.at("target", found, "a machine of the target's architecture", f"a target for {machine}")


@dataclass(frozen=True)
class Native:
    """This machine, in a process of its own: an instruction that it lacks ends that one.

    Frames go through the shared library and the Python runner, measurements through the static program.
    """

    place: str = "this machine"

    def frames(self, directory: Path, name: str, ends: tuple[Path, Path], threads: int, on_line: OnLine) -> None:
        python = Tool("python", (sys.executable, "-P"), "", "", "")
        script = directory.resolve() / "python" / "network.py"
        _run(python, [script, *_arguments(ends, threads)], directory, on_line)

    def repeat(self, directory: Path, name: str, count: int, threads: int) -> Sequence[str]:
        program = Tool(f"{name}_test", (str(_program(directory, name)),), "", "", "")
        return _run(program, ["--repeat", str(count), "--layers", "--threads", str(threads)], directory)


@dataclass(frozen=True)
class Emulated:
    """QEMU with a model of a core, which refuses instructions that the core lacks."""

    qemu: Tool
    model: str

    @property
    def place(self) -> str:
        return f"QEMU's {self.model}"

    def frames(self, directory: Path, name: str, ends: tuple[Path, Path], threads: int, on_line: OnLine) -> None:
        self._run(directory, name, _arguments(ends, threads), on_line)

    def repeat(self, directory: Path, name: str, count: int, threads: int) -> Sequence[str]:
        raise UsageError.at(self.place, "an emulator's times say nothing of a board", "a board", f"{BOARD}=user@host")

    def _run(self, directory: Path, name: str, arguments: Sequence[str | Path], on_line: OnLine) -> None:
        _run(self.qemu, ["-cpu", self.model, _program(directory, name), *arguments], directory, on_line)


@dataclass(frozen=True)
class Board:
    """A Linux machine that `ssh` reaches: files are copied there into a new directory, which is removed afterwards."""

    host: str

    @property
    def place(self) -> str:
        return f"the board {self.host}"

    def frames(self, directory: Path, name: str, ends: tuple[Path, Path], threads: int, on_line: OnLine) -> None:
        source, target = ends
        with _There(self.host, directory) as there:
            there.send(_program(directory, name), source)
            program = [f"./{name}_test", "--inputs", source.name, "--outputs", target.name, "--threads", str(threads)]
            there.execute(program, on_line)
            there.fetch(target)

    def repeat(self, directory: Path, name: str, count: int, threads: int) -> Sequence[str]:
        with _There(self.host, directory) as there:
            there.send(_program(directory, name))
            return there.execute([f"./{name}_test", "--repeat", str(count), "--layers", "--threads", str(threads)])


class _There:
    """A directory on a board, for as long as the `with` lasts."""

    def __init__(self, host: str, cwd: Path) -> None:
        if not re.fullmatch(r"[\w.@:%-]+", host) or host.startswith("-"):
            raise UsageError.at(BOARD, repr(host), "user@host, as ssh takes it")
        self._host, self._cwd = host, cwd
        self._ssh, self._scp = require("ssh"), require("scp")
        self._path = ""

    def __enter__(self) -> _There:
        lines = self._shell("mktemp -d /tmp/codesign-XXXXXXXX")
        self._path = next((line for line in lines if re.fullmatch(r"/tmp/codesign-\w+", line)), "")
        if not self._path:
            raise ToolError.at(f"the board {self._host}", f"mktemp said {' '.join(lines)!r}", "a directory below /tmp")
        return self

    def __exit__(self, *_: object) -> None:
        self._shell(f"rm -rf {self._path}")

    def send(self, *files: Path) -> None:
        _run(self._scp, ["-q", *_SSH_OPTIONS, *files, f"{self._host}:{self._path}/"], self._cwd)

    def fetch(self, file: Path) -> None:
        _run(self._scp, ["-q", *_SSH_OPTIONS, f"{self._host}:{self._path}/{file.name}", file], self._cwd)

    def execute(self, command: Sequence[str], on_line: OnLine | None = None) -> Sequence[str]:
        return self._shell(f"cd {self._path} && {' '.join(command)}", on_line)

    def _shell(self, command: str, on_line: OnLine | None = None) -> Sequence[str]:
        return _run(self._ssh, [*_SSH_OPTIONS, self._host, command], self._cwd, on_line)


def model_of(cpu: Cpu) -> str:
    """QEMU's model of the core: its own, or the least one that has the core's features."""
    models = lines_of(require("qemu-aarch64").command, "-cpu", "help")
    if cpu.core in {line.strip() for line in models}:
        return cpu.core
    return next((model for feature, model in _STAND_INS.items() if feature in cpu.features), "cortex-a53")


def _arguments(ends: tuple[Path, Path], threads: int) -> list[str | Path]:
    return ["--inputs", ends[0], "--outputs", ends[1], "--threads", str(threads)]


def _program(directory: Path, name: str) -> Path:
    """The self-test. Raises InputError when it is missing or no program: QEMU and shells say little of that."""
    path, hint = directory.resolve() / "bin" / f"{name}_test", "codesign compile, which makes it again"
    try:
        with path.open("rb") as file:
            head = file.read(len(_ELF))
    except OSError as error:
        raise InputError.at(str(path), f"cannot be read: {reason_of(error)}", hint=hint) from error
    if head != _ELF:
        raise InputError.at(str(path), "is damaged: no ELF program", hint=hint)
    if not os.access(path, os.X_OK):
        raise InputError.at(str(path), "is not executable", hint="chmod +x, or codesign compile again")
    return path


def _run(tool: Tool, arguments: Sequence[str | Path], cwd: Path, on_line: OnLine | None = None) -> tuple[str, ...]:
    log = cache_dir() / "logs" / f"{tool.name}-{os.getpid()}.log"
    done: Completed = run(tool, arguments, cwd=cwd, log=log, quiet_limit_s=QUIET_SECONDS, on_line=on_line)
    return done.lines


def lacks_instruction(error: ToolError) -> bool:
    """Whether a program ended because the processor did not know an instruction (132: as a shell says it)."""
    text = str(error)
    return "(SIGILL)" in text or "illegal instruction in layer" in text or "exit status 132" in text


def stand_in_note(cpu: Cpu) -> str:
    """What to know of how the core is emulated; empty when QEMU has it, or when nothing is emulated."""
    try:
        runner = runner_of(cpu)
    except CodesignError:  # who runs it will be told
        return ""
    if not isinstance(runner, Emulated) or runner.model == cpu.core:
        return ""
    return f"QEMU has no {cpu.core}: its {runner.model} stands in, which has the same of the optional extensions"
