"""A Mali GPU in its chip: the table `[gpu]` of a target's file.

    [gpu]   architecture = "bifrost"   cores = 2   engines = 3   warp = 8     threads = 768   registers = 64
            full_registers = 32        fp32_fmas = 24   int_macs = 24   dot8_macs = 96        load_bytes = 16
            l1_bytes = …   l2_bytes = …   l2_bytes_per_cycle = …   dram_bytes_per_s = …      launch_ns = …

Every figure has its source in the file's table `[sources]`, under the figure's own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from codesign.errors import Diagnostic

ARCHITECTURES = ("midgard", "bifrost", "valhall")
_MOST_CORES = 1024
_MAY_BE_ZERO = ("dot8_macs",)
_KINDS: Mapping[str, str] = {"str": "text", "int": "a whole number"}


@dataclass(frozen=True)
class Gpu:
    """The shader cores of a GPU and the memory behind them. Rates are per core and cycle.

    architecture        `midgard` (vectors of 128 bits in a thread), `bifrost`, `valhall` (scalar threads in warps)
    cores               shader cores
    engines             arithmetic pipelines or execution engines of a core
    warp                threads in lockstep; 1 on Midgard
    threads             of a core, all at once, where none needs more than `full_registers`
    registers           32-bit registers that a thread can have; what needs more goes to memory
    full_registers      up to which all `threads` fit; beyond it half of them, beyond twice as many a quarter
    fp32_fmas           fused multiply-adds in single precision
    int_macs            multiply-accumulates of 8-bit operands by ordinary instructions, widened to 32 bits
    dot8_macs           multiply-accumulates by the 8-bit dot product instruction; 0: there is none
    load_bytes          that the load/store unit moves
    l1_bytes            the load/store cache of a core
    l2_bytes            the cache that all cores share
    l2_bytes_per_cycle  from it to one core
    dram_bytes_per_s    what the chip's memory can give
    launch_ns           from the end of a kernel to the beginning of the next one of the same queue
    """

    architecture: str
    cores: int
    engines: int
    warp: int
    threads: int
    registers: int
    full_registers: int
    fp32_fmas: int
    int_macs: int
    dot8_macs: int
    load_bytes: int
    l1_bytes: int
    l2_bytes: int
    l2_bytes_per_cycle: int
    dram_bytes_per_s: int
    launch_ns: int

    @property
    def vectors(self) -> bool:
        """Whether one thread computes vectors, so that kernels should."""
        return self.architecture == "midgard"

    @property
    def operand(self) -> str:
        """The element type that products take activations in; empty where they do not care."""
        return "int8" if self.dot8_macs else ""

    def to_data(self) -> dict[str, Any]:
        """The table's content; `gpu_from_data` reads it back."""
        return asdict(self)


FIGURES = tuple(f.name for f in fields(Gpu) if f.type == "int")
"""The fields that are figures, each of which needs a source."""


def gpu_from_data(data: Mapping[str, Any]) -> Gpu:
    """The GPU of a table that `gpu_problems` has nothing against."""
    return Gpu(**data)


def gpu_problems(where: str, data: Mapping[str, Any], sources: Mapping[str, Any]) -> list[Diagnostic]:
    """Everything that is wrong with the table `[gpu]` of the file `where`, and figures without a source."""
    kinds = {f.name: str(f.type) for f in fields(Gpu)}
    allowed = ", ".join(kinds)
    found = [Diagnostic(where, f"unknown key 'gpu.{key}'", allowed) for key in data if key not in kinds]
    for key, kind in kinds.items():
        if key not in data:
            found.append(Diagnostic(where, f"gpu.{key} is missing"))
        elif type(data[key]).__name__ != kind:  # True is no whole number
            found.append(Diagnostic(where, f"gpu.{key} is {data[key]!r}", _KINDS[kind]))
    return found or _value_problems(where, data, sources)


def _value_problems(where: str, data: Mapping[str, Any], sources: Mapping[str, Any]) -> list[Diagnostic]:
    found = []
    if data["architecture"] not in ARCHITECTURES:
        found.append(Diagnostic(where, f"gpu.architecture is {data['architecture']!r}", ", ".join(ARCHITECTURES)))
    for key in FIGURES:
        low = 0 if key in _MAY_BE_ZERO else 1
        if data[key] < low:
            found.append(Diagnostic(where, f"gpu.{key} is {data[key]}", f"{low} or more"))
        elif key == "cores" and data[key] > _MOST_CORES:
            found.append(Diagnostic(where, f"gpu.cores is {data[key]}", f"1 to {_MOST_CORES}"))
        if not isinstance(sources.get(key), str) or not sources[key].strip():
            found.append(Diagnostic(where, f"gpu.{key} has no source", f'sources.{key} = "manual and section"'))
    if data["full_registers"] > data["registers"] > 0:
        both = f"gpu.full_registers is {data['full_registers']} and gpu.registers is {data['registers']}"
        found.append(Diagnostic(where, both, "no more full_registers than registers"))
    return found
