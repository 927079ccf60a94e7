"""Cycles of a sequence of instructions on an in-order pipeline, all data in the first cache.

    cycles_of([(word, word, …), …], "cortex-a53", width=2) -> [cycles, …]

llvm-mca takes an in-order core to write its results in the order of the program, so that a pointer's increment behind a
multiplication waits for it. The pipelines of Cortex-A53 and A55 do not: an instruction issues when its operands and
units are free, results bypass each other. Latencies, units and their occupation are LLVM's, the scoreboard is this one:

    issue(i) = the first cycle, not before issue(i - 1), with a free slot of `width`, free units, all operands ready,
               and not so early that an older result of the same register would be written after the new one

An integer result is there for arithmetic FORWARDED cycles earlier than for an address (AArch64SchedA53.td and A55.td,
ReadAdvance of ReadI); a base that a load or store moves on after one cycle. A load of n bytes takes the load unit for
n / LOAD_BYTES cycles: the read path from the first cache has 64 bits (Arm DDI 0500, Cortex-A53 TRM, section 6.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codesign.backends.tvm.sim import mca
from codesign.backends.tvm.sim.mca import Timing
from codesign.backends.tvm.sim.registers import Effects, effects

FORWARDED = 2
LOAD_BYTES = 8
WARM_UP = 64  # instructions before the difference is taken

_Step = tuple[Effects, Timing]


def cycles_of(sequences: Sequence[Sequence[int]], model: str, width: int) -> list[float]:
    """Cycles of each sequence of instruction words, repeated for ever, on a core of `width` with LLVM's model."""
    clean = [tuple(map(mca.normalised, words)) for words in sequences]
    distinct = sorted({word for words in clean for word in words})
    texts, timings = mca.disassemble(distinct), mca.timings_of(distinct, model)
    steps: dict[int, _Step] = {word: (effects(texts[word]), timings[word]) for word in distinct}
    return [_steady(words, steps, width) for words in clean]


def _steady(words: Sequence[int], steps: Mapping[int, _Step], width: int) -> float:
    """Cycles of one copy among many: the difference between 2 n and n copies, over n."""
    if not words:
        return 0.0
    copies = -(-WARM_UP // len(words))
    board = Scoreboard(width)
    for _ in range(copies):
        for word in words:
            board.issue(*steps[word])
    first = board.now
    for _ in range(copies):
        for word in words:
            board.issue(*steps[word])
    return (board.now - first) / copies


class Scoreboard:
    """When the next instruction can issue. `now` is the cycle of the last one."""

    def __init__(self, width: int) -> None:
        self.now = 0
        self._width = width
        self._slots = width
        self._ready: dict[str, int] = {}  # when a register can be read; written by arithmetic: FORWARDED earlier by it
        self._early: dict[str, int] = {}
        self._units: dict[str, list[int]] = {}  # of each unit of a kind, when it is free

    def issue(self, what: Effects, timing: Timing) -> int:
        """The cycle that it issues in."""
        general = timing.latency > FORWARDED and not timing.memory
        at = self.now
        for register in what.reads:
            at = max(at, self._early.get(register, 0))
        for register in what.addresses:
            at = max(at, self._ready.get(register, 0))
        for register in what.writes:
            at = max(at, self._ready.get(register, 0) - timing.latency)
        for unit in timing.units:
            at = max(at, self._free(unit.name, unit.count, unit.cycles >= unit.count))
        if at == self.now and not self._slots:
            at += 1
        if at > self.now:
            self.now, self._slots = at, self._width
        self._slots -= 1
        for unit in timing.units:
            cycles = unit.cycles
            if what.load_bytes:
                moving = -(-what.load_bytes // LOAD_BYTES)
                cycles = max(cycles, moving) if what.structured else moving
            self._take(unit.name, unit.count, cycles, at)
        for register in what.writes:
            self._ready[register] = at + timing.latency
            forwarded = FORWARDED if general and register[0] in "xn" else 0
            self._early[register] = at + max(timing.latency - forwarded, 1)
        if what.base:
            self._ready[what.base] = self._early[what.base] = at + 1
        return at

    def _free(self, name: str, count: int, all_of_them: bool) -> int:
        units = self._units.setdefault(name, [0] * count)
        return max(units) if all_of_them else min(units)

    def _take(self, name: str, count: int, cycles: int, at: int) -> None:
        units = self._units[name]
        if cycles >= count:
            for i in range(count):
                units[i] = at + cycles // count
        else:
            units[units.index(min(units))] = at + cycles
