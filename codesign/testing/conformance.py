"""The suite that every backend runs: every case is equal to the golden evaluation on every bit, or refused in words.

A backend's test module holds no more than

    class TestRtl(BackendConformance):
        backend, target = RtlBackend(), load_target("pynq-z2")
        refused = {"softmax": "a Softmax"}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from codesign.backends.base import Backend, RunOptions, Verdict
from codesign.errors import UnsupportedError
from codesign.ir.graph import Graph
from codesign.target import Target
from codesign.testing.cases import CASES
from codesign.testing.graphs import feeds


def quiet(what: str, done: int, total: int) -> None:
    """A progress that says nothing."""


def refusals(backend: Backend[Any], target: Target, graph: Graph) -> list[str]:
    """What the backend refuses of a graph, each sentence once."""
    verdicts: list[Verdict] = [backend.check(node, graph, target) for node in graph.nodes]
    for verdict in verdicts:
        assert verdict.ok or len(verdict.reason.split()) >= 3, f"a refusal without a sentence: {verdict.reason!r}"
    return list(dict.fromkeys(v.reason for v in verdicts if not v.ok))


def verify(
    backend: Backend[Any], target: Target, graph: Graph, out: Path, frames: int = 4, seed: int = 1, stall: float = 0.0
) -> list[str]:
    """Build the smallest design for `graph` in `out`, run it, and compare every bit; returns the refusals, if any.

    Where the run's `details` hold the cycle in which every frame was `completed` and the `predicted` one, these are
    compared as well. AssertionError tells of a bit or a cycle that differs, or of a schedule for a graph that `check`
    refuses.
    """
    reasons = refusals(backend, target, graph)
    if reasons:
        with pytest.raises(UnsupportedError) as caught:
            backend.schedule(graph, target, "area", (), quiet)
        assert all(reason in str(caught.value) for reason in reasons)
        return reasons
    schedule = backend.schedule(graph, target, "area", (), quiet)
    backend.build(graph, schedule, target, out)
    inputs = feeds(graph, frames, seed)
    run = backend.run(out, graph, inputs, RunOptions(stall=stall, seed=seed), quiet)
    for port, found, expected in zip(graph.outputs, run.outputs, graph.evaluate(*inputs), strict=True):
        np.testing.assert_array_equal(found, expected, err_msg=f"output {port.name}")
    if {"completed", "predicted"} <= run.details.keys():
        np.testing.assert_array_equal(run.details["completed"], run.details["predicted"], err_msg="cycles of frames")
    return []


class BackendConformance:
    """Tests for one backend and target; a subclass names them.

    refused  the cases that this backend refuses, with the beginning of its sentence: no more, and no fewer
    """

    backend: ClassVar[Backend[Any]]
    target: ClassVar[Target]
    refused: ClassVar[Mapping[str, str]] = {}

    @pytest.mark.parametrize("case", CASES)
    def test_case_is_exact_or_refused(self, case: str, tmp_path: Path) -> None:
        reasons = verify(self.backend, self.target, CASES[case](), tmp_path)
        if case in self.refused:
            assert reasons
            assert all(reason.startswith(self.refused[case]) for reason in reasons)
        else:
            assert reasons == []

    @pytest.mark.parametrize("case", CASES)
    def test_schedule_is_data(self, case: str) -> None:
        graph = CASES[case]()
        if case in self.refused:
            return
        schedule = self.backend.schedule(graph, self.target, "area", (), quiet)
        data = self.backend.schedule_data(schedule)
        assert self.backend.schedule_data(self.backend.read_schedule(data, graph)) == data
