"""Convolutions, depthwise ones and fully connected layers: every weight, bias, multiplier and shift."""

from __future__ import annotations

import numpy as np

from codesign.backends.ethosu.audit.arithmetic import ROUNDINGS, finished, limits, scaled
from codesign.backends.ethosu.audit.golden import Convolution
from codesign.backends.ethosu.audit.result import Verdict
from codesign.backends.ethosu.audit.step import Found, Step
from codesign.backends.ethosu.audit.window import NO_BOX, locate, spans, spread
from codesign.backends.ethosu.stream.errors import StreamError
from codesign.backends.ethosu.stream.operations import Kind
from codesign.backends.ethosu.stream.ordering import FILL, Volume, order_fast, order_u55, order_u85
from codesign.backends.ethosu.stream.records import Records, join_cores, read_records
from codesign.backends.ethosu.stream.weights import decode_fast_weights, decode_weights
from codesign.ir.ops import Requant
from codesign.ir.types import IntArray


def audit_convolution(step: Step) -> None:
    """Compare an operation with the convolution that its first operator is."""
    golden = step.golden.convolution(step.first)
    if golden is None:
        raise Found(Verdict.OPEN, "the golden graph computes more than a convolution here")
    pixels, start = _dense(step, golden) if golden.dense else _windowed(step, golden)
    outputs, depth = len(golden.weights), step.op.ofm.shape[2]
    if start + depth > outputs:
        raise Found(Verdict.DIFFERS, f"{depth} channels from {start} on of {outputs}")
    step.write(pixels[:, :, None] * outputs + start + np.arange(depth), step.apart)
    if not step.op.per_channel or not step.op.weights or step.op.upscale:
        raise Found(Verdict.DIFFERS, "computed weights, one scale for all channels, or a larger input")
    channels = slice(start, start + depth)
    try:
        _compare_weights(step, golden, channels)
    except StreamError as error:
        step.differs(f"weights that cannot be decoded: {error}", depth * golden.weights[0].size)
    compare_records(step, golden, channels)
    compare_result(step, golden)
    step.compared = (
        f"weights, biases, multipliers and shifts of channels {start} to {start + depth - 1}, rounding, zero points, "
        "limits, window, padding, elements read and written"
    )


def _dense(step: Step, golden: Convolution) -> tuple[IntArray, int]:
    """(pixel of the result for each of the operation, first channel) of a layer that computes on pixels alone."""
    tensor, inputs = step.golden.ends(step.golden.nodes(step.first))[0], golden.weights.shape[3]
    kernel, ofm = step.op.kernel, step.op.ofm
    assert kernel is not None
    step.expect("kernel", (kernel.height, kernel.width), (1, 1))
    step.expect("padding", step.op.padding, (0, 0, 0, 0))
    if ofm.shape[:2] != (1, 1):
        step.expect("stride", (kernel.stride_y, kernel.stride_x), (1, 1))
    step.expect_type("input", step.op.ifm, tensor)
    labels = step.read(step.op.ifm)
    positions = step.flow.positions(labels, tensor)
    if positions is None or labels.shape != (*ofm.shape[:2], inputs):
        raise Found(Verdict.DIFFERS, NO_BOX)
    pixels = positions[:, :, 0] // inputs
    if (positions != pixels[:, :, None] * inputs + np.arange(inputs)).any():
        raise Found(Verdict.DIFFERS, NO_BOX)
    return pixels, _next_channels(step, pixels)


def _windowed(step: Step, golden: Convolution) -> tuple[IntArray, int]:
    height, width = golden.weights.shape[1:3]
    pixels, first = locate(step, golden.op, (height, width), golden.op.dilation)
    channels = golden.weights.shape[3] * golden.op.groups
    if any(golden.op.padding):
        step.expect("input zero point", step.op.ifm.zero_point, golden.op.pad_value)
    if step.op.kind is Kind.DEPTHWISE:
        if golden.op.groups == channels and len(golden.weights) != channels:
            raise Found(Verdict.OPEN, "a depthwise convolution with several outputs for each input, in parts")
        if golden.op.groups != channels:
            raise Found(Verdict.DIFFERS, "a depthwise convolution for one that is not")
        return pixels, first
    if golden.op.groups != 1:
        raise Found(Verdict.OPEN, f"a convolution of {golden.op.groups} groups")
    step.expect("input channels", step.op.ifm.shape[2], channels)
    return pixels, _next_channels(step, pixels)


