"""MEAN: a sum of every channel by a depthwise convolution with weights of 1, then a product with a constant."""

from __future__ import annotations

import numpy as np

from codesign.backends.ethosu.audit.arithmetic import elementwise, finished, scaled
from codesign.backends.ethosu.audit.convolution import read_weights
from codesign.backends.ethosu.audit.result import Verdict
from codesign.backends.ethosu.audit.step import Found, Step
from codesign.backends.ethosu.stream.operations import Elementwise, FeatureMap, Kind, Scale
from codesign.backends.ethosu.stream.records import join_cores, read_records
from codesign.ir.graph import Node
from codesign.ir.ops import AvgPool2d
from codesign.ir.types import IntArray


def audit_mean(step: Step) -> None:
    """Compare one of the two operations with its part of the golden mean; Found for any other way to compute one."""
    nodes = step.golden.nodes(step.result)
    place = next((i for i, node in enumerate(nodes) if isinstance(node.op, AvgPool2d) and not node.op.mean), None)
    tensor = step.golden.ends(nodes)[0]
    if place is None or len(step.golden.shape(tensor)) != 3:
        raise Found(Verdict.OPEN, "a mean that is not over an image")
    pool = nodes[place].op
    assert isinstance(pool, AvgPool2d)
    count = pool.kernel[0] * pool.kernel[1]
    sums = np.arange(-128 * count, 127 * count + 1)
    if step.op.kind is Kind.DEPTHWISE:
        _sum(step, tensor, count, sums)
    elif step.op.kind is Kind.ELEMENTWISE and step.op.mode is Elementwise.MUL:
        _product(step, nodes[place:], sums)
    else:
        raise Found(Verdict.OPEN, f"a mean with a {step.op.kind.value}")


def _sum(step: Step, tensor: int, count: int, sums: IntArray) -> None:
    op, kernel = step.op, step.op.kernel
    assert kernel is not None
    height, width, _ = step.golden.shape(tensor)
    whole = (kernel.height, kernel.width) == (height, width)
    if op.ifm.bits != 8 or op.ofm.bits != 32 or count != height * width or not whole:
        raise Found(Verdict.OPEN, "a mean of parts of an image, or of more than 8 bits")
    step.expect("padding", op.padding, (0, 0, 0, 0))
    step.expect_type("input", op.ifm, tensor)
    step.expect_strides(op.ofm)
    corner, depth = step.flow.box(step.read(op.ifm), tensor), op.ofm.shape[2]
    if corner is None or op.ifm.shape != (height, width, depth):
        raise Found(Verdict.DIFFERS, "what it reads is not the image whose mean it is")
    channels = range(corner[2], corner[2] + depth)
    step.flow.memory.write(
        op.ofm, step.flow.sums(step.result)[channels.start : channels.stop].reshape(op.ofm.shape), op.offset
    )
    step.written = True
    wrong = read_weights(step, np.ones((depth, height, width, 1), dtype=np.int64))
    if wrong:
        step.differs(f"{wrong} weights other than 1 in a sum", wrong)
    parts = [
        read_records(step.flow.memory.constants(part, op.offset), step.device.family, op.accumulator)
        for part in op.scales
        if part.length
    ]
    records = join_cores(parts, depth) if parts else None
    if records is None:
        raise Found(Verdict.DIFFERS, f"fewer than {depth} biases and scales")
    rows = np.stack([records.bias, records.multiplier, records.shift])
    if (rows != rows[:, :1]).any():
        raise Found(Verdict.DIFFERS, "channels of a sum with different biases or scales")
    bias, multiplier, shift = (int(v) for v in rows[:, 0])
    exact = Scale(multiplier, shift, op.scale.rounding)
    partial = finished(op, scaled(sums - count * op.ifm.zero_point + bias, exact), None)
    # The slices of a mean agree: one array for all of them, so that the product can tell.
    others = (p for (t, _), p in step.flow.partial.items() if t == step.result and np.array_equal(p, partial))
    partial = next(others, partial)
    step.flow.partial.update({(step.result, channel): partial for channel in channels})
    step.compared = f"{depth * count:,} weights of 1, biases and scales, elements read and written"


def _product(step: Step, nodes: list[Node], sums: IntArray) -> None:
    op, labels = step.op, step.flow.sums(step.result)
    inputs = [fm for fm in (op.ifm, op.ifm2) if isinstance(fm, FeatureMap)]
    found = [step.read(fm) for fm in inputs]
    numbers = [step.flow.memory.feature_constants(f, fm.bits, fm.signed) for f, fm in zip(found, inputs, strict=True)]
    scalar = op.ifm2 if isinstance(op.ifm2, int) else None
    factor = next((n for n in numbers if n is not None and n.size == 1), None)
    if factor is None and scalar is None:
        raise Found(Verdict.OPEN, "a mean whose factor is no single constant")
    read = [f for f, n in zip(found, numbers, strict=True) if n is None]
    channels = read[0] - labels[0] if len(read) == 1 else np.full(1, -1)
    partial = step.flow.partial.get((step.result, int(channels.flat[0])))
    same = [step.flow.partial.get((step.result, c)) is partial for c in channels.reshape(-1).tolist()]
    if partial is None or not all(same) or channels.shape != op.ofm.shape:
        raise Found(Verdict.DIFFERS, "what it reads are not the sums of the channels")
    step.write(channels)
    constant = np.array(scalar if factor is None else factor.item(), dtype=np.int64)
    pair = (partial, constant) if numbers[0] is None else (constant, partial)
    result = finished(op, elementwise(op, *pair), None)
    expected = step.golden.evaluate(nodes[1:], {nodes[0].name: sums[:, None]})
    if expected is None:
        raise Found(Verdict.OPEN, "the golden graph computes more than a mean here")
    wrong = int((result != expected[:, 0]).sum())
    if wrong:
        step.differs(f"{wrong} of {len(sums)} results differ, of all sums that there can be", 1)
    step.compared = f"the result for all {len(sums):,} sums that there can be, elements read and written"
