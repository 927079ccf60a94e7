"""A private root of aarch64 Debian with Python, LiteRT, onnxruntime and ncnn, for QEMU; this machine stays as it is.

    root = make_root(cpu)       qemu-aarch64 -L root/CORE root/CORE/usr/bin/python3.11 …

Made once, in codesign's cache: Debian packages by apt-get with its own state, unpacked with dpkg, wheels by pip. Each
core has a view of it with its own /proc/cpuinfo and /sys/devices/system/cpu, which the libraries choose kernels by.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from codesign import toolchain
from codesign.backends.tvm.cpu import Cpu
from codesign.errors import ToolError, UsageError

PACKAGES = (
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libc6", "libstdc++6", "libgcc-s1"),
    *("zlib1g", "libexpat1", "libffi8", "liblzma5", "libbz2-1.0", "libssl3", "libuuid1", "libsqlite3-0", "libgomp1"),
)
WHEELS = ("numpy==2.1.3", "ai-edge-litert==1.2.0", "onnxruntime==1.32.0", "flatbuffers==25.2.10", "ncnn==1.0.20240102")
PLATFORMS = (*(f"manylinux_2_{minor}_aarch64" for minor in (28, 27, 24, 17)), "manylinux2014_aarch64", "any")

_PARTS = {  # MIDR_EL1.PartNum, from the Technical Reference Manual of each core
    "cortex-a53": 0xD03,
    "cortex-a55": 0xD05,
    "cortex-a72": 0xD08,
    "cortex-a76": 0xD0B,
    "cortex-a78": 0xD41,
    "neoverse-n1": 0xD0C,
}
_BASE = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_V82 = "atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"  # of the cores with the dot product


def make_root(cpu: Cpu) -> Path:
    """The folder to give QEMU as -L for that core. ToolError: apt-get, dpkg or pip failed."""
    if cpu.core not in _PARTS:
        raise UsageError.at("core", f"no /proc/cpuinfo is known for {cpu.core}", ", ".join(_PARTS))
    key = toolchain.digest(*PACKAGES, *WHEELS, Path(__file__))
    base = toolchain.cached("aarch64-root", key, _make)
    return base / "cores" / cpu.core


def _make(out: Path) -> None:
    system, apt = out / "system", out / "apt"
    for folder in (apt / "lists" / "partial", apt / "archives" / "partial", out / "debs", system, out / "wheels"):
        folder.mkdir(parents=True)
    (apt / "status").touch()
    options = ["-o", "APT::Architecture=arm64", "-o", "APT::Architectures::=arm64", "-o", "APT::Sandbox::User=root"]
    options += ["-o", f"Dir::State={apt}", "-o", f"Dir::State::status={apt / 'status'}", "-o", f"Dir::Cache={apt}"]
    get = _tool("apt-get", "a Debian system")
    _run(get, [*options, "-qq", "update"], out)
    _run(get, [*options, "-qq", "download", *PACKAGES], out / "debs")
    for package in sorted((out / "debs").glob("*.deb")):
        _run(_tool("dpkg", "a Debian system"), ["-x", str(package), str(system)], out)
    pip = toolchain.Tool("pip", (sys.executable, "-m", "pip"), "", "the peers' wheels", "python -m ensurepip")
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    download = ["download", "-q", "--no-deps", "--only-binary", ":all:", "--python-version", "3.11"]
    _run(pip, [*download, "--implementation", "cp", *platforms, "-d", str(out / "wheels"), *WHEELS], out)
    for wheel in sorted((out / "wheels").glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(system / "opt" / "python")
    for core in _PARTS:
        _view(out / "cores" / core, system, core)
    for leftover in (*(out / "wheels").iterdir(), *(out / "debs").iterdir()):
        leftover.unlink()


def _view(root: Path, system: Path, core: str) -> None:
    """The system as links, with files under /proc and /sys that say which core it is."""
    root.mkdir(parents=True)
    for entry in system.iterdir():
        (root / entry.name).symlink_to(Path("..") / ".." / "system" / entry.name)
    features = _BASE if core in ("cortex-a53", "cortex-a72") else f"{_BASE} {_V82}"
    (root / "proc").mkdir()
    (root / "proc" / "cpuinfo").write_text(
        f"processor\t: 0\nBogoMIPS\t: 100.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        f"CPU variant\t: 0x1\nCPU part\t: {_PARTS[core]:#x}\nCPU revision\t: 0\n\n"
    )
    cpus = root / "sys" / "devices" / "system" / "cpu"
    cpus.mkdir(parents=True)
    for name in ("possible", "present", "online", "kernel_max"):
        (cpus / name).write_text("0\n")


def _tool(name: str, install: str) -> toolchain.Tool:
    import shutil

    path = shutil.which(name)
    if path is None:
        raise ToolError.at(name, "not found, needed for the peers' aarch64 libraries", hint=install)
    return toolchain.Tool(name, (path,), "", "the peers' aarch64 libraries", install)


def _run(tool: toolchain.Tool, arguments: list[str], folder: Path) -> None:
    log = toolchain.cache_dir() / "logs" / f"peers-{tool.name}.log"
    toolchain.run(tool, arguments, cwd=folder, log=log, time_limit_s=600)
