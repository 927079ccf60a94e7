"""Small ONNX models for tests, built node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

QONNX = "qonnx.custom_op.general"


def model(
    nodes: Sequence[Any],
    shape: Sequence[Any] = (1, 2, 4, 4),
    output: str = "y",
    elem: int = TensorProto.FLOAT,
    **consts: Any,
) -> Any:
    """A model from input x to `output`."""
    arrays = {"one": np.float32(1), "zero": np.float32(0), "four": np.float32(4)} | consts
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items()]
    x = helper.make_tensor_value_info("x", elem, shape)
    y = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid(QONNX, 2)]
    return helper.make_model(helper.make_graph(list(nodes), "net", [x], [y], tensors), opset_imports=opsets)


def node(op: str, inputs: str, output: str, name: str = "", **attributes: Any) -> Any:
    domain = QONNX if op in ("Quant", "BipolarQuant", "Trunc") else ""
    return helper.make_node(op, inputs.split(), [output], name=name or f"/{output}/{op}", domain=domain, **attributes)


def quant(x: str, y: str, scale: str = "one", bits: str = "four", **attributes: Any) -> Any:
    return node(
        "Quant", f"{x} {scale} zero {bits}", y, **{"signed": 1, "narrow": 0, "rounding_mode": "ROUND"} | attributes
    )
