"""An int8 `.tflite` model as ONNX, in every form that onnxruntime has kernels for, to find its fastest one.

form        `qdq`: float operators between QuantizeLinear and DequantizeLinear, fused by onnxruntime's optimiser
            `qoperator`: QLinearConv, QGemm, QLinearAdd, … as they are
activation  `uint8`: every integer 128 larger, which x86's dot products want; `int8`: as in the file

Images come in channels last, as in the file. ONNX wants its convolutions NCHW: the transposition in front of the first
one and those that onnxruntime's optimiser puts around its channels-last kernels cancel each other. Rectifications are
in the ranges of the integers, as in TFLite.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from codesign.frontend.tflite.schema import Model, Operator, Tensor
from codesign.testing.networks import same_padding

FORMS = tuple(product(("qdq", "qoperator"), ("uint8", "int8")))
MICROSOFT = "com.microsoft"


class _Writer:
    """Nodes and initialisers; tensors of the file keep their number as their name."""

    def __init__(self, model: Model, form: str, activation: str) -> None:
        self.model, self.quantised = model, form == "qoperator"
        self.dtype = np.dtype(activation)
        self.nodes: list[Any] = []
        self.initialisers: list[Any] = []

    def const(self, value: Any, dtype: Any) -> str:
        import onnx

        name = f"c{len(self.initialisers)}"
        self.initialisers.append(onnx.numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        import onnx

        self.nodes.append(onnx.helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output

    def scale(self, number: int) -> list[str]:
        """Scale and zero point of an activation, as constants."""
        tensor = self.model.tensors[number]
        zero = int(tensor.zero_point[0]) + (128 if self.dtype == np.uint8 else 0)
        return [self.const(np.float32(tensor.scale[0]), np.float32), self.const(zero, self.dtype)]

    def operator(self, kind: str, op: Operator, inputs: list[str], domain: str = "", **attributes: Any) -> None:
        """An operator of activations alone: with scales, or between conversions."""
        y = str(op.outputs[0])
        if self.quantised:
            pairs = [part for x in inputs for part in (x, *self.scale(int(x)))]
            self.node(f"QLinear{kind}", [*pairs, *self.scale(op.outputs[0])], y, MICROSOFT, **attributes)
        else:
            attributes.pop("opset", None)
            self.float(kind, [self.real(x) for x in inputs], op, **attributes)

    def real(self, x: str) -> str:
        """A tensor's real numbers."""
        return self.node("DequantizeLinear", [x, *self.scale(int(x))], f"real{len(self.nodes)}")

    def float(self, kind: str, inputs: list[str], op: Operator, **attributes: Any) -> None:
        """An operator of real numbers, and the conversion of its result."""
        y = self.node(kind, inputs, f"real{len(self.nodes)}", **attributes)
        self.node("QuantizeLinear", [y, *self.scale(op.outputs[0])], str(op.outputs[0]))

    def linear(self, kind: str, op: Operator, weights: Any, scales: Any, **attributes: Any) -> None:
        """Conv or Gemm."""
        x, y, bias = op.inputs[0], op.outputs[0], self.model.tensors[op.inputs[2]].data
        w, c = self.const(weights, np.int8), self.const(bias, np.int32)
        ws, wz = self.const(scales, np.float32), self.const(np.zeros(scales.shape), np.int8)
        if not self.quantised:
            axis = {"axis": 0} if scales.shape else {}
            real = self.node("DequantizeLinear", [w, ws, wz], f"real{len(self.nodes)}", **axis)
            by = np.asarray(self.model.tensors[x].scale[0] * scales, dtype=np.float32)
            wide = [c, self.const(by, np.float32), self.const(np.zeros(by.shape), np.int32)]
            wide_real = self.node("DequantizeLinear", wide, f"real{len(self.nodes)}", **axis)
            self.float(kind, [self.real(str(x)), real, wide_real], op, **attributes)
        elif kind == "Conv":
            inputs = [str(x), *self.scale(x), w, ws, wz, *self.scale(y), c]
            self.node("QLinearConv", inputs, str(y), **attributes)
        else:
            self.node("QGemm", [str(x), *self.scale(x), w, ws, wz, c, *self.scale(y)], str(y), MICROSOFT, **attributes)


