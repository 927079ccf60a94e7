"""The simulator's counts: instructions exactly those of known programs, misses exactly those of a model in Python."""

from __future__ import annotations

import random
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from arm_programs import SOURCES, assemble

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.sim import trace
from codesign.backends.tvm.sim.elf import functions_of
from codesign.backends.tvm.sim.model import FunctionCost, cost_of, simulate
from codesign.target import load_target


def core(name: str = "cortex-a72", **changed: int) -> Cpu:
    cpu = load_target(name).cpu
    assert cpu is not None
    return replace(cpu, **changed)


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return assemble(SOURCES / "counts.S", tmp_path_factory.mktemp("arm") / "counts")


def test_instructions_per_function_are_exact(counts: Path) -> None:
    recording = trace.record(counts, core(), start=trace.OFF)
    profile = cost_of(recording, core(), 1e9, functions_of(counts))
    seen = {name: (cost.calls, cost.instructions) for name, cost in profile.functions.items()}
    assert seen == {
        "count_leaf": (1, 2),
        "count_loop": (1, 1 + 3 * 7 + 1),
        "count_caller": (1, 2 + 5 * 3 + 2),
        "leaf_outside": (6, 6 * 2),
        "_start": (0, 4 + 5),  # four calls, and the five instructions that end the counting
    }
    assert recording.instructions == 2 + 23 + 19 + 12 + 9
    assert recording.threads == 1


def test_everything_counts_from_the_start_without_a_word_of_the_program(counts: Path) -> None:
    recording = trace.record(counts, core())
    before = 1 + 2 + 5  # the first call of count_leaf, and to the first svc
    assert recording.instructions == before + 2 + 23 + 19 + 12 + 9


def test_what_is_called_is_charged_to_the_callers(counts: Path) -> None:
    """leaf_outside runs 12 instructions, in 5 calls of count_caller and one of _start, which is not asked for."""
    profile = simulate(counts, core(), functions="count_", clock_hz=1e9)
    assert profile.functions["count_caller"].instructions == pytest.approx(19 + 10)
    assert profile.functions["count_caller"].calls == 1
    assert profile.functions["count_loop"].instructions == 23
    assert profile.total.instructions == pytest.approx(19 + 10 + 23 + 4)
    assert profile.outside.instructions == pytest.approx(2 + 9 + 6)
    assert set(simulate(counts, core(), functions=["count_loop"], clock_hz=1e9).functions) == {"count_loop"}


def test_branches_are_counted_by_their_successors(counts: Path) -> None:
    blocks = trace.record(counts, core(), start=trace.OFF).blocks
    start = next(f.start for f in functions_of(counts).all if f.name == "count_loop")
    loop = next(b for b in blocks if b.address == start + 4)
    assert (loop.count, len(loop.words)) == (6, 3)  # the first turn is one block with the instruction before it
    assert dict(loop.successors)[blocks.index(loop)] == 5


@dataclass
class Level:
    """One level of `cache.h` in Python: sets of lines in the order of their use, with their dirty flags."""

    sets: int
    ways: int
    content: dict[int, OrderedDict[int, bool]] = field(default_factory=dict)

    def find(self, line: int) -> bool:
        content = self.content.setdefault(line % self.sets, OrderedDict())
        if line not in content:
            return False
        content.move_to_end(line)
        return True

    def mark(self, line: int) -> None:
        self.content[line % self.sets][line] = True

    def fill(self, line: int, dirty: bool) -> int | None:
        content = self.content.setdefault(line % self.sets, OrderedDict())
        victim = content.popitem(last=False) if len(content) == self.ways else (0, False)
        content[line] = dirty
        return victim[0] if victim[1] else None


class Caches:
    def __init__(self, *levels: Level) -> None:
        self.levels = levels
        self.reads = self.writes = 0
        self.misses = [0, 0, 0]

    def access(self, address: int, store: bool) -> None:
        line, missed = address // 64, []
        for k, level in enumerate(self.levels):
            if level.find(line):
                break
            missed.append(k)
            self.misses[k] += 1
        else:
            self.reads += 1
        for k in reversed(missed):
            self._fill(k, line, False)
        if store:
            self.levels[0].mark(line)

    def _fill(self, k: int, line: int, dirty: bool) -> None:
        if k == len(self.levels):
            self.writes += 1
            return
        if dirty and self.levels[k].find(line):
            self.levels[k].mark(line)
            return
        victim = self.levels[k].fill(line, dirty)
        if victim is not None:
            self._fill(k + 1, victim, True)


