"""Targets with an Ethos-U: the shipped ones fit Vela's own ini file, a user's vela.ini is read, kept and checked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import missing

from codesign.backends.ethosu.vela import ACCELERATORS, bundled_ini
from codesign.errors import InputError, ToolError
from codesign.target import load_target, target_from_data, target_names

INI = """
[System_Config.Mine]
core_clock=250e6
axi0_port=Sram
axi1_port=OffChipFlash
[Memory_Mode.Small]
inherit=Memory_Mode.Base
[Memory_Mode.Base]
const_mem_area=Axi1
arena_mem_area=Axi0
cache_mem_area=Axi0
arena_cache_size=65536
"""

GOOD = """
description = "a chip"
backends = ["ethosu"]
clock_hz = 250_000_000
[npu]
accelerator = "ethos-u55-64"
system_config = "Mine"
memory_mode = "Small"
ini = "mine/vela.ini"
[limits]
sram_bytes = 262_144
[sources]
clock_hz = "c"
sram_bytes = "s"
"""

_MEMORY = {"Sram": "sram_bytes", "OffChipFlash": "flash_bytes", "Dram": "dram_bytes"}


def written(folder: Path, text: str = GOOD, ini: str | None = INI) -> str:
    (folder / "mine").mkdir(exist_ok=True)
    if ini is not None:
        (folder / "mine" / "vela.ini").write_text(ini)
    path = folder / "chip.toml"
    path.write_text(text)
    return str(path)


def findings(name: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_target(name)
    return str(caught.value).splitlines()


def test_every_accelerator_is_a_target() -> None:
    assert set(ACCELERATORS) == {name for name in target_names() if name.startswith("ethos-u")}


@pytest.mark.parametrize("name", ACCELERATORS)
def test_shipped_targets_fit_the_ini_of_vela(name: str) -> None:
    try:
        bundled_ini()
    except ToolError:
        missing("vela")
    target = load_target(name)
    assert target.npu is not None
    assert (target.npu.accelerator, target.npu.ini) == (name, "")
    target.npu.check()
    assert target.npu.clock_hz() == target.clock_hz
    assert {_MEMORY[m] for m in target.npu.memories()} == set(target.limits)
    assert target_from_data(name, target.to_data()) == target


def test_an_ini_file_of_the_users_own(tmp_path: Path) -> None:
    target = load_target(written(tmp_path))
    assert target.npu is not None
    assert (target.npu.ini, target.npu.clock_hz(), target.npu.arena_limit()) == (INI, 250e6, 65536)
    assert target.npu.memories() == ("Sram", "OffChipFlash")
    shutil.rmtree(tmp_path / "mine")
    assert target_from_data("chip", target.to_data()) == target


def test_ini_files_that_cannot_be_used(tmp_path: Path) -> None:
    ini = tmp_path / "mine" / "vela.ini"
    beside = "allowed: a vela.ini beside the target's file"
    assert findings(written(tmp_path, ini=None)) == [f"{ini}: cannot be read: No such file or directory; {beside}"]
    assert findings(written(tmp_path, ini=" \n")) == [
        f"{ini}: is empty; allowed: Vela's System_Config and Memory_Mode sections"
    ]
    ini.write_bytes(b"\xff\xfe\x00")
    assert findings(str(tmp_path / "chip.toml")) == [f"{ini}: not a text file; {beside}"]


@pytest.mark.parametrize(
    ("ini", "message"),
    [
        ("core_clock=1\n", "not an ini file: File contains no section headers."),
        (INI.replace(".Mine", ".Other"), "no section System_Config.Mine; allowed: Other"),
        (INI.replace("Memory_Mode.Small", "Memory_Mode.Big"), "no section Memory_Mode.Small; allowed: Big, Base"),
        (
            INI.replace("core_clock=250e6\n", ""),
            "System_Config.Mine has no core_clock; allowed: a frequency in Hz; try: core_clock=500e6",
        ),
        (
            INI.replace("=65536", "=64K"),
            "Memory_Mode.Small has arena_cache_size=64K; allowed: a whole number of bytes; "
            "try: arena_cache_size=393216",
        ),
    ],
)
def test_what_an_ini_file_lacks(tmp_path: Path, ini: str, message: str) -> None:
    name = written(tmp_path, ini=ini)
    assert findings(name) == [f"{name}, vela.ini: {message}"]


def test_two_clocks(tmp_path: Path) -> None:
    name = written(tmp_path, GOOD.replace("250_000_000", "100_000_000"))
    assert findings(name) == [
        f"{name}: clock_hz is 100000000, but the ini file's core_clock is 250000000; allowed: the same clock in both"
    ]


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("u55-64", "u55-63").replace('memory_mode = "Small"', "speed = 1").replace('"Mine"', "3")
    name = written(tmp_path, text)
    assert findings(name) == [
        f"{name}: unknown key 'npu.speed'; allowed: accelerator, system_config, memory_mode, ini",
        f"{name}: npu.system_config is 3; allowed: text",
        f"{name}: npu.memory_mode is missing",
        f"{name}: there is no accelerator 'ethos-u55-63'; allowed: {', '.join(ACCELERATORS)}",
    ]


def test_a_target_for_vela_needs_its_settings(tmp_path: Path) -> None:
    start, end = GOOD.index("[npu]"), GOOD.index("[limits]")
    name = written(tmp_path, GOOD[:start] + GOOD[end:])
    assert findings(name) == [
        f"{name}: npu is missing; allowed: accelerator, system_config, memory_mode, ini; "
        "try: one of the files targets/ethos-u*.toml shows it"
    ]
