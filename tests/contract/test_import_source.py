"""Where the export of Brevitas is not the module: quantisers of one bit; and where it has other axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("brevitas")

import brevitas.nn as qnn
import torch
from torch import nn

from codesign.errors import UnsupportedError
from codesign.frontend import gap, import_brevitas, random_inputs
from codesign.ir.types import IntType

pytestmark = pytest.mark.filterwarnings("ignore")


def calibrated(*layers: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    torch.manual_seed(2)
    module = nn.Sequential(*layers)
    with torch.no_grad():
        for _ in range(10):
            module(torch.randn(8, *shape))
    return module.eval(), torch.randn(1, *shape)


def act(bits: int = 4) -> Any:
    return qnn.QuantIdentity(bit_width=bits, return_quant_tensor=True)


def linear(i: int, o: int, bits: int = 3) -> Any:
    return qnn.QuantLinear(i, o, bias=False, weight_bit_width=bits)


def test_a_relu_of_one_bit_gives_0_and_1() -> None:
    relu = qnn.QuantReLU(bit_width=1, return_quant_tensor=True)
    module, example = calibrated(act(), linear(13, 8), relu, linear(8, 8), relu, linear(8, 5), act(), shape=(13,))
    imported = import_brevitas(module, example)
    probes = [p for p in imported.probes if imported.graph.type(p.node).dtype == IntType(1, False)]
    assert [p.layer for p in probes] == ["2", "2"]
    values = imported.graph.evaluate_all(*imported.graph.quantise_inputs(*random_inputs(imported.graph, 32)))
    assert all(np.unique(values[p.node]).tolist() == [0, 1] for p in probes)
    rows = gap(imported, count=64)
    assert len(rows) == 5
    assert all(row.mismatches == 0 for row in rows), rows


def test_integers_of_one_bit_that_the_export_cannot_say() -> None:
    module, example = calibrated(act(), linear(6, 4, bits=1), act(1), linear(4, 3), act(), shape=(6,))
    with pytest.raises(UnsupportedError) as caught:
        import_brevitas(module, example)
    allowed = "allowed: one to 0 and 1 (unsigned), one to -1 and +1, or 2 bits"
    hint = "try: SignedBinaryWeightPerTensorConst or SignedBinaryActPerTensorConst of brevitas.quant"
    assert str(caught.value).splitlines() == [
        f"1: a 1-bit quantiser of integers, of which 0 is the only value; {allowed}; {hint}",
        f"2: a 1-bit quantiser of integers, whose values are -1 and 0; {allowed}; {hint}",
    ]


def conv1d(bias: bool = False) -> tuple[Any, Any]:
    first = qnn.QuantConv1d(2, 5, 3, bias=False, weight_bit_width=4, padding=1)
    second = qnn.QuantConv1d(5, 3, 3, stride=2, bias=bias, weight_bit_width=3)
    return calibrated(act(), first, act(3), second, *([] if bias else [act(5)]), shape=(2, 16))


@pytest.mark.parametrize("bias", [False, True])
def test_the_output_of_conv1d_has_the_axes_of_the_module(bias: bool) -> None:
    module, example = conv1d(bias)
    imported = import_brevitas(module, example)
    graph = imported.graph
    assert imported.notes == ()
    (port,) = graph.outputs
    assert (graph.type(port.name).shape, port.source_axes) == ((7, 3), (1, 0))
    (x,) = random_inputs(graph, 5)
    (real,) = graph.dequantise_outputs(graph.evaluate(*graph.quantise_inputs(x)))
    with torch.no_grad():
        expected = module(torch.as_tensor(x, dtype=torch.float32))
    expected = getattr(expected, "value", expected).numpy()
    assert real.shape == (5, 3, 7)
    np.testing.assert_allclose(real, expected, rtol=1e-5, atol=1e-5)
    (single,) = graph.dequantise_outputs(graph.evaluate(*graph.quantise_inputs(x[0])))
    assert (single == real[:1]).all()
    assert all(row.mismatches == 0 for row in gap(imported, count=32))


def test_an_output_that_is_flattened_channels_first_is_compared_in_its_order() -> None:
    conv = qnn.QuantConv2d(2, 3, 3, bias=False, weight_bit_width=3)
    module, example = calibrated(act(), conv, act(), nn.Flatten(), shape=(2, 6, 5))
    imported = import_brevitas(module, example)
    (note,) = imported.notes
    assert note.endswith("given as (4, 3, 3) (channels last), the model flattens it channels first")
    assert all(row.mismatches == 0 for row in gap(imported, count=32))
