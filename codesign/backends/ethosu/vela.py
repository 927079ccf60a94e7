"""Vela's compiler as a function: models and settings in, compiled models with the compiler's own figures out."""

from __future__ import annotations

import configparser
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

from codesign.backends.base import Progress, ignore_progress
from codesign.errors import Diagnostic, InputError, ToolError, UsageError, raise_all
from codesign.toolchain import cache_dir, require, run

Optimise = Literal["Performance", "Size"]

Family = Literal["ethos-u55", "ethos-u65", "ethos-u85"]

MACS: Mapping[Family, tuple[int, ...]] = {
    "ethos-u55": (32, 64, 128, 256),
    "ethos-u65": (256, 512),
    "ethos-u85": (128, 256, 512, 1024, 2048),
}
"""Multiply-accumulates a cycle that each family is made with."""

ACCELERATORS = tuple(f"{family}-{macs}" for family, sizes in MACS.items() for macs in sizes)
"""The names of all accelerators."""

_NUMBERS: Mapping[str, str] = {
    "clock_scale": "a number above 0, the memory's clock by the accelerator's",
    "length": "a whole number of bytes, 1 or more",
    "latency": "a whole number of cycles, 0 or more",
}
NPU_OPERATOR = "CUSTOM ethos-u"
"""The operator of a compiled .tflite that holds a command stream, as `parse_model` names it."""

_ADDRESS_BITS: Mapping[Family, int] = {"ethos-u55": 32, "ethos-u65": 40, "ethos-u85": 40}
_SECONDS_PER_JOB = 120.0


