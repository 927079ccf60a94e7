"""`.tflite` files of integers: operators become integer nodes that equal TFLite's reference kernels on every bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from codesign.errors import Diagnostic, InputError, UnsupportedError, raise_all
from codesign.frontend.imported import Imported
from codesign.frontend.problems import Refusal, bad
from codesign.frontend.tflite import activation, arithmetic, linear, shape, spatial
from codesign.frontend.tflite.context import Context, Handler, Layer, frame
from codesign.frontend.tflite.params import CONVERT, params_of
from codesign.frontend.tflite.schema import Model, Operator, Tensor, read_model
from codesign.ir.graph import Graph, Port
from codesign.ir.ops import OpError
from codesign.ir.types import TensorType

HANDLERS: Mapping[str, Handler] = {
    "ADD": arithmetic.add,
    "ARG_MAX": activation.arg_max,
    "AVERAGE_POOL_2D": spatial.average_pool,
    "CAST": activation.cast,
    "CONCATENATION": shape.concatenation,
    "CONV_2D": linear.conv,
    "DEPTHWISE_CONV_2D": linear.depthwise,
    "DEQUANTIZE": activation.dequantize,
    "EXPAND_DIMS": shape.reshape,
    "FULLY_CONNECTED": linear.fully_connected,
    "HARD_SWISH": activation.hard_swish,
    "LOGISTIC": activation.logistic,
    "MAX_POOL_2D": spatial.max_pool,
    "MEAN": spatial.mean,
    "MUL": arithmetic.multiply,
    "PAD": spatial.pad,
    "PADV2": spatial.pad,
    "QUANTIZE": activation.quantize,
    "RELU": activation.relu,
    "RELU6": activation.relu,
    "RELU_N1_TO_1": activation.relu,
    "RESHAPE": shape.reshape,
    "RESIZE_NEAREST_NEIGHBOR": spatial.resize_nearest,
    "SLICE": shape.slice_,
    "SOFTMAX": activation.softmax,
    "SPLIT": shape.split,
    "SPLIT_V": shape.split_v,
    "SQUEEZE": shape.reshape,
    "STRIDED_SLICE": shape.strided_slice,
    "SUB": arithmetic.subtract,
    "TANH": activation.tanh,
    "TRANSPOSE": shape.transpose,
}

_FLOATS = ("float32", "float16", "bfloat16", "float64")
_FIXED = "fixed shapes and a batch of 1"


def import_tflite(path: Path) -> Imported:
    """The integer graph of a `.tflite` file, with LiteRT's reference kernels to compare with where they are installed.

    Raises InputError for a file that is damaged or contradicts itself, UnsupportedError for what cannot be imported,
    with every reason at once.
    """
    return import_parsed(read_model(path), str(path))


def import_parsed(model: Model, where: str) -> Imported:
    """`import_tflite` for a file that is read already; `where` is what messages call it."""
    from codesign.frontend.tflite.source import reference_kernels

    ctx = Context(model)
    _walk(ctx, where)
    ports = [Port(ctx.values[i], None, _axes(ctx.output_axes.get(i, ()))) for i in model.outputs]
    graph = Graph(tuple(ctx.ports[i] for i in model.inputs), ctx.consts, tuple(ctx.nodes), tuple(ports))
    source, notes = reference_kernels(model, graph)
    return Imported(graph, source, (*ctx.notes, *notes), tuple(ctx.probes))


def _axes(axes: tuple[int, ...]) -> tuple[int, ...]:
    return () if axes == tuple(range(len(axes))) else axes


def _walk(ctx: Context, path: str) -> None:
    """Fill the context; raises what was found, all of it together."""
    model = ctx.model
    ctx.readers.update(Counter(i for op in model.operators for i in set(op.inputs) if i >= 0))
    found: list[Diagnostic] = []
    wrong = False

    def refuse(refusal: Refusal, where: str) -> None:
        nonlocal wrong
        wrong |= refusal.bad
        found.append(refusal.at(where))

    if not model.inputs or not model.outputs or not model.operators:
        counts = f"{len(model.inputs)} inputs, {len(model.operators)} operators, {len(model.outputs)} outputs"
        raise InputError.at(path, counts, "at least one of each")
    if not any(t.scale.size for t in model.tensors) and any(t.kind in _FLOATS for t in model.tensors):
        raise UnsupportedError.at(path, "a floating-point model", "int8 or int16 activations and int8 weights", CONVERT)
    refused: set[int] = set()
    for index in model.inputs:
        try:
            _input(ctx, index)
        except Refusal as refusal:
            refuse(refusal, f"input {model.tensors[index].where}")
            refused.add(index)
    for op in model.operators:
        layer = Layer(ctx, op)
        try:
            if op.name not in HANDLERS:
                raise Refusal(f"the operator {op.name}", ", ".join(HANDLERS))
            if refused.isdisjoint(op.inputs):  # else the cause is known
                _check(layer)
                HANDLERS[op.name](layer)
        except Refusal as refusal:
            refuse(refusal, layer.where)
        except OpError as error:
            refuse(Refusal(error.found, error.allowed), layer.where)
        for index in op.outputs:
            if index not in ctx.values and not _recovered(ctx, index):
                refused.add(index)
    for index in model.outputs:
        if index not in ctx.values and not found:
            refuse(bad("an output that no layer computes", "a computed output"), f"output {model.tensors[index].where}")
    raise_all(InputError if wrong else UnsupportedError, list(dict.fromkeys(found)))


def _input(ctx: Context, index: int) -> None:
    """Declare a model input; a real one is declared by its QUANTIZE, and refused by any other reader."""
    tensor = ctx.model.tensors[index]
    _check_shape(tensor)
    if tensor.shape[:1] != (1,):
        raise Refusal(
            f"an input of shape {tensor.shape}", "a batch of 1 as the first axis", "convert with batch size 1"
        )
    if tensor.kind in _FLOATS and ctx.readers[index]:
        return
    params = params_of(tensor)
    ctx.values[index] = ctx.add_input(index, TensorType(frame(tensor.shape), params.dtype, params.quant))


def _check(layer: Layer) -> None:
    """Refuse an operator that computes in floating point, or has tensors of changing shape."""
    name = layer.op.name
    if not layer.op.inputs or not layer.op.outputs:
        raise bad(f"{name} with {len(layer.op.inputs)} inputs and {len(layer.op.outputs)} outputs", "one of each")
    tensors = [layer.ctx.model.tensors[i] for i in (*layer.op.inputs, *layer.op.outputs) if i >= 0]
    computed = [t for t in tensors if t.data is None]
    for tensor in computed:
        _check_shape(tensor)
    if name in ("QUANTIZE", "DEQUANTIZE"):
        return
    real = next((t for t in computed if t.kind in _FLOATS), None)
    if real is None:
        return
    weight = next((t for t in tensors if t.data is not None and t.kind == "int8"), None)
    if weight is not None:
        found = f"hybrid quantisation: {real.kind} activations with the int8 weight {weight.where!r}"
        raise Refusal(found, "int8 or int16 activations", CONVERT)
    raise Refusal(f"{name} in {real.kind}", "int8 or int16 activations", CONVERT)


def _check_shape(tensor: Tensor) -> None:
    """Refuse a tensor whose shape is not known; -1 for the batch means one frame here."""
    if any(n < 0 for n in (*tensor.shape[1:], *tensor.signature[1:])) or any(n < 1 for n in tensor.shape):
        shape = tensor.signature if min(tensor.signature, default=0) < 0 else tensor.shape
        raise Refusal(
            f"the tensor {tensor.where!r} of dynamic shape {shape}", _FIXED, "convert with a fixed input shape"
        )


def _recovered(ctx: Context, index: int) -> bool:
    """Behind a refused layer: a value of the declared type, so that the layers after it are checked too."""
    tensor = ctx.model.tensors[index]
    try:
        _check_shape(tensor)
        params = params_of(tensor)
    except Refusal:
        return False
    name = ctx.name(tensor.where)
    ctx.types[name] = TensorType(frame(tensor.shape), params.dtype)
    ctx.values[index] = name
    return True


__all__ = ["HANDLERS", "Model", "Operator", "import_parsed", "import_tflite"]
