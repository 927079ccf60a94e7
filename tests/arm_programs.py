"""Small programs for the CPU simulator's tests, cross-compiled; a visible skip where the tools are missing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from conftest import missing

SOURCES = Path(__file__).parent / "arm"
KERNELS = Path(__file__).parent.parent / "benchmarks" / "arm"
SYSROOT = Path("/usr/aarch64-linux-gnu")
CONTROL = Path(__file__).parent.parent / "codesign" / "backends" / "tvm" / "sim"


def need_tools() -> None:
    for tool, package in {
        "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
        "qemu-aarch64": "qemu-user",
        "llvm-mca-19": "llvm-19",
    }.items():
        if shutil.which(tool) is None:
            missing(f"{tool} (apt install {package})")


def assemble(source: Path, out: Path, *options: str) -> Path:
    """A static program without a C library."""
    return _gcc(out, "-nostdlib", *options, str(source))


def compile_kernels(out: Path, core: str) -> Path:
    """benchmarks/arm/gemm.c for a core."""
    return _gcc(out, "-O3", f"-mcpu={core}", f"-I{CONTROL}", str(KERNELS / "gemm.c"))


def link_dynamically(source: Path, out: Path) -> Path:
    """A program that loads its C library, as the peers' do."""
    need_tools()
    subprocess.run(["aarch64-linux-gnu-gcc", "-pie", "-pthread", "-o", str(out), str(source)], check=True)
    return out


def _gcc(out: Path, *arguments: str) -> Path:
    need_tools()
    subprocess.run(["aarch64-linux-gnu-gcc", "-static", "-o", str(out), *arguments], check=True)
    return out
