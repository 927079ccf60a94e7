"""The deliverable of a network for a processor: C sources, objects, libraries, a self-test, a Python runner.

    README.md  network.json  Makefile
    include/   the header, and what the tensors are
    lib/       libNAME.so (threads), libNAME.a (needs no system)
    bin/       NAME_test: a static program that compares the golden frames, measures, or runs files
    python/    network.py: the shared library from Python
    src/       C files, tables, constants and kernels that all of this is made of, by the Makefile

The C files of app/ are copied as they are, but for `network_`, which becomes the network's own name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from codesign.backends.tvm.cpu import NATIVE, Cpu
from codesign.backends.tvm.deliver.ports import Port, described, frames_to_bytes, ports_of
from codesign.backends.tvm.deliver.program import Kernel, Program, program_of
from codesign.backends.tvm.deliver.runners import stand_in_note
from codesign.backends.tvm.deliver.tables import port_table, ports_header, program_tables
from codesign.backends.tvm.plan import ALIGNMENT, Plan
from codesign.errors import InputError, ToolError, UsageError, reason_of
from codesign.ir.types import IntArray
from codesign.target import Target
from codesign.toolchain import Tool, cache_dir, require, run

_ROOM = "CODESIGN_CACHE=a directory with room"  # where builds are made

GOLDEN_FRAMES = 4
"""Frames of the self-test."""

DESCRIPTION = "network.json"
SCHEMA = 1
COMPILERS = {"aarch64": "aarch64-cc", "x86_64": "cc"}
_APP = Path(__file__).parent / "app"
_BUILD_SECONDS = 600.0
_RENAMED = re.compile(r"\bnetwork(?=_|\.[a-z])|\bNETWORK(?=_)")


@dataclass(frozen=True)
class Deliverable:
    """What was written.

    files            below the directory, sorted
    arena_bytes      working memory of one inference
    constants_bytes  weights, biases and tables
    compiler         that built it, and what it says of itself
    notes            what a user has to know
    """

    files: tuple[str, ...]
    arena_bytes: int
    constants_bytes: int
    compiler: str
    notes: tuple[str, ...]


def write_deliverable(
    out: Path,
    plan: Plan,
    kernels: Sequence[Kernel],
    target: Target,
    golden_in: Sequence[IntArray],
    golden_out: Sequence[IntArray],
    name: str = "network",
) -> Deliverable:
    """Write everything into the directory `out`, which exists and is the caller's to throw away when this raises.

    kernels                one per task of the plan
    golden_in, golden_out  (frames, …) of every input and output; the first GOLDEN_FRAMES are built into the self-test
    name                   of the library and its functions, a C identifier

    Raises UsageError for a name that C cannot take, UnsupportedError for kernels with too many arguments, ToolError
    when the compiler or make is missing or fails, InputError when the disk is full.
    """
    cpu = _cpu(target)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError.at("name", repr(name), "a letter, then letters, digits and _, in lower case", "network")
    compiler, make = require(COMPILERS[cpu.arch]), require("make")
    program = program_of(plan, kernels)
    inputs, outputs = ports_of(plan.graph)
    try:
        _write_sources(out, name, program, inputs, outputs)
        _write_golden(out, (inputs, golden_in), (outputs, golden_out))
        for object_ in dict.fromkeys(kernel.object.path for kernel in kernels):
            symbol = next(k.object.symbol for k in kernels if k.object.path == object_)
            shutil.copyfile(object_, out / "src" / "kernels" / f"{symbol}.o")
        data = describe(name, cpu, target, program, inputs, outputs)
        (out / DESCRIPTION).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        _write_readme(out, name, target, program, {"input": inputs, "output": outputs}, compiler)
    except OSError as error:
        raise InputError.at(str(out), f"cannot be written: {reason_of(error)}", hint=_ROOM) from error
    build(out, compiler, make)
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    return Deliverable(tuple(files), program.arena_bytes, len(program.constants), compiler.version, _notes(cpu))


def build(directory: Path, compiler: Tool, make: Tool) -> None:
    """Run the deliverable's Makefile with a compiler. Raises ToolError, or InputError when the disk is full."""
    log = cache_dir() / "logs" / f"deliver-{os.getpid()}.log"
    arguments = ["-j2", "CFLAGS=-O2", f"CC={' '.join(compiler.command)}", f"AR={archiver(compiler)}"]
    try:
        run(make, arguments, cwd=directory, log=log, time_limit_s=_BUILD_SECONDS)
    except ToolError as error:
        if "No space left on device" in str(error):
            where = "cannot be written: No space left on device"
            raise InputError.at(str(directory), where, hint=_ROOM) from error
        raise
    shutil.rmtree(directory / "build")


