"""Cycles of a sequence of instructions on a core's pipeline, all data in the first cache, by llvm-mca.

    cycles_of([(word, word, …), …], "neoverse-n1") -> [cycles, …]

The cycles are those of the sequence repeated for ever: the difference between 2 n and n copies in a row, divided by n,
where n copies are at least WARM_UP instructions, so that the pipeline's filling is not counted and iterations overlap
as the core's width, units, latencies and reorder buffer let them. Loads are taken not to depend on stores.

llvm-mca (https://llvm.org/docs/CommandGuide/llvm-mca.html) reads assembly, so words are disassembled with llvm-mc;
branches are made to go nowhere (a distance does not change their cost, and equal code at another address is then the
same sequence), and calls and returns become plain branches, for which llvm-mca would assume 100 cycles.

`timings_of` gives what LLVM knows of single instructions: latency, and the units that each takes.

Results are kept in the cache's mca.sqlite under the sequence, the model and the tool's version.
"""

from __future__ import annotations

import array
import contextlib
import hashlib
import json
import math
import re
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codesign import toolchain
from codesign.errors import ToolError, UsageError

WARM_UP = 128  # instructions before the difference is taken: the window of the larger cores

NOP = 0xD503201F
_FORMAT = "3"  # of the cache's content: to be changed with what is measured
_FEATURES = "-mattr=+all"
_CYCLES = re.compile(r"^Total Cycles:\s+(\d+)$", re.MULTILINE)
_TIME_LIMIT_S = 600.0

_DISTANCES: tuple[tuple[int, int, int], ...] = (  # mask, value, bits to keep: what holds a distance, or is a call
    (0x7C000000, 0x14000000, 0),  # b, bl: to b
    (0xFF000010, 0x54000000, 0xFF00001F),  # b.cond
    (0x7E000000, 0x34000000, 0xFF00001F),  # cbz, cbnz
    (0x7E000000, 0x36000000, 0xFFF8001F),  # tbz, tbnz
    (0x1F000000, 0x10000000, 0x9F00001F),  # adr, adrp
    (0x3B000000, 0x18000000, 0xFF00001F),  # ldr of a literal
    (0xFF9FFC1F, 0xD61F0000, 0),  # br, blr, ret: to br of the same register
)


def normalised(word: int) -> int:
    """The instruction as it is costed: without distances, calls and returns as branches."""
    for mask, value, keep in _DISTANCES:
        if word & mask == value:
            if keep:
                return word & keep
            return 0x14000000 if value == 0x14000000 else 0xD61F0000 | (word & 0x3E0)
    return word


def cycles_of(sequences: Sequence[Sequence[int]], model: str) -> list[float]:
    """Cycles of each sequence of instruction words, repeated for ever, by LLVM's scheduling model of the core `model`.

    ToolError: a tool is missing or failed. UsageError: LLVM does not know the core.
    """
    tool = toolchain.require("llvm-mca")
    clean = [tuple(map(normalised, words)) for words in sequences]
    keys = {words: _key(words, model, tool.version) for words in clean if words}
    with _store() as store:
        known = _read(store, "cycles", keys.values())
        unknown = [words for words, key in keys.items() if key not in known]
        if unknown:
            measured = _measure(tool, unknown, model, disassemble(sorted({w for words in unknown for w in words})))
            fresh = {keys[words]: cycles for words, cycles in zip(unknown, measured, strict=True)}
            _write(store, "cycles", fresh)
            known |= fresh
    return [float(known[keys[words]]) if words else 0.0 for words in clean]


@dataclass(frozen=True)
class Unit:
    """Cycles of the `count` units of a kind that an instruction takes, in all."""

    name: str
    count: int
    cycles: int


@dataclass(frozen=True)
class Timing:
    """An instruction on a pipeline: cycles to its result, the units it takes, whether it is a load or store."""

    latency: int
    units: tuple[Unit, ...]
    memory: bool


