"""What is demanded of an Ethos-U schedule and what Vela estimates of it, under the names that reports use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codesign.backends.base import Objective, Requirement
from codesign.backends.ethosu.memory import memory_use
from codesign.backends.ethosu.vela import Compiled, System
from codesign.errors import Diagnostic, UsageError, raise_all
from codesign.requirements import text_of

_BYTES = ("sram_bytes", "flash_bytes", "dram_bytes")


@dataclass(frozen=True)
class Figures:
    """Vela's estimates of a compiled model; basis TOOL.

    latency_cycles  NPU cycles of one inference
    sram_bytes      the largest use of SRAM: the arena or its cache, and the constants where they lie in SRAM
    flash_bytes     constants (weights, scales, command stream not included); 0 where they lie in another memory
    dram_bytes      constants, and the arena where that is in DRAM
    on_cpu          operators that Vela leaves to the CPU: their time is in no figure
    """

    latency_cycles: int
    sram_bytes: int
    flash_bytes: int
    dram_bytes: int
    clock_hz: float
    on_cpu: int

    @classmethod
    def of(cls, compiled: Compiled, system: System) -> Figures:
        """The figures of a compiled model."""
        used = memory_use(compiled.performance)
        sram, flash, dram = (used.get(name, 0) for name in _BYTES)
        cycles, on_cpu = compiled.performance["totalCycles"], compiled.performance["cpuOps"]
        return cls(cycles, sram, flash, dram, system.clock_hz(), on_cpu)

    @property
    def latency_ns(self) -> float:
        return self.latency_cycles * 1e9 / self.clock_hz

    @property
    def fps(self) -> float:
        """Frames a second, one after the other."""
        return self.clock_hz / self.latency_cycles if self.latency_cycles else 0.0

    def value(self, name: str) -> float:
        """A figure by its name."""
        return float(getattr(self, name))

    def order(self, objective: Objective | None) -> tuple[int, ...]:
        """What an objective compares, the smaller the better: cycles, then bytes; for `area` bytes, then cycles."""
        bytes_ = (self.sram_bytes, self.flash_bytes + self.dram_bytes)
        return (*bytes_, self.latency_cycles) if objective == "area" else (self.latency_cycles, *bytes_)

    def excess(self, requirements: Sequence[Requirement]) -> float:
        """How far the requirements are missed: the sum of value / limit - 1 over those that are; 0: all are met."""
        return sum(missed_by(requirement, self) for requirement in requirements)


NAMES = ("latency_cycles", "latency_ns", "fps", *_BYTES)
"""What can be demanded."""


def missed_by(requirement: Requirement, figures: Figures) -> float:
    """By which share of the limit a requirement is missed; 0: it is met."""
    value = figures.value(requirement.name)
    if requirement.op == ">=":
        return max(0.0, requirement.value / value - 1) if value else 0.0
    return max(0.0, value - requirement.value) / max(requirement.value, 1.0)


def bounds(requirements: Sequence[Requirement], limits: Mapping[str, int]) -> list[Requirement]:
    """The requirements, and the target's limits on memory as requirements. Raises UsageError for other figures."""
    unknown = [r for r in requirements if r.name not in NAMES]
    allowed = ", ".join(NAMES)
    raise_all(
        UsageError, [Diagnostic(f"--require {text_of(r)!r}", f"an NPU has no {r.name}", allowed) for r in unknown]
    )
    return [*requirements, *(Requirement(name, "<=", limits[name]) for name in _BYTES if name in limits)]
