"""The bytes of each memory that a compiled model needs, and whether the target has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codesign.backends.ethosu.vela import Compiled, System
from codesign.errors import Diagnostic
from codesign.target import Target

LIMIT_OF: Mapping[str, str] = {
    "Sram": "sram_bytes",
    "OnChipFlash": "flash_bytes",
    "OffChipFlash": "flash_bytes",
    "Dram": "dram_bytes",
}
"""Vela's name of a memory -> the limit of a target and the figure of a report."""

_WHAT = {"sram_bytes": "SRAM", "flash_bytes": "flash", "dram_bytes": "DRAM"}


def memory_use(performance: Mapping[str, Any]) -> dict[str, int]:
    """sram_bytes, flash_bytes, dram_bytes: the peak of each memory that is used, from Vela's `Compiled.performance`."""
    used: dict[str, int] = {}
    for name, memory in performance["memories"].items():
        if name in LIMIT_OF and memory["peak_bytes"]:
            limit = LIMIT_OF[name]
            used[limit] = used.get(limit, 0) + int(memory["peak_bytes"])
    return used


def arena_problems(compiled: Compiled, raw: Compiled | None, system: System) -> list[Diagnostic]:
    """What is found when the arena, or its cache, does not fit `arena_cache_size` of the memory mode.

    Vela takes that for an aim and goes beyond it without a word.
    """
    limit, used = system.arena_limit(), 0
    if raw is not None:
        sizes = {name: region["size"] for name, region in raw.result["regions"].items()}
        used = sizes.get("scratch_fast") or sizes.get("scratch", 0)
    elif not system.constants_in_sram():
        used = memory_use(compiled.performance).get("sram_bytes", 0)
    if used <= limit:
        return []
    found = f"the arena needs {used:,} bytes of SRAM"
    allowed = f"at most {limit:,}, arena_cache_size of Memory_Mode.{system.memory_mode}"
    return [Diagnostic("vela.ini", found, allowed, "--objective area, or a larger arena_cache_size")]


def memory_problems(target: Target, performance: Mapping[str, Any]) -> list[Diagnostic]:
    """One finding for each memory of the target that is too small for the compiled model."""
    found = []
    for name, used in memory_use(performance).items():
        there = target.limits.get(name)
        if there is None:
            hint = f"limits.{name} in the target's file"
            found.append(Diagnostic(target.name, f"the model needs {used:,} bytes of {_WHAT[name]}", "none", hint))
        elif used > there:
            hint = "--objective area, which Vela optimises for size with" if name == "sram_bytes" else "a smaller model"
            allowed = f"at most {there:,}"
            found.append(Diagnostic(target.name, f"the model needs {used:,} bytes of {_WHAT[name]}", allowed, hint))
    return found
