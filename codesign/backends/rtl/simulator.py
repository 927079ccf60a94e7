"""Cycle-accurate simulation of an AXI4-Stream design: SystemVerilog in, output beats and the cycle of every frame out.

`build` gives a program (see verilate.py) that runs in the design's directory, where `$readmemh` finds its memory files;
`Simulator.run` sends frames through it; `trace_frame` runs again what went wrong and records it.

Every top has the ports aclk, aresetn, s_axis_{tdata,tvalid,tready} and m_axis_{tdata,tvalid,tready,tlast}; tdata is a
multiple of 8 bits wide. A beat is handed over here as its bytes, least significant first.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codesign import toolchain
from codesign.backends.base import Progress, ignore_progress
from codesign.backends.rtl.simresult import REPORT_LINES, Frames, SimResult, read_result
from codesign.backends.rtl.verilate import MONITOR, compile_model
from codesign.errors import InputError, UsageError

_CYCLES_AFTER = 8  # recorded after the end of a traced frame


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
        Raises UsageError for wrong arguments, InputError for a memory file or a trace file that cannot be used,
        ToolError when the program crashes or `time_limit_s` is over.
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
                _open_for_writing(trace.file)
                arguments += [f"trace={trace.file.resolve()}", f"from={trace.first}", f"to={trace.last}"]

            lines: list[str] = []

            def on_line(line: str) -> None:
                if line.startswith("progress "):
                    progress("simulating", int(line.split()[1]), frames.count)
                elif "$readmem" in line and ("%Warning" in line or "%Error" in line):  # a warning: it takes zeros
                    found = line.partition("%")[2].partition(": ")[2]
                    raise InputError.at("memory file", found, hint="compile the model again")
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
    for file in files:
        check_readable(file)
    home = directory or (sources if isinstance(sources, Path) else files[0].parent)
    model = compile_model([*files, MONITOR], top, trace, progress)
    return Simulator(model.program, home, model.input_bytes, model.output_bytes, trace)


def check_readable(file: Path) -> None:
    """InputError: a file of the design is missing, or cannot be read."""
    try:
        file.open("rb").close()
    except OSError as error:
        raise InputError.at(str(file), f"cannot be read: {error.strerror}", hint="codesign compile again") from error


def _open_for_writing(file: Path) -> None:
    """Make the file, empty, before a long run ends with nowhere to write. InputError: that cannot be done."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    except OSError as error:
        raise InputError.at(str(file), f"cannot be written: {error.strerror}") from error


def design_files(directory: Path) -> list[Path]:
    """Every .sv file below the directory: packages first, since others import them, then by path."""
    return sorted(directory.rglob("*.sv"), key=lambda f: (not f.name.endswith("_pkg.sv"), str(f)))


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

    The window begins with the frame's first input beat and ends a few cycles after its last output beat, but holds the
    last `longest` cycles of that at most. For a frame that never came out it ends with the run, or, when that ended
    with a long silence, `longest / 2` cycles into it. Returns the window; the FST file is `file`.
    """
    done, begun = int(seen.completed[frame]), int(seen.accepted[frame])
    last = (done if done >= 0 else min(seen.cycles, seen.last_active + longest // 2)) + _CYCLES_AFTER
    window = Trace(file, max(begun, last - longest + 1, 0), last)
    simulator = build(sources, top, directory=directory, trace=True, progress=progress)
    simulator.run(
        inputs, output_beats, stall=stall, seed=seed, cycle_limit=last + 1, trace=window, check=False, progress=progress
    )
    return window
