"""ONNX files to the integer graph: QONNX (Quant, BipolarQuant, Trunc), QCDQ/QDQ and FINN's MultiThreshold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import prod
from typing import Any

import numpy as np

from codesign.errors import Diagnostic, InputError, UnsupportedError, raise_all
from codesign.frontend import concat, elementwise, ends, linear, qdq, quantisers, shapes, spatial
from codesign.frontend.context import Context, Failed, Handler, Item, OnnxNode, QuantConst
from codesign.frontend.draft import Value, interval
from codesign.frontend.inputs import input_real
from codesign.frontend.problems import Refusal, bad
from codesign.frontend.proto import (
    MALFORMED,
    constant_of,
    fewest_inputs,
    fold,
    output_shape,
    read_annotations,
    read_constants,
    read_nodes,
)
from codesign.frontend.rational import constant
from codesign.frontend.real import Real
from codesign.ir.graph import Graph, Port
from codesign.ir.ops import OpError
from codesign.ir.types import IntType, Quant

HANDLERS: Mapping[str, Handler] = {
    "Quant": quantisers.quant,
    "IntQuant": quantisers.quant,
    "BipolarQuant": quantisers.bipolar_quant,
    "Trunc": quantisers.trunc,
    "MultiThreshold": quantisers.multi_threshold,
    "QuantizeLinear": qdq.quantize_linear,
    "DequantizeLinear": qdq.dequantize_linear,
    "Sign": quantisers.sign,
    "Conv": linear.conv,
    "Gemm": linear.gemm,
    "MatMul": linear.matmul,
    "BatchNormalization": elementwise.batch_norm,
    "Mul": elementwise.multiply,
    "Div": elementwise.divide,
    "Add": elementwise.add,
    "Sub": elementwise.subtract,
    "Neg": elementwise.negate,
    "Relu": elementwise.relu,
    "Clip": elementwise.clip,
    "Identity": elementwise.identity,
    "Dropout": elementwise.identity,
    "Cast": elementwise.cast,
    "MaxPool": spatial.max_pool,
    "AveragePool": spatial.average_pool,
    "GlobalAveragePool": spatial.global_average,
    "ReduceMean": spatial.reduce_mean,
    "Pad": spatial.pad,
    "Reshape": shapes.reshape,
    "Flatten": shapes.flatten,
    "Transpose": shapes.transpose,
    "Squeeze": shapes.squeeze,
    "Unsqueeze": shapes.unsqueeze,
    "Shape": shapes.shape_of,
    "Concat": concat.concat,
    "ArgMax": ends.argmax,
    "TopK": ends.top_k,
    "Softmax": ends.softmax,
    "LogSoftmax": ends.softmax,
}
# Elements of an input: more than any accelerator here holds, and few enough to be laid out.
_MAX_INPUT = 1 << 26
Refuse = Callable[[Refusal, str], None]

# What a refusal names; the guide has the whole table.
SUPPORTED = (
    "Conv, Gemm, MatMul, BatchNormalization, Add, Sub, Mul, Div, Relu, Clip, Sign, MaxPool, AveragePool, ReduceMean, "
    "Concat, Pad, Reshape, Flatten, Transpose, ArgMax, TopK and the quantisers"
)
_QUANTISERS = ("Quant", "IntQuant", "BipolarQuant", "QuantizeLinear", "DequantizeLinear", "MultiThreshold")


def convert(model: Any, where: str, modules: Collection[str] = ()) -> tuple[Graph, Context]:
    """The integer graph of a model. Raises InputError or UnsupportedError with one finding per layer.

    where    what the user calls the model; modules: the module paths of its source, to name the layers by
    """
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 13)
    ctx = Context(opset=opset, modules=modules)
    if not model.graph.output:
        raise InputError.at(where, "a model without outputs", "at least one output", "export it again")
    nodes = _prepare(ctx, model)
    _demand_quantisers(ctx, nodes, where)
    wrong: list[Diagnostic] = []
    unsupported: list[Diagnostic] = []

    def refuse(refusal: Refusal, layer: str) -> None:
        (wrong if refusal.bad else unsupported).append(refusal.at(layer))

    for proto in model.graph.input:
        if proto.name not in ctx.items:
            try:
                ctx.items[proto.name] = _input(ctx, proto)
            except Refusal as refusal:
                refuse(refusal, f"input {proto.name}")
                ctx.items[proto.name] = Failed()
    for node in nodes:
        _run(ctx, node, refuse)
    ports, quants = _outputs(ctx, model, refuse)
    if not wrong and not unsupported:
        declared = {port.name for port in ctx.builder.inputs}
        wrong += [Diagnostic(f"input {n}", "nothing reads it", "inputs in use") for n in ctx.axes if n not in declared]
    if wrong:
        raise InputError(*wrong, *unsupported)
    raise_all(UnsupportedError, unsupported)
    # Quantisers declare the inputs in the order of the layers; the user gives them in the order of the model.
    ctx.builder.inputs.sort(key=lambda port: list(ctx.axes).index(port.name))
    return ctx.builder.finish(ports, quants), ctx


def _prepare(ctx: Context, model: Any) -> list[OnnxNode]:
    """Constants, annotations and readers into the context; the nodes."""
    ctx.items.update(read_constants(model))
    ctx.annotated.update(read_annotations(model))
    nodes = read_nodes(model, ctx.modules)
    for node in nodes:
        if not node.outputs:
            raise InputError.at(node.layer, f"a {node.op} node without outputs", "at least one output")
    ctx.computed = {name for node in nodes for name in node.outputs}
    for node in nodes:
        for name in node.inputs:
            ctx.readers.setdefault(name, []).append(node)
    for output in model.graph.output:
        # An output counts as a reader, so that a value that is also read inside is not changed for one of them.
        ctx.readers.setdefault(output.name, []).append(OnnxNode("Output", "", "", (output.name,), (), {}, output.name))
    return nodes


def _demand_quantisers(ctx: Context, nodes: list[OnnxNode], where: str) -> None:
    if not any(n.op in _QUANTISERS for n in nodes) and not ctx.annotated:
        raise UnsupportedError.at(
            where,
            "no quantisers: a floating-point model",
            "Quant, BipolarQuant, QuantizeLinear or MultiThreshold nodes",
            "train with quantised layers (brevitas.nn.QuantConv2d, QuantLinear, QuantReLU) and import that model",
        )


def _input(ctx: Context, proto: Any) -> Real:
    from onnx import TensorProto

    tensor = proto.type.tensor_type
    dims = [d.dim_value if d.WhichOneof("value") == "dim_value" else d.dim_param or "?" for d in tensor.shape.dim]
    dynamic = [str(d) for d in dims[1:] if not isinstance(d, int) or d < 1]
    if dynamic:
        raise Refusal(
            f"an input of shape ({', '.join(map(str, dims))})",
            "fixed sizes but for the batch",
            "export with fixed sizes",
        )
    if len(dims) < 2:
        raise Refusal(f"an input of shape ({', '.join(map(str, dims))})", "(batch, …)", "export with a batch axis")
    size = prod(int(d) for d in dims[1:])
    if size > _MAX_INPUT:
        raise bad(f"an input of {size:,} elements", f"at most {_MAX_INPUT:,}", "export with the sizes of real frames")
    if isinstance(dims[0], int) and dims[0] > 0:
        ctx.batch = dims[0]
    types = {TensorProto.UINT8: IntType(8, False), TensorProto.INT8: IntType(8, True)}
    dtype = types.get(tensor.elem_type) or _annotation(ctx.annotated.get(proto.name, ""))
    if dtype is None and tensor.elem_type not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
        names = {number: name for name, number in TensorProto.DataType.items()}
        name = names.get(tensor.elem_type, str(tensor.elem_type))
        raise Refusal(f"an input of type {name}", "FLOAT, UINT8 or INT8")
    return input_real(ctx, proto.name, tuple(int(d) for d in dims[1:]), dtype)


def _annotation(text: str) -> IntType | None:
    """FINN's name of an integer type: UINT8, INT4, BIPOLAR, BINARY."""
    if text == "BIPOLAR":
        return IntType.parse("bipolar")
    if text == "BINARY":
        return IntType(1, False)
    for prefix, letter in (("UINT", "u"), ("INT", "i")):
        if text.startswith(prefix) and text[len(prefix) :].isdigit():
            return IntType.parse(letter + text[len(prefix) :])
    return None


