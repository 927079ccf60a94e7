"""Cycles of each function of a program on a core: pipeline + exposed latencies + branches, not below the bandwidth.

    profile = simulate(executable, cpu, clock_hz=…, functions="layer_")      profile.functions["layer_0"].cycles

For the blocks b of a function, with n(b) executions counted by QEMU:

    pipeline  = sum of n(b) * cpi(path of b) * instructions(b)                   llvm-mca, see mca.py and paths.py
    latency   = sum over levels X beyond the first of stalls(X) * max(latency(X) - latency(L1) - hidden, 0)
    branches  = mispredicted * mispredict_cycles
    bandwidth = (lines read + written back) * line_bytes / dram_bytes_per_s * clock_hz
    cycles    = max(pipeline + latency + branches, bandwidth)

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
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.sim import elf, inorder, mca, trace
from codesign.backends.tvm.sim.calibrate import Calibration
from codesign.backends.tvm.sim.paths import paths_of
from codesign.backends.tvm.sim.trace import Block, Recording, Sampling
from codesign.errors import InputError

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
        return _sum(self.functions.values())

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

    The run is counted from its start, or as the program says with prctl (control.h). InputError: no such program, or
    none of the functions ran. ToolError: a tool is missing, the program crashed, or has an instruction that the core
    lacks.
    """
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
    cpis, coverage = _cpis(recording.blocks, cpu)
    owners = _owners(recording.blocks, table)
    own: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(_COLUMNS))
    for block, cpi, owner in zip(recording.blocks, cpis, owners, strict=True):
        row = own[owner.name]
        values = _values(block, cpi, cpu, clock_hz, recording.sampling.factor, block.address == owner.start)
        for i, value in enumerate(values):
            row[i] += value
    asked = _asked(own, functions)
    shares = {name: {name: 1.0} for name in own} if functions is None else _shares(recording.blocks, owners, asked)
    charged: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(_COLUMNS))
    for name, row in own.items():
        for to, share in shares[name].items():
            for i, value in enumerate(row):
                if _COLUMNS[i] != "calls" or to == name:
                    charged[to][i] += value * share
    fitted = calibration or Calibration()
    costs = {name: _cost(row, cpu, clock_hz, fitted) for name, row in sorted(charged.items())}
    outside = costs.pop(_OUTSIDE, FunctionCost())
    notes = [fitted.note]
    if recording.threads > 1:
        notes.append(f"{recording.threads - 1} more threads ran, their work is not counted")
    return Profile(costs, outside, coverage, str(recording.sampling), recording.threads, tuple(notes))


_OUTSIDE = ""  # no function has this name
_COLUMNS = ("calls", "instructions", "pipeline", "latency", "branches", "l1", "l2", "l3", "lines", "mispredicted")


def _cpis(blocks: Sequence[Block], cpu: Cpu) -> tuple[list[float], float]:
    """Cycles an instruction of each block, and the share of instructions that they were computed for."""
    paths = paths_of(blocks)
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


def _values(block: Block, cpi: float, cpu: Cpu, clock_hz: float, factor: float, entry: bool) -> tuple[float, ...]:
    """One row of _COLUMNS; factor: sampled counts to whole ones."""
    hidden = 0.0 if cpu.in_order else cpu.window / cpu.width
    latencies = (cpu.l2_cycles, cpu.l3_cycles, cpu.dram_cycles(clock_hz))
    exposed = [max(latency - cpu.l1_cycles - hidden, 0.0) for latency in latencies]
    latency = sum(count * cycles for count, cycles in zip(block.stalls, exposed, strict=True))
    lines = block.memory_reads + block.memory_writes
    return (
        float(block.count if entry else 0),
        float(block.instructions),
        cpi * block.instructions,
        latency * factor,
        float(block.mispredicted * cpu.mispredict_cycles),
        block.missed_l1 * factor,
        block.missed_l2 * factor,
        block.missed_l3 * factor,
        lines * factor,
        float(block.mispredicted),
    )


def _cost(row: Sequence[float], cpu: Cpu, clock_hz: float, calibration: Calibration) -> FunctionCost:
    calls, instructions, pipeline, latency, branches, l1, l2, l3, lines, mispredicted = row
    dram_bytes = lines * cpu.line_bytes
    bandwidth = dram_bytes / cpu.dram_bytes_per_s * clock_hz
    pipeline *= calibration.pipeline
    cycles = max(pipeline + (latency + branches) * calibration.stall, bandwidth * calibration.stall)
    return FunctionCost(calls, instructions, cycles, pipeline, l1, l2, l3, dram_bytes, mispredicted)


def _sum(costs: Sequence[FunctionCost] | Any) -> FunctionCost:
    rows = [[getattr(cost, f.name) for f in fields(FunctionCost)] for cost in costs]
    return FunctionCost(*(sum(column) for column in zip(*rows, strict=True))) if rows else FunctionCost()


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
