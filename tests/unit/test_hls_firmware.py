"""The pragmas of the integer layers: every flow is told of the same loops, where its compiler looks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from codesign.backends.hls.extension import FIRMWARE, HEADERS

UNROLLED = ("#pragma hls_unroll", "#pragma unroll")
PIPELINED = ("#pragma hls_pipeline_init_interval 1", "#pragma ii 1")


@pytest.mark.parametrize("name", HEADERS)
def test_a_loop_has_the_pragmas_of_every_flow(name: str) -> None:
    """In the body for Vivado and Vitis; before the loop for the others, which refuse them anywhere else."""
    lines = [line.strip() for line in Path(FIRMWARE / name).read_text().splitlines()]
    loops = [i for i, line in enumerate(lines) if line.startswith("for (")]
    assert loops
    placed = 0
    for start in loops:
        opened = next(i for i in range(start, len(lines)) if lines[i].endswith("{"))
        inside = next(i for i in range(opened + 1, len(lines)) if not lines[i].startswith("#pragma HLS"))
        body = lines[opened + 1 : inside]
        before = tuple(lines[start - 2 : start])
        assert (before == UNROLLED) == ("#pragma HLS UNROLL" in body), start + 1
        assert (before == PIPELINED) == any(line.startswith("#pragma HLS PIPELINE") for line in body), start + 1
        placed += 2 * (before in (UNROLLED, PIPELINED))
    assert placed == sum(line in (*UNROLLED, *PIPELINED) for line in lines)