def timings_of(words: Sequence[int], model: str) -> dict[int, Timing]:
    """The timing of each (normalised) instruction word by LLVM's scheduling model of the core `model`."""
    tool = toolchain.require("llvm-mca")
    keys = {word: f"{_FORMAT} {word:08x} {model} {tool.version}" for word in words}
    with _store() as store:
        known = _read(store, "timings", keys.values())
        unknown = [word for word, key in keys.items() if key not in known]
        if unknown:
            fresh = dict(zip((keys[w] for w in unknown), _time(tool, unknown, model), strict=True))
            _write(store, "timings", fresh)
            known |= fresh
    return {word: _timing(json.loads(known[key])) for word, key in keys.items()}


def _timing(data: Sequence[Any]) -> Timing:
    latency, units, memory = data
    return Timing(latency, tuple(Unit(*unit) for unit in units), memory)


def disassemble(words: Sequence[int]) -> dict[int, str]:
    """The assembly of each instruction word; empty for a word that LLVM does not know."""
    tool = toolchain.require("llvm-mc")
    keys = {word: f"{word:08x} {tool.version}" for word in words}
    with _store() as store:
        known = _read(store, "assembly", keys.values())
        unknown = [word for word, key in keys.items() if key not in known]
        if unknown:
            texts = _disassemble(tool, unknown)
            fresh = {keys[word]: text for word, text in texts.items()}
            _write(store, "assembly", fresh)
            known |= fresh
    return {word: str(known[key]) for word, key in keys.items()}


