"""Designs that do not work: each fault is found, and said with the stream and the cycle."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from codesign import toolchain
from codesign.backends.rtl import simulator
from codesign.errors import InputError, MismatchError, ToolError
from tests.hw import toy_design as toy

pytestmark = pytest.mark.usefixtures("cxx")


def faulty(directory: Path, fault: int) -> simulator.Simulator:
    return simulator.build(toy.SOURCES, toy.TOP, directory=toy.configure(directory, fault=fault))


def test_a_deadlock_is_reported_with_the_blocked_streams(tmp_path: Path) -> None:
    with pytest.raises(MismatchError) as caught:
        faulty(tmp_path, toy.FAULT_DEADLOCK).run(toy.inputs(3), toy.BEATS, idle_limit=100)
    assert str(caught.value) == (
        "simulation, cycle 205: deadlock after 0 of 3 frames; blocked streams: front (valid, not ready, 0 beats); "
        "try: deeper FIFOs on these streams"
    )
    assert caught.value.exit_status == 1


def test_a_deadlock_is_data_for_who_asks(tmp_path: Path) -> None:
    result = faulty(tmp_path, toy.FAULT_DEADLOCK).run(toy.inputs(3), toy.BEATS, idle_limit=100, check=False)
    assert result.failure is not None
    assert result.outputs.shape == (0, toy.BEATS, 5)
    assert list(result.accepted) == [0, -1, -1]
    assert list(result.completed) == [-1, -1, -1]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (toy.FAULT_DATA, "stream back: data changed before it was taken (in TOP.toy_top.u_monitor_back)"),
        (toy.FAULT_VALID, "stream back: valid was withdrawn before ready came (in TOP.toy_top.u_monitor_back)"),
        (toy.FAULT_LAST, "m_axis_tlast is wrong at beat 14 of frame 0; allowed: set on the last beat only"),
        (toy.FAULT_FINISH, "the design called $finish"),
    ],
)
def test_a_broken_rule_ends_the_run(tmp_path: Path, fault: int, text: str) -> None:
    with pytest.raises(MismatchError) as caught:
        faulty(tmp_path, fault).run(toy.inputs(20), toy.BEATS, stall=0.5)
    where, _, found = str(caught.value).partition(": ")
    assert where.startswith("simulation, cycle ")
    assert found == text


def test_registers_do_not_start_at_zero(tmp_path: Path) -> None:
    data = toy.inputs(2)
    model = faulty(tmp_path, toy.FAULT_RESET)
    outputs = [model.run(data, toy.BEATS, seed=seed).outputs for seed in (1, 2, 3)]
    assert not all(np.array_equal(out, toy.expected(data)) for out in outputs)
    assert not np.array_equal(outputs[0], outputs[1]) or not np.array_equal(outputs[0], outputs[2])


def test_the_cycle_limit_keeps_what_was_completed(tmp_path: Path) -> None:
    data = toy.inputs(10)
    model = faulty(tmp_path, 0)
    with pytest.raises(MismatchError) as caught:
        model.run(data, toy.BEATS, cycle_limit=50)
    text = "simulation, cycle 50: cycle limit reached after 3 of 10 frames; try: a higher cycle limit"
    assert str(caught.value) == text
    result = model.run(data, toy.BEATS, cycle_limit=50, check=False)
    assert np.array_equal(result.outputs, toy.expected(data)[:3])


def test_a_missing_memory_file_does_not_become_zeros(tmp_path: Path) -> None:
    model = simulator.build(toy.SOURCES, toy.TOP, directory=tmp_path)
    with pytest.raises(InputError) as caught:
        model.run(toy.inputs(1), toy.BEATS, cycle_limit=1000)
    text = "memory file: config.mem:0: $readmem file not found; try: compile the model again"
    assert str(caught.value) == text


def test_wrong_ports_are_listed(tmp_path: Path) -> None:
    (tmp_path / "top.sv").write_text(
        "module top (input logic aclk, aresetn, input logic [9:0] s_axis_tdata, input logic s_axis_tvalid,\n"
        "  output logic s_axis_tready, output logic [7:0] m_axis_tdata, output logic m_axis_tvalid,\n"
        "  input logic m_axis_tready, input logic go);\n"
        "  assign {s_axis_tready, m_axis_tdata, m_axis_tvalid} = {m_axis_tready, s_axis_tdata[7:0], s_axis_tvalid};\n"
        "endmodule\n"
    )
    with pytest.raises(InputError) as caught:
        simulator.build(tmp_path, "top")
    assert str(caught.value) == (
        "module top: ports: s_axis_tdata has 10 bits, m_axis_tlast missing, go unknown; "
        "allowed: aclk, aresetn, s_axis_* and m_axis_* with tdata of a multiple of 8 bits"
    )


def test_sources_that_verilator_refuses(tmp_path: Path) -> None:
    (tmp_path / "top.sv").write_text("module top (input logic aclk);\n  assign nothing = ;\nendmodule\n")
    with pytest.raises(ToolError) as caught:
        simulator.build(tmp_path, "top")
    text = str(caught.value)
    assert text.startswith("verilator: failed with exit status 1, log ")
    assert f"%Error: {tmp_path}/top.sv:2:20: syntax error" in text
    assert caught.value.exit_status == 4


@pytest.mark.parametrize(("name", "keep"), [("sim", 0), ("sim", 5000), ("ports", 0)])
def test_a_damaged_program_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, keep: int
) -> None:
    """In a cache of its own, which starts with what all designs share."""
    directory = toy.configure(tmp_path)
    program = simulator.build(toy.SOURCES, toy.TOP, directory=directory).program
    for path in (toolchain.cache_dir() / "runtime", program.parent):
        shutil.copytree(path, tmp_path / "cache" / path.relative_to(toolchain.cache_dir()))
    monkeypatch.setenv("CODESIGN_CACHE", str(tmp_path / "cache"))
    copy = tmp_path / "cache" / "models" / program.parent.name / name
    whole = copy.read_bytes()
    copy.write_bytes(whole[:keep] or b"\xffgarbage")
    model = simulator.build(toy.SOURCES, toy.TOP, directory=directory)
    assert model.program.parent == copy.parent
    assert len(copy.read_bytes()) == len(whole)
    assert len(model.run(toy.inputs(2), toy.BEATS).completed) == 2
