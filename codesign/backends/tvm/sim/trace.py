"""Runs an aarch64 executable in QEMU under the plugin: every block of code with its counts, as data.

    profile = record(executable, cpu, clock_hz, arguments)        profile.blocks[0].count

A block is a stretch of instructions that QEMU translated as one: it ends at a branch, a page, or after 512. Counts are
exact, also of programs that load shared libraries; addresses are those at run time. The program may choose what is
counted with `prctl(CONTROL, state)`, see plugin/profile.c; without that call everything is, from the first instruction.
"""

from __future__ import annotations

import array
import struct
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codesign import toolchain
from codesign.backends.tvm.cpu import Cpu
from codesign.errors import InputError, ToolError

CONTROL = 0x43445350
"""First argument of prctl by which a program steers the plugin; the second is OFF, WARM or COUNT."""
OFF, WARM, COUNT = 0, 1, 2

TIME_LIMIT_S = 600.0

_PAGE = 4096
_HEAD = struct.Struct("<8s6Q")
_RECORD = struct.Struct("<21Q")
_QEMU_CPUS = {  # QEMU 7.2 has these cores; the others run on one with the same instructions
    "cortex-a53": "cortex-a53",
    "cortex-a72": "cortex-a72",
    "cortex-a55": "cortex-a76",
    "cortex-a76": "cortex-a76",
    "cortex-a78": "cortex-a76",
    "neoverse-n1": "neoverse-n1",
}
_ANY_CPU = "max"  # every instruction that QEMU knows
_ILLEGAL = "killed by signal 4 "


@dataclass(frozen=True)
class Sampling:
    """Caches are simulated in `every` of each `of` instructions; all of them by default. Executions are all counted."""

    every: int = 0
    of: int = 0

    @property
    def factor(self) -> float:
        """What counts of accesses and misses are multiplied by."""
        return self.of / self.every if self.of else 1.0

    def __str__(self) -> str:
        return f"{self.every:,} of every {self.of:,} instructions" if self.of else "all accesses"


@dataclass(frozen=True)
class Block:
    """One block of code. Misses are of parts of at most 8 bytes that loads and stores are made of, where QEMU does so.

    address, words   where it ran, its instructions
    count            executions
    mispredicted     executions whose successor the branch predictor did not foresee
    missed_l1 …      loads and stores that a level, and all before it, did not have
    stalls           loads whose latency shows, by who had the line: L2, L3, main memory
    memory_reads     lines read from main memory, prefetched ones included; memory_writes: lines written back
    successors       (index of a block, how often it came next): the first four that did
    """

    address: int
    words: tuple[int, ...]
    count: int
    mispredicted: int
    accesses: int
    missed_l1: int
    missed_l2: int
    missed_l3: int
    stalls: tuple[int, int, int]
    memory_reads: int
    memory_writes: int
    successors: tuple[tuple[int, int], ...]

    @property
    def instructions(self) -> int:
        """Instructions executed in all."""
        return self.count * len(self.words)


@dataclass(frozen=True)
class Recording:
    """What one run of a program did. `threads` above 1: the others' work is not in it."""

    blocks: tuple[Block, ...]
    instructions: int
    threads: int
    sampling: Sampling


def record(
    executable: Path,
    cpu: Cpu,
    arguments: Sequence[str] = (),
    *,
    sampling: Sampling | None = None,
    start: int = COUNT,
    root: Path | None = None,
    environment: Sequence[str] = (),
    time_limit_s: float = TIME_LIMIT_S,
) -> Recording:
    """Run the program to its end on a core with the caches of `cpu`.

    start         the state before the program's first prctl
    root          folder that holds its dynamic loader and libraries (QEMU's -L)
    environment   NAME=value, for the program

    ToolError: QEMU or the compiler is missing; the program crashed, or has an instruction that the core lacks.
    """
    check_executable(executable)
    qemu, plugin = toolchain.require("qemu-aarch64"), _plugin()
    sampling = sampling or Sampling()
    with tempfile.TemporaryDirectory(prefix="codesign-sim-") as folder:
        log = toolchain.cache_dir() / "logs" / f"{Path(folder).name}.log"
        out = Path(folder) / "profile.bin"
        options = ["-cpu", qemu_cpu(cpu), "-plugin", f"{plugin},{_options(cpu, sampling, start, out)}"]
        if root:
            options += ["-L", str(root)]
        for entry in environment:
            options += ["-E", entry]
        try:
            command: list[str | Path] = [*options, executable.resolve(), *arguments]
            toolchain.run(qemu, command, cwd=Path(folder), log=log, time_limit_s=time_limit_s)
        except ToolError as error:
            raise _explained(error, executable, cpu, out) from error
        log.unlink(missing_ok=True)
        return read(out, sampling)


