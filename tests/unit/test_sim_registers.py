"""Registers of instructions against the architecture manual, and the in-order scoreboard against counting by hand."""

from __future__ import annotations

import pytest

from codesign.backends.tvm.sim.inorder import Scoreboard
from codesign.backends.tvm.sim.mca import Timing, Unit
from codesign.backends.tvm.sim.registers import Effects, effects


@pytest.mark.parametrize(
    ("text", "reads", "writes"),
    [
        ("add x0, x1, x2, lsl #3", "x1 x2", "x0"),
        ("subs w3, w3, #1", "x3", "x3 nzcv"),
        ("cmp x4, x5", "x4 x5", "nzcv"),
        ("ccmp x4, #0, #4, ne", "x4 nzcv", "nzcv"),
        ("csel x0, x1, x2, eq", "x1 x2 nzcv", "x0"),
        ("cset w0, ne", "nzcv", "x0"),
        ("b.ne #-20", "nzcv", ""),
        ("cbnz x9, #8", "x9", ""),
        ("br x17", "x17", ""),
        ("mov x0, xzr", "", "x0"),
        ("mov x0, sp", "sp", "x0"),
        ("movk x0, #1, lsl #16", "x0", "x0"),
        ("bfi x0, x1, #2, #3", "x0 x1", "x0"),
        ("madd x0, x1, x2, x3", "x1 x2 x3", "x0"),
        ("smull v1.8h, v2.8b, v3.8b", "v2 v3", "v1"),
        ("smlal2 v1.4s, v2.8h, v3.h[7]", "v1 v2 v3", "v1"),
        ("sdot v1.4s, v2.16b, v3.4b[1]", "v1 v2 v3", "v1"),
        ("sadalp v1.4s, v2.8h", "v1 v2", "v1"),
        ("sqxtn2 v1.8h, v2.4s", "v1 v2", "v1"),
        ("sqxtn v1.4h, v2.4s", "v2", "v1"),
        ("mov v1.s[2], w5", "v1 x5", "v1"),
        ("fmla s1, s2, v3.s[0]", "v1 v2 v3", "v1"),
        ("sqrdmulh v1.4s, v2.4s, v3.4s", "v2 v3", "v1"),
        ("mul v1.4s, v2.4s, v3.4s", "v2 v3", "v1"),
        ("addv s1, v2.4s", "v2", "v1"),
        ("nop", "", ""),
        ("ret", "", ""),
        ("", "", ""),
    ],
)
def test_arithmetic(text: str, reads: str, writes: str) -> None:
    assert effects(text) == Effects(frozenset(reads.split()), frozenset(), frozenset(writes.split()))


@pytest.mark.parametrize(
    ("text", "reads", "addresses", "writes", "base", "size", "structured"),
    [
        ("ldr q1, [x2]", "", "x2", "v1", "", 16, False),
        ("ldr x1, [x2, x3, lsl #3]", "", "x2 x3", "x1", "", 8, False),
        ("ldr q1, [x2], #16", "", "x2", "v1", "x2", 16, False),
        ("ldr d1, [x2, #8]!", "", "x2", "v1", "x2", 8, False),
        ("ldp q1, q2, [sp, #32]", "", "sp", "v1 v2", "", 32, False),
        ("ldp x29, x30, [sp], #16", "", "sp", "x29 x30", "sp", 16, False),
        ("ld1 { v1.16b, v2.16b }, [x0], x3", "", "x0 x3", "v1 v2", "x0", 32, True),
        ("ld1 { v1.s }[2], [x0]", "v1", "x0", "v1", "", 0, True),
        ("str q1, [x2], #16", "v1", "x2", "", "x2", 0, False),
        ("stp w1, w2, [x0, #8]", "x1 x2", "x0", "", "", 0, False),
        ("prfm pldl1keep, [x0, #64]", "", "x0", "", "", 0, False),
    ],
)
def test_loads_and_stores(
    text: str, reads: str, addresses: str, writes: str, base: str, size: int, structured: bool
) -> None:
    sets = [frozenset(names.split()) for names in (reads, addresses, writes)]
    assert effects(text) == Effects(*sets, base, size, structured)


LOAD = Timing(4, (Unit("load", 1, 1),), True)
ADD = Timing(3, (Unit("alu", 2, 1),), False)
MULTIPLY = Timing(6, (Unit("vector", 1, 1),), False)


def cycles(*instructions: tuple[str, Timing]) -> list[int]:
    board = Scoreboard(2)
    return [board.issue(effects(text), timing) for text, timing in instructions]


def test_two_a_cycle_of_different_units() -> None:
    loads_and_adds = [("ldr x1, [x0]", LOAD), ("add x2, x3, x4", ADD)] * 3
    assert cycles(*loads_and_adds) == [0, 0, 1, 1, 2, 2]
    assert cycles(*[("smull v1.8h, v2.8b, v3.8b", MULTIPLY)] * 3) == [0, 1, 2]  # one unit, no dependence
    assert cycles(*[(f"add x{i}, x9, x9", ADD) for i in range(5)]) == [0, 0, 1, 1, 2]


def test_results_are_waited_for() -> None:
    assert cycles(("smull v1.8h, v2.8b, v3.8b", MULTIPLY), ("smlal2 v1.8h, v2.16b, v3.16b", MULTIPLY)) == [0, 6]
    assert cycles(("ldr q1, [x0]", LOAD), ("smull v4.8h, v1.8b, v1.8b", MULTIPLY)) == [0, 4]


def test_arithmetic_forwards_to_arithmetic_but_not_to_addresses() -> None:
    assert cycles(("add x1, x1, #1", ADD), ("add x2, x1, #1", ADD)) == [0, 1]
    assert cycles(("add x1, x1, #1", ADD), ("ldr x2, [x1]", LOAD)) == [0, 3]
    assert cycles(("ldr x2, [x1], #8", LOAD), ("ldr x3, [x1], #8", LOAD)) == [0, 1]  # the base moves on at once


def test_a_pointer_does_not_wait_for_an_older_multiplication() -> None:
    assert cycles(("smull v1.8h, v2.8b, v3.8b", MULTIPLY), ("add x0, x0, #16", ADD), ("add x1, x1, #1", ADD)) == [
        0,
        0,
        1,
    ]


def test_results_of_one_register_stay_in_order() -> None:
    assert cycles(("smull v1.8h, v2.8b, v3.8b", MULTIPLY), ("ldr q1, [x0]", LOAD)) == [0, 2]  # 2 + 4 is 0 + 6


def test_wide_loads_take_the_path_of_64_bits_longer() -> None:
    assert cycles(*[("ldr q1, [x0]", LOAD)] * 3) == [0, 2, 4]
    assert cycles(*[("ldp q1, q2, [x0]", LOAD)] * 2) == [0, 4]
    assert cycles(*[("ldr d1, [x0]", LOAD)] * 3) == [0, 1, 2]
