"""The vendor's tools on a project: C synthesis, co-simulation, export, implementation, one call and one log each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from codesign import toolchain
from codesign.backends.base import Progress
from codesign.backends.hls.flows import Flow
from codesign.errors import InputError, UsageError

STEPS = ("csim", "csynth", "cosim", "export", "implement")
"""In the order in which they run; cosim, export and implement need what csynth made."""

_OPTIONS = {"csim": ("csim",), "csynth": ("synth",), "cosim": ("cosim", "validation"), "export": ("export",)}
TIME_LIMIT_S = 8 * 3600.0


def parse_steps(text: str) -> list[str]:
    """The steps of `csynth,implement`, in their order. Raises UsageError for one that there is not."""
    wanted = [step.strip() for step in text.split(",")]
    unknown = [step for step in wanted if step not in STEPS]
    if unknown:
        raise UsageError.at("--run", f"there is no step {unknown[0]!r}", ", ".join(STEPS))
    return [step for step in STEPS if step in wanted]


def run_steps(project: Path, flow: Flow, steps: Sequence[str], time_limit_s: float, progress: Progress) -> None:
    """Run each step in the project's folder; everything a tool prints is in logs/STEP.log there.

    Raises ToolError when a tool is missing, fails, or is not done in time: with the log and its last lines.
    """
    if not flow.tool:
        commands = "; ".join(flow.commands)
        raise UsageError.at(flow.name, "is not driven from here", "Vitis and Vivado", f"in {project}: {commands}")
    if not (project / "build_prj.tcl").is_file():
        raise InputError.at(str(project), "no HLS project", "what 'codesign compile' wrote")
    tools = {step: toolchain.require("vivado" if step == "implement" else flow.tool) for step in steps}
    for index, step in enumerate(steps):
        progress(f"{tools[step].name}: {step}", index, len(steps))
        if step == "implement":
            arguments: list[str] = ["-mode", "batch", "-nojournal", "-nolog", "-source", "implement.tcl"]
        else:
            arguments = _hls_arguments(project, flow, step)
        log = project / "logs" / f"{step}.log"
        toolchain.run(tools[step], arguments, cwd=project, log=log, time_limit_s=time_limit_s)
        progress(f"{tools[step].name}: {step}", index + 1, len(steps))


def _hls_arguments(project: Path, flow: Flow, step: str) -> list[str]:
    """build_prj.tcl with this step alone; the project is begun anew by the first that makes something."""
    options = dict.fromkeys(("reset", "csim", "synth", "cosim", "validation", "export", "vsynth", "fifo_opt"), 0)
    options |= dict.fromkeys(_OPTIONS[step], 1)
    if flow.tool == "vivado_hls":
        return ["-f", "build_prj.tcl", " ".join(f"{name}={value}" for name, value in options.items())]
    path = project / "build_opt.tcl"
    text = path.read_text(encoding="utf-8")
    for name, value in options.items():
        text = re.sub(rf"^(\s*{name}\s+)\d+", rf"\g<1>{value}", text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")
    return ["--mode", "hls", "--tcl", "build_prj.tcl"]
