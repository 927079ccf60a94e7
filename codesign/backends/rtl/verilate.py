"""SystemVerilog to a program: Verilator, then the C++ compiler, without make, and never twice for the same sources.

The program is kept in the cache under the digest of all that went into it. Memory files are not part of that, since
`$readmemh` reads them when the simulation starts: a retrained network needs no compiler.
"""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codesign import toolchain
from codesign.backends.base import Progress
from codesign.errors import InputError
from codesign.resources import resource_dir

MONITOR = resource_dir("hw") / "tb" / "cs_stream_monitor.sv"
BENCH = resource_dir("hw") / "tb" / "sim_main.cpp"
POPCOUNT = resource_dir("hw") / "tb" / "cs_popcount.h"

TIME_LIMIT_S = 1800.0  # for one call of a compiler

# Two-state simulation of one clock, whose registers start with random values (a design must not count on zeros).
# What the linter says of style is the linter's business, not the user's.
_VERILATE = (
    *("--cc", "--prefix", "Vtop", "-O3", "--x-assign", "fast", "--x-initial", "unique", "--assert", "--no-timing"),
    *("-Wno-fatal", "-Wno-lint", "-Wno-style"),
)
# Every x86-64 processor since 2008 counts bits in one instruction, but no compiler uses it unasked.
_COMPILE = ("-std=c++17", "-w", *(("-mpopcnt",) if platform.machine() == "x86_64" else ()))
_FAST, _SLOW, _LIBRARY = "-O3", "-O0", "-O1"  # code that runs in every cycle; once (half of the text); hardly ever
_RUNTIME = ("verilated.cpp", "verilated_dpi.cpp", "verilated_threads.cpp")
_RUNTIME_TRACE = ("verilated_fst_c.cpp",)

_PORTS = {
    "aclk": 1,
    "aresetn": 1,
    "s_axis_tdata": 0,
    "s_axis_tvalid": 1,
    "s_axis_tready": 1,
    "m_axis_tdata": 0,
    "m_axis_tvalid": 1,
    "m_axis_tready": 1,
    "m_axis_tlast": 1,
}  # the width in bits; 0: any multiple of 8
_PORT = re.compile(r"VL_(?:IN|OUT)(?:8|16|64|W)?\(&(\w+),(\d+),(\d+)")


@dataclass(frozen=True)
class Model:
    """An executable of sim_main.cpp with one design in it, and the widths of its two tdata ports in bytes."""

    program: Path
    input_bytes: int
    output_bytes: int


def compile_model(sources: Sequence[Path], top: str, trace: bool, progress: Progress) -> Model:
    """The program for `top`, from the cache or compiled; `sources` in the order of compilation, without `include`.

    Raises ToolError: a tool is missing, or refuses the sources; InputError: `top` has other ports than it should.
    """
    build = _Build(toolchain.require("verilator"), toolchain.require("c++"), trace)
    if trace:
        toolchain.require("fst")
    key = toolchain.digest("model", top, *build.identity, Path(__file__), BENCH, POPCOUNT, *sources)

    def make(entry: Path) -> None:
        log = toolchain.cache_dir() / "logs" / f"{top}-{key[:12]}"
        generated = entry / "generated"
        progress("verilating", 0, 4)
        build.verilate(sources, top, generated, log.with_suffix(".verilator.log"))
        model = Model(entry / "sim", *_port_bytes((generated / "Vtop.h").read_text(), top))
        progress("compiling the run-time library", 1, 4)
        library = build.runtime_library()
        progress("compiling the model", 2, 4)
        widths = [f"-DIN_BYTES={model.input_bytes}", f"-DOUT_BYTES={model.output_bytes}"]
        units = sorted(generated.glob("*.cpp"))
        slow = [unit for unit in units if unit.stem.endswith("__Slow")]
        fast = [unit for unit in units if unit not in slow]
        build.compile_unit(slow, entry / "slow.o", [_SLOW], log.with_suffix(".slow.log"))
        fast_flags = [_FAST, *widths, "-include", str(POPCOUNT)]
        build.compile_unit([*fast, BENCH], entry / "fast.o", fast_flags, log.with_suffix(".fast.log"))
        progress("linking", 3, 4)
        build.link(
            [entry / "fast.o", entry / "slow.o", *sorted(library.glob("*.o"))], model, log.with_suffix(".link.log")
        )
        (entry / "ports").write_text(f"{model.input_bytes} {model.output_bytes}\n")
        for scrap in (entry / "fast.o", entry / "slow.o"):
            scrap.unlink()
        shutil.rmtree(generated)

    entry = toolchain.cached("models", key, make)
    in_bytes, out_bytes = map(int, (entry / "ports").read_text().split())
    progress("compiled", 4, 4)
    return Model(entry / "sim", in_bytes, out_bytes)


