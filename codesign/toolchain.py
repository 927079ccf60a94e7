"""Other people's programs: where they are, how they are run, and where what they make is kept.

This is the only module that imports `subprocess`. `require(name)` gives a `Tool` or says how to get it; finders.py
looks for them. `run` runs one with a log, a time limit and a callback for its lines, and leaves no process behind;
`cached` keeps what is expensive to make under the digest of everything it was made from. `survey` is what the command
`codesign doctor` prints.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codesign.errors import Diagnostic, ToolError, reason_of

LINES_KEPT = 200  # of a tool's output, for `Completed.lines`; the log file has all of them
ENTRIES_KEPT = 500  # of each kind in the cache; a compiled model has a few hundred kilobytes
LINES_SHOWN = 8  # of a failing tool's output, in the error
COLUMNS_SHOWN = 300  # of each of them: a compiler repeats a source line, which may hold a table
CHECKSUMS = "checksums"  # of a cache entry's files, within the entry

_FULL = (errno.ENOSPC, errno.EDQUOT)  # of a disk, or of a user's share of it

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


def survey() -> list[Tool]:
    """Every tool that some command needs, found or missing."""
    from codesign.finders import FINDERS

    return [find() for find in FINDERS.values()]


def require(name: str) -> Tool:
    """The tool, or a ToolError that says how to get it."""
    from codesign.finders import FINDERS

    tool = FINDERS[name]()
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
def lines_of(command: tuple[str, ...], *arguments: str) -> tuple[str, ...]:
    """What a program prints with those arguments; nothing when it cannot be run."""
    try:
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, errors="replace", timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(done.stdout.splitlines())


def first_line(command: tuple[str, ...], argument: str) -> str:
    """What a program says first of itself; empty when it says nothing."""
    return (lines_of(command, argument) or ("",))[0].strip()


@functools.cache
def succeeds(command: tuple[str, ...]) -> bool:
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

    ToolError: the disk is full.
    """
    entry = cache_dir() / kind / key
    if entry.is_dir() and (entry in _verified or _is_whole(entry)):
        _verified.add(entry)
        with contextlib.suppress(OSError):  # not the owner, or just forgotten by another process
            os.utime(entry)
        return entry
    try:
        _make_entry(entry, make)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        hint = "free some space, or set CODESIGN_CACHE to a directory with room"
        raise ToolError.at(str(cache_dir()), f"cannot be used as cache: {reason_of(error)}", hint=hint) from error
    _verified.add(entry)
    _forget_oldest(entry.parent)
    return entry


def _make_entry(entry: Path, make: Callable[[Path], None]) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{entry.name[:8]}-", dir=entry.parent))
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
