"""Vela in its process: what crashes, hangs or is refused ends one job, in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from tflite_models import Writer

from codesign.backends.ethosu.vela import Compiled, Job, Options, System, bundled_ini, compile_model, compile_models
from codesign.errors import InputError, ToolError, UsageError

U55 = System("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram")
U85 = System("ethos-u85-256", "Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB")


@pytest.fixture(scope="module")
def relu() -> bytes:
    w = Writer()
    x, y = w.input((1, 4, 4, 8), 0.5, 3), w.tensor((1, 4, 4, 8), 0.25, -7)
    w.op("RELU", [x], [y])
    return w.model(y)


def test_a_crash_ends_one_job_and_the_others_go_on(relu: bytes) -> None:
    damaged = Job(b"TFL3 nothing of the kind", U55)
    first, second, third = compile_models([Job(relu, U55), damaged, Job(relu, U85)])
    assert isinstance(first, Compiled)
    assert isinstance(third, Compiled)
    assert isinstance(second, ToolError)
    text = str(second)
    assert text.startswith("vela: killed by signal 11 (SIGSEGV), log ")
    assert Path(text.split("log ")[1].splitlines()[0]).is_file()


def test_a_job_that_does_not_end_is_stopped(relu: bytes) -> None:
    (found,) = compile_models([Job(relu, U55)], time_limit_s=0.001)
    assert isinstance(found, ToolError)
    assert str(found).startswith("vela: stopped after 0.001 s without a word, log ")


def test_both_forms_of_a_model(relu: bytes) -> None:
    model, raw = compile_model(Job(relu, U55)), compile_model(Job(relu, U55, raw=True))
    assert model.model[4:8] == b"TFL3"
    assert raw.command_stream[:4] == b"COP1"
    assert raw.result["inputs"][0]["size"] == 128
    assert model.performance["totalCycles"] == raw.performance["totalCycles"] > 0
    assert [row["operator"] for row in model.table("source")] == ["Relu"]
    assert model.table("no such table") == []


def test_a_limit_of_the_arena_is_part_of_the_options() -> None:
    assert "arena_size_limit=4294967296" in Options().text(U55, raw=False)
    assert "arena_size_limit=393216" in Options().text(U85, raw=False)
    assert "arena_size_limit=20000" in Options(arena_limit=20_000).text(U55, raw=True)
    assert "output_format=Raw" in Options().text(U55, raw=True)


def test_an_unknown_accelerator() -> None:
    with pytest.raises(UsageError) as caught:
        System("ethos-u55-512", "x", "y").check()
    assert str(caught.value).startswith(
        "accelerator: there is no 'ethos-u55-512'; allowed: ethos-u55-32, ethos-u55-64, ethos-u55-128, "
    )


def test_sections_that_the_ini_file_has_not() -> None:
    with pytest.raises(InputError) as caught:
        System("ethos-u55-128", "Board", "Fast", "[System_Config.Mine]\ncore_clock=1e6\n").check()
    assert str(caught.value).splitlines() == [
        "vela.ini: no section System_Config.Board; allowed: Mine",
        "vela.ini: no section Memory_Mode.Fast; allowed: at least one Memory_Mode section",
    ]


@pytest.mark.parametrize(
    ("option", "allowed"),
    [
        ("Sram_burst_length=-5", "a whole number of bytes, 1 or more"),
        ("Sram_read_latency=1.5", "a whole number of cycles, 0 or more"),
        ("OffChipFlash_clock_scale=abc", "a number above 0, the memory's clock by the accelerator's"),
        ("OffChipFlash_clock_scale=0", "a number above 0, the memory's clock by the accelerator's"),
        ("OffChipFlash_clock_scale=inf", "a number above 0, the memory's clock by the accelerator's"),
    ],
)
def test_numbers_that_vela_would_read_as_others(option: str, allowed: str) -> None:
    ini = f"[System_Config.Mine]\ncore_clock=1e6\naxi0_port=Sram\n{option}\n[Memory_Mode.Fast]\n"
    with pytest.raises(InputError) as caught:
        System("ethos-u55-128", "Mine", "Fast", ini).check()
    assert str(caught.value) == f"vela.ini: System_Config.Mine has {option.lower()}; allowed: {allowed}"


def test_a_file_that_is_no_ini_file() -> None:
    with pytest.raises(InputError, match=r"^vela.ini: not an ini file: File contains no section headers"):
        System("ethos-u55-128", "Board", "Fast", "core_clock=1e6\n").check()


def test_the_memory_modes_that_a_system_can_have() -> None:
    assert [s.memory_mode for s in U55.memory_modes()] == ["Shared_Sram", "Sram_Only"]
    modes = [s.memory_mode for s in U85.memory_modes()]
    assert modes[0] == "Dedicated_Sram_384KB"
    assert {"Shared_Sram", "Dedicated_Sram_256KB", "Dedicated_Sram_512KB"} < set(modes)


def test_the_ini_file_that_comes_with_vela_has_all_sections_of_the_targets() -> None:
    text = bundled_ini()
    for system in (U55, U85):
        assert f"[System_Config.{system.system_config}]" in text
        assert f"[Memory_Mode.{system.memory_mode}]" in text