@dataclass(frozen=True)
class _Build:
    """The steps of a compilation, with one pair of tools."""

    verilator: toolchain.Tool
    compiler: toolchain.Tool
    trace: bool

    @property
    def identity(self) -> tuple[str, ...]:
        """What tells two pairs of tools apart."""
        return self.verilator.version, *self.compiler.command[1:], self.compiler.version, f"trace {self.trace}"

    @property
    def include(self) -> Path:
        return Path(self.verilator.environment["VERILATOR_ROOT"]) / "include"

    def verilate(self, sources: Sequence[Path], top: str, generated: Path, log: Path) -> None:
        flags = [*_VERILATE, *(["--trace-fst"] if self.trace else []), "--top-module", top]
        files = [source.resolve() for source in sources]
        generated.mkdir()
        toolchain.run(
            self.verilator, [*flags, "--Mdir", generated, *files], cwd=generated, log=log, time_limit_s=TIME_LIMIT_S
        )

    def compile(self, source: Path, target: Path, flags: Sequence[str], log: Path) -> None:
        flags = [*_COMPILE, *flags, f"-I{self.include}", f"-I{self.include / 'vltstd'}"]
        if self.trace:
            flags.append("-DCS_TRACE")
        arguments: list[str | Path] = [*flags, "-c", source, "-o", target]
        toolchain.run(self.compiler, arguments, cwd=target.parent, log=log, time_limit_s=TIME_LIMIT_S)

    def compile_unit(self, parts: Sequence[Path], target: Path, flags: Sequence[str], log: Path) -> None:
        """Many files as one: the headers of the standard library are most of what each of them is."""
        unit = parts[0].parent / f"{target.stem}.cc"
        unit.write_text("".join(f'#include "{part}"\n' for part in parts))
        self.compile(unit, target, [*flags, f"-I{unit.parent}"], log)

    def runtime_library(self) -> Path:
        """The directory with Verilator's own C++ as object files: the same for all designs, and slow to compile."""
        names = [*_RUNTIME, *(_RUNTIME_TRACE if self.trace else ())]
        key = toolchain.digest("runtime", *self.identity, _LIBRARY, *_COMPILE, *names)

        def make(entry: Path) -> None:
            for name in names:
                log = toolchain.cache_dir() / "logs" / f"{name}-{key[:12]}.log"
                self.compile(self.include / name, entry / f"{name}.o", [_LIBRARY], log)

        return toolchain.cached("runtime", key, make)

    def link(self, objects: Sequence[Path], model: Model, log: Path) -> None:
        libraries = ["-lpthread", *(["-lz", "-llz4"] if self.trace else [])]
        arguments: list[str | Path] = [*objects, "-s", "-o", model.program, *libraries]
        toolchain.run(self.compiler, arguments, cwd=model.program.parent, log=log, time_limit_s=TIME_LIMIT_S)


def _port_bytes(header: str, top: str) -> tuple[int, int]:
    """(bytes of s_axis_tdata, bytes of m_axis_tdata) from the generated class; InputError lists all wrong ports."""
    found = {name: int(high) - int(low) + 1 for name, high, low in _PORT.findall(header)}
    wrong = [
        f"{name} {'missing' if name not in found else f'has {found[name]} bits'}"
        for name, width in _PORTS.items()
        if name not in found or (found[name] != width if width else found[name] % 8)
    ]
    wrong += [f"{name} unknown" for name in found if name not in _PORTS]
    if wrong:
        allowed = "aclk, aresetn, s_axis_* and m_axis_* with tdata of a multiple of 8 bits"
        raise InputError.at(f"module {top}", f"ports: {', '.join(wrong)}", allowed)
    return found["s_axis_tdata"] // 8, found["m_axis_tdata"] // 8