@dataclass(frozen=True)
class System:
    """An accelerator in its system.

    accelerator    as Vela names it: ethos-u55-128
    system_config  section System_Config.NAME of the ini file: clock, memories with widths and latencies
    memory_mode    section Memory_Mode.NAME: which memory holds constants, the arena and its cache
    ini            content of a user's vela.ini; empty: the one that comes with Vela
    """

    accelerator: str
    system_config: str
    memory_mode: str
    ini: str = ""

    @property
    def family(self) -> Family:
        """ethos-u55, ethos-u65 or ethos-u85."""
        return cast(Family, self.accelerator.rpartition("-")[0])

    @property
    def macs(self) -> int:
        """8-bit multiply-accumulates a cycle, all cores together."""
        return int(self.accelerator.rpartition("-")[2])

    def check(self) -> None:
        """Raise UsageError for an unknown accelerator, InputError for what the ini file lacks."""
        if self.accelerator not in ACCELERATORS:
            raise UsageError.at("accelerator", f"there is no {self.accelerator!r}", ", ".join(ACCELERATORS))
        raise_all(InputError, self.problems())

    def problems(self) -> list[Diagnostic]:
        """What the ini file lacks: the two sections, the clock. Raises InputError for one that is damaged."""
        sections = self.sections()
        found = []
        for kind, name in (("System_Config", self.system_config), ("Memory_Mode", self.memory_mode)):
            if f"{kind}.{name}" not in sections:
                there = ", ".join(s.partition(".")[2] for s in sections if s.startswith(f"{kind}."))
                allowed = there or f"at least one {kind} section"
                found.append(Diagnostic("vela.ini", f"no section {kind}.{name}", allowed))
        if not found and self.clock_hz() <= 0:
            section = f"System_Config.{self.system_config}"
            found.append(
                Diagnostic("vela.ini", f"{section} has no core_clock", "a frequency in Hz", "core_clock=500e6")
            )
        if not found:
            self.arena_limit()
            found += self._bad_numbers(f"System_Config.{self.system_config}")
        return found

    def _bad_numbers(self, section: str) -> list[Diagnostic]:
        """Options of the memories that Vela would read as something else, without a word."""
        found = []
        for key, text in self.parser()[section].items():
            name = next((suffix for suffix in _NUMBERS if key.endswith(suffix)), None)
            if name is None:
                continue
            try:
                value = float(text) if name == "clock_scale" else int(text)
                good = value >= 0 if name == "latency" else 0 < value < math.inf
            except ValueError:
                good = False
            if not good:
                found.append(Diagnostic("vela.ini", f"{section} has {key}={text}", _NUMBERS[name]))
        return found

    def clock_hz(self) -> float:
        """The clock of the accelerator; 0 when the ini file has none, or what is no number."""
        try:
            return float(self._option(f"System_Config.{self.system_config}", "core_clock", "0"))
        except ValueError:
            return 0.0

    def memories(self) -> tuple[str, ...]:
        """The memories at the accelerator's two ports, as Vela names them: Sram, OffChipFlash, OnChipFlash, Dram."""
        section = f"System_Config.{self.system_config}"
        ports = (self._option(section, f"axi{port}_port", "") for port in (0, 1))
        return tuple(dict.fromkeys(name for name in ports if name))

    def memory_modes(self) -> list[System]:
        """This system in every memory mode of the ini file that it can have, its own first.

        The arena must be in SRAM or DRAM, its cache in SRAM; constants are in SRAM only together with the arena.
        """
        own = f"Memory_Mode.{self.memory_mode}"
        names = [name for name in self.sections() if name.startswith("Memory_Mode.")]
        systems = [replace(self, memory_mode=name.partition(".")[2]) for name in sorted(names, key=lambda n: n != own)]
        return [system for system in systems if system.memory_mode == self.memory_mode or system._is_possible()]

    def constants_in_sram(self) -> bool:
        """Whether weights and scales lie in SRAM."""
        return self._memory_of("const_mem_area") == "Sram"

    def _is_possible(self) -> bool:
        const, arena, cache = (self._memory_of(f"{what}_mem_area") for what in ("const", "arena", "cache"))
        return arena in ("Sram", "Dram") and cache == "Sram" and (const != "Sram" or arena == "Sram")

    def _memory_of(self, area: str) -> str:
        port = self._option(f"Memory_Mode.{self.memory_mode}", area, "Axi0").lower()
        return self._option(f"System_Config.{self.system_config}", f"{port}_port", "Sram")

    def sections(self) -> list[str]:
        """The sections of the ini file."""
        return self.parser().sections()

    def parser(self) -> configparser.ConfigParser:
        """The ini file, parsed. Raises InputError for one that is damaged."""
        return _parsed(self.text())

    def text(self) -> str:
        """The ini file."""
        return self.ini or bundled_ini()

    def description(self) -> str:
        """What the compiler core reads: the accelerator, the names of the sections, the sections."""
        cores = 2 if self.accelerator == "ethos-u65-512" else 1
        head = f"[architecture]\nmacs={self.macs // cores}\ncores={cores}\n"
        names = f"[vela]\nsystem_config_name={self.system_config}\nmemory_mode_name={self.memory_mode}\n"
        return head + names + self.text()

    def arena_limit(self) -> int:
        """The bytes of arena (or of its cache) that the memory mode allows; Vela's default is the address space.

        Raises InputError for what is no number.
        """
        text = self._option(f"Memory_Mode.{self.memory_mode}", "arena_cache_size", "")
        if text and not text.isdecimal():
            found = f"Memory_Mode.{self.memory_mode} has arena_cache_size={text}"
            raise InputError.at("vela.ini", found, "a whole number of bytes", "arena_cache_size=393216")
        return int(text) if text else 1 << _ADDRESS_BITS[self.family]

    def _option(self, section: str, key: str, default: str) -> str:
        """An option of a section, or of the one that it inherits from."""
        parser = self.parser()
        seen = set()
        while section in parser and section not in seen:
            if key in parser[section]:
                return parser[section][key]
            seen.add(section)
            section = parser[section].get("inherit", "")
        return default


