"""Cycles of instructions and kernels: what the cores' manuals say, and what kernels must reach."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from arm_programs import SOURCES, SYSROOT, assemble, compile_kernels, link_dynamically, need_tools

from codesign.backends.tvm.sim import inorder, mca, trace
from codesign.backends.tvm.sim.calibrate import Calibration, fit, read_measurements
from codesign.backends.tvm.sim.model import Profile, cost_of, simulate
from codesign.errors import InputError, ToolError, UsageError
from codesign.target import load_target
from codesign.toolchain import cache_dir

SDOT = [0x4F82E020 | i for i in range(8, 16)]  # sdot v8.4s, v1.16b, v2.4b[0] to v15
BL, RET, B_NE = 0x94000010, 0xD65F03C0, 0x54FFFF41


@pytest.fixture(autouse=True)
def tools() -> None:
    need_tools()


def test_words_are_disassembled_and_unknown_ones_are_said() -> None:
    texts = mca.disassemble([0x4F82E020, mca.NOP, 0xFFFFFFFF, 0x91000400])
    assert texts == {
        0x4F82E020: "sdot v0.4s, v1.16b, v2.4b[0]",
        mca.NOP: "nop",
        0xFFFFFFFF: "",
        0x91000400: "add x0, x0, #1",
    }


def test_distances_are_left_out_and_calls_are_branches() -> None:
    assert mca.normalised(BL) == mca.normalised(0x17FFFFF0) == 0x14000000
    assert mca.normalised(RET) == 0xD61F03C0
    assert mca.normalised(B_NE) == 0x54000001
    assert mca.normalised(0x90000123) == 0x90000003
    assert mca.normalised(SDOT[3]) == SDOT[3]


def test_throughput_of_the_dot_product() -> None:
    """Two a cycle on Neoverse N1 (Software Optimization Guide, section 3.17), one on Cortex-A55."""
    assert mca.cycles_of([SDOT], "neoverse-n1")[0] == pytest.approx(4, rel=0.05)
    assert inorder.cycles_of([SDOT], "cortex-a55", 2)[0] == pytest.approx(8, rel=0.05)


def test_a_chain_takes_its_latency() -> None:
    add = 0x8B000000  # add x0, x0, x0
    assert mca.cycles_of([[add] * 4], "neoverse-n1")[0] == pytest.approx(4, rel=0.05)
    assert inorder.cycles_of([[add] * 4], "cortex-a53", 2)[0] == pytest.approx(4, rel=0.05)


def test_a_call_costs_a_branch() -> None:
    assert mca.cycles_of([[BL, RET]], "neoverse-n1")[0] < 5  # llvm-mca alone says 100 for a call


def test_results_are_kept_and_a_damaged_store_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODESIGN_CACHE", str(tmp_path))
    first = mca.cycles_of([SDOT, SDOT[:3]], "neoverse-n1")
    with sqlite3.connect(cache_dir() / "mca.sqlite") as store:
        assert store.execute("SELECT count(*) FROM cycles").fetchone() == (2,)
    monkeypatch.setattr(mca, "_measure", lambda *_: pytest.fail("asked again"))
    assert mca.cycles_of([SDOT, SDOT[:3]], "neoverse-n1") == first
    monkeypatch.undo()
    monkeypatch.setenv("CODESIGN_CACHE", str(tmp_path))
    (tmp_path / "mca.sqlite").write_bytes(b"no database at all, but long enough for SQLite to look at" * 30)
    assert mca.cycles_of([SDOT, SDOT[:3]], "neoverse-n1") == first


def test_a_store_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODESIGN_CACHE", str(tmp_path))
    (tmp_path / "mca.sqlite").mkdir()
    with pytest.raises(ToolError) as caught:
        mca.cycles_of([SDOT], "neoverse-n1")
    assert str(caught.value) == (
        f"{tmp_path}/mca.sqlite: cannot be used: unable to open database file; try: remove it; it is made again"
    )


def test_an_unknown_core() -> None:
    with pytest.raises(UsageError) as caught:
        mca.cycles_of([SDOT], "cortex-z1")
    assert str(caught.value) == (
        "cpu.scheduling_model: LLVM does not know the core 'cortex-z1'; try: llvm-mca-19 -march=aarch64 -mcpu=help"
    )


def run(program: Path, target_name: str, *arguments: str, calibration: Calibration | None = None) -> Profile:
    target = load_target(target_name)
    assert target.cpu is not None
    clock_hz = target.clock_hz
    return simulate(program, target.cpu, arguments, "kernel_", clock_hz=clock_hz, calibration=calibration)


SIZE = ("64", "64", "256")
MACS = 64 * 64 * 256


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kernels")
    return {core: compile_kernels(folder / core, f"cortex-{core}") for core in ("a53", "a72", "a76")}


def test_kernels_are_as_fast_as_the_core_s_units_let_them(kernels: dict[str, Path]) -> None:
    """Peaks in MACs a cycle: sdot 2 * 16; smull, smlal2 on one unit and sadalp on the other: 16 in 2 cycles."""
    dot = MACS / run(kernels["a76"], "rpi5", "sdot", *SIZE).total.cycles
    assert 0.85 * 32 < dot < 32
    pairs = MACS / run(kernels["a72"], "rpi4", "smlal", *SIZE).total.cycles
    assert 0.8 * 8 < pairs < 8
    in_order = MACS / run(kernels["a53"], "rpi3", "smlal", *SIZE).total.cycles
    assert 0.4 * 16 / 3 < in_order < 16 / 3  # one unit for the three of them


def test_cores_and_kernels_rank_as_they_do_on_boards(kernels: dict[str, Path]) -> None:
    by = {
        (name, kernel): run(kernels[core], name, kernel, *SIZE).total.cycles
        for core, name in (("a53", "rpi3"), ("a72", "rpi4"), ("a76", "rpi5"))
        for kernel in ("wide", "plain")
    }
    for kernel in ("wide", "plain"):
        assert by["rpi3", kernel] > by["rpi4", kernel] > 0.95 * by["rpi5", kernel]
    assert all(by[name, "plain"] > 2 * by[name, "wide"] for name in ("rpi3", "rpi4"))


def test_a_calibration_scales_and_is_said(kernels: dict[str, Path]) -> None:
    plain = run(kernels["a53"], "rpi3", "wide", *SIZE)
    twice = run(kernels["a53"], "rpi3", "wide", *SIZE, calibration=Calibration(2.0, 3.0, 7, 0.1))
    assert twice.total.pipeline_cycles == pytest.approx(2 * plain.total.pipeline_cycles)
    assert twice.total.stall_cycles == pytest.approx(3 * plain.total.stall_cycles)
    assert "uncalibrated" in plain.notes[0]
    assert twice.notes == ("cycles are calibrated with 7 measurements, median error 10%",)


def test_what_is_simulated_can_be_calibrated(kernels: dict[str, Path], tmp_path: Path) -> None:
    profile = run(kernels["a53"], "rpi3", "wide", *SIZE)
    head, row = profile.csv().splitlines()
    path = tmp_path / "m.csv"
    path.write_text(f"{head},measured_ms\n{row},{1.5 * profile.total.cycles / 1.4e6}\n")
    assert fit(read_measurements(path, 1.4e9)).pipeline == pytest.approx(1.5, rel=1e-3)


HELLO = """
#include <pthread.h>
#include <stdio.h>
static void *work(void *x) { return x; }
int main(void) {
    pthread_t thread;
    pthread_create(&thread, 0, work, 0);
    pthread_join(thread, 0);
    return puts("hello") < 0;
}
"""


def test_programs_with_libraries_and_threads(tmp_path: Path) -> None:
    """Everything is one function; what the second thread does is not in it, and that is said."""
    (tmp_path / "hello.c").write_text(HELLO)
    program = link_dynamically(tmp_path / "hello.c", tmp_path / "hello")
    cpu = load_target("rpi4").cpu
    assert cpu is not None
    recording = trace.record(program, cpu, root=SYSROOT)
    profile = cost_of(recording, cpu, 1.5e9)
    assert list(profile.functions) == ["program"]
    assert profile.total.instructions == recording.instructions > 50_000  # the loader's, mostly
    assert profile.notes[1] == "1 more threads ran, their work is not counted"
    with pytest.raises(InputError, match="position independent"):
        simulate(program, cpu, clock_hz=1e9)


def test_an_instruction_that_the_core_lacks_is_named(kernels: dict[str, Path]) -> None:
    with pytest.raises(ToolError) as caught:
        run(kernels["a76"], "rpi4", "sdot", *SIZE)
    text = str(caught.value)
    assert text.startswith(f"{kernels['a76']}: has an instruction that cortex-a72 lacks: sdot v")
    assert text.endswith("; try: compile for -mcpu=cortex-a72")


def test_a_program_that_fails_is_said(kernels: dict[str, Path]) -> None:
    with pytest.raises(ToolError, match="qemu-aarch64: failed with exit status 1, log "):
        run(kernels["a72"], "rpi4", "nonesuch", *SIZE)


def test_the_cycles_of_a_program_without_a_library(tmp_path: Path) -> None:
    """count_loop: seven turns of three instructions that depend on each other through one register a turn."""
    program = assemble(SOURCES / "counts.S", tmp_path / "counts")
    cpu = load_target("rpi5").cpu
    assert cpu is not None
    cost = simulate(program, cpu, functions=["count_loop"], clock_hz=1e9).functions["count_loop"]
    assert 7 <= cost.pipeline_cycles <= 23
