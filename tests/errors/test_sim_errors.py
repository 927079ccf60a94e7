"""The CPU simulator's errors: what is no program, what is missing."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from arm_programs import SOURCES, assemble

from codesign import toolchain
from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.sim import mca, trace
from codesign.backends.tvm.sim.elf import functions_of
from codesign.backends.tvm.sim.model import simulate
from codesign.errors import CodesignError, InputError, ToolError, UsageError
from codesign.target import load_target


@pytest.fixture
def cpu() -> Cpu:
    found = load_target("rpi4").cpu
    assert found is not None
    return found


def header(machine: int = 183, kind: int = 2) -> bytes:
    return b"\x7fELF\x02\x01" + bytes(10) + struct.pack("<2H", kind, machine) + bytes(44)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"#!/bin/sh", "is no 64-bit little-endian ELF file; allowed: an ELF executable for aarch64"),
        (header(62), "is for ELF machine 62; allowed: an ELF executable for aarch64 (machine 183)"),
        (header(kind=3), "is position independent, its functions are nowhere known; allowed: a static executable; "),
        (header()[:30], "its symbol table cannot be read: unpack_from requires"),
    ],
)
def test_files_that_are_no_program(tmp_path: Path, cpu: Cpu, content: bytes | None, message: str) -> None:
    path = tmp_path / "program"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        simulate(path, cpu, clock_hz=1e9)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_core_that_is_not_simulated(tmp_path: Path) -> None:
    host = load_target("host-x86").cpu
    assert host is not None
    with pytest.raises(UsageError) as caught:
        simulate(tmp_path / "program", host, clock_hz=1e9)
    assert str(caught.value) == (
        "target: native of x86_64 is not simulated; allowed: an ARM core; try: measure on the machine itself"
    )


def test_functions_that_did_not_run(tmp_path: Path, cpu: Cpu) -> None:
    program = assemble(SOURCES / "counts.S", tmp_path / "counts")
    with pytest.raises(InputError) as caught:
        simulate(program, cpu, functions="layer_", clock_hz=1e9)
    assert str(caught.value) == f"{program}: no function layer_… ran; try: the names in its symbol table (nm)"
    assert {f.name for f in functions_of(program).all} >= {"count_leaf", "count_loop", "_start"}


@pytest.mark.parametrize(
    ("name", "package", "needed_for"),
    [
        ("qemu-aarch64", "qemu-user", "running ARM code"),
        ("cc", "gcc", "processors: libraries, the simulator"),
        ("llvm-mca", "llvm-19", "the cost of ARM code"),
        ("llvm-mc", "llvm-19", "the cost of ARM code"),
    ],
)
def test_missing_tools(monkeypatch: pytest.MonkeyPatch, name: str, package: str, needed_for: str) -> None:
    monkeypatch.setattr(toolchain.shutil, "which", lambda _: None)
    with pytest.raises(ToolError) as caught:
        toolchain.require(name)
    text = str(caught.value)
    assert text.startswith(f"{name}: not found (no ")
    assert text.endswith(f" on PATH), needed for {needed_for}; try: apt install {package}")


def test_missing_tools_are_said_by_the_simulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpu: Cpu) -> None:
    program = tmp_path / "program"
    program.write_bytes(header())
    monkeypatch.setattr(toolchain.shutil, "which", lambda _: None)
    for use in (lambda: trace.record(program, cpu), lambda: mca.cycles_of([[0]], "a"), lambda: mca.disassemble([0])):
        with pytest.raises(CodesignError, match="not found"):
            use()


def test_profiles_that_are_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "profile.bin"
    with pytest.raises(ToolError) as caught:
        trace.read(path)
    assert str(caught.value) == ("qemu-aarch64: the plugin wrote no profile; try: a QEMU with plugins, version 7 or 8")
    path.write_bytes(b"CSPROF1\0" + bytes(4088))
    with pytest.raises(ToolError) as caught:
        trace.read(path)
    assert str(caught.value) == "qemu-aarch64: the profile is not whole: the program was stopped before its end"
