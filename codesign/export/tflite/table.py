"""Functions of one value: QUANTIZE, RELU and its relatives, LOGISTIC, TANH, HARD_SWISH, SOFTMAX, ARG_MAX."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from codesign.export.tflite.context import Export, activation_for
from codesign.export.tflite.cover import Kernel, clamp_of
from codesign.export.tflite.linear import per_channel
from codesign.export.tflite.steps import is_exact, is_rescale
from codesign.frontend.problems import Refusal
from codesign.frontend.tflite.activation import TABLES
from codesign.frontend.tflite.params import DTYPES, NONE, RELU, RELU6, RELU_N1_TO_1, rescale
from codesign.ir.ops import Reshape, Softmax

_NAMES = {NONE: "QUANTIZE", RELU: "RELU", RELU6: "RELU6", RELU_N1_TO_1: "RELU_N1_TO_1"}
_INT32 = 2


def rescaled(export: Export, kernel: Kernel) -> None:
    """A chain on a tensor: QUANTIZE or RELU where it is theirs, else a depthwise convolution of one pixel."""
    if not _quantize(export, kernel):
        per_channel(export, kernel, export.graph.type(kernel.tensors[0]).channels)


def _quantize(export: Export, kernel: Kernel) -> bool:
    """QUANTIZE: (x less its zero point) times s_x / s_y, rounded twice; with limits it is a RELU."""
    (name,) = kernel.tensors
    x, out = export.storage(name), export.storage(kernel.node.name)
    steps = [node for node in kernel.chain if not isinstance(node.op, Reshape)]
    if out.params.dtype.bits > x.params.dtype.bits:
        return False
    by = rescale(x.scale / out.scale)
    if x.zero and not (steps and is_exact(export.graph, steps[0], 1, -x.zero)):
        return False
    rest = steps[1:] if x.zero else steps
    if not rest or not is_rescale(export.graph, rest[0], by, out.zero):
        return False
    clamps = [clamp_of(export.graph, node) for node in rest[1:]]
    if None in clamps:
        return False
    dtype = export.graph.type(kernel.node.name).dtype
    limits = [c for c in clamps if c is not None] or [(dtype.lo, dtype.hi)]
    low, high = max(c[0] for c in limits) + out.offset, min(c[1] for c in limits) + out.offset
    try:
        activation = activation_for(out, low, high, exactly=True)[0]
    except Refusal:
        return False
    if activation != NONE and x.kind != out.kind:
        return False
    source = export.declare(name)
    made = export.result(kernel, export.graph.type(name).shape)
    export.emit(kernel, _NAMES[activation], [source], made)
    export.finish(kernel, made)
    return True


def lookup(export: Export, kernel: Kernel) -> None:
    """LOGISTIC, TANH or HARD_SWISH where the table is theirs; a monotone function as a depthwise convolution."""
    assert kernel.base is not None
    (name,) = kernel.tensors
    x, out = export.storage(name), export.storage(kernel.node.name)
    table = export.graph.consts[kernel.base.inputs[1]].value
    dtype = export.graph.type(name).dtype
    if x.kind == out.kind and dtype.count == table.size == 1 << DTYPES[x.kind].bits:
        for operator, make in TABLES[x.kind].items():
            try:
                same = bool((make(x.params, out.params) == table[0] + out.offset).all())
            except Refusal:
                continue
            if same:
                made = export.result(kernel, export.graph.type(name).shape)
                export.emit(kernel, operator, [export.declare(name)], made)
                export.finish(kernel, made)
                return
    behind = replace(kernel, base=None, chain=(kernel.base, *kernel.chain))
    per_channel(export, behind, export.graph.type(name).channels)


def softmax(export: Export, kernel: Kernel) -> None:
    """SOFTMAX, with the beta that gives the graph's multiplier at the input's scale."""
    assert kernel.base is not None
    op, (name,) = kernel.base.op, kernel.tensors
    assert isinstance(op, Softmax)
    storage = export.storage(name)
    if storage.kind != "int8":
        raise Refusal("a softmax of 16-bit values", "int8")
    real = op.multiplier / (1 << 31) * 2.0**op.left_shift
    ideal = np.float32(real / (storage.scale * (1 << 26)))
    for beta in (np.float32(1), ideal, *(np.nextafter(ideal, np.float32(end)) for end in (0, math.inf))):
        if Softmax.of(storage.scale, float(beta), op.out) == op:
            output = export.result(kernel, export.graph.type(name).shape)
            export.emit(kernel, "SOFTMAX", [export.declare(name)], output, beta=float(beta))
            export.finish(kernel, output)
            return
    raise Refusal("a softmax whose multiplier no float32 beta gives", "the multiplier of scale and beta")


def argmax(export: Export, kernel: Kernel) -> None:
    """ARG_MAX along the channels; its result is int32 without a meaning, and without the axis."""
    assert kernel.base is not None
    (name,) = kernel.tensors
    if export.storage(name).kind != "int8":
        raise Refusal("an ARG_MAX of 16-bit values", "int8")
    x = export.declare(name)
    axis = export.file.integers(f"{kernel.node.name}.axis", [len(export.graph.type(name).shape)])
    shape = export.graph.type(kernel.base.name).shape
    output = export.file.tensor(kernel.node.name, (1, *shape[:-1]), "int32")
    export.emit(kernel, "ARG_MAX", [x, axis], output, output_type=_INT32)
    export.tensors[kernel.node.name] = output
