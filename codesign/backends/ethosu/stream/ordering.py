"""The order in which the NPU reads the weights of a convolution: stream position -> index of the weight.

A weight decoder gets the weights (outputs, height, width, inputs) block by block: blocks of outputs, within them blocks
of inputs, parts of the kernel of at most 8x8 taps, and within those micro-blocks of outputs and inputs, so that each
step multiplies one micro-block. Where a block is not full, zeros fill it. Weights are counted row-major here.

The nesting of the loops was established from Vela's encoder: for U55 and U65 the result equals what its
mlw_codec.reorder_encode packs, for U85 what its compiler core packs (see docs/guide/ethosu-audit.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.ir.types import IntArray

FILL = -1
"""In the place of an index: a zero that fills a block."""

_PART = 8
_INPUTS = 8
_INTERLEAVED = 4


@dataclass(frozen=True)
class Volume:
    """A weight tensor (outputs, height, width, inputs), and what decides its order.

    depthwise    one input for each output: inputs is 1
    part_kernel  taps before inputs (U55, U65: rounded up to 4 taps; U85: to 5); else inputs before taps
    dilation     (y, x): a part of the kernel spans 8 pixels, so it has 8 / dilation taps
    stride       (y, x), which U85 orders the taps by
    block        outputs computed together
    wide         activations of 16 bits
    """

    outputs: int
    height: int
    width: int
    inputs: int
    depthwise: bool
    part_kernel: bool
    dilation: tuple[int, int]
    stride: tuple[int, int]
    block: int
    wide: bool

    @property
    def size(self) -> int:
        """Weights there are."""
        return self.outputs * self.height * self.width * self.inputs

    def index(self, o: IntArray, y: IntArray, x: IntArray, i: IntArray, inside: NDArray[np.bool_]) -> IntArray:
        """The row-major index of (o, y, x, i), FILL where it is not `inside` or beyond the tensor."""
        there = inside & (o < self.outputs) & (i < self.inputs)
        linear = ((o * self.height + y) * self.width + x) * self.inputs + i
        return np.where(there, linear, FILL).reshape(-1)

    def parts(self, x_first: bool) -> list[tuple[int, int, int, int]]:
        """(top, left, height, width) of the parts of the kernel in order; x_first: column by column."""
        step_y, step_x = _PART // self.dilation[0], _PART // self.dilation[1]
        tops, lefts = range(0, self.height, step_y), range(0, self.width, step_x)
        places = [(t, le) for le in lefts for t in tops] if x_first else [(t, le) for t in tops for le in lefts]
        return [(t, le, min(step_y, self.height - t), min(step_x, self.width - le)) for t, le in places]


def order_u55(volume: Volume, core: int, cores: int, micro_outputs: int) -> IntArray:
    """The order of one core's stream on U55 and U65; core c of two has the outputs c, c + 2, c + 4, …

    micro_outputs  outputs of a micro-block: 4 on U55-32, 8 on the others; of inputs there are 8
    """
    outputs = len(range(core, volume.outputs, cores))
    block = (volume.block + cores - 1 - core) // cores
    inputs = 16 if volume.part_kernel or volume.wide else 32
    rounded = 4 if volume.depthwise or (volume.part_kernel and not volume.wide) else 2 if volume.part_kernel else 1
    chunks = []
    z, c = np.arange(micro_outputs)[:, None], np.arange(1 if volume.depthwise else _INPUTS)[None, :]
    for first in range(0, outputs, block):
        micro = np.arange(0, min(block, outputs - first), micro_outputs)
        for start in range(0, volume.inputs, inputs):
            depth = min(inputs, volume.inputs - start) if volume.part_kernel else inputs
            groups = np.arange(0, _INPUTS if volume.depthwise else depth, _INPUTS)
            outer, inner = (groups, np.zeros(1, np.int64)) if volume.part_kernel else (np.zeros(1, np.int64), groups)
            for top, left, height, width in volume.parts(x_first=False):
                taps = np.arange(-(-height * width // rounded) * rounded)
                o = (first + micro)[None, :, None, None, None, None] + z
                i = start + outer[:, None, None, None, None, None] + inner[:, None, None] + c
                tap = taps[:, None, None, None]
                y, x = tap // width, tap % width
                inside = (y < height) & (o < outputs)
                chunks.append(volume.index(o * cores + core, top + y, left + x, i, inside))
    return np.concatenate(chunks)


def order_fast(volume: Volume, streams: int, micro_outputs: int, macs: int, sparse: bool) -> IntArray:
    """The order of the one stream of U85's fast coding: the weight decoders take a step's weights each in turn."""
    orders = [order_u85(volume, stream, streams, micro_outputs, macs, sparse) for stream in range(streams)]
    step = micro_outputs * _step_inputs(volume, micro_outputs, macs, sparse) // streams
    found: IntArray = np.stack([order.reshape(-1, step) for order in orders], axis=1).reshape(-1)
    return found


def _step_inputs(volume: Volume, micro_outputs: int, macs: int, sparse: bool) -> int:
    """Weights for each output in a step of the weight decoders: inputs times taps."""
    inputs = _inputs_u85(volume, micro_outputs, macs, sparse)
    if not volume.part_kernel:
        return inputs
    return (8 if volume.wide and not sparse else inputs) * (10 if volume.wide or sparse else 5)


def order_u85(volume: Volume, stream: int, streams: int, micro_outputs: int, macs: int, sparse: bool) -> IntArray:
    """The order of one of `streams` streams on U85; each has 4 of every 4 * streams outputs of a micro-block.

    Blocks of inputs go forwards and backwards in turn, the taps of a row likewise; taps are ordered by their place
    within the stride first. micro_outputs: outputs of a micro-block.
    """
    depthwise, part = volume.depthwise, volume.part_kernel
    inputs = _inputs_u85(volume, micro_outputs, macs, sparse)
    micro_inputs = 1 if depthwise else 8 if part and volume.wide and not sparse else inputs
    rounded = 10 if depthwise or (part and (volume.wide or sparse)) else 5 if part else 1
    step = 1 if depthwise else 16 if sparse else _INPUTS
    stride = volume.stride if part or depthwise else (1, 1)
    gap = (0 if macs <= 256 and not volume.wide else 2 if macs <= 512 else 6) if depthwise else 0
    z = np.arange(stream * _INTERLEAVED, micro_outputs, _INTERLEAVED * streams)[:, None] + np.arange(_INTERLEAVED)
    o_micro, i_micro = z.reshape(-1)[:, None], np.arange(step)[None, :]
    inner = np.arange(0, micro_inputs, step)[:, None, None]
    starts = [0] if depthwise else list(range(0, volume.inputs, inputs))
    chunks = []
    for first in range(0, volume.outputs, volume.block):
        micro = np.arange(0, min(volume.block, volume.outputs - first), micro_outputs)
        for start in starts:
            depth = 1 if depthwise else min(inputs, volume.inputs - start)
            outer = np.arange(0, depth, micro_inputs)
            for top, left, height, width in volume.parts(x_first=True):
                y, x = _strided_taps(height, width, stride)
                shape = (len(outer), len(micro), len(y), *inner.shape[:1], len(o_micro), step)
                tap_y, tap_x = (top + y)[:, None, None, None], (left + x)[:, None, None, None]
                o = np.broadcast_to((first + micro)[None, :, None, None, None, None] + o_micro, shape)
                i = start + outer[:, None, None, None, None, None] + inner + i_micro
                index = volume.index(o, tap_y, tap_x, i, np.ones(shape, bool)).reshape(*shape[:3], -1)
                chunks.append(_filled(index, rounded, gap * micro_outputs // streams).reshape(-1))
        starts = starts[::-1]
    return np.concatenate(chunks)


def _inputs_u85(volume: Volume, micro_outputs: int, macs: int, sparse: bool) -> int:
    if volume.part_kernel:
        return 16
    if sparse and not volume.wide:
        return 128
    return 32 if macs <= 256 and micro_outputs == 16 and not sparse else 64


def _strided_taps(height: int, width: int, stride: tuple[int, int]) -> tuple[IntArray, IntArray]:
    """The taps of a part of the kernel in U85's order: by their place within the stride, rows back and forth."""
    found: list[tuple[int, int]] = []
    for sy in range(stride[0]):
        for sx in range(stride[1]):
            for row, y in enumerate(range(sy, height, stride[0])):
                columns = list(range(sx, width, stride[1]))
                found += [(y, x) for x in (columns[::-1] if row % 2 else columns)]
    taps = np.array(found, dtype=np.int64)
    return taps[:, 0], taps[:, 1]


def _filled(index: IntArray, rounded: int, gap: int) -> IntArray:
    """(…, taps, weights) with FILL for taps up to a multiple of `rounded`, and `gap` of it behind every such group."""
    taps = index.shape[2]
    groups = -(-taps // rounded)
    missing = groups * rounded - taps
    padded = np.pad(index, ((0, 0), (0, 0), (0, missing), (0, 0)), constant_values=FILL)
    grouped = padded.reshape(*index.shape[:2], groups, -1)
    return np.pad(grouped, ((0, 0), (0, 0), (0, 0), (0, gap)), constant_values=FILL)