def _next_channels(step: Step, pixels: IntArray) -> int:
    """Slices of the channels come in order; that they do is proved by the weights, and by who reads the result."""
    key = step.result, int(pixels.flat[0])
    start = step.channels.get(key, 0)
    step.channels[key] = start + step.op.ofm.shape[2]
    return start


def _compare_weights(step: Step, golden: Convolution, channels: slice) -> None:
    weights, kernel = golden.weights[channels], step.op.kernel
    assert kernel is not None
    apart = (1, 1) if golden.dense else spread(kernel, (weights.shape[1], weights.shape[2]), golden.op.dilation)
    wrong = read_weights(step, weights, apart)
    if wrong:
        step.differs(f"{wrong} of {weights.size} weights differ", wrong)


def read_weights(step: Step, weights: IntArray, apart: tuple[int, int] = (1, 1)) -> int:
    """How many weights (outputs, height, width, inputs) are others in the streams, or in none of them.

    apart  how many taps of the NPU's kernel those of the weights are apart, (y, x)

    What is in the streams between them and behind must be 0, and is a finding of its own.
    """
    op, kernel = step.op, step.op.kernel
    assert kernel is not None
    outputs, *size, inputs = weights.shape
    height, width = spans((size[0], size[1]), apart)
    whole = np.zeros((outputs, height, width, inputs), dtype=np.int64)
    taps = np.zeros((height, width), dtype=bool)
    taps[:: apart[0], :: apart[1]] = True
    whole[:, taps] = weights.reshape(outputs, -1, inputs)
    dilation, stride = (kernel.dilation_y, kernel.dilation_x), (kernel.stride_y, kernel.stride_x)
    depthwise, wide = op.kind is Kind.DEPTHWISE, op.ifm.bits == 16
    volume = Volume(
        outputs, height, width, inputs, depthwise, kernel.part_kernel, dilation, stride, op.block.depth, wide
    )
    flat, right = whole.reshape(-1), np.zeros(whole.size, dtype=bool)
    filled = 0
    for part, order in zip(op.weights, _orders(step, volume), strict=False):
        data = step.flow.memory.constants(part, op.offset)
        found = (decode_fast_weights if op.fast else decode_weights)(data)
        common = min(len(found), len(order))
        inside = order[:common] != FILL
        places = order[:common][inside]
        right[places] = found[:common][inside] == flat[places]
        filled += int(np.count_nonzero(found[:common][~inside]) + np.count_nonzero(found[common:]))
    wrong = ~right.reshape(whole.shape)
    filled += int(np.count_nonzero(wrong[:, ~taps]))
    if filled:
        step.differs(f"{filled} weights other than 0 between and behind those of the layer", filled)
    return int(np.count_nonzero(wrong[:, taps]))


def _orders(step: Step, volume: Volume) -> list[IntArray]:
    op, device = step.op, step.device
    if device.family != "ethos-u85":
        micro = 4 if device.macs == 32 else 8
        return [order_u55(volume, c, device.cores, micro) for c in range(min(device.cores, volume.outputs))]
    height, width = op.block.microblock
    micro = device.macs // 8 // (height * width)
    if volume.depthwise and (op.fast or op.sparse):
        raise Found(Verdict.DIFFERS, "fast or sparse weights of a depthwise convolution")
    if op.fast:
        return [order_fast(volume, device.cores, micro, device.macs, op.sparse)]
    return [order_u85(volume, c, device.cores, micro, device.macs, op.sparse) for c in range(device.cores)]


def compare_records(step: Step, golden: Convolution, channels: slice) -> None:
    """Differences of biases, multipliers and shifts."""
    op = step.op
    parts = [
        read_records(step.flow.memory.constants(part, op.offset), step.device.family, op.accumulator)
        for part in op.scales
        if part.length
    ]
    bias, multiplier, shift = golden.bias[channels], golden.multiplier[channels], golden.shift[channels]
    found = join_cores(parts, len(bias)) if parts else None
    if found is None:
        step.differs(f"fewer than {len(bias)} biases and scales", 3 * len(bias))
        return
    # The graph's bias has the input's zero point in it, which the NPU subtracts from the input instead.
    sums = golden.weights[channels].reshape(len(bias), -1).sum(axis=1)
    wrong = int((found.bias != bias + op.ifm.zero_point * sums).sum())
    if wrong:
        step.differs(f"{wrong} of {len(bias)} biases differ, the input zero point being {op.ifm.zero_point}", wrong)
    same = (found.multiplier == multiplier) & (found.shift == shift)
    same |= _both_constant(golden, channels, found)
    for name, ours, theirs in (("multipliers", multiplier, found.multiplier), ("shifts", shift, found.shift)):
        count = int(((ours != theirs) & ~same).sum())
        if count:
            step.differs(f"{count} of {len(bias)} {name} differ", count)


