"""Ethos-U programs for tests: compiled models, taken apart as far as the stream package needs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import missing

from codesign.backends.ethosu.vela import MACS, Compiled, Job, System, compile_models
from codesign.errors import ToolError
from codesign.toolchain import require

ACCELERATORS = tuple(f"{family}-{macs}" for family, sizes in MACS.items() for macs in sizes)

_SYSTEMS = {
    "ethos-u55": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "ethos-u65": ("Ethos_U65_High_End", "Dedicated_Sram_384KB"),
    "ethos-u85": ("Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB"),
}


def system(accelerator: str) -> System:
    """An accelerator in a system that Vela brings along."""
    return System(accelerator, *_SYSTEMS[accelerator.rpartition("-")[0]])


def compile_all(*jobs: tuple[bytes, str]) -> list[Compiled]:
    """(model, accelerator) each, compiled by Vela in one process; the test ends where Vela is missing."""
    try:
        require("vela")
    except ToolError as error:
        missing(str(error))
    made = compile_models([Job(model, system(accelerator)) for model, accelerator in jobs])
    for result in made:
        if isinstance(result, ToolError):
            pytest.fail(str(result))
    return [result for result in made if isinstance(result, Compiled)]


def case(name: str) -> Path:
    """A third-party model; the test ends where there is none."""
    folder = os.environ.get("CODESIGN_CASES")
    if not folder:
        pytest.skip("the folder of third-party cases is missing: set CODESIGN_CASES")
    return Path(folder) / "mlperf_tiny" / name