def _measure(
    tool: toolchain.Tool, sequences: Sequence[tuple[int, ...]], model: str, texts: Mapping[int, str]
) -> list[float]:
    lines: list[str] = []
    copies = [-(-WARM_UP // len(words)) for words in sequences]
    for words, n in zip(sequences, copies, strict=True):
        body = [texts[word] or "nop" for word in words]
        for times in (n, 2 * n):
            lines += ["# LLVM-MCA-BEGIN", *(body * times), "# LLVM-MCA-END"]
    with tempfile.TemporaryDirectory(prefix="codesign-mca-") as name:
        folder = Path(name)
        (folder / "in.s").write_text("\n".join([*lines, ""]), encoding="utf-8")
        totals = [int(text) for text in _CYCLES.findall(_analyse(tool, model, ("-summary-view",), folder))]
    if len(totals) != 2 * len(sequences):
        raise ToolError.at(tool.name, f"answered {len(totals)} of {2 * len(sequences)} questions")
    pairs = zip(totals[::2], totals[1::2], copies, strict=True)
    return [max(long - short, 0) / n for short, long, n in pairs]


def _analyse(tool: toolchain.Tool, model: str, views: Sequence[str], folder: Path) -> str:
    """What llvm-mca says of the regions in in.s, each run once."""
    out = folder / "out.txt"
    options = [
        "-iterations=1",
        "-all-views=false",
        *views,
        "-skip-unsupported-instructions=any",
        "-o",
        str(out),
        "in.s",
    ]
    try:
        _run(tool, ["-mtriple=aarch64", _FEATURES, f"-mcpu={model}", *options], folder)
    except ToolError as error:
        if "is not a recognized processor" not in str(error):
            raise
        found = f"LLVM does not know the core {model!r}"
        raise UsageError.at("cpu.scheduling_model", found, hint="llvm-mca-19 -march=aarch64 -mcpu=help") from error
    return out.read_text(encoding="utf-8")


def _time(tool: toolchain.Tool, words: Sequence[int], model: str) -> list[str]:
    """Latency, units and kind of each instruction, as JSON; what LLVM has no timing of takes a cycle and no unit."""
    texts = disassemble(words)
    lines = [
        line
        for i, word in enumerate(words)
        for line in (f"# LLVM-MCA-BEGIN {i}", texts[word] or "nop", "# LLVM-MCA-END")
    ]
    views = ("-json", "-instruction-info", "-resource-pressure")
    with tempfile.TemporaryDirectory(prefix="codesign-mca-") as name:
        folder = Path(name)
        (folder / "in.s").write_text("\n".join([*lines, ""]), encoding="utf-8")
        out = _analyse(tool, model, views, folder)
    data = json.loads(out)
    names = [entry.partition(".")[0] for entry in data["TargetInfo"]["Resources"]]  # unit.0, unit.1: of one kind
    found = {}
    for region in data["CodeRegions"]:
        units: dict[str, int] = {}
        for entry in region["ResourcePressureView"]["ResourcePressureInfo"]:
            if entry["InstructionIndex"] == 0:
                unit = names[entry["ResourceIndex"]]
                units[unit] = units.get(unit, 0) + math.ceil(entry["ResourceUsage"])
        info = region["InstructionInfoView"]["InstructionList"][0]
        memory = info["mayLoad"] or info["mayStore"]
        found[region["Name"]] = [info["Latency"], [[u, names.count(u), c] for u, c in units.items()], memory]
    return [json.dumps(found.get(str(i), [1, [], False])) for i in range(len(words))]


def _disassemble(tool: toolchain.Tool, words: Sequence[int]) -> dict[int, str]:
    """llvm-mc leaves out what it does not know, so each word is followed by a nop that tells where the next begins."""

    def as_bytes(word: int) -> str:
        return " ".join(f"{byte:#04x}" for byte in word.to_bytes(4, "little"))

    asked = [word for word in words if word != NOP]
    with tempfile.TemporaryDirectory(prefix="codesign-mc-") as name:
        folder = Path(name)
        text = "".join(f"{as_bytes(word)}\n{as_bytes(NOP)}\n" for word in asked)
        (folder / "in.txt").write_text(text, encoding="utf-8")
        out = folder / "out.s"
        _run(tool, ["--disassemble", "--triple=aarch64", _FEATURES, "-o", out, "in.txt"], folder)
        lines = [line.partition("//")[0].strip() for line in out.read_text(encoding="utf-8").splitlines()]
    found = [""]
    for line in lines:
        if line == "nop":
            found.append("")
        elif line and not line.startswith("."):
            found[-1] = line.replace("\t", " ")
    if len(found) != len(asked) + 1:
        raise ToolError.at(tool.name, f"disassembled {len(found) - 1} of {len(asked)} instructions")
    return {**dict(zip(asked, found, strict=False)), **({NOP: "nop"} if NOP in words else {})}


def _run(tool: toolchain.Tool, arguments: Sequence[str | Path], folder: Path) -> toolchain.Completed:
    log = toolchain.cache_dir() / "logs" / f"{tool.name}.log"
    return toolchain.run(tool, arguments, cwd=folder, log=log, time_limit_s=_TIME_LIMIT_S)


def _key(words: tuple[int, ...], model: str, version: str) -> str:
    head = f"{_FORMAT} {model} {version} ".encode()
    return hashlib.sha256(head + array.array("I", words).tobytes()).hexdigest()[:32]


@contextlib.contextmanager
def _store() -> Iterator[sqlite3.Connection]:
    """The results of all runs so far; a store that is damaged is begun anew, nothing in it cannot be made again."""
    path = toolchain.cache_dir() / "mca.sqlite"
    try:
        try:
            connection = _open(path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # what is there is no database
            path.unlink(missing_ok=True)
            connection = _open(path)
        with contextlib.closing(connection):
            yield connection
    except sqlite3.Error as error:
        raise ToolError.at(str(path), f"cannot be used: {error}", hint="remove it; it is made again") from error


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60)
    for table in ("cycles", "assembly", "timings"):
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (key TEXT PRIMARY KEY, value) WITHOUT ROWID")
        connection.execute(f"SELECT value FROM {table} LIMIT 1").fetchall()
    return connection


def _read(store: sqlite3.Connection, table: str, keys: Iterable[str]) -> dict[str, Any]:
    query = f"SELECT value FROM {table} WHERE key = ?"
    rows = ((key, store.execute(query, (key,)).fetchone()) for key in keys)
    return {key: row[0] for key, row in rows if row}


def _write(store: sqlite3.Connection, table: str, rows: Mapping[str, Any]) -> None:
    with store:
        store.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", rows.items())
