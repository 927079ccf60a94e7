"""ONNX files as such: reading, nodes as plain data, constant folding, shapes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from codesign.errors import InputError
from codesign.frontend.context import Array, OnnxNode
from codesign.frontend.names import layer_name
from codesign.frontend.problems import Refusal, bad

# What Python raises for a node with missing inputs, or attributes of the wrong kind.
MALFORMED = (IndexError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError)

# The operators beyond the ONNX standard: how many inputs they have at least.
_FEWEST = {"Quant": 4, "IntQuant": 4, "BipolarQuant": 2, "Trunc": 5, "MultiThreshold": 2}


def read_model(path: Path) -> Any:
    """The ModelProto of a file. Raises InputError for a file that is missing, unreadable, truncated or no ONNX."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    where, again = str(path), "export it again"
    try:
        model = onnx.load(where)
    except FileNotFoundError as error:
        raise InputError.at(where, "no such file", "an ONNX file") from error
    except OSError as error:
        raise InputError.at(where, f"cannot be read: {error.strerror or error}", "a readable ONNX file") from error
    except (DecodeError, ValueError, onnx.checker.ValidationError) as error:
        found = "not an ONNX file, or a truncated or corrupt one"
        raise InputError.at(where, found, "a complete ONNX file", again) from error
    if any(isinstance(text, bytes) for text in _names(model)):
        raise InputError.at(where, "a corrupt ONNX file: names that are no text", "a complete ONNX file", again)
    if not model.graph.node:
        raise InputError.at(where, "an ONNX file without layers, or no ONNX file", "a complete ONNX file", again)
    return model


def _names(model: Any) -> Iterator[Any]:
    """Every name in a model; protobuf gives one that is no UTF-8 as bytes."""
    for node in model.graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for item in (*model.graph.initializer, *model.graph.input, *model.graph.output):
        yield item.name
    for opset in model.opset_import:
        yield opset.domain
    for proto in model.graph.input:
        yield from (dim.dim_param for dim in proto.type.tensor_type.shape.dim)


def read_constants(model: Any) -> dict[str, Array]:
    """The initialisers by name."""
    from onnx import TensorProto, numpy_helper

    constants = {}
    for tensor in model.graph.initializer:
        if tensor.data_type not in TensorProto.DataType.values():
            found = f"numbers of the unknown type {tensor.data_type}"
            raise InputError.at(f"constant {tensor.name}", found, "a type of the ONNX standard", "export it again")
        try:
            constants[tensor.name] = np.asarray(numpy_helper.to_array(tensor))
        except MALFORMED as error:
            raise InputError.at(
                f"constant {tensor.name}", f"cannot be read: {error}", "a complete ONNX file"
            ) from error
    return constants


def read_annotations(model: Any) -> dict[str, str]:
    """The integer types that FINN writes beside tensors, by tensor."""
    return {
        annotation.tensor_name: entry.value
        for annotation in model.graph.quantization_annotation
        for entry in annotation.quant_parameter_tensor_names
        if entry.key == "finn_datatype"
    }


def read_nodes(model: Any, modules: Collection[str]) -> list[OnnxNode]:
    """The nodes in order, attributes as Python values."""
    nodes = []
    for proto in model.graph.node:
        layer = layer_name(proto.name, proto.op_type, proto.output[0] if proto.output else "", modules)
        attributes = {a.name: _attribute(a) for a in proto.attribute}
        inputs, outputs = tuple(proto.input), tuple(proto.output)
        nodes.append(OnnxNode(proto.op_type, proto.domain, proto.name, inputs, outputs, attributes, layer))
    return nodes


def _attribute(proto: Any) -> Any:
    """The value of an attribute; None for one of a kind that no operator here has."""
    from onnx import helper

    try:
        return helper.get_attribute_value(proto)
    except ValueError:
        return None


def fewest_inputs(node: OnnxNode) -> int:
    """How many inputs an operator of this kind has at least; 0 for unknown ones."""
    from onnx import defs

    if node.op in _FEWEST:
        return _FEWEST[node.op]
    try:
        return int(defs.get_schema(node.op, "" if node.domain == "ai.onnx" else node.domain).min_input)
    except defs.SchemaError:
        return 0


def constant_of(node: OnnxNode) -> Array:
    """The value of a Constant node."""
    from onnx import numpy_helper

    for key, value in node.attributes.items():
        return np.asarray(numpy_helper.to_array(value) if key == "value" else value)
    raise bad("a Constant without a value", "a value")


def fold(node: OnnxNode, values: Mapping[str, Array], opset: int) -> list[Array]:
    """A node whose inputs are all constants, computed by ONNX's own reference implementation."""
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    names = list(dict.fromkeys(n for n in node.inputs if n))
    proto = helper.make_node(node.op, list(node.inputs), list(node.outputs), domain=node.domain, **node.attributes)
    ports = [[helper.make_tensor_value_info(n, TensorProto.UNDEFINED, None) for n in p] for p in (names, node.outputs)]
    graph = helper.make_graph([proto], "fold", *ports)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, opset)])
    try:
        return list(ReferenceEvaluator(model).run(None, {n: values[n] for n in names}))
    except Exception as error:
        raise Refusal(f"the operator {node.op} on constants: {error}", "an operator that ONNX can evaluate") from error


def output_shape(node: OnnxNode, shapes: Mapping[str, tuple[int, ...] | None], opset: int) -> tuple[int, ...] | None:
    """The shape of a standard node's first output by ONNX's own inference; None when that finds none."""
    from onnx import TensorProto, helper, shape_inference

    names = dict.fromkeys(n for n in node.inputs if n)
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes.get(n)) for n in names]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in node.outputs]
    try:
        proto = helper.make_node(node.op, list(node.inputs), list(node.outputs), **node.attributes)
        graph = helper.make_graph([proto], "shape", inputs, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        found = shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape.dim
    except Exception:  # a malformed node: whatever ONNX's checker raises, there is no shape
        return None
    shape = tuple(int(d.dim_value) for d in found)
    return shape if len(shape) > 1 and min(shape) > 0 else None
