"""What the operators of a layer cost: sums as columns of bits, constants as their digits, memories where they fit.

The formulas of sums, comparators, multiplexers and memories are those of the RTL backend, which were compared with
synthesis; that an HLS tool builds the same from the same loop is the assumption of this model.
"""

from __future__ import annotations

import math

import numpy as np

from codesign.backends.hls.cost import window_taps
from codesign.backends.hls.layers import Integer, Layer, Linear, Network
from codesign.backends.rtl.blocks.base import Fabric, Resources
from codesign.backends.rtl.blocks.cost import block_rams, comparator, multiplexer, ram, rom, style_of, table_luts
from codesign.backends.rtl.blocks.trees import dot_product, operand_sum, popcount
from codesign.ir.types import BIPOLAR, IntArray, IntType
from codesign.schedule import HlsSchedule, Loop

DSP_BITS = 20
"""Bits of both operands together from which a multiplication goes into a DSP block; narrower ones are sums in LUTs."""


def resources(network: Network, schedule: HlsSchedule, fabric: Fabric) -> Resources:
    """All layers, and the streams between them."""
    use = Resources()
    for layer in network.layers:
        use += layer_resources(layer, schedule.loop(layer.name), schedule.io, fabric)
    types = {network.input: network.input_type, **{layer.name: layer.type for layer in network.layers}}
    for name, depth in schedule.depths.items():
        width = types[name].channels * types[name].dtype.bits
        use += times(stream(width, depth, fabric), max(1, len(network.readers(name))))
    return use


def times(use: Resources, count: float) -> Resources:
    """So many copies."""
    return Resources(use.lut * count, use.ff * count, use.bram * count, use.dsp * count)


def stream(width: int, depth: int, fabric: Fabric) -> Resources:
    """A FIFO: registers for two words, shift registers of 32 words a LUT, or block RAM, and its counters."""
    control = Resources(lut=2.0 * depth.bit_length() + 4, ff=2.0 * depth.bit_length() + 2)
    if depth <= 2:
        return Resources(ff=2.0 * width) + control
    if style_of(fabric, width, depth, "auto") == "block":
        return Resources(bram=block_rams(fabric, width, depth), ff=width) + control
    return Resources(lut=width * math.ceil(depth / 32), ff=width) + control


def layer_resources(layer: Layer, loop: Loop, io: str, fabric: Fabric) -> Resources:
    """A layer without the streams around it."""
    match layer:
        case Linear():
            return _linear(layer, loop, io, fabric)
        case Integer():
            return _integer(layer, loop, io, fabric)
    return Resources()


def digits(values: IntArray) -> IntArray:
    """Non-zero digits of each value in canonical signed form: the terms that a product by this constant adds.

    The digits of v are the bits in which v and 3v differ, but for the lowest.
    """
    magnitude = np.abs(values)
    different = magnitude ^ (3 * magnitude)
    bits = np.arange(1, 40)
    counted: IntArray = ((different[..., None] >> bits) & 1).sum(axis=-1)
    return counted


def _words(layer: Linear) -> tuple[IntType, IntType]:
    """Types of data and weights as their operators see them."""
    weight = BIPOLAR if layer.word.xnor else IntType(layer.word.bits, layer.word.signed)
    return layer.input.dtype, weight