@lru_cache(maxsize=4)
def _parsed(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise InputError.at("vela.ini", f"not an ini file: {str(error).splitlines()[0]}") from error
    return parser


@lru_cache(maxsize=1)
def bundled_ini() -> str:
    """Vela's own Arm/vela.ini, with generic systems and memory modes. ToolError when Vela is not installed."""
    require("vela")
    spec = find_spec("ethosu")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(next(iter(spec.submodule_search_locations)))
    return (folder / "config_files" / "Arm" / "vela.ini").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Options:
    """What Vela is free to choose from.

    optimise     fewest cycles, or the smallest arena
    arena_limit  bytes of SRAM that a schedule for performance may use; None: what the memory mode says
    disabled     features left out: Grouping, FWD, Cascading, WeightBuffering, ReuseIFM
    """

    optimise: Optimise = "Performance"
    arena_limit: int | None = None
    disabled: tuple[str, ...] = ()

    def text(self, system: System, raw: bool) -> str:
        """The compiler core's configuration; without an arena limit it would optimise for size whatever else is set."""
        limit = self.arena_limit if self.arena_limit is not None else system.arena_limit()
        return (
            f"[compiler]\nenable_db=true\noutput_format={'Raw' if raw else 'TFLite'}\ncop_format=COP1\n"
            f"[scheduler]\noptimize={self.optimise}\narena_size_limit={limit}\n"
            f"disable_feature={'|'.join(self.disabled)}\ncpu_tensor_alignment=16\n"
        )


@dataclass(frozen=True, eq=False)
class Job:
    """One compilation. `raw`: a command stream with its regions instead of a model for TensorFlow Lite Micro."""

    model: bytes
    system: System
    options: Options = field(default_factory=Options)
    raw: bool = False
    format: Literal["TFLITE", "TOSA"] = "TFLITE"


@dataclass(frozen=True, eq=False)
class Compiled:
    """What Vela made of a job.

    model           the compiled .tflite, empty when raw
    command_stream  of a raw job: the driver payload, COP1 header and register commands
    read_only       of a raw job: weights, scales and tables
    result          performance (the compiler's estimate), tables (of its database: name -> header, rows), and of a raw
                    job regions, inputs, outputs, as `worker` writes them
    """

    model: bytes
    command_stream: bytes
    read_only: bytes
    result: dict[str, Any]

    @property
    def performance(self) -> dict[str, Any]:
        """totalCycles, npuCycles, cpuOps, npuOps, macCount, memories …: Vela's estimate, never a measurement."""
        found: dict[str, Any] = self.result["performance"]
        return found

    def table(self, name: str) -> list[dict[str, str]]:
        """A table of the compiler's database, a row each; empty when there is none."""
        table = self.result["tables"].get(name)
        return [dict(zip(table["header"], row, strict=True)) for row in table["rows"]] if table else []


def compile_models(
    jobs: Sequence[Job], progress: Progress = ignore_progress, time_limit_s: float = _SECONDS_PER_JOB
) -> list[Compiled | ToolError]:
    """Every job in one process of Vela; for a job that it refuses, crashes at or does not end, the error instead.

    time_limit_s  for each job. Raises ToolError when Vela is missing.
    """
    tool = require("vela")
    log = cache_dir() / "logs" / f"vela-{os.getpid()}.log"  # outlives the folder, so that an error can name it
    results: list[Compiled | ToolError] = []
    while len(results) < len(jobs):
        done = len(results)
        rest = jobs[done:]
        with tempfile.TemporaryDirectory(prefix="codesign-vela-") as name:
            folder = Path(name)
            _write_jobs(folder, rest)
            failure: ToolError | None = None

            def count(line: str, offset: int = done) -> None:
                if line.startswith("done "):
                    progress("compiling with Vela", offset + int(line.split()[1]) + 1, len(jobs))

            try:
                run(tool, [folder], cwd=folder, log=log, quiet_limit_s=time_limit_s, on_line=count)
            except ToolError as error:
                failure = error
            found = [_read(folder / str(i), job) for i, job in enumerate(rest)]
        finished = next((i for i, r in enumerate(found) if r is None), len(found))
        results += [r for r in found[:finished] if r is not None]
        if finished < len(found):
            results.append(failure or ToolError.at("vela", "ended without a result"))
    return results


def compile_model(job: Job) -> Compiled:
    """One job. Raises ToolError."""
    made = compile_models([job])[0]
    if isinstance(made, ToolError):
        raise made
    return made


def _write_jobs(folder: Path, jobs: Sequence[Job]) -> None:
    listed = []
    models: dict[bytes, str] = {}
    for number, job in enumerate(jobs):
        model = models.setdefault(job.model, f"model{len(models)}")
        (folder / f"{number}.ini").write_text(job.system.description(), encoding="utf-8")
        listed.append(
            {
                "name": str(number),
                "architecture": job.system.family.title().replace("-", ""),
                "model": model,
                "format": job.format,
                "system": f"{number}.ini",
                "options": job.options.text(job.system, job.raw),
            }
        )
    for content, model in models.items():
        (folder / model).write_bytes(content)
    (folder / "jobs.json").write_text(json.dumps(listed), encoding="utf-8")


def _read(folder: Path, job: Job) -> Compiled | ToolError | None:
    """The result of a job; None when there is none."""
    try:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if "error" in result:
        lines = [line.strip() for line in result["error"].splitlines() if line.strip()] or ["no reason given"]
        return ToolError.at("vela", f"refuses the model: {' '.join(lines)}")
    if job.raw:
        stream, constants = ((folder / f"{name}.bin").read_bytes() for name in ("command_stream", "read_only"))
        return Compiled(b"", stream, constants, result)
    return Compiled((folder / "model.tflite").read_bytes(), b"", b"", result)
