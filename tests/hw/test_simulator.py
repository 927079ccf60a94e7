"""Simulation of a design that works: data, cycles, stalls, counters, the cache, and progress."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codesign.backends.rtl import simulator
from codesign.errors import CodesignError
from tests.hw import toy_design as toy

pytestmark = pytest.mark.usefixtures("cxx")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> simulator.Simulator:
    return simulator.build(toy.SOURCES, toy.TOP, directory=toy.configure(tmp_path_factory.mktemp("toy")))


def test_every_bit_and_every_cycle_of_a_run_without_stalls(model: simulator.Simulator) -> None:
    data = toy.inputs(50)
    result = model.run(data, toy.BEATS)
    assert np.array_equal(result.outputs, toy.expected(data))
    assert (model.input_bytes, model.output_bytes) == (3, 5)
    # one beat in every cycle; a beat is in each of the two FIFOs for one cycle
    assert result.first_in_cycle == 0
    assert list(result.accepted) == [toy.BEATS * k for k in range(50)]
    assert list(result.completed) == [toy.BEATS * (k + 1) - 1 + 2 for k in range(50)]
    assert result.latency_cycles == toy.BEATS + 1
    assert result.interval_cycles == toy.BEATS
    assert set(result.intervals) == {toy.BEATS}
    assert result.cycles == 50 * toy.BEATS + 2


def test_streams_count_beats_and_idle_cycles(model: simulator.Simulator) -> None:
    front, back = model.run(toy.inputs(2), toy.BEATS).streams
    assert (front.name, front.beats, front.blocked, front.starved) == ("front", 32, 0, 2)
    assert (back.name, back.beats, back.blocked, back.starved) == ("back", 32, 0, 2)


@pytest.mark.parametrize("stall", [0.1, 0.5, 0.9])
def test_stalls_change_cycles_but_no_bit(model: simulator.Simulator, stall: float) -> None:
    data = toy.inputs(40)
    result = model.run(data, toy.BEATS, stall=stall, seed=3)
    assert np.array_equal(result.outputs, toy.expected(data))
    beats = 40 * toy.BEATS
    # each end alone would need beats / (1 - stall) cycles on average; five standard deviations of slack
    slowest = beats / (1 - stall)
    assert result.cycles > slowest - 5 * (beats * stall) ** 0.5 / (1 - stall)
    assert sum(s.blocked for s in result.streams) > 0
    assert all(s.beats == beats for s in result.streams)


def test_a_seed_is_a_run(model: simulator.Simulator) -> None:
    data = toy.inputs(10)
    first, again, other = (model.run(data, toy.BEATS, stall=0.3, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first.completed, again.completed)
    assert first.streams == again.streams
    assert not np.array_equal(first.completed, other.completed)


def test_a_single_frame_has_a_latency_but_no_interval(model: simulator.Simulator) -> None:
    result = model.run(toy.inputs(1), toy.BEATS)
    assert result.latency_cycles == toy.BEATS + 1
    assert result.interval_cycles is None


def test_progress_starts_at_nothing_and_ends_at_all_frames(model: simulator.Simulator) -> None:
    seen: list[tuple[str, int, int]] = []
    model.run(toy.inputs(30_000), toy.BEATS, stall=0.5, progress=lambda *step: seen.append(step))
    assert seen[0] == ("simulating", 0, 30_000)
    assert seen[-1] == ("simulating", 30_000, 30_000)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_new_constants_need_no_compiler(model: simulator.Simulator, tmp_path: Path) -> None:
    steps: list[str] = []
    again = simulator.build(
        toy.SOURCES, toy.TOP, directory=toy.configure(tmp_path, add=1000), progress=lambda what, *_: steps.append(what)
    )
    assert again.program == model.program
    assert steps == ["compiled"]
    data = toy.inputs(3)
    assert np.array_equal(again.run(data, toy.BEATS).outputs, toy.expected(data, add=1000))


def test_a_changed_source_is_another_model(model: simulator.Simulator, tmp_path: Path) -> None:
    text = toy.SOURCES[0].read_text()
    changed = tmp_path / "toy_top.sv"
    changed.write_text(text.replace("toy_top (", "toy_top2 (").replace("config_q[1]", "(config_q[1] + 32'd1)"))
    steps: list[str] = []
    other = simulator.build(toy.configure(tmp_path), "toy_top2", progress=lambda what, *_: steps.append(what))
    assert other.program != model.program
    assert other.directory == tmp_path
    assert steps[-1] == "compiled"
    data = toy.inputs(2)
    assert np.array_equal(other.run(data, toy.BEATS).outputs, toy.expected(data, add=8))


def test_packages_come_before_what_imports_them(tmp_path: Path) -> None:
    for name in ("a_top.sv", "z_pkg.sv", "mem/b.sv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    assert [str(f.relative_to(tmp_path)) for f in simulator.design_files(tmp_path)] == [
        "z_pkg.sv",
        "a_top.sv",
        "mem/b.sv",
    ]


def test_wrong_arguments_are_refused_in_words(model: simulator.Simulator, tmp_path: Path) -> None:
    good = toy.inputs(1)
    wrong: list[tuple[Callable[[], object], str]] = [
        (
            lambda: model.run(good[..., :2], toy.BEATS),
            "simulation inputs: uint8 of shape (1, 16, 2); allowed: uint8 of shape (frames, beats, 3)",
        ),
        (lambda: model.run(good, 0), "output beats per frame: 0; allowed: 1 or more"),
        (lambda: model.run(good, 16, stall=1.0), "stall probability: 1; allowed: 0 <= stall < 1"),
        (
            lambda: model.run(good, 16, trace=simulator.Trace(tmp_path / "a.fst")),
            f"{tmp_path}/a.fst: the simulator was built without tracing; try: build(…, trace=True)",
        ),
        (lambda: simulator.build(tmp_path, "top"), f"{tmp_path}: no SystemVerilog files"),
    ]
    for call, text in wrong:
        with pytest.raises(CodesignError) as caught:
            call()
        assert str(caught.value) == text
        assert caught.value.exit_status == 2
