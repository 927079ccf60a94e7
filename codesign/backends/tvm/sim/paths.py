"""Blocks joined to the paths that a program takes most: what a pipeline sees is the path, not the block.

Paths grow as traces do in trace scheduling (Fisher, Trace Scheduling, IEEE Trans. Computers 1981; Chang and Hwu, Trace
Selection, MICRO 1988): from the block with the most executed instructions forwards and backwards, along successions
that are at least LIKELY of what both blocks do. A path that ends where it began is a loop. A block that mostly follows
itself is a loop of its own; where it turns at most MAX_TURNS times, the path around it contains it that many times.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from codesign.backends.tvm.sim.trace import Block

LIKELY = 0.6
MAX_TURNS = 8
MAX_INSTRUCTIONS = 600

Path = tuple[int, ...]
"""Indices of blocks, in the order they run; a short inner loop's block more than once."""


def paths_of(blocks: Sequence[Block]) -> list[Path]:
    """Every block in exactly one path, hottest path first."""
    after, before = _successions(blocks)
    used = [False] * len(blocks)
    found: list[Path] = []
    for seed in sorted(range(len(blocks)), key=lambda i: -blocks[i].instructions):
        if used[seed]:
            continue
        turns = _turns(blocks, seed, after)
        used[seed] = True
        if turns > MAX_TURNS or turns * len(blocks[seed].words) > MAX_INSTRUCTIONS // 2:
            found.append((seed,))
            continue
        path = [seed] * turns
        size = turns * len(blocks[seed].words)
        for forwards in (True, False):
            while True:
                end = path[-1] if forwards else path[0]
                nearby = _likely(blocks, end, after if forwards else before)
                if nearby is None or used[nearby]:
                    break
                turns = _turns(blocks, nearby, after)
                size += turns * len(blocks[nearby].words)
                if turns > MAX_TURNS or size > MAX_INSTRUCTIONS:
                    break
                used[nearby] = True
                path = path + [nearby] * turns if forwards else [nearby] * turns + path
        found.append(tuple(path))
    return found


def _successions(blocks: Sequence[Block]) -> tuple[dict[int, dict[int, int]], dict[int, dict[int, int]]]:
    after: dict[int, dict[int, int]] = defaultdict(dict)
    before: dict[int, dict[int, int]] = defaultdict(dict)
    for i, block in enumerate(blocks):
        for j, count in block.successors:
            after[i][j] = before[j][i] = count
    return after, before


def _entries(blocks: Sequence[Block], i: int, after: dict[int, dict[int, int]]) -> int:
    """How often a block is come to from another one."""
    return max(blocks[i].count - after[i].get(i, 0), 1)


def _turns(blocks: Sequence[Block], i: int, after: dict[int, dict[int, int]]) -> int:
    """How many times a block runs in a row, on average."""
    return max(round(blocks[i].count / _entries(blocks, i, after)), 1)


def _likely(blocks: Sequence[Block], i: int, nearby: dict[int, dict[int, int]]) -> int | None:
    """The neighbour that is likely for both, loops of one block counted as one pass."""
    others = {j: count for j, count in nearby[i].items() if j != i}
    if not others:
        return None
    best = max(others, key=lambda j: others[j])
    passes = max(_passes(blocks, i, nearby), _passes(blocks, best, nearby))
    return best if others[best] >= LIKELY * passes else None


def _passes(blocks: Sequence[Block], i: int, nearby: dict[int, dict[int, int]]) -> int:
    return max(blocks[i].count - nearby[i].get(i, 0), 1)
