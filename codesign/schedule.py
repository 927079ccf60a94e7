"""Schedules: what a backend is free to choose, as data that can be printed, stored and replayed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from codesign.errors import Diagnostic, InputError, raise_all

MulStyle = Literal["auto", "lut", "dsp"]
MemStyle = Literal["auto", "distributed", "block", "registers"]


@dataclass(frozen=True)
class Fold:
    """How far a layer is folded: `pe` results, and `simd` channels at `taps` kernel positions for each, in one cycle.

    taps is 1 (one kernel position after the other) or the kernel's height times its width (all at once).
    """

    pe: int
    simd: int = 1
    taps: int = 1


@dataclass(frozen=True)
class RtlSchedule:
    """Everything that the streaming RTL backend chooses.

    folds     by node: PE and SIMD
    depths    by stream or window buffer: beats (words) that it holds
    multiply  by node: multipliers in look-up tables or in DSP blocks; absent: `auto`
    memory    by node: where its weights and window are kept; absent: `auto`
    levels    adder levels between two registers of the multiply-accumulate trees; 0: no registers in them
    """

    folds: Mapping[str, Fold]
    depths: Mapping[str, int] = field(default_factory=dict)
    multiply: Mapping[str, MulStyle] = field(default_factory=dict)
    memory: Mapping[str, MemStyle] = field(default_factory=dict)
    levels: int = 0

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON; `from_data` reads it back."""
        return {
            "folds": {name: {"pe": f.pe, "simd": f.simd, "taps": f.taps} for name, f in self.folds.items()},
            "depths": dict(self.depths),
            "multiply": dict(self.multiply),
            "memory": dict(self.memory),
            "levels": self.levels,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> RtlSchedule:
        """The schedule of `to_data`. Raises InputError that lists everything of the wrong form."""
        found: list[Diagnostic] = []
        if not isinstance(data, Mapping) or not isinstance(data.get("folds"), Mapping):
            raise InputError.at("schedule", "no table of folds", '{"folds": {"layer": {"pe": 4, "simd": 8}}, …}')
        folds: dict[str, Fold] = {}
        for name, value in data["folds"].items():
            parts = value if isinstance(value, Mapping) else {}
            fold = Fold(parts.get("pe", 0), parts.get("simd", 1), parts.get("taps", 1))
            if not all(map(_positive, (fold.pe, fold.simd, fold.taps))):
                form = '{"pe": 1 or more, "simd": 1 or more, "taps": 1 or more}'
                found.append(Diagnostic(f"schedule, fold of {name}", repr(value), form))
            folds[name] = fold
        depths = data.get("depths", {})
        for name, value in depths.items():
            if not _positive(value):
                found.append(Diagnostic(f"schedule, depth of {name}", repr(value), "a whole number, 1 or more"))
        styles = (("multiply", ("auto", "lut", "dsp")), ("memory", ("auto", "distributed", "block", "registers")))
        for key, allowed in styles:
            for name, value in data.get(key, {}).items():
                if value not in allowed:
                    found.append(Diagnostic(f"schedule, {key} of {name}", repr(value), ", ".join(allowed)))
        levels = data.get("levels", 0)
        if levels != 0 and not _positive(levels):
            found.append(Diagnostic("schedule, levels", repr(levels), "a whole number, 0 or more"))
        raise_all(InputError, found)
        return cls(folds, dict(depths), dict(data.get("multiply", {})), dict(data.get("memory", {})), levels)


VELA_FEATURES = ("Grouping", "FWD", "Cascading", "WeightBuffering", "ReuseIFM")
"""What Vela's scheduler can be told to leave out."""

MOST_BYTES = 1 << 40
"""The address space of the largest NPU."""


@dataclass(frozen=True)
class EthosuSchedule:
    """Everything that the Ethos-U backend chooses.

    memory_mode  section Memory_Mode.NAME of the system's ini file
    optimise     Vela's aim: Performance or Size
    arena_limit  bytes of SRAM that a schedule for performance may use; None: what the memory mode says
    disabled     features of Vela's that are left out
    rewrites     graph rewrites by name, in order, each with the layers that it is applied to
    """

    memory_mode: str
    optimise: Literal["Performance", "Size"] = "Performance"
    arena_limit: int | None = None
    disabled: tuple[str, ...] = ()
    rewrites: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON; `from_data` reads it back."""
        return {
            "memory_mode": self.memory_mode,
            "optimise": self.optimise,
            "arena_limit": self.arena_limit,
            "disabled": list(self.disabled),
            "rewrites": [{"rewrite": name, "layers": list(layers)} for name, layers in self.rewrites],
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> EthosuSchedule:
        """The schedule of `to_data`. Raises InputError that lists everything of the wrong form."""
        found: list[Diagnostic] = []
        if not isinstance(data, Mapping) or not isinstance(data.get("memory_mode"), str):
            raise InputError.at(
                "schedule", "no memory_mode", '{"memory_mode": "Shared_Sram", "optimise": "Performance"}'
            )
        optimise, limit = data.get("optimise", "Performance"), data.get("arena_limit")
        if optimise not in ("Performance", "Size"):
            found.append(Diagnostic("schedule, optimise", repr(optimise), "Performance or Size"))
        if limit is not None and not (_positive(limit) and limit <= MOST_BYTES):
            allowed = f"a number of bytes from 1 to {MOST_BYTES}, or null"
            found.append(Diagnostic("schedule, arena_limit", repr(limit), allowed))
        disabled, rewrites = data.get("disabled", []), data.get("rewrites", [])
        if not isinstance(disabled, list) or not all(name in VELA_FEATURES for name in disabled):
            found.append(Diagnostic("schedule, disabled", repr(disabled), f"a list of {', '.join(VELA_FEATURES)}"))
        form = '[{"rewrite": "name", "layers": ["layer", …]}, …]'
        if not isinstance(rewrites, list) or not all(_is_rewrite(r) for r in rewrites):
            found.append(Diagnostic("schedule, rewrites", repr(rewrites), form))
        raise_all(InputError, found)
        steps = tuple((r["rewrite"], tuple(r["layers"])) for r in rewrites)
        return cls(data["memory_mode"], optimise, limit, tuple(disabled), steps)


def _is_rewrite(value: object) -> bool:
    if not isinstance(value, Mapping) or not isinstance(value.get("rewrite"), str):
        return False
    layers = value.get("layers")
    return isinstance(layers, list) and all(isinstance(name, str) for name in layers)


IoType = Literal["io_parallel", "io_stream"]
HLS_KEYS = ("io", "loops", "depths")
Strategy = Literal["latency", "resource"]


@dataclass(frozen=True)
class Loop:
    """How a layer of an HLS design is unrolled.

    reuse     how often each multiplier (of another layer: each copy of its function) is used for one pixel, or in
              io_parallel for one frame: the initiation interval that its loop is pipelined with
    strategy  of Dense and Conv2d, as hls4ml names them: `latency` unrolls the product completely, with constants for
              weights; `resource` runs a loop of `reuse` steps over weights in memories
    """

    reuse: int = 1
    strategy: Strategy = "latency"


@dataclass(frozen=True)
class HlsSchedule:
    """Everything that an HLS backend chooses.

    io      `io_parallel`: the frame at once, arrays as registers; `io_stream`: pixel by pixel, streams between layers
    loops   by layer; absent: reuse 1, latency
    depths  io_stream, by layer: pixels that the stream behind it holds
    """

    io: IoType
    loops: Mapping[str, Loop] = field(default_factory=dict)
    depths: Mapping[str, int] = field(default_factory=dict)

    def loop(self, name: str) -> Loop:
        """How the layer `name` is unrolled."""
        return self.loops.get(name, Loop())

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON; `from_data` reads it back."""
        loops = {name: {"reuse": loop.reuse, "strategy": loop.strategy} for name, loop in self.loops.items()}
        return {"io": self.io, "loops": loops, "depths": dict(self.depths)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> HlsSchedule:
        """The schedule of `to_data`. Raises InputError that lists everything of the wrong form."""
        io = data.get("io") if isinstance(data, Mapping) else None
        tables = [data.get(key, {}) if isinstance(data, Mapping) else {} for key in ("loops", "depths")]
        if io not in ("io_parallel", "io_stream") or not all(isinstance(t, Mapping) for t in tables):
            form = '{"io": "io_stream", "loops": {"layer": {"reuse": 4, "strategy": "resource"}}, "depths": {}}'
            raise InputError.at("schedule", f"io {io!r}, or no table of loops or depths", form)
        found = [Diagnostic("schedule", f"unknown {key!r}", "io, loops, depths") for key in data if key not in HLS_KEYS]
        loops: dict[str, Loop] = {}
        for name, value in tables[0].items():
            parts = value if isinstance(value, Mapping) else {}
            loop = Loop(parts.get("reuse", 0), parts.get("strategy", "latency"))
            known = set(parts) <= {"reuse", "strategy"}
            if not known or not _positive(loop.reuse) or loop.strategy not in ("latency", "resource"):
                form = '{"reuse": 1 or more, "strategy": "latency" or "resource"}'
                found.append(Diagnostic(f"schedule, loop of {name}", repr(value), form))
            loops[name] = loop
        for name, value in tables[1].items():
            if not _positive(value):
                found.append(Diagnostic(f"schedule, depth of {name}", repr(value), "a whole number, 1 or more"))
        raise_all(InputError, found)
        return cls(io, loops, dict(tables[1]))


@dataclass(frozen=True)
class TvmSchedule:
    """Everything that the TVM backend chooses.

    kernels  by the tensor that a kernel writes: the template of its schedule and what that leaves open
    """

    kernels: Mapping[str, Mapping[str, Any]]

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON; `from_data` reads it back."""
        return {"kernels": {name: dict(choice) for name, choice in self.kernels.items()}}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> TvmSchedule:
        """The schedule of `to_data`. Raises InputError that lists everything of the wrong form."""
        kernels = data.get("kernels") if isinstance(data, Mapping) else None
        form = '{"kernels": {"layer": {"template": "dot", "columns": 8, …}, …}}'
        if not isinstance(kernels, Mapping):
            raise InputError.at("schedule", "no table of kernels", form)
        raise_all(
            InputError,
            [
                Diagnostic(f"schedule, kernel of {name}", repr(choice), '{"template": "name", …}')
                for name, choice in kernels.items()
                if not isinstance(choice, Mapping) or not isinstance(choice.get("template"), str)
            ],
        )
        return cls({name: dict(choice) for name, choice in kernels.items()})


def _positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
