"""Cycles of each function of a program on a core: pipeline + exposed latencies + branches, not below the bandwidth.

    profile = simulate(executable, cpu, clock_hz=…, functions="layer_")      profile.functions["layer_0"].cycles

For the blocks b of a path (paths.py), with n(b) executions counted by QEMU:

    pipeline  = sum of n(b) * cpi(path of b) * instructions(b)                   llvm-mca, see mca.py and paths.py
    latency   = sum over levels X beyond the first of stalls(X) * max(latency(X) - latency(L1) - hidden, 0)
    branches  = mispredicted * mispredict_cycles
    bandwidth = max(lines read / dram_bytes_per_s, lines moved / copy_bytes_per_s) * line_bytes * clock_hz
    cycles    = sum over paths of max(pipeline + latency + branches, bandwidth)

stalls(X) are the loads that miss with no other miss to overlap with; hidden is the time that an out-of-order core takes
to fill its window behind the load, window / width, and 0 on an in-order one (Karkhanis and Smith, A First-Order
Superscalar Processor Model, ISCA 2004; Eyerman et al., A Mechanistic Performance Model for Superscalar Out-of-Order
Processors, ACM TOCS 2009). cpi is at least 1 / width. docs/guide/cpu-simulation.md says what is left out.

What a function calls outside those asked for is charged to its callers by their shares of the calls, as if each call
cost the same (Graham, Kessler and McKusick, gprof, SIGPLAN 1982).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.sim import elf, inorder, mca, trace
from codesign.backends.tvm.sim.calibrate import Calibration
from codesign.backends.tvm.sim.paths import Path as Way
from codesign.backends.tvm.sim.paths import paths_of
from codesign.backends.tvm.sim.trace import Block, Recording, Sampling
from codesign.errors import InputError, UsageError

COVERED = 0.995
"""Of the executed instructions, what llvm-mca is asked for; the rest runs at the average of these."""


@dataclass(frozen=True)
class FunctionCost:
    """What a function cost in all its calls, with its share of what it called. Counts are averages where shared.

    cycles           all of them; pipeline_cycles with all data in the first cache; the rest are stall_cycles
    l1d_misses …     parts of at most 8 bytes of loads and stores that found no line there
    dram_bytes       read (prefetched lines included) and written back
    mispredictions   branches
    """

    calls: float = 0.0
    instructions: float = 0.0
    cycles: float = 0.0
    pipeline_cycles: float = 0.0
    l1d_misses: float = 0.0
    l2_misses: float = 0.0
    l3_misses: float = 0.0
    dram_bytes: float = 0.0
    mispredictions: float = 0.0

    @property
    def stall_cycles(self) -> float:
        return self.cycles - self.pipeline_cycles

    def __add__(self, other: FunctionCost) -> FunctionCost:
        return FunctionCost(*(a + b for a, b in zip(self._values(), other._values(), strict=True)))

    def share(self, part: float, with_calls: bool = True) -> FunctionCost:
        """A part of it all; without calls for who only pays for the callee."""
        calls, *rest = (value * part for value in self._values())
        return FunctionCost(calls if with_calls else 0.0, *rest)

    def _values(self) -> tuple[float, ...]:
        return tuple(self.__dict__.values())  # in the order of the fields

    def to_data(self) -> dict[str, float]:
        return {**asdict(self), "stall_cycles": self.stall_cycles}


@dataclass(frozen=True)
class Profile:
    """What a program cost.

    functions     of those asked for, each that ran; outside: all the rest of the program
    coverage      share of the executed instructions whose cycles llvm-mca was asked for
    sampling      which accesses the caches were simulated for
    threads       above 1: work of other threads than the first is not counted
    notes         what a reader must know
    """

    functions: Mapping[str, FunctionCost]
    outside: FunctionCost
    coverage: float
    sampling: str
    threads: int
    notes: tuple[str, ...]

    @property
    def total(self) -> FunctionCost:
        """Of the functions asked for."""
        return sum(self.functions.values(), FunctionCost())

    def csv(self) -> str:
        """The functions as rows for `codesign calibrate`, which needs a column more: measured_ms."""
        rows = (f"{name},{c.pipeline_cycles:.0f},{c.stall_cycles:.0f}\n" for name, c in self.functions.items())
        return "layer,pipeline_cycles,stall_cycles\n" + "".join(rows)

    def to_data(self) -> dict[str, Any]:
        functions = {name: cost.to_data() for name, cost in self.functions.items()}
        rest = {"coverage": self.coverage, "sampling": self.sampling, "threads": self.threads}
        return {"functions": functions, "total": self.total.to_data(), **rest, "notes": list(self.notes)}


def simulate(
    executable: Path,
    cpu: Cpu,
    args: Sequence[str] = (),
    functions: str | Sequence[str] | None = None,
    *,
    clock_hz: float,
    sampling: Sampling | None = None,
    calibration: Calibration | None = None,
) -> Profile:
    """The cost of one run of a static aarch64 program.

    functions   a prefix of the functions' names, or the names; None: every function, each for itself

    The run is counted from its start, or as the program says with prctl (control.h). UsageError: no ARM core.
    InputError: no such program, or none of the functions ran. ToolError: a tool is missing, the program crashed, or has
    an instruction that the core lacks.
    """
    if cpu.arch != "aarch64":
        found = f"{cpu.core} of {cpu.arch} is not simulated"
        raise UsageError.at("target", found, "an ARM core", "measure on the machine itself")
    trace.check_executable(executable)
    if elf.kind_of(executable) != elf.FIXED:
        found = "is position independent, its functions are nowhere known"
        raise InputError.at(str(executable), found, "a static executable", "-static -no-pie")
    table = elf.functions_of(executable)
    recording = trace.record(executable, cpu, args, sampling=sampling)
    profile = cost_of(recording, cpu, clock_hz, table, functions, calibration)
    if functions is not None and not profile.functions:
        wanted = f"{functions}…" if isinstance(functions, str) else ", ".join(functions)
        raise InputError.at(str(executable), f"no function {wanted} ran", hint="the names in its symbol table (nm)")
    return profile


def cost_of(
    recording: Recording,
    cpu: Cpu,
    clock_hz: float,
    table: elf.Functions | None = None,
    functions: str | Sequence[str] | None = None,
    calibration: Calibration | None = None,
) -> Profile:
    """The cost of what was recorded. Without a symbol table everything is one function, named `program`."""
    fitted = calibration or Calibration()
    paths = paths_of(recording.blocks)
    cpis, coverage = _cpis(recording.blocks, paths, cpu)
    times = _times(recording, paths, cpis, cpu, clock_hz, fitted)
    owners = _owners(recording.blocks, table)
    factor = recording.sampling.factor
    own: dict[str, FunctionCost] = defaultdict(FunctionCost)
    for block, (pipeline, stall), owner in zip(recording.blocks, times, owners, strict=True):
        own[owner.name] += FunctionCost(
            calls=float(block.count if block.address == owner.start else 0),
            instructions=float(block.instructions),
            cycles=pipeline + stall,
            pipeline_cycles=pipeline,
            l1d_misses=block.missed_l1 * factor,
            l2_misses=block.missed_l2 * factor,
            l3_misses=block.missed_l3 * factor,
            dram_bytes=(block.memory_reads + block.memory_writes) * factor * cpu.line_bytes,
            mispredictions=float(block.mispredicted),
        )
    asked = _asked(own, functions)
    shares = {name: {name: 1.0} for name in own} if functions is None else _shares(recording.blocks, owners, asked)
    charged: dict[str, FunctionCost] = defaultdict(FunctionCost)
    for name, cost in own.items():
        for to, share in shares[name].items():
            charged[to] += cost.share(share, with_calls=to == name)
    costs = dict(sorted(charged.items()))
    outside = costs.pop(_OUTSIDE, FunctionCost())
    notes = [fitted.note]
    if recording.threads > 1:
        notes.append(f"{recording.threads - 1} more threads ran, their work is not counted")
    return Profile(costs, outside, coverage, str(recording.sampling), recording.threads, tuple(notes))


_OUTSIDE = ""  # no function has this name


def _cpis(blocks: Sequence[Block], paths: Sequence[Way], cpu: Cpu) -> tuple[list[float], float]:
    """Cycles an instruction of each block, and the share of instructions that they were computed for."""
    weights = [sum(blocks[i].instructions for i in set(path)) for path in paths]
    order = sorted(range(len(paths)), key=lambda k: -weights[k])
    total, covered, chosen = sum(weights), 0, []
    for k in order:
        if covered >= COVERED * total:
            break
        chosen.append(k)
        covered += weights[k]
    words = [[word for i in paths[k] for word in blocks[i].words] for k in chosen]
    if cpu.in_order:
        cycles = inorder.cycles_of(words, cpu.scheduling_model, cpu.width)
    else:
        cycles = mca.cycles_of(words, cpu.scheduling_model)
    cpis = [0.0] * len(blocks)
    for k, sequence, measured in zip(chosen, words, cycles, strict=True):
        for i in set(paths[k]):
            cpis[i] = max(measured / len(sequence), 1 / cpu.width)
    spent = sum(cpi * block.instructions for cpi, block in zip(cpis, blocks, strict=True))
    average = spent / covered if covered else 1.0
    return [cpi or average for cpi in cpis], covered / total if total else 1.0


def _times(
    recording: Recording, paths: Sequence[Way], cpis: Sequence[float], cpu: Cpu, clock_hz: float, fitted: Calibration
) -> list[tuple[float, float]]:
    """Of each block the cycles in the pipeline, and the cycles beyond.

    A path waits for what the bandwidth cannot deliver in the time that it takes otherwise; its blocks share that by the
    lines that they move.
    """
    blocks, factor = recording.blocks, recording.sampling.factor
    hidden = 0.0 if cpu.in_order else cpu.window / cpu.width
    latencies = (cpu.l2_cycles, cpu.l3_cycles, cpu.dram_cycles(clock_hz))
    exposed = [max(cycles - cpu.l1_cycles - hidden, 0.0) for cycles in latencies]
    read_cycles, move_cycles = (
        cpu.line_bytes / rate * clock_hz * factor * fitted.stall
        for rate in (cpu.dram_bytes_per_s, cpu.copy_bytes_per_s)
    )
    pipelines, stalls = [0.0] * len(blocks), [0.0] * len(blocks)
    for path in paths:
        members = sorted(set(path))
        for i in members:
            latency = sum(count * cycles for count, cycles in zip(blocks[i].stalls, exposed, strict=True)) * factor
            pipelines[i] = cpis[i] * blocks[i].instructions * fitted.pipeline
            stalls[i] = (latency + blocks[i].mispredicted * cpu.mispredict_cycles) * fitted.stall
        lines = {i: blocks[i].memory_reads + blocks[i].memory_writes for i in members}
        moved = sum(lines.values())
        bandwidth = max(sum(blocks[i].memory_reads for i in members) * read_cycles, moved * move_cycles)
        lacking = bandwidth - sum(pipelines[i] + stalls[i] for i in members)
        if lacking > 0:
            for i in members:
                stalls[i] += lacking * lines[i] / moved
    return list(zip(pipelines, stalls, strict=True))


def _owners(blocks: Sequence[Block], table: elf.Functions | None) -> list[elf.Function]:
    """The function of each block; code that is in none (stubs of the linker) is one of its own."""
    if table is None:
        return [elf.Function("program", -1, -1)] * len(blocks)
    anywhere = (elf.Function(f"?{b.address:x}", b.address, b.address) for b in blocks)
    return [table.at(block.address) or own for block, own in zip(blocks, anywhere, strict=True)]


def _asked(names: Mapping[str, Any], functions: str | Sequence[str] | None) -> set[str]:
    if functions is None:
        return set(names)
    if isinstance(functions, str):
        return {name for name in names if name.startswith(functions)}
    return set(functions) & set(names)


def _shares(blocks: Sequence[Block], owners: Sequence[elf.Function], asked: set[str]) -> dict[str, dict[str, float]]:
    """For every function, who pays which share of it: itself if asked for, else its callers, else _OUTSIDE."""
    callers: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for i, block in enumerate(blocks):
        for j, count in block.successors:
            if owners[i].name != owners[j].name and blocks[j].address == owners[j].start:
                callers[owners[j].name][owners[i].name] += count
    found: dict[str, dict[str, float]] = {}

    def share(name: str, path: frozenset[str]) -> dict[str, float]:
        if name in asked:
            return {name: 1.0}
        if name in found:
            return found[name]
        by = {caller: count for caller, count in callers[name].items() if caller not in path}
        total = sum(by.values())
        paid: dict[str, float] = defaultdict(float)
        for caller, count in by.items():
            for payer, part in share(caller, path | {name}).items():
                paid[payer] += part * count / total
        result = dict(paid) if total else {_OUTSIDE: 1.0}
        if not path:
            found[name] = result
        return result

    return {owner.name: share(owner.name, frozenset()) for owner in owners}
