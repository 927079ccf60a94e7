"""A processor core with its caches and memory: the table `[cpu]` of a target's file.

    [cpu]   arch = "aarch64"   core = "cortex-a76"   scheduling_model = "neoverse-n1"   features = ["dotprod"]
            cores = 4          in_order = false   width = 4   window = 128   mispredict_cycles = 11
            line_bytes = 64    l1d_bytes = …   l1d_ways = …   l2_bytes = …   l2_ways = …   l3_bytes = …   l3_ways = …
            l1_cycles = 4      l2_cycles = 9   l3_cycles = 31   dram_ns = 110   dram_bytes_per_s = …
            copy_bytes_per_s = …   prefetch_lines = 12

Every figure has its source in the file's table `[sources]`, under the figure's own name.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from codesign.backends.tvm.cores import CORES
from codesign.errors import Diagnostic

ARCHITECTURES = ("aarch64", "x86_64")
NATIVE = "native"
"""A core, or a feature, that is the one of the machine that codesign runs on."""

FEATURES: Mapping[str, tuple[str, ...]] = {
    "aarch64": ("dotprod", "i8mm"),
    "x86_64": ("avx2", "avx512vnni", NATIVE),
}
"""The instruction set extensions that kernels are chosen by, as LLVM names them (x86: as /proc/cpuinfo nearly does).

No kernel has i8mm's matrix products (SMMLA): the name says what a core can execute, and a build for one notes it.
"""

_CPUINFO = {"avx2": "avx2", "avx512vnni": "avx512_vnni"}  # our name -> the flag in /proc/cpuinfo
_TEXTS = ("arch", "core", "scheduling_model")
_MOST = {"cores": 1024, "line_bytes": 1024}
_LEAST_LINE = 16  # bytes: a vector register, the longest access of a kernel
_MAY_BE_ZERO = ("mispredict_cycles", "l3_bytes", "l3_ways", "l3_cycles", "prefetch_lines")
_KINDS: Mapping[str, str] = {
    "str": "text",
    "int": "a whole number",
    "bool": "true or false",
    "tuple": "a list of names",
}


@dataclass(frozen=True)
class Cpu:
    """One core of a processor, how many there are, and the memory behind it. Sizes in bytes, latencies load to use.

    arch               `aarch64` or `x86_64`
    core               what LLVM's -mcpu calls it; `native`: the machine that codesign runs on
    scheduling_model   LLVM's core whose scheduling model describes the pipeline; llvm-mca is run with it
    features           of FEATURES; `native`: what /proc/cpuinfo says
    in_order           whether a load that misses stops the instructions behind it
    width              instructions decoded a cycle
    window             instructions behind a load that misses which can still start: the reorder buffer's size; on an
                       in-order core the usual distance from a load to its first use
    mispredict_cycles  lost by a branch predicted wrongly
    l3_bytes           0: there is no third level
    dram_ns            from a load that misses in all caches to its use
    dram_bytes_per_s   what one core can read, the rest of the system idle
    copy_bytes_per_s   what one core can read and write together, copying: twice what a copy's length says
    prefetch_lines     lines that the hardware reads ahead of a stream; 0: none
    """

    arch: str
    core: str
    scheduling_model: str
    features: tuple[str, ...]
    cores: int
    in_order: bool
    width: int
    window: int
    mispredict_cycles: int
    line_bytes: int
    l1d_bytes: int
    l1d_ways: int
    l2_bytes: int
    l2_ways: int
    l3_bytes: int
    l3_ways: int
    l1_cycles: int
    l2_cycles: int
    l3_cycles: int
    dram_ns: int
    dram_bytes_per_s: int
    copy_bytes_per_s: int
    prefetch_lines: int

    def dram_cycles(self, clock_hz: float) -> float:
        """Latency of main memory at a clock, in cycles."""
        return self.dram_ns * 1e-9 * clock_hz

    def extensions(self) -> tuple[str, ...]:
        """`features`, with `native` replaced by what this machine has."""
        if NATIVE not in self.features:
            return self.features
        flags = _flags_of_this_machine()
        return tuple(name for name, flag in _CPUINFO.items() if flag in flags)

    def unused(self) -> list[str]:
        """A sentence for each feature that no kernel is chosen by."""
        return ["no kernel uses i8mm (SMMLA): products of bytes are by dotprod"] if "i8mm" in self.features else []

    def to_data(self) -> dict[str, Any]:
        """The table's content; `cpu_from_data` reads it back."""
        return {**asdict(self), "features": list(self.features)}


FIGURES = tuple(f.name for f in fields(Cpu) if f.type == "int")
"""The fields that are figures, each of which needs a source."""