@pytest.mark.parametrize(("seed", "three_levels"), [(1, False), (2, True), (3, True)])
def test_misses_equal_those_of_the_model_in_python(tmp_path: Path, seed: int, three_levels: bool) -> None:
    source = random.Random(seed)
    hot, area, n = 6000, 1 << 17, 3000
    trace_ = [(source.randrange(0, hot if source.random() < 0.5 else area - 8, 8), i % 3 == 0) for i in range(n)]
    table = "".join(f".word {offset | store << 31}\n" for offset, store in trace_)
    (tmp_path / "table.inc").write_text(table)
    options = [f"-DCOUNT={n}", f"-DAREA={area}", f"-I{tmp_path}", f"-Wa,-I{tmp_path}"]
    program = assemble(SOURCES / "walk.S", tmp_path / "walk", *options)
    small = {"l1d_bytes": 4096, "l1d_ways": 2, "l2_bytes": 16384, "l2_ways": 4, "prefetch_lines": 0}
    third = {"l3_bytes": 65536, "l3_ways": 8} if three_levels else {}
    profile = simulate(program, core(**small, **third), functions=["walk"], clock_hz=1e9)
    levels = [Level(4096 // 128, 2), Level(16384 // 256, 4), *([Level(65536 // 512, 8)] if three_levels else [])]
    caches = Caches(*levels)
    for i, (offset, store) in enumerate(trace_):
        caches.access((1 << 30) + 4 * i, False)  # the table: other lines than the area's, sets as these of page starts
        caches.access((1 << 31) + offset, store)
    cost = profile.functions["walk"]
    if not three_levels:
        caches.misses[2] = caches.misses[1]
    assert [cost.l1d_misses, cost.l2_misses, cost.l3_misses] == caches.misses
    assert cost.dram_bytes == 64 * (caches.reads + caches.writes)
    assert cost.dram_bytes > 64 * caches.reads > 0


def test_a_stream_is_prefetched(tmp_path: Path) -> None:
    """64 KiB line by line: without prefetching every line misses, with it the first ones of each page only."""
    n = 1024
    (tmp_path / "table.inc").write_text("".join(f".word {64 * i}\n" for i in range(n)))
    options = [f"-DCOUNT={n}", f"-DAREA={64 * n}", f"-I{tmp_path}", f"-Wa,-I{tmp_path}"]
    program = assemble(SOURCES / "walk.S", tmp_path / "walk", *options)

    def walk(ahead: int) -> FunctionCost:
        cpu = core("cortex-a53", prefetch_lines=ahead, dram_bytes_per_s=10**12, copy_bytes_per_s=10**12)
        return simulate(program, cpu, functions=["walk"], clock_hz=1e9).functions["walk"]

    without, with_ = walk(0), walk(4)
    assert without.l1d_misses == n + 4 * n / 64
    pages = (64 * n + 4 * n) / 4096
    assert pages <= with_.l1d_misses <= 3 * pages
    assert without.dram_bytes == with_.dram_bytes  # the same lines, read earlier
    assert 0 < with_.stall_cycles < without.stall_cycles / 8


def test_bandwidth_bounds_what_prefetching_hides(tmp_path: Path) -> None:
    n = 1024
    (tmp_path / "table.inc").write_text("".join(f".word {64 * i}\n" for i in range(n)))
    options = [f"-DCOUNT={n}", f"-DAREA={64 * n}", f"-I{tmp_path}", f"-Wa,-I{tmp_path}"]
    program = assemble(SOURCES / "walk.S", tmp_path / "walk", *options)
    cost = simulate(
        program, core(dram_bytes_per_s=10**9, copy_bytes_per_s=10**12), functions=["walk"], clock_hz=2e9
    ).functions["walk"]
    assert cost.cycles == pytest.approx(2 * (64 * n + 4 * n), rel=1e-4)  # two cycles a byte


def test_whole_lines_that_are_written_are_not_read(tmp_path: Path) -> None:
    """Eight stores a line, line after line: but for the first two, lines are written only; 32 KiB stay in L1."""
    n, size = 1 << 14, 1 << 17
    (tmp_path / "table.inc").write_text("".join(f".word {8 * i | 1 << 31}\n" for i in range(n)))
    options = [f"-DCOUNT={n}", f"-DAREA={size}", f"-I{tmp_path}", f"-Wa,-I{tmp_path}"]
    program = assemble(SOURCES / "walk.S", tmp_path / "walk", *options)
    blocks = trace.record(program, core(l2_bytes=32768, prefetch_lines=0)).blocks
    table = 4 * n // 64
    assert sum(b.memory_reads for b in blocks) == table + 2
    assert 0.5 * size / 64 < sum(b.memory_writes for b in blocks) < size / 64


def test_sampling_scales_to_the_whole(tmp_path: Path) -> None:
    n = 30_000
    source = random.Random(5)
    (tmp_path / "table.inc").write_text("".join(f".word {source.randrange(0, 1 << 20, 64)}\n" for _ in range(n)))
    options = [f"-DCOUNT={n}", f"-DAREA={1 << 20}", f"-I{tmp_path}", f"-Wa,-I{tmp_path}"]
    program = assemble(SOURCES / "walk.S", tmp_path / "walk", *options)
    whole = simulate(program, core(), functions=["walk"], clock_hz=1e9)
    sampling = trace.Sampling(every=500, of=2000)
    part = simulate(program, core(), functions=["walk"], clock_hz=1e9, sampling=sampling)
    assert (whole.sampling, part.sampling) == ("all accesses", "500 of every 2,000 instructions")
    assert part.total.instructions == whole.total.instructions
    assert part.total.l1d_misses == pytest.approx(whole.total.l1d_misses, rel=0.1)