def archiver(compiler: Tool) -> str:
    """The `ar` beside a compiler: /usr/bin/aarch64-linux-gnu-gcc has /usr/bin/aarch64-linux-gnu-ar."""
    beside = re.sub(r"(gcc|clang|cc)$", "ar", compiler.command[0])
    return beside if Path(beside).exists() else "ar"


def describe(
    name: str, cpu: Cpu, target: Target, program: Program, inputs: Sequence[Port], outputs: Sequence[Port]
) -> dict[str, Any]:
    """network.json: what programs that use the deliverable have to know.

    layers  in the order of computation. Equal layers share a kernel, and a kernel's instructions do not depend on what
            it computes with: a layer's share of what a profiler counts for a kernel is one part of its calls.
    """
    return {
        "schema": SCHEMA,
        "name": name,
        "target": target.name,
        "cpu": {"arch": cpu.arch, "core": cpu.core, "features": list(cpu.extensions())},
        "inputs": [port.data() for port in inputs],
        "outputs": [port.data() for port in outputs],
        "arena_bytes": program.arena_bytes,
        "arena_alignment": ALIGNMENT,
        "constants_bytes": len(program.constants),
        "layers": [
            {"name": step.layer, "kernel": step.symbol, "steps": step.steps, "macs": step.macs}
            for step in program.steps
        ],
    }


def _cpu(target: Target) -> Cpu:
    if target.cpu is None:
        raise UsageError.at(f"target {target.name}", "no table [cpu]", hint="codesign targets")
    return target.cpu


def _write_sources(out: Path, name: str, program: Program, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    for folder in ("include", "lib", "bin", "python", "src/kernels", "src/tables"):
        (out / folder).mkdir(parents=True)
    for source in sorted(_APP.iterdir()):
        if source.suffix in (".c", ".h", ".S", ".map"):
            public = source.name == "network.h"
            file = out / ("include" if public else "src") / source.name.replace("network.", f"{name}.")
            file.write_text(_renamed(source.read_text(encoding="utf-8"), name), encoding="utf-8")
    (out / "Makefile").write_bytes((_APP / "Makefile").read_bytes())
    (out / "python" / "network.py").write_bytes((_APP / "runner.py").read_bytes())
    (out / "src" / "config.mk").write_text(f"NAME = {name}\n", encoding="ascii")
    (out / "src" / "constants.bin").write_bytes(program.constants)
    header = ports_header(name, inputs, outputs, program)
    (out / "include" / f"{name}_ports.h").write_text(header, encoding="ascii")
    tables = {**program_tables(program), "inputs.inc": port_table(inputs), "outputs.inc": port_table(outputs)}
    for file_name, text in tables.items():
        (out / "src" / "tables" / file_name).write_text(text, encoding="ascii")


def _renamed(text: str, name: str) -> str:
    """C with functions, macros and headers of another network's name."""
    return _RENAMED.sub(lambda found: name if found[0].islower() else name.upper(), text)


def _write_golden(out: Path, *ends: tuple[Sequence[Port], Sequence[IntArray]]) -> None:
    """golden.bin: of each frame the inputs, then the outputs."""
    frames = min(GOLDEN_FRAMES, *(len(values[0]) for _, values in ends))
    ports = [port for some, _ in ends for port in some]
    values = [array[:frames] for _, arrays in ends for array in arrays]
    (out / "src" / "golden.bin").write_bytes(frames_to_bytes(ports, values))
    (out / "src" / "tables" / "golden.h").write_text(f"#define GOLDEN_FRAMES {frames}\n", encoding="ascii")


def _write_readme(
    out: Path, name: str, target: Target, program: Program, ports: Mapping[str, Sequence[Port]], compiler: Tool
) -> None:
    cpu = _cpu(target)
    features = f" with {', '.join(cpu.extensions())}" if cpu.extensions() else ""
    values = {
        "name": name,
        "macro": name.upper(),
        "target": target.name,
        "core": ("this machine's processor" if cpu.core == NATIVE else cpu.core) + features,
        "arena": f"{program.arena_bytes:,}",
        "alignment": str(ALIGNMENT),
        "constants": f"{len(program.constants):,}",
        "ports": described(ports),
        "layers": str(len(program.steps)),
        "kernels": str(len({step.symbol for step in program.steps})),
        "compiler": compiler.version,
    }
    text = Template((_APP / "readme.md").read_text(encoding="utf-8")).substitute(values)
    (out / "README.md").write_text(text, encoding="utf-8")


def _notes(cpu: Cpu) -> tuple[str, ...]:
    if cpu.core != NATIVE:
        note = stand_in_note(cpu)
        return (note,) if note else ()
    has = ", ".join(cpu.extensions()) or "none of the extensions that kernels are chosen by"
    return (f"built for this machine's processor ({has}); another one may lack its instructions",)
