"""What candidates cost: each compared on every bit with the golden evaluation, then timed here or simulated.

    trials = Measurer(target).measure(task, choices, pool)        trials[0].cost, in the unit of `Measurer.unit`

An x86 target is this machine: nanoseconds of one run, the least of many, in a process of its own. An aarch64 target is
simulated: the candidates of a batch are linked into one static program, which runs under QEMU, once to compare and once
to count; its cycles are those of a second run, the caches warm.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codesign import toolchain
from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.task import MOST_POINTERS, Task
from codesign.backends.tvm.templates.base import Choice, Template, ordered
from codesign.backends.tvm.tune.golden import Frame, frames
from codesign.backends.tvm.tune.jobs import Built, Job
from codesign.backends.tvm.tune.pool import Pool
from codesign.backends.tvm.tune.records import Status
from codesign.errors import InputError, ToolError
from codesign.report import Basis
from codesign.target import Target

SECONDS = 20
"""How long one candidate may run to be compared and timed; an interpreted one (QEMU) is some fifty times slower."""
MILLISECONDS = 6.0
"""How long an exact candidate is timed."""
LONG_MILLISECONDS = 60.0
"""How long the best ones are, when they are compared with each other."""

TASKS_KEPT = 8  # of whose inputs and golden outputs are kept

_HARNESS = Path(__file__).parent / "harness"
_CONTROL = Path(__file__).parent.parent / "sim"
_ALARM, _ILLEGAL = 14, 4
_KERNEL = "kernel_"  # what every symbol of a candidate begins with


@dataclass(frozen=True)
class Trial:
    """One candidate that was tried.

    status  exact; wrong: another result than the golden one; crashed: in a run; failed: there is no code to run
    cost    of one run, in the measurer's unit; 0 unless it is exact
    reason  of any other status, a sentence
    """

    choice: Choice
    status: Status
    cost: float = 0.0
    reason: str = ""


class Measurer:
    """Measures candidates for one target."""

    def __init__(self, target: Target) -> None:
        if target.cpu is None:
            raise InputError.at(target.name, "has no [cpu], so no kernel can be measured", "a processor")
        self.target, self.cpu = target, target.cpu
        self._timing = threading.Lock()  # one at a time, or they disturb each other
        self._frames: dict[str, list[Frame]] = {}
        self._own = threading.Lock()

    @property
    def simulated(self) -> bool:
        """Whether the cost is a model's."""
        return self.cpu.arch == "aarch64"

    @property
    def unit(self) -> str:
        """`cycles` or `ns`."""
        return "cycles" if self.simulated else "ns"

    @property
    def basis(self) -> Basis:
        """Where the costs come from."""
        return Basis.MODEL if self.simulated else Basis.MEASURED

    def measure(
        self, task: Task, choices: Sequence[Choice], pool: Pool, templates: Sequence[Template], long: bool = False
    ) -> list[Trial]:
        """One trial for each choice, in order. `long`: timed for longer, to tell the best ones apart."""
        folder = pool.folder()
        built = pool.build(Job(task, self.cpu, choices, range(len(choices)), templates, folder))
        outcomes = self.run(task, built, folder, long)
        return [Trial(choice, *outcome) for choice, outcome in zip(choices, outcomes, strict=True)]

    def run(
        self, task: Task, built: Sequence[Built], folder: Path, long: bool = False
    ) -> list[tuple[Status, float, str]]:
        """(status, cost, reason) of code that is compiled."""
        outcomes: list[tuple[Status, float, str]] = [("failed", 0.0, b.error) for b in built]
        sound = [i for i, b in enumerate(built) if not b.error and len(b.arguments) <= MOST_POINTERS]
        for i in set(range(len(built))) - set(sound):
            reason = built[i].error or f"{len(built[i].arguments)} arguments, at most {MOST_POINTERS}"
            outcomes[i] = ("failed", 0.0, reason)
        if not sound:
            return outcomes
        program = self._link([built[i] for i in sound], folder)
        job = folder / "all.job.bin"
        job.write_bytes(pack([built[i] for i in sound], self._frames_of(task)))
        for i, outcome in zip(sound, self._check(program, job, len(sound), long), strict=True):
            outcomes[i] = outcome
        if self.simulated:
            exact = [i for i in sound if outcomes[i][0] == "exact"]
            for i, cycles in zip(exact, self._count(program, task, [built[i] for i in exact], folder), strict=True):
                outcomes[i] = ("exact", cycles, "")
        return outcomes

    def _frames_of(self, task: Task) -> list[Frame]:
        """Made once a task: its golden evaluation may take longer than a kernel."""
        with self._own:
            if task.output not in self._frames:
                while len(self._frames) >= TASKS_KEPT:
                    del self._frames[next(iter(self._frames))]
                self._frames[task.output] = frames(task)
            return self._frames[task.output]

    def _link(self, built: Sequence[Built], folder: Path) -> Path:
        """One static program of the harness and all candidates."""
        symbols = _symbols(built)
        rows = [f"{symbol}," for symbol in symbols]
        externals = [f"extern void {symbol}(void);" for symbol in symbols]
        table = ['#include "kernels.h"', *externals, "const routine kernels[] = {", *rows, "};"]
        (folder / "table.c").write_text("\n".join([*table, f"const int kernel_count = {len(symbols)};", ""]))
        compiler = toolchain.require("aarch64-cc" if self.simulated else "cc")
        objects = dict.fromkeys(b.path for b in built)
        flags = ["-std=gnu11", "-O2", "-static", "-no-pie", f"-I{_HARNESS}", f"-I{_CONTROL}"]
        arguments: list[str | Path] = [*flags, "-o", "harness", _harness(compiler, flags), "table.c", *objects, "-lm"]
        toolchain.run(compiler, arguments, cwd=folder, log=folder / "link.log", time_limit_s=60)
        return folder / "harness"

    def _check(self, program: Path, job: Path, count: int, long: bool) -> list[tuple[Status, float, str]]:
        time_ms = 0.0 if self.simulated else LONG_MILLISECONDS if long else MILLISECONDS
        arguments: list[str | Path] = [job, "check", str(SECONDS), str(time_ms)]
        log, limit = job.with_suffix(".log"), float(SECONDS * count + 60)
        if self.simulated:
            from codesign.backends.tvm.sim.trace import qemu_cpu

            qemu = toolchain.require("qemu-aarch64")
            whole: list[str | Path] = ["-cpu", qemu_cpu(self.cpu), program, *arguments]
            done = toolchain.run(qemu, whole, cwd=job.parent, log=log, time_limit_s=limit)
        else:
            with self._timing:
                tool = toolchain.Tool("harness", (str(program),), "", "tuning", "")
                done = toolchain.run(tool, arguments, cwd=job.parent, log=log, time_limit_s=limit)
        said = {words[0]: words[1:] for words in (line.split() for line in done.lines) if len(words) > 1}
        return [self._outcome(said.get(str(i), ["signal", "0"])) for i in range(count)]

    def _outcome(self, words: Sequence[str]) -> tuple[Status, float, str]:
        match words:
            case ["exact", ns]:
                return "exact", float(ns), ""
            case ["wrong", count, first, frame]:
                return "wrong", 0.0, f"{count} bytes differ from the golden output, first byte {first} of frame {frame}"
            case ["signal", signal]:
                text = {
                    _ALARM: f"not ready after {SECONDS} s",
                    _ILLEGAL: f"an instruction that {self.cpu.core} lacks",
                }.get(int(signal), f"killed by signal {signal}")
                return "crashed", 0.0, text
        return "crashed", 0.0, f"unexpected words: {' '.join(words)}"

    def _count(self, program: Path, task: Task, built: Sequence[Built], folder: Path) -> list[float]:
        """Simulated cycles of one run of each candidate, which is exact."""
        from codesign.backends.tvm.sim.model import simulate

        if not built:
            return []
        symbols = _symbols(built)
        first = [next(b for b in built if b.symbol == symbol) for symbol in symbols]
        job = folder / "exact.job.bin"
        indices = {b.symbol: i for i, b in enumerate(first)}
        job.write_bytes(pack(first, self._frames_of(task), self._kernels(program, folder)))
        profile = simulate(program, self.cpu, [str(job), "count"], functions=_KERNEL, clock_hz=self.target.clock_hz)
        missing = [symbol for symbol in indices if symbol not in profile.functions]
        if missing:
            raise ToolError.at("simulator", f"did not see {missing[0]} run")
        return [profile.functions[b.symbol].cycles for b in built]

    def _kernels(self, program: Path, folder: Path) -> Sequence[str]:
        """The order of the kernels in the program's table."""
        rows = (folder / "table.c").read_text().partition("{")[2].splitlines()
        return [row.rstrip(",") for row in rows if row.startswith(_KERNEL)]


