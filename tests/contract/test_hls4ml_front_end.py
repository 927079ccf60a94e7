"""Where hls4ml's own front end is not exact, or fails, the project made from the integer graph is exact.

Each network is exported to QONNX by Brevitas and given to hls4ml as its users do: config_from_onnx_model, then
convert_from_onnx_model for Vitis with io_parallel, precision by layer, all of hls4ml's own choice but for the default
that a test names. Equal means: nearer to the golden output than half a step of it. These tests keep the claim honest:
should a later hls4ml be exact, they fail.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codesign.backends.base import RunOptions
from codesign.backends.hls.backend import HlsBackend
from codesign.frontend.load import import_brevitas
from codesign.target import load_target
from codesign.testing.conformance import quiet
from tests.conftest import missing

pytestmark = pytest.mark.usefixtures("cxx")

DEFAULT, WIDE = "fixed<16,6>", "fixed<40,16>"
FRAMES = 100


def network(name: str) -> tuple[Any, Any]:
    """A calibrated module and an example: one of brevitas_nets, or a binary MLP without ties (odd numbers of terms)."""
    import brevitas.nn as qnn
    import torch
    from brevitas.quant import SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst

    from tests.contract.brevitas_nets import make

    if name != "binary":
        return make(name)
    torch.manual_seed(0)

    def layers(inputs: int, outputs: int) -> list[Any]:
        linear = qnn.QuantLinear(inputs, outputs, bias=False, weight_quant=SignedBinaryWeightPerTensorConst)
        return [qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst), linear]

    module = torch.nn.Sequential(*layers(25, 17), *layers(17, 4)).eval()
    return module, torch.randn(1, 25)


def hls4ml_answer(module: Any, example: Any, inputs: Any, precision: str, folder: Path) -> Any:
    """What hls4ml computes of the module's QONNX export; raises what hls4ml raises."""
    if importlib.util.find_spec("qonnx") is None:
        missing("qonnx")
    import hls4ml
    import onnx
    from brevitas.export import export_qonnx
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
    from qonnx.transformation.gemm_to_matmul import GemmToMatMul
    from qonnx.util.cleanup import cleanup_model

    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = folder / "model.onnx"
        export_qonnx(module, args=example, export_path=str(path), dynamo=False)
        exported = onnx.load(str(path))
        exported.ir_version = 10  # qonnx 1.0 runs no newer one
        model = cleanup_model(ModelWrapper(exported))
        if example.ndim == 4:
            model = model.transform(ConvertToChannelsLastAndClean())
        model = cleanup_model(model.transform(GemmToMatMul()))  # it takes no Gemm
        config = hls4ml.utils.config.config_from_onnx_model(
            model, granularity="name", backend="Vitis", default_precision=precision
        )
        for name, layer in config["LayerName"].items():
            if "global_in" in name:
                layer["Precision"]["result"] = WIDE  # of the input: hls4ml is not to blame for cutting it off
        converted = hls4ml.converters.convert_from_onnx_model(
            model, output_dir=str(folder / "project"), backend="Vitis", io_type="io_parallel", hls_config=config
        )
        converted.write()
        script = folder / "project" / "build_lib.sh"
        script.write_text(script.read_text().replace("-O3", "-O1"))  # integers and fixed point: the same results
        converted._compile()
        x = inputs.astype(np.float64)
        return converted.predict(np.ascontiguousarray(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x))


def golden(name: str) -> tuple[Any, Any, Any, Any, Any]:
    """Module, example, inputs, integer graph and golden real outputs; Brevitas gives the same."""
    import torch

    module, example = network(name)
    imported = import_brevitas(module, example)
    inputs = torch.randn(FRAMES, *example.shape[1:], generator=torch.Generator().manual_seed(1))
    graph = imported.graph
    expected = graph.dequantise_outputs(graph.evaluate(*graph.quantise_inputs(inputs.numpy())))[0]
    output = module(inputs)
    source = (output.value if hasattr(output, "value") else output).detach().numpy()
    np.testing.assert_allclose(source, expected, atol=step(graph) / 2, rtol=0)
    return module, example, inputs.numpy(), graph, expected


def step(graph: Any) -> float:
    """The smallest distance between two values of the output."""
    return float(np.abs(np.asarray(graph.type(graph.outputs[0].name).quant.scale)).min())


@pytest.mark.parametrize(
    ("name", "precision", "least_wrong"),
    [
        ("binary", WIDE, 0.5),  # weights of one bit: wrong at any precision
        ("batch_norm", DEFAULT, 0.01),  # right with wide types: what hls4ml infers is too narrow
        ("residual_unequal", WIDE, 0.5),
    ],
)
def test_the_front_end_is_silently_wrong(name: str, precision: str, least_wrong: float, tmp_path: Path) -> None:
    module, example, inputs, graph, expected = golden(name)
    answer = hls4ml_answer(module, example, inputs, precision, tmp_path).reshape(expected.shape)
    assert (np.abs(answer - expected) > step(graph) / 2).mean() > least_wrong


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("bias_int16", IndexError, "list index out of range"),  # float scales and a quantised bias
        ("conv_depthwise", IndexError, "list index out of range"),
        ("pool_average", RuntimeError, "Please convert the model to channels-last format with qonnx-to-channels-last"),
    ],
)
def test_the_front_end_fails(name: str, error: type[Exception], says: str, tmp_path: Path) -> None:
    module, example, inputs, _, _ = golden(name)
    with pytest.raises(error, match=says):
        hls4ml_answer(module, example, inputs, DEFAULT, tmp_path)


@pytest.mark.parametrize(
    "name", ["binary", "batch_norm", "residual_unequal", "bias_int16", "conv_depthwise", "pool_average"]
)
def test_the_project_from_the_integer_graph_is_exact(name: str, tmp_path: Path) -> None:
    _, _, inputs, graph, expected = golden(name)
    backend, target = HlsBackend(), load_target("pynq-z2")
    backend.build(graph, backend.schedule(graph, target, None, (), quiet), target, tmp_path)
    run = backend.run(tmp_path, graph, graph.quantise_inputs(inputs), RunOptions(), quiet)
    np.testing.assert_array_equal(graph.dequantise_outputs(run.outputs)[0], expected)