def _linear(layer: Linear, loop: Loop, io: str, fabric: Fabric) -> Resources:
    x, weight = _words(layer)
    acc = layer.type.dtype.bits
    registers = Resources(ff=layer.terms * x.bits + 2.0 * layer.outputs * acc)
    if layer.is_conv and io == "io_stream":
        registers += line_buffer(layer.input.shape, layer.weight.shape[0], x.bits, fabric)
    if loop.strategy == "latency":
        return registers + _constant_sums(layer, loop, fabric)
    side = max(1, layer.terms // loop.reuse)
    sums = max(1, layer.outputs * layer.terms // (loop.reuse * side))
    wide = x.bits + weight.bits >= DSP_BITS
    if wide:
        dot = Resources(lut=operand_sum(side, x.bits + weight.bits).luts(fabric, False), dsp=side)
    else:
        dot = dot_product(fabric, True, side, x, weight, fabric.adder_levels, acc)
    choose = multiplexer(fabric, min(loop.reuse, layer.terms), x.bits)
    weights = rom(fabric, side * sums * layer.word.bits, loop.reuse, "auto")
    accumulate = Resources(lut=float(layer.outputs * acc))
    return registers + times(dot, sums) + times(choose, side) + weights + accumulate


def _constant_sums(layer: Linear, loop: Loop, fabric: Fabric) -> Resources:
    """Every weight a constant: a sum of the digits of all weights of an output."""
    x, weight = _words(layer)
    flat = layer.weight.reshape(layer.terms, layer.outputs)
    if layer.product == "xnor":
        return Resources(lut=layer.outputs * popcount(layer.terms).luts(fabric, True) / loop.reuse)
    if x.bits + weight.bits >= DSP_BITS:
        products = int((digits(flat) > 1).sum())
        adders = sum(operand_sum(int(n), x.bits + weight.bits).luts(fabric, False) for n in (flat != 0).sum(axis=0))
        return Resources(lut=adders / loop.reuse, dsp=math.ceil(products / loop.reuse))
    terms = np.ones_like(flat) if layer.word.xnor else digits(flat)
    lut = sum(operand_sum(int(n), x.bits).luts(fabric, False) for n in terms.sum(axis=0))
    return Resources(lut=lut / loop.reuse)


def line_buffer(shape: tuple[int, ...], rows: int, bits: int, fabric: Fabric) -> Resources:
    """The rows above the one that comes in, one memory of a pixel a word for each."""
    _, width, channels = shape
    return times(ram(fabric, channels * bits, width, "auto"), rows - 1) if rows > 1 else Resources()


def _integer(layer: Integer, loop: Loop, io: str, fabric: Fabric) -> Resources:
    x, out = layer.input.dtype, layer.type.dtype
    pixels = layer.beats if io == "io_parallel" else 1
    elements = pixels * layer.type.channels
    registers = Resources(ff=2.0 * elements * out.bits)
    taps = window_taps(layer)
    if "block" in layer.function:
        words = ram(fabric, layer.type.channels * out.bits, layer.type.shape[1], "auto")
        registers += words if layer.type.shape[1] > 1 else Resources(ff=float(layer.type.channels * out.bits))
    elif "kernel_h" in layer.constants and io == "io_stream":
        registers += line_buffer(layer.input.shape, int(layer.constants["kernel_h"]), x.bits, fabric)
        registers += Resources(ff=float(taps * layer.input.channels * x.bits))
    body = _body(layer, taps, elements, fabric)
    if layer.function == "gather" and io == "io_stream":
        registers += ram(fabric, layer.input.channels * x.bits, layer.in_beats, "auto")
    if layer.function == "repack":
        registers += Resources(ff=float(layer.input.size * x.bits), lut=float(layer.input.size * x.bits))
    if loop.reuse > 1:  # the multipliers that are left choose among channels
        factor = sum(table.word.bits for table in layer.tables)
        registers += times(multiplexer(fabric, loop.reuse, x.bits + factor), elements / loop.reuse)
    return registers + times(body, 1 / loop.reuse)


def _body(layer: Integer, taps: int, elements: int, fabric: Fabric) -> Resources:
    """The function of one element, as often as there are elements."""
    x, out = layer.input.dtype, layer.type.dtype
    match layer.function:
        case "threshold":
            levels = int(layer.constants["n_levels"])
            one = levels * comparator(fabric, x.bits) + popcount(levels).luts(fabric, False)
            return Resources(lut=elements * one)
        case "requantise":
            return _rescale(layer, elements, fabric)
        case "lookup":
            return Resources(lut=elements * out.bits * table_luts(fabric, int(layer.constants["n_entries"])))
        case "integer_multiply":
            return Resources(lut=float(elements * x.bits * max(x.bits, 1)))
        case "maximum_of_block":
            return Resources(lut=elements * (comparator(fabric, x.bits) + 2 * x.bits))
        case "sum_of_block":
            return Resources(lut=2.0 * elements * out.bits)
        case "maximum_of_window":
            return Resources(lut=elements * (taps - 1) * (comparator(fabric, x.bits) + x.bits))
        case "mean_of_window":  # a divider takes a subtraction for each bit of the quotient
            sums = operand_sum(taps, x.bits).luts(fabric, False)
            return Resources(lut=elements * (sums + out.bits * (x.bits + taps.bit_length())))
        case "sum_of_window":
            return Resources(lut=elements * operand_sum(taps, x.bits).luts(fabric, False))
        case "depthwise":
            weights = layer.tables[0].values.reshape(taps, -1)
            sums = sum(operand_sum(int(n) + 1, x.bits).luts(fabric, False) for n in digits(weights).sum(axis=0))
            return Resources(lut=sums * elements / layer.type.channels)
        case "softmax_channels":  # a product of 32 bits for each element and eight for the reciprocal of the sum
            pixels = elements / layer.type.channels
            table = 32 * table_luts(fabric, int(layer.constants["n_entries"]))
            lut = elements * (table + 3 * 32 + 2 * x.bits) + pixels * 600
            return Resources(lut=lut, dsp=4 * (elements + 8 * pixels))
        case "argmax_channels":
            index = (layer.input.channels - 1).bit_length()
            each = comparator(fabric, x.bits) + x.bits + index
            return Resources(lut=elements * (layer.input.channels - 1) * each)
    return Resources(lut=float(elements * out.bits))  # a sum, or a choice, of a bit each


def _rescale(layer: Integer, elements: int, fabric: Fabric) -> Resources:
    """A product by a constant, the rounding, two limits; wide products in DSP blocks."""
    x, out = layer.input.dtype, layer.type.dtype
    multiplier = layer.tables[0].values
    factor = int(np.abs(multiplier).max()).bit_length() + 1
    limits = 2 * comparator(fabric, x.bits + factor) + out.bits
    if x.bits + factor >= DSP_BITS and fabric.lut_inputs >= 6:
        blocks = math.ceil(x.bits / fabric.dsp_a) * math.ceil(factor / fabric.dsp_b)
        return Resources(lut=elements * (limits + x.bits), dsp=float(elements * blocks))
    mean = float(digits(multiplier).mean())
    return Resources(lut=elements * (operand_sum(math.ceil(mean) + 1, x.bits).luts(fabric, False) + limits))
