"""QONNX's Trunc of version 1, which drops low bits and limits nothing, against the exact evaluation."""

from __future__ import annotations

import exact_onnx
import numpy as np
import pytest
from onnx_models import model, node, quant

from codesign.frontend.gap import gap
from codesign.frontend.imported import Imported
from codesign.frontend.onnx import convert
from codesign.frontend.reference import OnnxSource

CONSTS = {"eight": np.float32(8), "half": np.float32(0.5), "odd": np.float32(3), "nine": np.float32(9)}


def test_unsigned_values_stay_unsigned() -> None:
    layers = [
        quant("x", "q", bits="eight", signed=0),
        node("Trunc", "q one zero eight four", "y", rounding_mode="FLOOR"),
    ]
    graph, _ = convert(model(layers, shape=(1, 8), **CONSTS), "net.onnx")
    assert str(graph.type(graph.outputs[0].name).dtype) == "u4"
    (y,) = graph.evaluate(np.array([[0, 15, 16, 127, 128, 200, 240, 255]]))
    assert y.tolist() == [[0, 0, 1, 7, 8, 12, 15, 15]]


@pytest.mark.parametrize("rounding", ["FLOOR", "CEIL", "ROUND"])
@pytest.mark.parametrize(("signed", "zero", "scale"), [(0, "zero", "one"), (1, "zero", "half"), (1, "odd", "half")])
def test_every_value_is_truncated_exactly(rounding: str, signed: int, zero: str, scale: str) -> None:
    layers = [
        quant("x", "q", scale, "eight", signed=signed),
        node("Relu", "q", "r") if zero == "odd" else node("Identity", "q", "r"),
        node("Trunc", f"r {scale} {zero} nine four", "y", rounding_mode=rounding),
    ]
    proto = model(layers, shape=(1, 8), **CONSTS)
    graph, ctx = convert(proto, "net.onnx")
    feed = np.arange(256).reshape(32, 8) - 128 * signed
    x = feed * float(CONSTS.get(scale, 1.0))
    expected = exact_onnx.run(proto, exact_onnx.exact(x))["y"]
    (real,) = graph.dequantise_outputs(graph.evaluate(feed))
    assert (real == expected).all()
    rows = gap(Imported(graph, OnnxSource(proto), (), tuple(ctx.probes)), count=16)
    assert all(row.mismatches == 0 for row in rows), rows


def test_a_constant_result_needs_one_bit() -> None:
    layers = [
        quant("x", "q", "half"),
        node("Relu", "q", "r"),
        node("Trunc", "r half zero nine four", "y", rounding_mode="FLOOR"),
    ]
    graph, _ = convert(model(layers, shape=(1, 8), **CONSTS), "net.onnx")
    (y,) = graph.evaluate(np.arange(-8, 8).reshape(2, 8))
    assert not y.any()