def _run(ctx: Context, node: OnnxNode, refuse: Refuse) -> None:
    """One node; when it is refused the walk goes on behind it as well as it can."""
    items = [ctx.items.get(name) for name in node.inputs if name]
    results: list[Item]
    try:
        if node.op == "Constant":
            results = [constant_of(node)]
        elif node.op not in HANDLERS and not all(isinstance(i, np.ndarray) for i in items):
            domain = f" of {node.domain}" if node.domain else ""
            raise Refusal(f"the operator {node.op}{domain}", SUPPORTED)
        elif any(isinstance(i, Failed) for i in items):
            results = [Failed()] * len(node.outputs)
        elif items and all(isinstance(i, np.ndarray) for i in items) and node.op not in _QUANTISERS:
            results = list(fold(node, {n: ctx.constant(n, n) for n in node.inputs if n}, ctx.opset))
        else:
            results = list(HANDLERS[node.op](ctx, node))
    except Refusal as refusal:
        refuse(refusal, node.layer)
        results = [_recovered(ctx, node)] * len(node.outputs)
    except OpError as error:
        refuse(Refusal(error.found, error.allowed), node.layer)
        results = [Failed()] * len(node.outputs)
    except MALFORMED as error:
        fewest = fewest_inputs(node)
        if len(node.inputs) < fewest:
            refuse(bad(f"a {node.op} node with {len(node.inputs)} inputs", f"at least {fewest}"), node.layer)
        else:
            found = f"a {node.op} node that cannot be read: {error}"
            refuse(bad(found, "a node as the ONNX standard has it"), node.layer)
        results = [Failed()] * len(node.outputs)
    for name, item in zip(node.outputs, results, strict=False):
        if name:
            ctx.items[name] = item


