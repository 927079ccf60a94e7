"""Outputs that are the same integers: as the input, or as another output, with a meaning of their own."""

from __future__ import annotations

from typing import Any

import exact_onnx
import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import model, node, quant

from codesign.frontend.gap import gap, random_inputs
from codesign.frontend.imported import Imported
from codesign.frontend.onnx import convert
from codesign.frontend.reference import OnnxSource
from codesign.ir.ops import Reshape
from codesign.ir.text import parse_graph, print_graph
from codesign.ir.types import Quant
from codesign.passes import run_passes

CONSTS = {
    "three": np.float32(3),
    "half": np.float32(0.5),
    "w": np.array([[1, -2], [3, 0], [-1, 1]], dtype=np.float32),
}
INPUT = quant("x", "q", bits="three", signed=0)
NETS: dict[str, tuple[list[Any], list[str]]] = {
    "the input scaled": (
        [INPUT, node("Mul", "q half", "h"), quant("h", "y", "half", "three", signed=0)],
        ["y"],
    ),
    "the input twice": ([INPUT, node("Mul", "q half", "y")], ["y", "q"]),
    "a value and half of it": (
        [INPUT, node("MatMul", "q w", "c"), quant("c", "a"), node("Mul", "a half", "y")],
        ["y", "a"],
    ),
    "a value under two names": (
        [INPUT, node("MatMul", "q w", "c"), quant("c", "a"), node("Identity", "a", "y")],
        ["a", "y"],
    ),
    "a sum and the sum plus one": (
        [INPUT, node("MatMul", "q w", "c"), node("Add", "c one", "y")],
        ["c", "y"],
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_every_output_has_its_own_name_and_meaning(name: str) -> None:
    layers, outputs = NETS[name]
    proto = model(layers, shape=(1, 3), output=outputs[0], **CONSTS)
    for more in outputs[1:]:
        proto.graph.output.append(helper.make_tensor_value_info(more, TensorProto.FLOAT, None))
    graph, ctx = convert(proto, "net.onnx")
    assert len({port.name for port in graph.outputs}) == len(outputs)
    assert parse_graph(print_graph(graph)).digest() == graph.digest()
    x = random_inputs(graph, 16)
    tensors = exact_onnx.run(proto, *(exact_onnx.exact(v) for v in x))
    for version in (graph, run_passes(graph)):
        real = version.dequantise_outputs(version.evaluate(*version.quantise_inputs(*x)))
        for output, found in zip(outputs, real, strict=True):
            assert (found == tensors[output]).all(), output
    rows = gap(Imported(graph, OnnxSource(proto), (), tuple(ctx.probes)), count=16)
    assert all(row.mismatches == 0 for row in rows), rows


def test_an_output_that_is_the_input_as_it_was_declared_needs_no_layer() -> None:
    graph, _ = convert(model([INPUT], shape=(1, 3), output="q", **CONSTS), "net.onnx")
    assert not graph.nodes
    layers, _ = NETS["the input scaled"]
    graph, _ = convert(model(layers, shape=(1, 3), **CONSTS), "net.onnx")
    assert [(n.name, type(n.op)) for n in graph] == [("y", Reshape)]


def test_a_value_keeps_its_name_and_meaning_beside_a_scaled_copy() -> None:
    layers, outputs = NETS["a value and half of it"]
    proto = model(layers, shape=(1, 3), output=outputs[0], **CONSTS)
    proto.graph.output.append(helper.make_tensor_value_info(outputs[1], TensorProto.FLOAT, None))
    graph, _ = convert(proto, "net.onnx")
    meanings = [(port.name, graph.type(port.name).quant) for port in graph.outputs]
    assert meanings == [("y", Quant((0.5,))), ("a", Quant((1.0,)))]
    alone, _ = convert(model(layers, shape=(1, 3), **CONSTS), "net.onnx")
    assert not any(isinstance(n.op, Reshape) for n in alone)
