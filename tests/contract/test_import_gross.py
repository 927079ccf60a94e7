"""Modules whose export or axes are not their own, on the command line: a 1-bit ReLU, a Conv1d; and what is gross."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codesign.cli import main
from codesign.frontend.gap import LayerGap

MODULE = """
import torch
from brevitas.nn import QuantIdentity, QuantLinear, QuantReLU

def net():
    torch.manual_seed(0)
    x = torch.randn(32, 13)
    layers = [QuantIdentity(bit_width=4, return_quant_tensor=True), QuantLinear(13, 9, bias=False, weight_bit_width=3),
              QuantReLU(bit_width=1, return_quant_tensor=True), QuantLinear(9, 5, bias=False, weight_bit_width=3)]
    module = torch.nn.Sequential(*layers)
    module(x)
    return module, x[:1]

def conv1d():
    torch.manual_seed(0)
    x = torch.randn(8, 2, 11)
    from brevitas.nn import QuantConv1d
    module = torch.nn.Sequential(QuantIdentity(bit_width=4, return_quant_tensor=True),
                                 QuantConv1d(2, 3, 3, bias=False, weight_bit_width=3), QuantIdentity(bit_width=5))
    module(x)
    return module, x[:1]
"""


def test_a_one_bit_relu_is_that_of_the_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nets.py").write_text(MODULE)
    out = tmp_path / "out"
    assert main(["compile", f"{tmp_path / 'nets.py'}:net", "-t", "pynq-z2", "-o", str(out)]) == 0
    assert json.loads((out / "report.json").read_text())["source_gap"]["mismatches"] == 0


def test_a_conv1d_output_has_the_axes_of_the_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nets.py").write_text(MODULE)
    assert main(["inspect", f"{tmp_path / 'nets.py'}:conv1d"]) == 0
    assert "every element equal" in capsys.readouterr().out


def test_single_steps_are_rounding_and_many_are_not() -> None:
    assert not LayerGap("act", "act", 1000, 400, 1).is_gross
    assert not LayerGap("act", "act", 1000, 200, 9).is_gross
    assert LayerGap("act", "act", 1000, 300, 2).is_gross
    assert not LayerGap("output y", "y", 1000, 300, 2, argmax_agreement=0.95).is_gross
    assert LayerGap("output y", "y", 1000, 300, 2, argmax_agreement=0.5).is_gross
