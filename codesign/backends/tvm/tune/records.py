"""Tuning records as lines of JSON in files, one per core; nothing here knows what they are for.

Lines are only ever added, each in one write under a lock, so several processes may share a file; a line cut off by a
crash is removed by the next one that writes.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any, Literal, get_args

from codesign.errors import Diagnostic, InputError, raise_all
from codesign.report import Basis
from codesign.toolchain import cache_dir

FORMAT = 1
MOST_PROBLEMS = 5  # shown of a damaged file

Choice = Mapping[str, Any]
Status = Literal["exact", "wrong", "crashed", "failed"]


@dataclass(frozen=True)
class Record:
    """A line of the store."""

    key: str
    choice: Choice
    status: Status
    cost: float
    unit: str
    basis: str
    reason: str
    date: str
    task: str

    def line(self) -> str:
        data = {"format": FORMAT, **{f.name: getattr(self, f.name) for f in fields(self)}}
        return json.dumps(data, ensure_ascii=False) + "\n"


def records_dir() -> Path:
    """$CODESIGN_RECORDS, else `tvm-records` of the cache."""
    chosen = os.environ.get("CODESIGN_RECORDS", "")
    return Path(chosen) if chosen else cache_dir() / "tvm-records"


def scan(path: Path) -> tuple[list[Record], list[Diagnostic]]:
    """The records of a file, and its lines that are none. A last line that is not ended is one still being written."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise InputError.at(str(path), f"cannot be read: {error.strerror}") from error
    records: list[Record] = []
    problems: list[Diagnostic] = []
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        if not line.strip():
            continue
        try:
            records.append(_parsed(line))
        except ValueError as error:
            problems.append(Diagnostic(f"{path}, line {number}", str(error), "a tuning record"))
    return records, problems


def _parsed(line: bytes) -> Record:
    """Raises ValueError with what is wrong."""
    try:
        data = json.loads(line)
    except ValueError:
        raise ValueError(f"is not JSON: {_shown(line)}") from None
    if not isinstance(data, dict):
        raise ValueError(f"is no table: {_shown(line)}")
    if data.get("format") != FORMAT:
        raise ValueError(f"has format {data.get('format')!r}, not {FORMAT}")
    values: dict[str, Any] = {}
    for f in fields(Record):
        value = data.get(f.name)
        kind = {"choice": Mapping, "cost": float | int}.get(f.name, str)
        if not isinstance(value, kind):
            raise ValueError(f"{f.name} is {value!r}")
        values[f.name] = value
    if not isinstance(values["choice"].get("template"), str):
        raise ValueError(f"a choice without a template: {_shown(line)}")
    if values["status"] not in get_args(Status):
        raise ValueError(f"status is {values['status']!r}")
    if values["basis"] not in {basis.value for basis in Basis}:
        raise ValueError(f"basis is {values['basis']!r}")
    if not 0 <= values["cost"] < float("inf"):
        raise ValueError(f"cost is {values['cost']!r}")
    return Record(**values)


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    return repr(text if len(text) <= 60 else text[:60] + "…")


def told(path: Path, problems: Sequence[Diagnostic]) -> list[Diagnostic]:
    hint = "codesign records --repair, which keeps all other lines"
    told = [Diagnostic(p.where, p.found, p.allowed, hint) for p in problems[:MOST_PROBLEMS]]
    if len(problems) > MOST_PROBLEMS:
        told.append(Diagnostic(str(path), f"{len(problems) - MOST_PROBLEMS} more lines are damaged"))
    return told


def append(path: Path, records: Sequence[Record]) -> None:
    """Add lines to a file of records, whole ones only. Raises InputError when it cannot be written."""
    data = "".join(record.line() for record in records).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file, _locked(file):
            _drop_torn_line(file)
            file.write(data)
            file.flush()
    except OSError as error:
        hint = "set CODESIGN_RECORDS to a directory that can be written"
        raise InputError.at(str(path), f"cannot be written: {error.strerror}", hint=hint) from error


def repair(path: Path) -> int:
    """Move the lines that are no records to FILE.damaged; how many there were."""
    with path.open("rb+") as file, _locked(file):
        whole: list[bytes] = []
        damaged: list[bytes] = []
        for line in file.read().splitlines(keepends=True):
            try:
                _parsed(line)
                whole.append(line if line.endswith(b"\n") else line + b"\n")
            except ValueError:
                damaged.append(line if line.endswith(b"\n") else line + b"\n")
        if damaged:
            with path.with_suffix(".damaged").open("ab") as aside:
                aside.writelines(damaged)
            file.seek(0)
            file.writelines(whole)
            file.truncate()
    return len(damaged)


def export(out: Path, folder: Path | None = None) -> int:
    """Write the records of every core to one file; how many there were. Raises InputError."""
    rows: list[str] = []
    for path in files(folder):
        records, problems = scan(path)
        raise_all(InputError, told(path, problems))
        rows += [json.dumps({"core": path.stem, **json.loads(record.line())}) + "\n" for record in records]
    aside = out.with_name(out.name + ".aside")
    try:
        aside.write_text("".join(rows), encoding="utf-8")
        aside.rename(out)
    except OSError as error:
        raise InputError.at(str(out), f"cannot be written: {error.strerror}") from error
    return len(rows)


def import_(source: Path, folder: Path | None = None) -> int:
    """Add what `export` wrote; how many records were new. Raises InputError, and then nothing was added."""
    try:
        lines = source.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError.at(str(source), f"cannot be read: {error.strerror}") from error
    found: dict[str, list[Record]] = {}
    problems: list[Diagnostic] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = _parsed(line)
            core = json.loads(line).get("core")
            if not isinstance(core, str) or not core or Path(core).name != core:
                raise ValueError(f"core is {core!r}")
            found.setdefault(core, []).append(record)
        except ValueError as error:
            problems.append(Diagnostic(f"{source}, line {number}", str(error), "what codesign records --export writes"))
    raise_all(InputError, problems[:MOST_PROBLEMS])
    new = 0
    for core, records in found.items():
        path = (folder or records_dir()) / f"{core}.jsonl"
        known = {record.line() for record in scan(path)[0]}
        fresh = [record for record in records if record.line() not in known]
        append(path, fresh)
        new += len(fresh)
    return new


def files(folder: Path | None = None) -> list[Path]:
    """The files of the store, one per core."""
    return sorted((folder or records_dir()).glob("*.jsonl"))


@contextmanager
def _locked(file: IO[bytes]) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
        file.flush()
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _drop_torn_line(file: IO[bytes]) -> None:
    """Remove what a process that was killed has not written to its end."""
    end = file.seek(0, os.SEEK_END)
    start = max(0, end - (1 << 20))
    file.seek(start)
    tail = file.read()
    if tail and not tail.endswith(b"\n"):
        file.truncate(start + tail.rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)


def summary_of(path: Path) -> tuple[int, int, int]:
    """(kernels, trials, damaged lines) of a file."""
    records, problems = scan(path)
    return len({record.key for record in records}), len(records), len(problems)
