"""The bytes of each memory that a compiled model needs, and whether the target has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