def _recovered(ctx: Context, node: OnnxNode) -> Item:
    """Behind a refused layer: 8-bit integers of the right shape, so that the layers after it are checked too."""
    source = ctx.items.get(node.inputs[0]) if node.inputs else None
    if not isinstance(source, Real):
        return Failed()
    shape: tuple[int, ...] | None = (1, *source.shape)
    if node.domain in ("", "ai.onnx"):
        shape = output_shape(node, {name: _shape(ctx.items.get(name)) for name in node.inputs}, ctx.opset)
    if shape is None:
        return Failed()
    shape = shape[1:]
    axes = (*range(1, len(shape)), 0)
    graph_shape = tuple(shape[a] for a in axes)
    layout = np.arange(int(np.prod(shape))).reshape(graph_shape).transpose(np.argsort(axes))
    value = Value("recovered", graph_shape, *interval(0, 255), IntType(8, False), shared=True)
    return Real.of(value, constant(1), constant(0), layout)


def _shape(item: Item | None) -> tuple[int, ...] | None:
    """The shape of a tensor with its batch, where it is known."""
    if isinstance(item, Real):
        return (1, *item.shape)
    if isinstance(item, QuantConst):
        return tuple(item.q.shape)
    return tuple(item.shape) if isinstance(item, np.ndarray) else None


def _outputs(ctx: Context, model: Any, refuse: Refuse) -> tuple[list[Port], dict[str, Quant]]:
    """The ports of the computed outputs; constant ones (the scale of a QuantTensor) are taken out of the model."""
    ports: list[Port] = []
    quants: dict[str, Quant] = {}
    constants = [o for o in model.graph.output if isinstance(ctx.items.get(o.name), (np.ndarray, QuantConst))]
    for output in model.graph.output:
        item = ctx.items.get(output.name)
        if isinstance(item, Real):
            try:
                ports.append(ends.output_port(ctx, output.name, item, quants))
            except Refusal as refusal:
                refuse(refusal, f"output {output.name}")
        elif item is None or len(constants) == len(model.graph.output):
            refuse(Refusal("an output that no layer computes", "a computed output", bad=True), f"output {output.name}")
    for output in constants:
        model.graph.output.remove(output)
    return ports, quants