def onnx_model(model: Model, form: str, activation: str) -> bytes:
    """The file's model; input and output are its integers (uint8: 128 larger), images as (1, H, W, C)."""
    import onnx

    w = _Writer(model, form, activation)
    images = [n for n in model.inputs if len(model.tensors[n].shape) == 4]
    for number in images:
        w.node("Transpose", [f"{number}.nhwc"], str(number), perm=[0, 3, 1, 2])
    for op in model.operators:
        _operator(w, op)
    kind = onnx.helper.np_dtype_to_tensor_dtype(w.dtype)

    def ports(numbers: Any) -> list[Any]:
        named = [(f"{n}.nhwc" if n in images else str(n), model.tensors[n].shape) for n in numbers]
        return [onnx.helper.make_tensor_value_info(name, kind, shape) for name, shape in named]

    graph = onnx.helper.make_graph(w.nodes, "model", ports(model.inputs), ports(model.outputs), w.initialisers)
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid(MICROSOFT, 1)]
    made = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    content: bytes = made.SerializeToString()
    return content


def _operator(w: _Writer, op: Operator) -> None:
    tensors, out = w.model.tensors, w.model.tensors[op.outputs[0]]
    x = tensors[op.inputs[0]]
    names = [str(i) for i in op.inputs]
    match op.name:
        case "CONV_2D" | "DEPTHWISE_CONV_2D":
            weight = tensors[op.inputs[1]]
            assert weight.data is not None
            shallow = op.name == "DEPTHWISE_CONV_2D"
            # (1, KH, KW, C) or (O, KH, KW, I) -> (O, I, KH, KW)
            values = weight.data.transpose((3, 0, 1, 2) if shallow else (0, 3, 1, 2))
            w.linear(
                "Conv", op, values, _scales(weight, len(values)), group=x.shape[3] if shallow else 1,
                strides=[op.options["stride_h"], op.options["stride_w"]], pads=_pads(op, x, values.shape[2:]),
            )  # fmt: skip
        case "FULLY_CONNECTED":
            weight = tensors[op.inputs[1]]
            scales = np.asarray(weight.scale[0]) if weight.scale.size == 1 else _scales(weight, out.shape[-1])
            w.linear("Gemm", op, weight.data, scales, transB=1)
        case "ADD":
            w.operator("Add", op, names)
        case "AVERAGE_POOL_2D" if out.shape[1:3] == (1, 1):
            w.operator("GlobalAveragePool", op, names[:1])
        case "MAX_POOL_2D":
            sizes = [op.options[f"filter_{axis}"] for axis in ("height", "width")]
            strides = [op.options["stride_h"], op.options["stride_w"]]
            w.node("MaxPool", names, str(op.outputs[0]), kernel_shape=sizes, strides=strides, pads=_pads(op, x, sizes))
        case "RESHAPE":
            moved = names[0]
            if len(x.shape) == 4 and x.shape[1] * x.shape[2] > 1:
                moved = w.node("Transpose", [moved], f"moved{len(w.nodes)}", perm=[0, 2, 3, 1])
            w.node("Reshape", [moved, w.const(out.shape, np.int64)], str(op.outputs[0]))
        case "SOFTMAX":
            w.operator("Softmax", op, names, axis=-1, opset=13)
        case _:
            raise ValueError(f"{op.name} has no ONNX form here")


def _scales(weight: Tensor, outputs: int) -> Any:
    return np.broadcast_to(weight.scale, (outputs,))


def _pads(op: Operator, x: Tensor, kernel: Any) -> list[int]:
    valid = op.options["padding"] == 1
    return (
        [0] * 4 if valid else list(same_padding(x.shape[1:3], kernel, (op.options["stride_h"], op.options["stride_w"])))
    )
