"""Add and Mul of two tensors: TFLite's ADD, SUB and MUL where they compute the same, else a sum of two rows."""

from __future__ import annotations

import numpy as np

from codesign.export.tflite.chain import Chain
from codesign.export.tflite.context import Export, activation_for, clamp_behind
from codesign.export.tflite.cover import Kernel, Operand, clamp_of
from codesign.export.tflite.linear import Sum, emit_sum
from codesign.export.tflite.steps import constants, is_exact, is_rescale, is_unlimited
from codesign.export.tflite.storage import Storage
from codesign.export.tflite.take import chosen
from codesign.frontend.problems import Refusal
from codesign.frontend.tflite.arithmetic import Summation
from codesign.frontend.tflite.params import rescale
from codesign.ir.graph import Graph
from codesign.ir.ops import Requant, Reshape, Rounding, Take
from codesign.ir.types import IntArray


def add(export: Export, kernel: Kernel) -> None:
    """ADD and SUB with the kernels' own intermediate roundings; a plain sum as ADD where that is proved equal."""
    storages = [export.storage(o.tensor) for o in kernel.operands]
    out = export.storage(kernel.node.name)
    if out.kind != "int8" or any(s.kind != "int8" for s in storages):
        _sum_of_16_bits(export, kernel, storages, out)
        return
    for name, sign in (("ADD", 1), ("SUB", -1)):
        by = _summation(storages, out, sign, 20)
        if by is not None and _is_summation(export.graph, kernel, storages, out, by, 20):
            _emit(export, kernel, name, out)
            return
    terms = [_exact_term(export.graph, operand) for operand in kernel.operands]
    activation = _plain_add(export, kernel, storages, out, terms)
    if activation is not None:
        _write(export, kernel, "ADD", activation)
        return
    _rows(export, kernel, storages, terms)


def _sum_of_16_bits(export: Export, kernel: Kernel, storages: list[Storage], out: Storage) -> None:
    for name, sign in (("ADD", 1), ("SUB", -1)):
        if {s.kind for s in (*storages, out)} == {"int16"}:
            by = _summation(storages, out, sign, 15)
            if by is not None and _is_summation(export.graph, kernel, storages, out, by, 15):
                _emit(export, kernel, name, out)
                return
    raise Refusal("a sum of 16-bit values", "TFLite's own ADD of int16, or 8-bit values and results")


def _summation(storages: list[Storage], out: Storage, sign: int, left: int) -> Summation | None:
    """The constants of TFLite's ADD or SUB for these scales; None where the kernel refuses them."""
    try:
        return Summation.of(storages[0].params, storages[1].params, out.params, sign, left)
    except Refusal:
        return None


def _is_summation(
    graph: Graph, kernel: Kernel, storages: list[Storage], out: Storage, by: Summation, left: int
) -> bool:
    """Whether the nodes are those of the kernel: both inputs shifted left and rescaled, added, rescaled again."""
    for operand, storage, factor in zip(kernel.operands, storages, by.factors, strict=True):
        if len(operand.steps) != 2:
            return False
        shifted, scaled = operand.steps
        if not is_exact(graph, shifted, 1 << left, -storage.zero << left):
            return False
        if not is_rescale(graph, scaled, factor, 0) or not is_unlimited(graph, scaled):
            return False
    steps = [node for node in kernel.chain if not isinstance(node.op, Reshape)]
    if not steps or not is_rescale(graph, steps[0], by.result, out.zero):
        return False
    return all(clamp_of(graph, node) is not None for node in steps[1:])


def _emit(export: Export, kernel: Kernel, name: str, out: Storage) -> None:
    """The operator, with the clamp behind its rescaling as a fused activation."""
    dtype = export.graph.type(kernel.node.name).dtype
    low, high = clamp_behind(export, kernel) or (dtype.lo, dtype.hi)
    _write(export, kernel, name, activation_for(out, low + out.offset, high + out.offset, exactly=True)[0])


def _write(export: Export, kernel: Kernel, name: str, activation: int) -> None:
    assert kernel.base is not None
    inputs = [export.declare(o.tensor) for o in kernel.operands]
    output = export.result(kernel, export.graph.type(kernel.base.name).shape)
    options = {"pot_scale_int16": False} if name != "MUL" else {}
    export.emit(kernel, name, inputs, output, activation=activation, **options)
    export.finish(kernel, output)


# -- sums without the kernels' roundings -----------------------------------------------------------------------------


def _exact_term(graph: Graph, operand: Operand) -> tuple[int, int]:
    """(factor, offset) of an operand that is value * factor + offset. Refusal for any other."""
    factor, offset = 1, 0
    for node in operand.steps:
        assert isinstance(node.op, Requant)
        multiplier, shift = constants(graph, node)
        if not is_unlimited(graph, node):
            raise Refusal("a term that is limited before the sum", "a type that holds every term")
        if len(multiplier) != 1 or shift != [0]:
            raise Refusal("a term that is rounded before the sum", "terms times a whole number, or TFLite's own ADD")
        factor, offset = factor * multiplier[0], offset * multiplier[0] + node.op.zero_point
    return factor, offset