def cpu_from_data(data: Mapping[str, Any]) -> Cpu:
    """The core of a table that `cpu_problems` has nothing against."""
    return Cpu(**{**data, "features": tuple(data["features"])})


def cpu_problems(where: str, data: Mapping[str, Any], sources: Mapping[str, Any]) -> list[Diagnostic]:
    """Everything that is wrong with the table `[cpu]` of the file `where`, and figures without a source."""
    kinds = {f.name: str(f.type) for f in fields(Cpu)}
    allowed = ", ".join(kinds)
    found = [Diagnostic(where, f"unknown key 'cpu.{key}'", allowed) for key in data if key not in kinds]
    for key, kind in kinds.items():
        kind = kind.partition("[")[0]
        if key not in data:
            found.append(Diagnostic(where, f"cpu.{key} is missing"))
        elif not _is_a(kind, data[key]):
            found.append(Diagnostic(where, f"cpu.{key} is {data[key]!r}", _KINDS[kind]))
    return found or _value_problems(where, data, sources)


def _is_a(kind: str, value: Any) -> bool:
    if kind == "tuple":
        return isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
    return type(value).__name__ == kind  # True is no whole number


def _value_problems(where: str, data: Mapping[str, Any], sources: Mapping[str, Any]) -> list[Diagnostic]:
    found = [Diagnostic(where, f"cpu.{key} is empty", "LLVM's name of a core") for key in _TEXTS if not data[key]]
    if data["arch"] not in ARCHITECTURES:
        return [Diagnostic(where, f"cpu.arch is {data['arch']!r}", ", ".join(ARCHITECTURES))]
    known = FEATURES[data["arch"]]
    for feature in data["features"]:
        if feature not in known:
            found.append(Diagnostic(where, f"unknown feature {feature!r} of {data['arch']}", ", ".join(known)))
    found += _core_problems(where, data) if not found else []
    for key in FIGURES:
        low = 0 if key in _MAY_BE_ZERO else 1
        if data[key] < low:
            found.append(Diagnostic(where, f"cpu.{key} is {data[key]}", f"{low} or more"))
        elif data[key] > _MOST.get(key, data[key]):
            found.append(Diagnostic(where, f"cpu.{key} is {data[key]}", f"{low} to {_MOST[key]}"))
        if not isinstance(sources.get(key), str) or not sources[key].strip():
            found.append(Diagnostic(where, f"cpu.{key} has no source", f'sources.{key} = "manual and section"'))
    return found or _cache_problems(where, data)


def _core_problems(where: str, data: Mapping[str, Any]) -> list[Diagnostic]:
    """A core that LLVM does not know would be compiled for as any core, with a warning that nobody reads."""
    arch, core = data["arch"], data["core"]
    native = (NATIVE,) if NATIVE in FEATURES[arch] else ()
    if core in native:
        return []
    known = CORES[arch]
    if core not in known:
        close = difflib.get_close_matches(core, known, n=3, cutoff=0.6)
        found = f"cpu.core is {core!r}, which LLVM does not know"
        return [Diagnostic(where, found, f"LLVM's name of a core of {arch}", " or ".join(close))]
    has = (*known[core], *native)
    found = f"{core} has no {', '.join(f for f in data['features'] if f not in has)}"
    allowed = f"features = {list(known[core])}, or fewer".replace("'", '"')
    return [] if set(data["features"]) <= set(has) else [Diagnostic(where, found, allowed)]


def _cache_problems(where: str, data: Mapping[str, Any]) -> list[Diagnostic]:
    """Caches whose sets are no power of two cannot be indexed by address bits."""
    found = []
    line = data["line_bytes"]
    if line & (line - 1) or line < _LEAST_LINE:
        allowed = f"a power of two, {_LEAST_LINE} or more"
        found.append(Diagnostic(where, f"cpu.line_bytes is {line}", allowed))
    if bool(data["l3_bytes"]) != bool(data["l3_ways"]):
        both = f"cpu.l3_bytes is {data['l3_bytes']} and cpu.l3_ways is {data['l3_ways']}"
        found.append(Diagnostic(where, both, "both above 0, or both 0 for no third level"))
        return found
    for level in ("l1d", "l2", "l3"):
        size, ways = data[f"{level}_bytes"], data[f"{level}_ways"]
        sets, rest = divmod(size, ways * line) if ways else (1, 0)
        if rest or not sets or sets & (sets - 1):
            text = f"cpu.{level}_bytes is {size} with {ways} ways of lines of {line} bytes"
            found.append(Diagnostic(where, text, "a power of two of sets: bytes / (ways * line_bytes)"))
    return found


def _flags_of_this_machine() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())
