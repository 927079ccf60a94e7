"""Operations on single elements, by their whole function: for every value of an input, or every pair of two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codesign.backends.ethosu.audit.arithmetic import Unknown, elementwise, finished, scaled
from codesign.backends.ethosu.audit.flow import as_numbers
from codesign.backends.ethosu.audit.result import Verdict
from codesign.backends.ethosu.audit.step import Found, Step
from codesign.backends.ethosu.stream.operations import Elementwise, FeatureMap, Kind, Operation, Pooling
from codesign.ir.graph import Node
from codesign.ir.ops import Reshape, Take
from codesign.ir.types import IntArray

_ELSEWHERE = "what it reads is not its input, element by element: an address, a stride or a shape differs"


def audit_pointwise(step: Step) -> None:
    """Compare an operation with the function of one or two tensors that its operators are."""
    nodes = step.golden.nodes(step.result, (step.first, *step.fused) if step.result != step.first else ())
    ends = step.golden.ends(nodes)
    if not nodes or len(ends) not in (1, 2):
        raise Found(Verdict.OPEN, f"a function of {len(ends)} tensors")
    inputs = _inputs(step)
    positions, order = _positions(step, nodes, ends, inputs)
    step.write(positions)
    op = step.op
    if op.kind is Kind.ELEMENTWISE:
        step.expect("upscaling", op.upscale, 0)
        if op.mode not in (Elementwise.MUL, Elementwise.ADD, Elementwise.SUB):
            raise Found(Verdict.DIFFERS, "an elementwise operation that neither adds, subtracts nor multiplies")
    if any(fm.bits != 8 for fm, _ in inputs):
        raise Found(Verdict.OPEN, "inputs of more than 8 bits: not every pair of values is compared")
    golden, found = _functions(step, nodes, ends, inputs, positions, order)
    wrong = int((golden != found).sum())
    if wrong:
        step.differs(f"{wrong} of {golden.size} results differ, of all values that the inputs can have", 1)
    step.compared = f"the result for all {golden.size:,} values that the inputs can have, elements read and written"


def audit_copy(step: Step) -> None:
    """An operation that moves values: it must change none. What it moves where is compared by who reads it."""
    op = step.op
    if op.activation.table is not None:
        raise Found(Verdict.DIFFERS, "a look-up table behind an operation that only moves values")
    if op.kind is not Kind.POOLING or op.kernel is None or op.accumulates:
        raise Found(Verdict.OPEN, f"{op.kind.value}s that move values")
    if (op.kernel.height, op.kernel.width) != (1, 1) or op.ifm.bits != 8 or op.upscale not in (0, 1):
        raise Found(Verdict.OPEN, "values moved through a window, or of more than 8 bits")
    step.expect("padding", op.padding, (0, 0, 0, 0))
    step.expect("output type", (op.ofm.bits, op.ofm.signed), (op.ifm.bits, op.ifm.signed))
    step.expect_strides(op.ofm)
    labels = step.read(op.ifm)
    if op.upscale:
        labels = labels.repeat(2, axis=0).repeat(2, axis=1)[: op.ofm.shape[0], : op.ofm.shape[1]]
    constants = step.flow.memory.feature_constants(labels, op.ifm.bits, op.ifm.signed)
    if labels.shape != op.ofm.shape:
        raise Found(Verdict.DIFFERS, f"a box of {labels.shape} moved to one of {op.ofm.shape}")
    step.flow.memory.write(op.ofm, as_numbers(labels, constants), op.offset)
    domain = _domain(op.ifm)
    wrong = int((finished(op, scaled(domain - op.ifm.zero_point, op.scale), None) != domain).sum())
    if wrong:
        step.differs(f"{wrong} of 256 values change while they are moved")
    step.compared = "all 256 values stay as they are"


def _domain(fm: FeatureMap) -> IntArray:
    return np.arange(-128, 128) if fm.signed else np.arange(256)


def _inputs(step: Step) -> list[tuple[FeatureMap, IntArray]]:
    """The inputs from memory with their labels."""
    op = step.op
    found = [] if op.broadcasts[0].scalar else [(op.ifm, step.read(op.ifm))]
    if isinstance(op.ifm2, FeatureMap):
        found.append((op.ifm2, step.read(op.ifm2)))
    return found


def _positions(
    step: Step, nodes: Sequence[Node], ends: Sequence[int], inputs: Sequence[tuple[FeatureMap, IntArray]]
) -> tuple[IntArray, tuple[int, ...]]:
    """(row-major position in the result of every element, for each computed input the tensor that it is of `ends`)."""
    shape, size = step.op.ofm.shape, int(np.prod(step.golden.shape(step.result)))
    found = [
        pair for pair in inputs if step.flow.memory.feature_constants(pair[1], pair[0].bits, pair[0].signed) is None
    ]
    computed = [labels for _, labels in found]
    spread = [_spread(step, nodes, tensor, size) for tensor in ends]
    orders = [(0, 1), (1, 0)] if len(ends) == 2 else [(0,) * len(computed)]
    for order in orders:
        if len(order) != len(computed):
            continue
        whole = [i for i, labels in enumerate(computed) if labels.shape == shape]
        for leader in whole:
            positions = step.flow.positions(computed[leader], ends[order[leader]])
            if positions is None or (
                spread[order[leader]] is not None and not _is_whole(step, ends[order[leader]], size)
            ):
                continue
            if all(
                (np.broadcast_to(labels, shape) == spread[order[i]][positions]).all()
                for i, labels in enumerate(computed)
            ):
                for (fm, _), i in zip(found, order, strict=True):
                    step.expect_type("input", fm, ends[i])
                return positions, order
    raise Found(Verdict.DIFFERS, _ELSEWHERE)


def _is_whole(step: Step, tensor: int, size: int) -> bool:
    return int(np.prod(step.golden.shape(tensor))) == size


def _spread(step: Step, nodes: Sequence[Node], tensor: int, size: int) -> IntArray:
    """The label of a tensor for every element of the result: its axes repeated as the golden graph does."""
    labels, name = step.flow.labels(tensor)[None], step.golden.values[tensor]
    while labels.size != size:
        node = next((n for n in nodes if n.inputs[0] == name and isinstance(n.op, Reshape | Take)), None)
        if node is None:
            raise Found(Verdict.OPEN, "an input that is repeated in another way than along an axis")
        labels, name = node.op.evaluate([labels], step.golden.graph.args(node)), node.name
    return labels.reshape(-1)


def _functions(
    step: Step,
    nodes: Sequence[Node],
    ends: Sequence[int],
    inputs: Sequence[tuple[FeatureMap, IntArray]],
    positions: IntArray,
    order: tuple[int, ...],
) -> tuple[IntArray, IntArray]:
    """(golden, NPU): the results for all values of the computed inputs; a constant input channel by channel."""
    op, table = step.op, step.table()
    x = _domain(op.ifm)
    constant = _constant(step, inputs)
    if len(set(order)) == 2:
        feeds = {ends[order[0]]: x[:, None, None], ends[order[1]]: x[None, :, None]}
        found = finished(op, elementwise(op, x[:, None, None], x[None, :, None]), table)
    elif constant is None:
        feeds = {ends[0]: x[:, None]}
        found = finished(op, _unary(op, x[:, None]), table)
    else:
        first, numbers = constant
        feeds = {ends[0]: x[:, None]}
        pair = (numbers[None, :], x[:, None]) if first else (x[:, None], numbers[None, :])
        found = finished(op, elementwise(op, *pair), table)
    golden = step.golden.pointwise(nodes, feeds)
    if golden is None:
        raise Found(Verdict.OPEN, "the golden graph computes more than a function of single elements here")
    if golden.shape[-1] not in (1, found.shape[-1]):
        if found.shape[-1] != 1:
            golden = golden[..., positions[0, 0] % golden.shape[-1]]
        else:
            found = np.broadcast_to(found, golden.shape)
    return np.broadcast_arrays(golden, found)[0], np.broadcast_arrays(golden, found)[1]


def _constant(step: Step, inputs: Sequence[tuple[FeatureMap, IntArray]]) -> tuple[bool, IntArray] | None:
    """(whether it is the first input, its number for each channel of the operation); None where there is none."""
    op, depth = step.op, step.op.ofm.shape[2]
    if isinstance(op.ifm2, int):
        first = op.broadcasts[0].scalar
        return first, np.array([_signed(op.ifm2, op.ifm.bits, op.ifm.signed)])
    for fm, labels in inputs:
        numbers = step.flow.memory.feature_constants(labels, fm.bits, fm.signed)
        if numbers is not None:
            rows = np.broadcast_to(numbers, (*numbers.shape[:2], depth))
            if (rows != rows[0, 0]).any():
                raise Found(Verdict.OPEN, "a constant that differs between pixels")
            return fm is op.ifm, rows[0, 0]
    return None


def _signed(value: int, bits: int, signed: bool) -> int:
    value &= (1 << bits) - 1
    return value - (value >> (bits - 1) << bits) if signed else value


def _unary(op: Operation, x: IntArray) -> IntArray:
    """What an operation of one input makes of it, rescaled; of both inputs the same for one that reads it twice."""
    if op.kind is Kind.ELEMENTWISE and isinstance(op.ifm2, FeatureMap):
        return elementwise(op, x, x)
    single = op.kernel is not None and (op.kernel.height, op.kernel.width) == (1, 1) and not op.upscale
    if op.kind is Kind.POOLING and single and op.mode in (Pooling.AVERAGE, Pooling.MAX, Pooling.SUM, Pooling.NONE):
        return scaled(x - op.ifm.zero_point, op.scale)
    raise Unknown(f"a {op.kind.value} that is not modelled")
