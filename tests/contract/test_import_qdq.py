"""QuantizeLinear / DequantizeLinear as ONNX Runtime and other tools write them."""

from __future__ import annotations

from typing import Any

import exact_onnx
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import model, node

from codesign.errors import UnsupportedError
from codesign.frontend.gap import gap, random_inputs
from codesign.frontend.imported import Imported
from codesign.frontend.onnx import convert
from codesign.frontend.reference import OnnxSource
from codesign.ir.ops import Conv2d, Requant

RNG = np.random.default_rng(11)
SCALES = {
    "sx": np.float32(0.0213), "zx": np.uint8(117), "sy": np.float32(0.0871), "zy": np.uint8(0),
    "w": RNG.integers(-127, 128, (3, 2, 3, 3)).astype(np.int8),
    "sw": np.array([0.011, 0.0057, 0.0202], dtype=np.float32), "zw": np.zeros(3, dtype=np.int8),
    "b": RNG.integers(-3000, 3000, 3).astype(np.int32),
    "sb": np.float32(0.0213) * np.array([0.011, 0.0057, 0.0202], dtype=np.float32),
    "zb": np.zeros(3, dtype=np.int32),
}  # fmt: skip


def qdq(x: str, s: str, z: str, y: str) -> list[Any]:
    return [
        node("QuantizeLinear", f"{x} {s} {z}", f"{y}_q"),
        node("DequantizeLinear", f"{y}_q {s} {z}", y),
    ]


def imported(proto: Any) -> Imported:
    graph, ctx = convert(proto, "net.onnx")
    return Imported(graph, OnnxSource(proto), tuple(ctx.notes), tuple(ctx.probes))


CONV = [
    *qdq("x", "sx", "zx", "a"),
    node("DequantizeLinear", "w sw zw", "v", axis=0),
    node("DequantizeLinear", "b sb zb", "bias", axis=0),
    node("Conv", "a v bias", "c", pads=[1, 1, 1, 1]),
    node("Relu", "c", "r"),
    *qdq("r", "sy", "zy", "y"),
]


def test_a_static_quantised_convolution_becomes_one_convolution_and_one_requant() -> None:
    proto = model(CONV, **SCALES)
    net = imported(proto)
    assert [type(n.op) for n in net.graph] == [Conv2d, Requant]
    conv, requant = (n.op for n in net.graph)
    assert isinstance(conv, Conv2d)
    assert isinstance(requant, Requant)
    assert conv.pad_value == 117
    assert requant.zero_point == 0
    correction = SCALES["b"] - 117 * SCALES["w"].astype(int).sum(axis=(1, 2, 3))
    assert net.graph.consts["c.bias"].value.tolist() == correction.tolist()
    x = random_inputs(net.graph, 4)
    tensors = exact_onnx.run(proto, exact_onnx.exact(x[0]))
    (y,) = net.graph.evaluate(*net.graph.quantise_inputs(*x))
    assert (y.transpose(0, 3, 1, 2) == tensors["y_q"]).all()
    assert all(row.mismatch_rate < 0.002 for row in gap(net, count=8))


def test_ties_are_rounded_before_an_odd_zero_point_is_added() -> None:
    consts = {"s": np.float32(1), "z": np.int8(1), "t": np.float32(2), "o": np.int8(-3)}
    net = imported(model([*qdq("x", "s", "z", "a"), *qdq("a", "t", "o", "y")], **consts))
    x = np.arange(-16.0, 16).reshape(1, 2, 4, 4)
    (y,) = net.graph.evaluate(*net.graph.quantise_inputs(x))
    assert (y.transpose(0, 3, 1, 2) == np.rint(x / 2) - 3).all()
    assert net.notes == ("a_q: a real input exactly between two integers becomes the even one, not the odd one",)


def test_a_clip_on_the_integers_narrows_their_type() -> None:
    layers = [
        node("QuantizeLinear", "x sx z", "q"), node("Clip", "q low high", "k"), node("DequantizeLinear", "k sx z", "y"),
    ]  # fmt: skip
    net = imported(model(layers, z=np.int8(0), low=np.int8(-8), high=np.int8(7), **SCALES))
    assert str(net.graph.type("x").dtype) == "i4"
    assert not net.graph.nodes
    assert all(row.mismatches == 0 for row in gap(net, count=8))


def test_an_integer_input_needs_no_quantiser() -> None:
    proto = model([node("DequantizeLinear", "x sx zx", "a"), *CONV[2:]], elem=TensorProto.UINT8, **SCALES)
    net = imported(proto)
    assert str(net.graph.type("x")) == "u8[4,4,2]"
    whole = convert(model(CONV, **SCALES), "net.onnx")[0]
    pixels = RNG.integers(0, 256, (5, 4, 4, 2))
    assert (net.graph.evaluate(pixels)[0] == whole.evaluate(pixels)[0]).all()


def test_four_bit_weights_of_newer_files() -> None:
    q = RNG.integers(-8, 8, (3, 2, 3, 3))
    proto = model([*CONV[:2], node("DequantizeLinear", "w4 sw", "v", axis=0), node("Conv", "a v", "y")], **SCALES)
    proto.graph.initializer.append(helper.make_tensor("w4", TensorProto.INT4, q.shape, q.reshape(-1)))
    proto.opset_import[0].version = 21
    graph = convert(proto, "net.onnx")[0]
    assert (graph.consts["y.weight"].value == q.transpose(0, 2, 3, 1)).all()
    assert graph.consts["y.weight"].type.dtype.bits == 4


def test_types_that_are_no_integers() -> None:
    proto = model(
        [node("DequantizeLinear", "f sw", "v", axis=0), *qdq("x", "sx", "zx", "a"), node("Conv", "a v", "y")], **SCALES
    )
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((3, 2, 3, 3), dtype=np.float32), "f"))
    with pytest.raises(UnsupportedError) as caught:
        convert(proto, "net.onnx")
    assert str(caught.value) == "v: numbers of type float32; allowed: integers"
