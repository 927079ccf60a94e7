"""Every pass on a small graph, before and after, as text: golden/PASS-VARIANT.txt.

To accept a change: `CODESIGN_UPDATE_GOLDEN=1 pytest tests/passes/test_golden.py`, then read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from codesign.ir.text import parse_graph, print_graph
from codesign.passes import HLS_PIPELINE, KERNELS
from codesign.testing.graphs import feeds

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.txt"), key=lambda path: path.stem)
STEPS = {step.__name__: step for step in (*HLS_PIPELINE, *KERNELS)}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_pass_gives_the_golden_graph(path: Path) -> None:
    before, _, after = path.read_text().partition("=>\n")
    graph = parse_graph(before)
    made = STEPS[path.stem.partition("-")[0]](graph)
    if os.environ.get("CODESIGN_UPDATE_GOLDEN"):
        path.write_text(before + "=>\n" + print_graph(made))
        return
    assert print_graph(made) == after
    assert (before == after) == path.stem.endswith(("stay", "stays"))
    inputs = feeds(graph, 50, seed=1)
    for expected, found in zip(graph.evaluate(*inputs), made.evaluate(*inputs), strict=True):
        assert (expected == found).all()


def test_every_pass_has_a_golden_graph_that_it_changes() -> None:
    assert {p.stem.partition("-")[0] for p in GOLDEN if not p.stem.endswith(("stay", "stays"))} == set(STEPS)


def test_every_pass_says_what_it_does() -> None:
    for step in STEPS.values():
        description = (step.__doc__ or "").partition("\n")[0]
        assert step.__name__ == step.__module__.rpartition(".")[2]
        assert 20 < len(description) < 120
        assert "->" in description
