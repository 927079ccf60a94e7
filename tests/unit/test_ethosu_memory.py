"""Memories that are too small are named, with what the model needs and what there is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from codesign.backends.ethosu.memory import memory_problems, memory_use
from codesign.target import load_target


def performance(**peaks: int) -> dict[str, Any]:
    return {"memories": {name: {"peak_bytes": peak} for name, peak in peaks.items()}}


def test_use_by_memory() -> None:
    use = memory_use(performance(Sram=100, OffChipFlash=30, OnChipFlash=4, shram=7, Dram=0))
    assert use == {"sram_bytes": 100, "flash_bytes": 34}


def test_an_arena_that_is_too_small() -> None:
    target = load_target("ethos-u55-128")
    target = replace(target, limits={**target.limits, "sram_bytes": 20_000})
    assert memory_problems(target, performance(Sram=20_000, OffChipFlash=100)) == []
    assert [str(d) for d in memory_problems(target, performance(Sram=20_001, OffChipFlash=9_000_000))] == [
        "ethos-u55-128: the model needs 20,001 bytes of SRAM; allowed: at most 20,000; "
        "try: --objective area, which Vela optimises for size with",
        "ethos-u55-128: the model needs 9,000,000 bytes of flash; allowed: at most 8,388,608; try: a smaller model",
    ]


def test_a_memory_that_is_not_there() -> None:
    assert [str(d) for d in memory_problems(load_target("ethos-u55-128"), performance(Dram=5))] == [
        "ethos-u55-128: the model needs 5 bytes of DRAM; allowed: none; try: limits.dram_bytes in the target's file"
    ]