def _symbols(built: Sequence[Built]) -> list[str]:
    return list(dict.fromkeys(b.symbol for b in built))


def _harness(compiler: toolchain.Tool, flags: Sequence[str]) -> Path:
    """The harness, compiled once."""
    sources = sorted([*_HARNESS.glob("*.[ch]"), _CONTROL / "control.h"])
    plain = [flag for flag in flags if not flag.startswith("-I")]

    def make(out: Path) -> None:
        arguments: list[str | Path] = [*flags, "-c", _HARNESS / "harness.c", "-o", out / "harness.o"]
        toolchain.run(compiler, arguments, cwd=out, log=out / "cc.log", time_limit_s=60)

    key = toolchain.digest(*compiler.command, compiler.version, *plain, *sources)
    return toolchain.cached("tune-harness", key, make) / "harness.o"


def pack(built: Sequence[Built], frames_: Sequence[Frame], kernels: Sequence[str] | None = None) -> bytes:
    """The job that the harness reads, in the format of harness.c. `kernels`: the program's table, if it has more."""
    blobs: dict[bytes, int] = {}

    def blob(data: bytes) -> int:
        return blobs.setdefault(data, len(blobs))

    symbols = list(kernels) if kernels is not None else _symbols(built)
    words: list[int] = [len(built), len(frames_)]
    for b in built:
        words += [symbols.index(b.symbol), b.steps, len(b.arguments)]
        for frame in frames_:
            for argument in b.arguments[:-1]:
                if isinstance(argument, np.ndarray):
                    words += [blob(argument.tobytes()), 0]
                else:
                    flat = frame.inputs[argument.name]
                    words += [blob(flat.tobytes()), argument.start * flat.itemsize]
            output = b.arguments[-1]
            assert not isinstance(output, np.ndarray)
            words += [blob(frame.before.tobytes()), output.start * frame.before.itemsize]
            words.append(blob(frame.after.tobytes()))
    # Inputs are shared by all frames that hold the same; nothing but the output is written.
    head = [len(blobs), *(len(data) for data in blobs)]
    return struct.pack(f"<{len(head) + len(words)}Q", *head, *words) + b"".join(blobs)


def choices_of(task: Task, cpu: Cpu, templates: Sequence[Template]) -> list[Choice]:
    """Every choice of every template, each template's best guesses first: one of each in turn."""
    columns = [list(template.choices(task, cpu)) for template in ordered(templates, task, cpu)]
    longest = max(map(len, columns), default=0)
    return [column[i] for i in range(longest) for column in columns if i < len(column)]
