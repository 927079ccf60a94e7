"""Cycle-accurate simulation of an AXI4-Stream design: SystemVerilog in, output beats and the cycle of every frame out.

`build` turns sources into a program (Verilator, one C++ unit, a precompiled run-time library; no make) and keeps it in
the cache under the digest of all that went into it. Memory files are not part of that: `$readmemh` reads them when the
simulation starts, from the directory it runs in, so a retrained network needs no compiler. `Simulator.run` drives it.

Every top has the ports aclk, aresetn, s_axis_{tdata,tvalid,tready} and m_axis_{tdata,tvalid,tready,tlast}; tdata is a
multiple of 8 bits wide. A beat is handed over here as its bytes, least significant first.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codesign import toolchain
from codesign.backends.base import Progress
from codesign.backends.rtl.simresult import REPORT_LINES, Frames, SimResult, read_result
from codesign.errors import InputError, UsageError

HW = Path(__file__).resolve().parents[3] / "hw"
_BENCH = HW / "tb" / "sim_main.cpp"
_MONITOR = HW / "tb" / "cs_stream_monitor.sv"

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

_VERILATE = ("--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--assert", "--no-timing", "-Wno-fatal",
             "-Wno-lint", "-Wno-style", "--prefix", "Vtop")  # fmt: skip
_COMPILE = ("-std=c++17", "-O2", "-w")
_RUNTIME = ("verilated.cpp", "verilated_dpi.cpp", "verilated_threads.cpp")
_RUNTIME_TRACE = ("verilated_fst_c.cpp",)
BUILD_LIMIT_S = 1800.0
_CYCLES_AFTER = 8  # recorded after the end of a traced frame


def ignore_progress(_what: str, _done: int, _total: int) -> None:
    """The Progress of a caller who does not want any."""


@dataclass(frozen=True)
class Trace:
    """What to record: the FST file, and the window of cycles (both ends included)."""

    file: Path
    first: int = 0
    last: int = 2**62


@dataclass(frozen=True)
class Simulator:
    """A compiled design.

    program       the executable
    directory     where it runs: relative names in `$readmemh` are relative to it
    input_bytes   width of s_axis_tdata in bytes; output_bytes that of m_axis_tdata
    tracing       whether it can write an FST file (it is slower if it can)
    """

    program: Path
    directory: Path
    input_bytes: int
    output_bytes: int
    tracing: bool

    def run(
        self,
        inputs: npt.NDArray[np.uint8],
        output_beats: int,
        *,
        stall: float = 0.0,
        seed: int = 1,
        idle_limit: int = 100_000,
        cycle_limit: int | None = None,
        time_limit_s: float | None = None,
        trace: Trace | None = None,
        check: bool = True,
        progress: Progress = ignore_progress,
    ) -> SimResult:
        """Send the frames back to back and collect `output_beats` beats for each.

        inputs        (frames, beats per frame, input_bytes); at least one frame
        stall         probability, in every cycle, that the source does not offer a new beat, and likewise that the
                      sink is not ready; 0 <= stall < 1. A beat once offered stays until it is taken
        seed          of the stalls; the same arguments give the same run, cycle by cycle
        idle_limit    cycles without a handshake at the ports after which the streams within are looked at; when no beat
                      has moved there for as long again it is a deadlock
        cycle_limit   stop after so many cycles
        trace         needs a simulator that was built with `trace=True`
        check         raise MismatchError when the run did not complete (deadlock, failed assertion, wrong tlast, cycle
                      limit); with False the reason is in `SimResult.failure` and the frames completed are given
        Raises UsageError for wrong arguments, ToolError when the program crashes or `time_limit_s` is over.
        """
        self._check(inputs, output_beats, stall, trace)
        frames = Frames(inputs.shape[0], inputs.shape[1], output_beats, self.output_bytes)
        with tempfile.TemporaryDirectory(prefix="codesign-sim-") as scratch:
            files = {key: Path(scratch) / key for key in ("in", "out", "stamps")}
            files["in"].write_bytes(np.ascontiguousarray(inputs).tobytes())
            arguments = [
                *(f"{key}={files[key]}" for key in ("in", "out", "stamps")),
                f"frames={frames.count}",
                f"in_beats={frames.in_beats}",
                f"out_beats={frames.out_beats}",
                f"seed={seed}",
                f"stall={stall!r}",
                f"idle_limit={idle_limit}",
            ]
            if cycle_limit is not None:
                arguments.append(f"cycle_limit={cycle_limit}")
            if trace is not None:
                trace.file.parent.mkdir(parents=True, exist_ok=True)
                arguments += [f"trace={trace.file.resolve()}", f"from={trace.first}", f"to={trace.last}"]

            lines: list[str] = []

            def on_line(line: str) -> None:
                if line.startswith("progress "):
                    progress("simulating", int(line.split()[1]), frames.count)
                elif "%Warning" in line and "$readmem" in line:  # it would go on with zeros
                    raise InputError.at("memory file", line.split("%Warning: ", 1)[-1], hint="compile the model again")
                elif line.startswith(REPORT_LINES) or "%Error" in line:
                    lines.append(line)

            program = toolchain.Tool("simulation", (str(self.program),), "", "", "")
            log = toolchain.cache_dir() / "logs" / f"simulation-{os.getpid()}.log"  # stays only when it fails
            progress("simulating", 0, frames.count)
            toolchain.run(program, arguments, cwd=self.directory, log=log, time_limit_s=time_limit_s, on_line=on_line)
            result = read_result(lines, files["out"], files["stamps"], frames)
            log.unlink(missing_ok=True)
        progress("simulating", len(result.outputs), frames.count)
        if check:
            result.require_complete()
        return result

    def _check(self, inputs: npt.NDArray[np.uint8], output_beats: int, stall: float, trace: Trace | None) -> None:
        if inputs.dtype != np.uint8 or inputs.ndim != 3 or 0 in inputs.shape or inputs.shape[2] != self.input_bytes:
            found = f"{inputs.dtype} of shape {inputs.shape}"
            raise UsageError.at("simulation inputs", found, f"uint8 of shape (frames, beats, {self.input_bytes})")
        if output_beats < 1:
            raise UsageError.at("output beats per frame", str(output_beats), "1 or more")
        if not 0.0 <= stall < 1.0:
            raise UsageError.at("stall probability", f"{stall:g}", "0 <= stall < 1")
        if trace is not None and not self.tracing:
            raise UsageError.at(str(trace.file), "the simulator was built without tracing", hint="build(…, trace=True)")


def build(
    sources: Path | Sequence[Path],
    top: str,
    *,
    directory: Path | None = None,
    trace: bool = False,
    progress: Progress = ignore_progress,
) -> Simulator:
    """Compile `top` from SystemVerilog files, or from every .sv file below a directory; the second time it is there.

    sources    files in the order of compilation, or a directory (files ending in _pkg.sv first, then by path).
               `bind` statements may be among them; cs_stream_monitor.sv is added. They hold no `include`
    directory  where simulations run (`$readmemh`); the source directory, or that of the first file, when not given
    Raises ToolError: a tool is missing, or refuses the sources; InputError: no sources, or `top` has other ports.
    """
    files = design_files(sources) if isinstance(sources, Path) else list(sources)
    if not files:
        raise InputError.at(str(sources), "no SystemVerilog files")
    home = directory or (sources if isinstance(sources, Path) else files[0].parent)
    verilator, compiler = toolchain.require("verilator"), toolchain.require("c++")
    if trace:
        toolchain.require("fst")
    if _MONITOR.name not in [f.name for f in files]:
        files.append(_MONITOR)
    key = toolchain.digest(
        "model 1", top, *verilate_flags(trace), *_COMPILE, str(trace), verilator.version, *compiler.command[1:],
        compiler.version, _BENCH, *files,
    )  # fmt: skip

    def make(entry: Path) -> None:
        log = toolchain.cache_dir() / "logs" / f"{top}-{key[:12]}"
        progress("verilating", 0, 3)
        generated = entry / "model"
        arguments: list[str | Path] = [
            *verilate_flags(trace),
            "--top-module",
            top,
            "--Mdir",
            generated,
            *(f.resolve() for f in files),
        ]
        toolchain.run(
            verilator, arguments, cwd=entry, log=log.with_suffix(".verilator.log"), time_limit_s=BUILD_LIMIT_S
        )
        in_bytes, out_bytes = _port_bytes((generated / "Vtop.h").read_text(), top)
        progress("compiling the run-time library", 1, 3)
        library = runtime_library(verilator, compiler, trace)
        progress("compiling the model", 2, 3)
        unit = entry / "unit.cpp"
        parts = [*sorted(generated.glob("*.cpp")), _BENCH]
        unit.write_text("".join(f'#include "{part}"\n' for part in parts))
        flags = [
            *compile_flags(verilator, trace),
            f"-I{generated}",
            f"-DIN_BYTES={in_bytes}",
            f"-DOUT_BYTES={out_bytes}",
        ]
        objects = sorted(library.glob("*.o"))
        libraries = ["-lz", "-llz4"] if trace else []
        arguments = [*flags, unit, *objects, "-o", entry / "sim", "-lpthread", *libraries]
        toolchain.run(compiler, arguments, cwd=entry, log=log.with_suffix(".c++.log"), time_limit_s=BUILD_LIMIT_S)
        (entry / "ports").write_text(f"{in_bytes} {out_bytes}\n")

    entry = toolchain.cached("models", key, make)
    in_bytes, out_bytes = map(int, (entry / "ports").read_text().split())
    progress("compiled", 3, 3)
    return Simulator(entry / "sim", home, in_bytes, out_bytes, trace)


def design_files(directory: Path) -> list[Path]:
    """Every .sv file below the directory: packages first, since others import them, then by path."""
    return sorted(directory.rglob("*.sv"), key=lambda f: (not f.name.endswith("_pkg.sv"), str(f)))


def verilate_flags(trace: bool) -> list[str]:
    return [*_VERILATE, *(["--trace-fst"] if trace else [])]


def compile_flags(verilator: toolchain.Tool, trace: bool) -> list[str]:
    include = Path(verilator.environment["VERILATOR_ROOT"]) / "include"
    return [*_COMPILE, f"-I{include}", f"-I{include / 'vltstd'}", *(["-DCS_TRACE"] if trace else [])]


def runtime_library(verilator: toolchain.Tool, compiler: toolchain.Tool, trace: bool) -> Path:
    """The directory with Verilator's own C++ as object files: it is the same for all designs, and slow to compile."""
    include = Path(verilator.environment["VERILATOR_ROOT"]) / "include"
    names = [*_RUNTIME, *(_RUNTIME_TRACE if trace else ())]
    key = toolchain.digest("runtime 1", *_COMPILE, *compiler.command[1:], compiler.version, verilator.version, *names)

    def make(entry: Path) -> None:
        for name in names:
            log = toolchain.cache_dir() / "logs" / f"{name}-{key[:12]}.log"
            arguments: list[str | Path] = [
                *compile_flags(verilator, trace),
                "-c",
                include / name,
                "-o",
                entry / f"{name}.o",
            ]
            toolchain.run(compiler, arguments, cwd=entry, log=log, time_limit_s=BUILD_LIMIT_S)

    return toolchain.cached("runtime", key, make)


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


def trace_frame(
    sources: Path | Sequence[Path],
    top: str,
    inputs: npt.NDArray[np.uint8],
    output_beats: int,
    *,
    frame: int,
    seen: SimResult,
    file: Path,
    directory: Path | None = None,
    stall: float = 0.0,
    seed: int = 1,
    longest: int = 4096,
    progress: Progress = ignore_progress,
) -> Trace:
    """Run again what gave `seen` (same inputs, stalls and seed), and record the cycles in which `frame` came out.

    The window ends a few cycles after the frame's last output beat (or where the run ended without it) and begins with
    its first input beat, but holds `longest` cycles at most. Returns the window; the FST file is `file`.
    """
    done, begun = int(seen.completed[frame]), int(seen.accepted[frame])
    last = (done if done >= 0 else seen.cycles) + _CYCLES_AFTER
    window = Trace(file, max(begun, last - longest + 1, 0), last)
    simulator = build(sources, top, directory=directory, trace=True, progress=progress)
    simulator.run(
        inputs, output_beats, stall=stall, seed=seed, cycle_limit=last + 1, trace=window, check=False, progress=progress
    )
    return window
