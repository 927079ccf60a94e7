"""Imported Brevitas modules against an exact evaluation of their export, and against Brevitas itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("brevitas")

import exact_onnx
import torch
from brevitas_nets import NETS, make

from codesign.frontend import gap, import_brevitas, import_model, random_inputs
from codesign.frontend.imported import Imported
from codesign.ir.ops import Requant, Threshold
from codesign.ir.text import parse_graph, print_graph

FRAMES = 4


def exact_mismatches(imported: Imported, model: Any, inputs: tuple[Any, ...]) -> dict[str, int]:
    """For each quantiser how many of its integers differ from the exact evaluation of the ONNX model."""
    graph = imported.graph
    tensors = exact_onnx.run(model, *(exact_onnx.exact(x) for x in inputs))
    golden = graph.evaluate_all(*graph.quantise_inputs(*inputs))
    found = {}
    for probe in imported.probes:
        real = tensors[probe.tensor].reshape(len(inputs[0]), -1)
        ordered = np.empty_like(real)
        ordered[:, probe.layout.reshape(-1)] = real
        integers = (ordered.reshape(-1, *graph.type(probe.node).shape) - probe.b) / probe.a
        found[probe.layer] = int((integers != golden[probe.node]).sum())
    return found


def export(module: Any, example: Any, path: Path, qcdq: bool = False) -> Any:
    import onnx
    from brevitas.export import export_onnx_qcdq, export_qonnx

    (export_onnx_qcdq if qcdq else export_qonnx)(module, args=example, export_path=str(path), dynamo=False)
    return onnx.load(str(path))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NETS)
def test_golden_equals_the_exact_evaluation_and_brevitas(name: str, tmp_path: Path) -> None:
    module, example = make(name)
    imported = import_brevitas(module, example)
    inputs = random_inputs(imported.graph, FRAMES)
    mismatches = exact_mismatches(imported, export(module, example, tmp_path / "net.onnx"), inputs)
    assert mismatches
    assert not any(mismatches.values()), mismatches
    rows = gap(imported, count=16)
    assert len(rows) == len(imported.probes) + len(imported.graph.outputs)
    assert all(row.mismatches == 0 for row in rows), rows
    assert parse_graph(print_graph(imported.graph)).digest() == imported.graph.digest()


QCDQ = [n for n in NETS if n.startswith(("w8", "w4", "act_", "batch", "conv_", "residual", "concat", "bias"))]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [n for n in QCDQ if "bipolar" not in n and "fixed" not in n])
def test_qcdq_gives_the_same_integers_as_qonnx(name: str, tmp_path: Path) -> None:
    module, example = make(name)
    export(module, example, tmp_path / "net.onnx", qcdq=True)
    from_file = import_model(tmp_path / "net.onnx")
    from_module = import_brevitas(module, example)
    x = random_inputs(from_module.graph, FRAMES)
    feeds = from_module.graph.quantise_inputs(*x)
    for feed, other in zip(from_file.graph.quantise_inputs(*x), feeds, strict=True):
        assert (feed == other).all()
    assert [o.tolist() for o in from_file.graph.evaluate(*feeds)] == [
        o.tolist() for o in from_module.graph.evaluate(*feeds)
    ]
    assert all(row.mismatches == 0 for row in gap(from_file, count=4))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "requants", "thresholds"),
    [("w4_tensor", 1, 0), ("bias_int32", 1, 0), ("act_8_bits_float_bias", 0, 1), ("act_ties", 1, 0)],
)
def test_a_requant_is_used_where_one_is_exact(name: str, requants: int, thresholds: int) -> None:
    graph = import_brevitas(*make(name)).graph
    assert sum(isinstance(n.op, Requant) for n in graph) == requants
    assert sum(isinstance(n.op, Threshold) for n in graph) == thresholds


@pytest.mark.filterwarnings("ignore")
def test_ties_round_to_even_as_in_the_source() -> None:
    graph = import_brevitas(*make("act_ties")).graph
    (requant,) = (n.op for n in graph if isinstance(n.op, Requant))
    assert requant.rounding.value == "half_even"


@pytest.mark.filterwarnings("ignore")
def test_a_module_in_training_mode_is_set_to_eval_and_that_is_said() -> None:
    module, example = make("batch_norm")
    module.train()
    imported = import_brevitas(module, example)
    assert not module.training
    assert imported.notes == (
        "Chain: set to eval mode for the import: statistics of BatchNorm and of quantisers are fixed",
    )


@pytest.mark.filterwarnings("ignore")
def test_inputs_keep_the_axes_of_the_model() -> None:
    module, example = make("conv_pool")
    graph = import_brevitas(module, example).graph
    assert graph.type(graph.inputs[0].name).shape == (6, 6, 2)
    assert graph.inputs[0].source_axes == (1, 2, 0)
    x = torch.randn(3, 2, 6, 6).numpy()
    (feed,) = graph.quantise_inputs(x)
    expected = module[0](torch.as_tensor(x)).value / module[0].act_quant.scale()
    assert (feed == expected.round().permute(0, 2, 3, 1).detach().numpy()).all()


@pytest.mark.filterwarnings("ignore")
def test_real_outputs_are_those_of_the_module() -> None:
    module, example = make("residual_float")
    graph = import_brevitas(module, example).graph
    x = random_inputs(graph, 8)
    real = graph.dequantise_outputs(graph.evaluate(*graph.quantise_inputs(*x)))[0]
    with torch.no_grad():
        expected = module(torch.as_tensor(x[0], dtype=torch.float32)).numpy()
    np.testing.assert_allclose(real, expected, rtol=1e-4, atol=1e-5)


MODEL = """
import torch
from brevitas.nn import QuantIdentity, QuantLinear


class Pair(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.left_in, self.right_in, self.out = (QuantIdentity(bit_width=4) for _ in range(3))
        self.left = QuantLinear(6, 4, False, weight_bit_width=3)
        self.right = QuantLinear(5, 4, False, weight_bit_width=2)
        self.head = QuantLinear(4, 3, True, weight_bit_width=4)

    def forward(self, a, b):
        right = self.right(self.right_in(b))
        both = self.out(self.left(self.left_in(a)) + right)
        return both, self.head(both)


def model():
    torch.manual_seed(3)
    net = Pair()
    net(torch.randn(8, 6), torch.randn(8, 5))
    return net, (torch.randn(1, 6), torch.randn(1, 5))
"""


@pytest.mark.filterwarnings("ignore")
def test_a_function_in_a_file_with_two_inputs_and_two_outputs(tmp_path: Path) -> None:
    path = tmp_path / "pair.py"
    path.write_text(MODEL)
    imported = import_model(f"{path}:model")
    assert [p.name for p in imported.graph.inputs] == ["a", "b"]
    assert [p.name for p in imported.graph.outputs] == ["out", "head"]
    assert imported.notes[0].startswith(f"{path}:model: set to eval mode")
    rows = gap(imported, count=64)
    assert [row.layer for row in rows] == ["right_in", "left_in", "out", "output out", "output head"]
    assert all(row.mismatch_rate < 0.02 and row.max_diff <= 1 for row in rows[:4])
