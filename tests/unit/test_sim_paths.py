"""Paths through blocks: each block once, loops unrolled as often as they turn, likely successions only."""

from __future__ import annotations

from codesign.backends.tvm.sim.paths import paths_of
from codesign.backends.tvm.sim.trace import Block

NOP = 0xD503201F


def block(size: int, count: int, *successors: tuple[int, int]) -> Block:
    return Block(0, (NOP,) * size, count, 0, 0, 0, 0, 0, (0, 0, 0), 0, 0, successors)


def test_a_loop_of_blocks_is_one_path() -> None:
    blocks = [block(4, 100, (1, 100)), block(9, 100, (2, 100)), block(3, 100, (0, 99), (3, 1)), block(5, 1)]
    assert paths_of(blocks)[0] == (1, 2, 0)  # from the hottest on; a loop has no beginning
    assert (3,) in paths_of(blocks)


def test_a_long_loop_is_a_path_of_its_own_and_a_short_one_is_unrolled() -> None:
    def nest(turns: int) -> list[tuple[int, ...]]:
        inner = 10 * turns
        blocks = [block(5, 10, (1, 10)), block(8, inner, (1, inner - 10), (2, 10)), block(6, 10, (0, 9))]
        return paths_of(blocks)

    assert nest(100) == [(1,), (2, 0)]
    assert nest(4) == [(1, 1, 1, 1, 2, 0)]


def test_an_unlikely_succession_ends_a_path() -> None:
    even = [block(5, 100, (1, 50), (2, 50)), block(4, 50, (3, 50)), block(4, 50, (3, 50)), block(5, 100, (0, 99))]
    assert paths_of(even) == [(3, 0), (1,), (2,)]


def test_every_block_is_in_one_path() -> None:
    blocks = [block(300, 10, (1, 10)), block(300, 10, (2, 10)), block(300, 10, (0, 10)), block(1, 0)]
    paths = paths_of(blocks)
    assert sorted(i for path in paths for i in path) == [0, 1, 2, 3]
    assert max(len(path) for path in paths) == 2  # a path has at most 600 instructions
