"""LUTs and flip-flops of dot products: popcounts, sums of several operands, and the registers of their trees.

A sum of many bits is a column of bits per power of two. Full adders take three bits of a column to one bit there and
one in the next, until no column has more than two; a carry chain adds those, one LUT a bit. Yosys maps `$macc` cells
this way. A full adder is two functions. In LUTs of 6 inputs each is one, with the AND or XNOR gates that make its three
inputs; in LUTs of 4 inputs it is two, joined by a PFUMX, and every XNOR gate is one more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from codesign.backends.rtl.blocks.base import Fabric, Resources
from codesign.backends.rtl.blocks.encode import plain_signed
from codesign.ir.types import IntType


@dataclass(frozen=True)
class Sum:
    """Full adders, and bits of carry chains."""

    adders: int
    chain: int

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.adders + other.adders, self.chain + other.chain)

    def __mul__(self, count: int) -> Sum:
        return Sum(self.adders * count, self.chain * count)

    def luts(self, fabric: Fabric, gated: bool = True) -> float:
        """LUTs of the sum; without gates a full adder shares 6-input LUTs with its neighbour (a 6:3 compressor takes 3
        LUTs for what 3 full adders do; Yosys 0.70: 1.4 to 1.5 LUTs a full adder)."""
        adder = 4.0 if fabric.lut_inputs < 6 else 2.0 if gated else 1.5
        return adder * self.adders + self.chain


@lru_cache(maxsize=4096)
def column_sum(heights: tuple[int, ...]) -> Sum:
    """The sum of columns with so many bits, lowest power of two first."""
    adders, carries, low, top = 0, 0, -1, -1
    column = 0
    while column < len(heights) or carries:
        height = carries + (heights[column] if column < len(heights) else 0)
        carries = max(height - 1, 0) // 2
        adders += carries
        if height and height % 2 == 0 and low < 0:
            low = column
        top = column if height else top
        column += 1
    return Sum(adders, top - low + 1 if low >= 0 else 0)


def popcount(terms: int) -> Sum:
    """The number of ones among `terms` bits."""
    return column_sum((terms,))


def operand_sum(operands: int, bits: int) -> Sum:
    """The sum of numbers of `bits` bits."""
    return column_sum((operands,) * bits)


@lru_cache(maxsize=4096)
def planes_sum(terms: int, data_bits: int, weight_bits: int) -> Sum:
    """The sum over all pairs of bit planes (i, j) of 2^(i+j) times a popcount of `terms` bits."""
    pairs = data_bits * weight_bits
    if pairs == 1:
        return popcount(terms)
    heights = [0] * (data_bits + weight_bits - 1 + terms.bit_length())
    for i in range(data_bits):
        for j in range(weight_bits):
            for k in range(terms.bit_length()):
                heights[i + j + k] += 1
    return popcount(terms) * pairs + column_sum(tuple(heights))


@lru_cache(maxsize=4096)
def dot_product(
    fabric: Fabric, planes: bool, terms: int, data: IntType, weight: IntType, stride: int, acc_bits: int
) -> Resources:
    """cs_dot without its DSP blocks: sums of 2^stride products (of all without registers), then a tree of such sums.

    planes  sums of popcounts of ANDed or XNORed bit planes, else sums of products that come from elsewhere
    stride  levels of the binary tree between two registers; 0: none
    Widths follow cs_dot and cs_adder_tree: that of a product, and `stride` bits more behind every register.
    """
    group = _group(terms, stride)
    width = product_bits(data, weight)
    one_bit = width == 1 and not plain_signed(data) and not plain_signed(weight)
    gates = terms * weight.bits if planes and data.bipolar and fabric.lut_inputs < 6 else 0

    def leaf(count: int) -> Sum:
        return planes_sum(count, data.bits, weight.bits) if planes else operand_sum(count, width)

    rest = terms % group
    total = leaf(group) * (terms // group) + (leaf(rest) if rest else Sum(0, 0))
    lut = gates + total.luts(fabric, planes)
    width = min(group.bit_length() if one_bit else width + (group - 1).bit_length(), acc_bits)
    operands = -(-terms // group)
    ff = operands * width if stride and terms > 1 else 0
    if one_bit and rest and ff:
        ff -= width - rest.bit_length()
    while operands > 1:
        group = _group(operands, stride)
        sums = -(-operands // group)
        for index in range(sums):
            lut += operand_sum(min(group, operands - index * group), width).luts(fabric, False)
        operands, width = sums, min(width + (group - 1).bit_length(), acc_bits)
        ff += operands * width
    return Resources(lut=lut, ff=ff)


def product_bits(data: IntType, weight: IntType) -> int:
    """Bits of a product, the ProductBits of cs_dot."""
    if weight.bits == 1 and not plain_signed(weight):
        return data.bits
    if data.bits == 1 and not plain_signed(data):
        return weight.bits
    return data.bits + weight.bits


def _group(operands: int, stride: int) -> int:
    """Operands of one sum: those of `stride` levels of the binary tree, or all."""
    return min(operands, 1 << stride) if stride else operands
