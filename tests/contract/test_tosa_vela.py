"""Vela reads what is exported to TOSA: every form on the NPU of each Ethos-U family, but for those the guide names."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import missing
from tosa_files import operators, tosa_tools

from codesign import toolchain
from codesign.backends.ethosu.vela import Job, System, compile_models
from codesign.errors import ToolError
from codesign.export.tosa import export_tosa
from codesign.frontend import import_model
from codesign.ir.ops import ArgMax
from codesign.ir.types import IntType
from codesign.testing.build import GraphBuilder
from codesign.testing.cases import CASES

SYSTEMS = (
    System("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram"),
    System("ethos-u65-256", "Ethos_U65_High_End", "Dedicated_Sram"),
    System("ethos-u85-256", "Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram"),
)
GATHERED = {"lookup_per_channel"}


@pytest.fixture(autouse=True)
def tools() -> None:
    tosa_tools()
    try:
        toolchain.require("vela")
    except ToolError as error:
        missing(str(error))


def verdicts(*contents: bytes) -> list[list[str]]:
    """Per file and accelerator: empty when all of it runs on the NPU, else why not."""
    jobs = [Job(content, system, format="TOSA") for content in contents for system in SYSTEMS]
    found = []
    for made in compile_models(jobs):
        if isinstance(made, ToolError):
            found.append(str(made))
        else:
            assert made.performance["npuOps"] > 0
            found.append("" if made.performance["cpuOps"] == 0 else f"{made.performance['cpuOps']} on the CPU")
    return [found[i : i + len(SYSTEMS)] for i in range(0, len(found), len(SYSTEMS))]


def test_every_case_runs_on_every_npu() -> None:
    contents = {case: export_tosa(make()) for case, make in CASES.items()}
    for (case, content), reasons in zip(contents.items(), verdicts(*contents.values()), strict=True):
        assert ("GATHER" in operators(content)) == (case in GATHERED)
        if case not in GATHERED:
            assert reasons == ["", "", ""], case
        else:
            assert all("(Gather) could not run on NPU" in reason for reason in reasons[:2])
            assert reasons[2] == ""


def test_the_largest_of_wide_values() -> None:
    b = GraphBuilder()
    y = b.dense(b.input((64,), IntType(8, True)), np.ones((10, 64), dtype=np.int64) * np.arange(60, 70)[:, None])
    content = export_tosa(b.graph(b.node(ArgMax(), y)))
    assert operators(content).count("MAXIMUM") == 4
    assert verdicts(content) == [["", "", ""]]


def test_sixteen_bits_and_ties_to_even() -> None:
    rng = np.random.default_rng(2)
    b = GraphBuilder()
    y = b.conv(b.input((6, 6, 4), IntType(16, True)), rng.integers(-128, 128, (8, 3, 3, 4)))
    y = b.requant(y, [3] * 8, [9] * 8, IntType(12, True))
    y = b.threshold(y, np.sort(rng.integers(-2000, 2000, (8, 7))), IntType(3, False))
    assert verdicts(export_tosa(b.graph(y))) == [["", "", ""]]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (4, "RESCALE ADD ADD RESCALE"),
        (64, "ADD MUL ADD ADD RESCALE"),
        (900, "ADD MAXIMUM ADD MINIMUM ADD MUL ADD ADD RESCALE"),
    ],
)
def test_levels_in_fixed_point(inputs: int, expected: str) -> None:
    """255 levels per channel, at real distances, behind 8-bit weights that leave their offsets no room."""
    rng, b = np.random.default_rng(8), GraphBuilder()
    y = b.conv(b.input((6, 6, inputs), IntType(8, False)), rng.integers(-127, 128, (8, 3, 3, inputs)))
    levels = np.ceil((np.arange(255) + 0.5) * rng.uniform(350, 700, (8, 1)) + rng.uniform(-999, 999, (8, 1)))
    content = export_tosa(b.graph(b.threshold(y, levels.astype(np.int64), IntType(8, False))))
    assert " ".join(operators(content)) == f"CONV2D {expected}"
    assert verdicts(content) == [["", "", ""]]


@pytest.mark.parametrize("name", ["ad01_int8", "kws_ref_model"])
def test_mlperf_tiny_models_run_on_the_npu(name: str) -> None:
    folder = os.environ.get("CODESIGN_CASES")
    path = Path(folder or "") / "mlperf_tiny" / f"{name}.tflite"
    if not folder or not path.is_file():
        pytest.skip("the folder of third-party cases is missing: set CODESIGN_CASES")
    assert verdicts(export_tosa(import_model(path).graph)) == [["", "", ""]]
