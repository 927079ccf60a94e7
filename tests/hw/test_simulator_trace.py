"""FST traces: a window of cycles on request, and the run around a frame again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codesign.backends.rtl import simulator
from codesign.errors import InputError
from tests.hw import toy_design as toy

pytestmark = pytest.mark.usefixtures("fst")


def is_fst(file: Path) -> bool:
    """An FST file begins with a header block: type 0, length 329 in 8 bytes, most significant first (FST manual)."""
    return file.read_bytes()[:9] == b"\x00" + (329).to_bytes(8, "big")


def times(file: Path) -> tuple[int, int]:
    """First and last time of the header block."""
    data = file.read_bytes()
    return int.from_bytes(data[9:17], "big"), int.from_bytes(data[17:25], "big")


def test_a_trace_holds_the_window_and_changes_no_cycle(tmp_path: Path) -> None:
    directory, data = toy.configure(tmp_path), toy.inputs(20)
    plain = simulator.build(toy.SOURCES, toy.TOP, directory=directory).run(data, toy.BEATS, stall=0.3)
    traced = simulator.build(toy.SOURCES, toy.TOP, directory=directory, trace=True)
    file = tmp_path / "out" / "window.fst"
    result = traced.run(data, toy.BEATS, stall=0.3, trace=simulator.Trace(file, 20, 60))
    assert np.array_equal(result.outputs, plain.outputs)
    assert np.array_equal(result.completed, plain.completed)
    assert is_fst(file)
    assert times(file) == (200, 605)


def test_a_frame_is_traced_from_its_first_beat_to_its_last(tmp_path: Path) -> None:
    directory, data = toy.configure(tmp_path), toy.inputs(20)
    seen = simulator.build(toy.SOURCES, toy.TOP, directory=directory).run(data, toy.BEATS, stall=0.3, seed=9)
    file = tmp_path / "frame.fst"
    window = simulator.trace_frame(
        toy.SOURCES, toy.TOP, data, toy.BEATS, frame=7, seen=seen, file=file, directory=directory, stall=0.3, seed=9
    )
    assert window.first == seen.accepted[7]
    assert window.last > seen.completed[7]
    assert is_fst(file)
    assert times(file) == (10 * window.first, 10 * window.last + 5)


def test_a_frame_that_never_came_out_is_traced_to_the_end(tmp_path: Path) -> None:
    directory, data = toy.configure(tmp_path, fault=toy.FAULT_DATA), toy.inputs(20)
    model = simulator.build(toy.SOURCES, toy.TOP, directory=directory)
    seen = model.run(data, toy.BEATS, stall=0.5, check=False)
    file = tmp_path / "frame.fst"
    simulator.trace_frame(
        toy.SOURCES, toy.TOP, data, toy.BEATS, frame=0, seen=seen, file=file, directory=directory, stall=0.5
    )
    assert is_fst(file)
    assert times(file)[1] == 10 * seen.cycles + 5


def test_a_deadlock_is_traced_where_it_began(tmp_path: Path) -> None:
    directory, data = toy.configure(tmp_path, fault=toy.FAULT_DEADLOCK), toy.inputs(3)
    model = simulator.build(toy.SOURCES, toy.TOP, directory=directory)
    seen = model.run(data, toy.BEATS, idle_limit=5000, check=False)
    assert (seen.last_active, seen.cycles) == (3, 10_005)  # four beats fill the first FIFO
    file = tmp_path / "frame.fst"
    window = simulator.trace_frame(
        toy.SOURCES, toy.TOP, data, toy.BEATS, frame=0, seen=seen, file=file, directory=directory, longest=100
    )
    assert window.first <= seen.last_active < window.last < 100
    assert is_fst(file)


def test_a_trace_that_cannot_be_written_is_said_before_the_run(tmp_path: Path) -> None:
    model = simulator.build(toy.SOURCES, toy.TOP, directory=toy.configure(tmp_path), trace=True)
    with pytest.raises(InputError) as caught:
        model.run(toy.inputs(1), toy.BEATS, trace=simulator.Trace(tmp_path / "config.mem" / "a.fst"))
    assert str(caught.value) == f"{tmp_path}/config.mem/a.fst: cannot be written: File exists"
    with pytest.raises(InputError) as caught:
        model.run(toy.inputs(1), toy.BEATS, trace=simulator.Trace(tmp_path))
    assert str(caught.value) == f"{tmp_path}: cannot be written: Is a directory"
