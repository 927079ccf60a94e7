"""An import that computes something else than its source ends in a failure, word by word."""

from __future__ import annotations

from pathlib import Path

import pytest

from codesign.cli import main

pytest.importorskip("torch")
pytest.importorskip("brevitas")

# A forward that is another function while it is exported, as the export of a 1-bit ReLU once was.
MODEL = """
import torch
from brevitas.nn import QuantIdentity, QuantLinear


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inp, self.act = QuantIdentity(bit_width=6), QuantIdentity(bit_width=6)
        self.first, self.last = (QuantLinear(8, 8, False, weight_bit_width=4) for _ in range(2))

    def forward(self, x):
        x = self.first(self.inp(x))
        return self.last(self.act(-x if torch.onnx.is_in_onnx_export() else x))


def model():
    torch.manual_seed(3)
    net = Net()
    net(torch.randn(32, 8))
    return net.eval(), torch.randn(1, 8)
"""


@pytest.mark.filterwarnings("ignore")
def test_an_import_that_is_another_function_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "net.py", tmp_path / "out"
    path.write_text(MODEL)
    model = f"{path}:model"
    assert main(["compile", model, "-t", "pynq-z2", "-o", str(out)]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert not out.exists()
    assert [line.split(": ")[1] for line in lines] == ["act", "output last"]
    assert all(" elements differ from brevitas, by up to " in line for line in lines)
    allowed = "allowed: single steps, where float rounding in the source decides"
    hint = "try: codesign inspect MODEL, and other quantisers in the first layer that differs"
    assert all(line.endswith(f"; {allowed}; {hint}") for line in lines)
    assert main(["inspect", model]) == 1
    shown = capsys.readouterr()
    assert "act" in shown.out
    assert shown.err.splitlines()[0].startswith("codesign inspect: act: ")