def _both_constant(golden: Convolution, channels: slice, found: Records) -> IntArray:
    """Channels whose factor is so small that both sides give 0 for the smallest and the largest sum, so for all."""
    zero = np.ones(len(found.shift), dtype=np.int64)
    op = Requant(golden.out, golden.rounding, golden.zero_point)
    for multiplier, shift in (
        (golden.multiplier[channels], golden.shift[channels]),
        (found.multiplier, found.shift),
    ):
        for end in (golden.accumulator.lo, golden.accumulator.hi):
            zero &= op.apply(np.full(len(zero), end), multiplier, np.minimum(shift, 62)) == golden.zero_point
    return zero.astype(bool)


def compare_result(step: Step, golden: Convolution) -> None:
    """Differences of how sums become results: rounding, zero point, limits, a fused table."""
    op = step.op
    expected = next(name for name, meaning in ROUNDINGS.items() if meaning is golden.rounding)
    step.expect("rounding", op.scale.rounding.value, expected.value)
    if step.narrows:
        _compare_narrowed(step, golden)
        return
    step.expect("output zero point", op.ofm.zero_point, golden.zero_point)
    low, high = limits(op)
    if not (step.apart and low <= golden.low and high >= golden.high):
        step.expect("limits of the result", (low, high), (golden.low, golden.high))
    compare_table(step)


def _compare_narrowed(step: Step, golden: Convolution) -> None:
    """A fused QUANTIZE that only limits what it reads: the operation limits its sums as both do in turn."""
    domain = np.arange(golden.low, golden.high + 1)
    expected = step.golden.pointwise(step.golden.nodes(step.result, step.fused), {step.first: domain[:, None]})
    if expected is None or expected.shape[-1] != 1:
        raise Found(Verdict.OPEN, "a fused QUANTIZE that is more than a rescaling")
    low, high = limits(step.op)
    found = np.clip(domain - golden.zero_point + step.op.ofm.zero_point, low, high)
    wrong = int((found != expected[:, 0]).sum())
    if wrong or (found[0], found[-1]) != (low, high):
        step.differs(f"{wrong} of {len(domain)} results are not what the QUANTIZE behind makes of them", 1)


def audit_limits(step: Step) -> None:
    """Compare the operation that limits what a convolution before it computed."""
    golden = step.golden.convolution(step.result)
    kernel = step.op.kernel
    if golden is None or kernel is None or (kernel.height, kernel.width) != (1, 1) or step.op.ifm.bits != 8:
        raise Found(Verdict.OPEN, "an activation of its own that is no clamp of 8 bits")
    step.expect("padding", step.op.padding, (0, 0, 0, 0))
    step.expect("upscaling", step.op.upscale, 0)
    step.expect_type("input", step.op.ifm, step.result)
    labels = step.flow.unlimited(step.result)
    positions = step.read(step.op.ifm) - labels[0]
    if positions.shape != step.op.ofm.shape or int(positions.min()) < 0 or int(positions.max()) >= len(labels):
        raise Found(Verdict.DIFFERS, "what it reads is not what its convolution computed")
    step.write(positions)
    domain = np.arange(-128, 128)
    found = finished(step.op, scaled(domain - step.op.ifm.zero_point, step.op.scale), step.table())
    wrong = int((found != np.clip(domain, golden.low, golden.high)).sum())
    if wrong:
        step.differs(f"{wrong} of 256 values are limited in another way", 1)
    step.compared = "the limits for all 256 values, elements read and written"


def compare_table(step: Step) -> None:
    """The table behind an operation against what the golden graph computes of its first operator's result."""
    table = step.table()
    nodes = step.golden.nodes(step.result, step.fused) if step.result != step.first else []
    if table is None and not nodes:
        return
    if table is None or not nodes:
        raise Found(
            Verdict.DIFFERS, "a look-up table where the golden graph has none" if not nodes else "no look-up table"
        )
    expected = step.golden.pointwise(nodes, {step.first: np.arange(-128, 128)[:, None]})
    if expected is None or expected.shape[-1] != 1:
        raise Found(Verdict.OPEN, "a fused function that is no table of one row")
    wrong = int((table != expected[:, 0]).sum())
    if wrong:
        step.differs(f"{wrong} of {len(table)} entries of the look-up table differ", wrong)