def qemu_cpu(cpu: Cpu) -> str:
    """QEMU's name of a core that has the instructions of this one, and where it knows the core no others."""
    return _ANY_CPU if "i8mm" in cpu.features else _QEMU_CPUS.get(cpu.core, _ANY_CPU)


def check_executable(path: Path) -> None:
    """Raises InputError unless the file is a 64-bit little-endian ELF program for aarch64."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError as error:
        raise InputError.at(str(path), f"cannot be read: {error.strerror}") from error
    allowed = "an ELF executable for aarch64"
    if head[:6] != b"\x7fELF\x02\x01" or len(head) < 20:
        raise InputError.at(str(path), "is no 64-bit little-endian ELF file", allowed)
    machine = int.from_bytes(head[18:20], "little")
    if machine != 183:
        raise InputError.at(str(path), f"is for ELF machine {machine}", f"{allowed} (machine 183)")


def read(path: Path, sampling: Sampling | None = None) -> Recording:
    """What the plugin wrote. Raises ToolError when it is not whole."""
    data = path.read_bytes() if path.is_file() else b""
    if len(data) < _PAGE or data[:7] != b"CSPROF1":
        raise ToolError.at("qemu-aarch64", "the plugin wrote no profile", hint="a QEMU with plugins, version 7 or 8")
    _, _, _, threads, instructions, count, complete = _HEAD.unpack_from(data)
    if not complete:
        raise ToolError.at("qemu-aarch64", "the profile is not whole: the program was stopped before its end")
    blocks, at = [], _PAGE
    for _ in range(count):
        (address, size, executions, mispredicted, accesses, *rest) = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        words = array.array("I", data[at : at + 4 * size])
        if sys.byteorder == "big":
            words.byteswap()
        at += 4 * (size + size % 2)
        l1, l2, l3, *stalls = rest[:6]
        reads, writes, *next_ = rest[6:]
        successors = tuple((i, n) for i, n in zip(next_[::2], next_[1::2], strict=True) if n)
        blocks.append(
            Block(
                address,
                tuple(words),
                executions,
                mispredicted,
                accesses,
                l1,
                l2,
                l3,
                (stalls[0], stalls[1], stalls[2]),
                reads,
                writes,
                successors,
            )
        )
    return Recording(tuple(blocks), instructions, threads, sampling or Sampling())


def _plugin() -> Path:
    """The plugin, compiled once for its source and compiler."""
    folder = Path(__file__).parent / "plugin"
    sources = sorted(folder.glob("*.[ch]"))
    compiler = toolchain.require("cc")
    flags = ["-std=gnu11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden"]

    def make(out: Path) -> None:
        files = [path for path in sources if path.suffix == ".c"]
        arguments: list[str | Path] = [*flags, "-o", out / "profile.so", *files, "-lpthread"]
        toolchain.run(compiler, arguments, cwd=out, log=out / "cc.log", time_limit_s=120)

    key = toolchain.digest(compiler.version, *flags, *sources)
    return toolchain.cached("qemu-plugin", key, make) / "profile.so"


def _options(cpu: Cpu, sampling: Sampling, start: int, out: Path) -> str:
    levels = {
        "l1d": (cpu.l1d_bytes, cpu.l1d_ways),
        "l2": (cpu.l2_bytes, cpu.l2_ways),
        "l3": (cpu.l3_bytes, cpu.l3_ways),
    }
    options = {name: f"{size}:{ways}" for name, (size, ways) in levels.items() if size}
    options |= {"line": str(cpu.line_bytes), "ahead": str(cpu.prefetch_lines), "window": str(cpu.window)}
    options |= {"every": str(sampling.every), "of": str(sampling.of), "start": str(start)}
    return f"out={out}," + ",".join(f"{name}={value}" for name, value in options.items())


def _explained(error: ToolError, executable: Path, cpu: Cpu, out: Path) -> ToolError:
    """The error of a program that did not end well; an illegal instruction is named."""
    found = error.diagnostics[0].found
    if not found.startswith(_ILLEGAL) or not out.is_file():
        return error
    from codesign.backends.tvm.sim.mca import disassemble

    _, address, word, *_ = _HEAD.unpack_from(out.read_bytes())
    text = disassemble([word])[word] or "unknown"
    return ToolError.at(
        str(executable),
        f"has an instruction that {cpu.core} lacks: {text} ({word:#010x}) at {address:#x}",
        hint=f"compile for -mcpu={cpu.core}",
    )
