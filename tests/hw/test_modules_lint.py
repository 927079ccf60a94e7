"""Every module is clean under Verilator's linter, in shapes at the edges too, and refuses parameters beyond them."""

from __future__ import annotations

from pathlib import Path

import pytest

from codesign import toolchain
from codesign.backends.rtl.backend import LIBRARY, library_files
from codesign.errors import ToolError

WAIVERS = LIBRARY.parent / "lint" / "waivers.vlt"
MODULES = sorted(path.stem for path in LIBRARY.glob("*.sv"))

# Parameters that take another branch of the module than its defaults do.
SHAPES: list[tuple[str, dict[str, int | str]]] = [
    ("cs_fifo", {"Depth": 1}),
    ("cs_fifo", {"Depth": 3, "Width": 1}),
    ("cs_fifo", {"Depth": 16, "Style": "block"}),
    ("cs_rom", {"Words": 5, "Width": 3}),
    ("cs_delay", {"Cycles": 0}),
    ("cs_delay", {"Cycles": 3, "Width": 2}),
    ("cs_pad", {"Top": 0, "Left": 0, "Bottom": 0, "Right": 0, "Height": 1, "ImageWidth": 1, "Folds": 3}),
    ("cs_pad", {"InBits": 1, "InBipolar": 1, "OutBits": 2}),
    ("cs_concat", {"Inputs": 3}),
    ("cs_window", {"Height": 1, "ImageWidth": 1, "KernelH": 1, "KernelW": 1, "Capacity": 1}),
    ("cs_window", {"Folds": 3, "Outer": 3, "ChannelOuter": 1, "Capacity": 36, "OutReg": 1, "StrideW": 2}),
    ("cs_mac", {"InBits": 1, "InBipolar": 1, "WeightBits": 1, "WeightSigned": 0, "WeightBipolar": 1}),
    ("cs_mac", {"InBits": 1, "InBipolar": 1, "WeightBits": 3, "WeightSigned": 0, "TreeStride": 1, "AccBits": 3}),
    ("cs_mac", {"MulStyle": "dsp", "RomReg": 1, "MulReg": 1, "TreeStride": 2, "Simd": 9, "Words": 6, "Folds": 3}),
    ("cs_mac", {"Simd": 1, "Pe": 1, "InBits": 1, "WeightBits": 1, "AccBits": 1, "HasBias": 1}),
    ("cs_mac_depthwise", {"WeightBits": 1, "WeightSigned": 0, "WeightBipolar": 1, "Words": 6, "Folds": 2}),
    ("cs_mac_depthwise", {"MulStyle": "auto", "MulReg": 1, "RomReg": 1, "HasBias": 1}),
    ("cs_threshold", {"OutBits": 1, "Lanes": 1, "InBits": 1}),
    ("cs_threshold", {"OutBits": 3, "Folds": 5, "TableReg": 1, "InSigned": 0, "OutFlipMsb": 1}),
    ("cs_requant", {"InBits": 1, "InSigned": 0, "InBipolar": 1, "Shift": 0}),
    ("cs_requant", {"InBits": 32, "MulBits": 32, "ShiftBits": 6, "Shift": 62, "Rounding": 1}),
    ("cs_requant", {"OutBits": 32, "OutSigned": 0, "ZeroPoint": -3, "MulRegs": 3, "Rounding": 2}),
    ("cs_argmax", {"Count": 1, "OutBits": 1, "Bits": 1}),
]

REFUSED: list[tuple[str, dict[str, int | str], str]] = [
    ("cs_window", {"KernelH": 5}, "cs_window: the kernel is larger than the image"),
    ("cs_window", {"Capacity": 5}, "cs_window: Capacity is smaller than what a position needs"),
    ("cs_window", {"ChannelOuter": 1, "Outer": 2}, "cs_window: Outer equals Folds when ChannelOuter is set"),
    ("cs_mac", {"Words": 3, "Folds": 2}, "cs_mac: Pe, Simd, Words and Folds are 1 or more, Words a multiple of Folds"),
    ("cs_mac", {"InBipolar": 1}, "cs_mac: a bipolar operand has 1 bit and is not signed"),
    ("cs_mac", {"MulReg": 1}, "MulReg not for MulStyle lut"),
    ("cs_width_up", {"Ratio": 1}, "cs_width_up: InWidth is 1 or more, Ratio 2 or more"),
    ("cs_pad", {"OutBits": 3}, "OutBits is InBits or more"),
    ("cs_threshold", {"OutBits": 11}, "OutBits is 1 to 10"),
    ("cs_requant", {"Shift": 63}, "cs_requant: Shift is 0 to 62, OutBits 1 to 32, Rounding 0 to 2"),
    ("cs_argmax", {"Count": 17}, "Count at most 2^OutBits"),
]


def lint(module: str, parameters: dict[str, int | str], directory: Path) -> None:
    """Verilator's linter with all warnings; raises ToolError with what it says."""
    values = (f'"{value}"' if isinstance(value, str) else str(value) for value in parameters.values())
    given = [f"-G{name}={value}" for name, value in zip(parameters, values, strict=True)]
    sources = [LIBRARY / f"{name}.sv" for name in library_files([module])]
    arguments = ["--lint-only", "-Wall", "--assert", *given, "--top-module", module, str(WAIVERS), *map(str, sources)]
    toolchain.run(toolchain.require("verilator"), arguments, cwd=directory, log=directory / "lint.log")


@pytest.mark.parametrize("module", MODULES)
def test_defaults_are_clean(module: str, tmp_path: Path) -> None:
    lint(module, {}, tmp_path)


@pytest.mark.parametrize(("module", "parameters"), SHAPES)
def test_shapes_are_clean(module: str, parameters: dict[str, int | str], tmp_path: Path) -> None:
    lint(module, parameters, tmp_path)


@pytest.mark.parametrize(("module", "parameters", "sentence"), REFUSED)
def test_wrong_parameters_are_refused(
    module: str, parameters: dict[str, int | str], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ToolError) as caught:
        lint(module, parameters, tmp_path)
    assert sentence in (tmp_path / "lint.log").read_text()
    assert caught.value.exit_status == 4