def _plain_add(
    export: Export, kernel: Kernel, storages: list[Storage], out: Storage, terms: list[tuple[int, int]]
) -> int | None:
    """The activation with which ADD computes the chain of a plain sum, for every value that it can take; else None."""
    if terms != [(1, 0), (1, 0)] or storages[0].scale != storages[1].scale:
        return None
    by = _summation(storages, out, 1, 20)
    if by is None:
        return None
    assert kernel.base is not None
    channels = export.graph.type(kernel.base.name).channels
    chain = Chain.of(export.graph, kernel.chain, channels)
    types = [export.graph.type(o.tensor).dtype for o in kernel.operands]
    total = np.arange(sum(t.lo for t in types), sum(t.hi for t in types) + 1)
    # With equal scales both factors are exactly 1/2: nothing is lost before the last rounding.
    stored = (total - sum(s.zero for s in storages)) << by.left - 1
    values = chain(np.repeat(total[:, None], channels, axis=1)) + out.offset
    try:
        activation, low, high = activation_for(out, int(values.min()), int(values.max()), exactly=False)
    except Refusal:
        return None
    result = np.clip(by.result(stored) + out.zero_point, low, high)
    return activation if bool((result[:, None] == values).all()) else None


def _rows(export: Export, kernel: Kernel, storages: list[Storage], terms: list[tuple[int, int]]) -> None:
    """Any function of a weighted sum: both tensors as rows of one image, and a depthwise window over the two rows."""
    assert kernel.base is not None
    graph = export.graph
    shape = graph.type(kernel.base.name).shape
    if storages[0] != storages[1]:
        raise Refusal("a sum of two tensors with different scales", "one scale, or TFLite's own ADD")
    channels, size = shape[-1], int(np.prod(shape[:-1]))
    storage = storages[0]
    rows = [
        export.reshaped(kernel, _spread(export, kernel, operand), (1, size, channels), storage, f"row{i + 1}")
        for i, operand in enumerate(kernel.operands)
    ]
    joined = export.helper(f"{kernel.node.name}.rows", (2, size, channels), storage)
    export.emit(kernel, "CONCATENATION", rows, joined, axis=1, activation=0)
    weight = np.empty((channels, 2, 1, 1), dtype=np.int64)
    weight[:] = np.array([factor for factor, _ in terms]).reshape(1, 2, 1, 1)
    bias: IntArray = np.full(channels, sum(offset for _, offset in terms), dtype=np.int64)
    types = [graph.type(o.tensor).dtype for o in kernel.operands]
    reach = min(t.lo for t in types), max(t.hi for t in types)
    emit_sum(export, kernel, Sum(weight, bias, groups=channels), joined, storage, (1, size, channels), reach)


def _spread(export: Export, kernel: Kernel, operand: Operand) -> int:
    """The tensor of an operand in the shape of the result."""
    x, storage = export.declare(operand.tensor), export.storage(operand.tensor)
    takes = [node for node in operand.spread if isinstance(node.op, Take)]
    if takes:
        shape = export.graph.type(takes[0].inputs[0]).shape
        x = export.reshaped(kernel, x, shape, storage, "axes")
    return chosen(export, kernel, x, storage, takes)


def multiply(export: Export, kernel: Kernel) -> None:
    """MUL: both inputs less their zero points, multiplied, rescaled once."""
    a, b = (export.storage(o.tensor) for o in kernel.operands)
    out, graph = export.storage(kernel.node.name), export.graph
    if len({a.kind, b.kind, out.kind}) > 1:
        raise Refusal("a product of values of 8 and of 16 bits", "one width")
    if not all(is_unlimited(graph, step) for operand in kernel.operands for step in operand.steps):
        raise Refusal("a factor that is limited before the product", "a type that holds every factor")
    centred = all(
        (storage.zero == 0 and not operand.steps)
        or (len(operand.steps) == 1 and is_exact(graph, operand.steps[0], 1, -storage.zero))
        for operand, storage in zip(kernel.operands, (a, b), strict=True)
    )  # fmt: skip
    steps = [node for node in kernel.chain if not isinstance(node.op, Reshape)]
    by = rescale(float(a.params.single * b.params.single / out.params.single))
    same = bool(steps) and is_rescale(graph, steps[0], by, out.zero)
    if not centred or not same or any(clamp_of(graph, node) is None for node in steps[1:]):
        raise Refusal(
            "a product that is rescaled otherwise than by MUL", f"{Rounding.TFLITE_DOUBLE.value}, one multiplier"
        )
    _emit(export, kernel, "MUL", out)
