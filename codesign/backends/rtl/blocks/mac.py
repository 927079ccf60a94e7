"""cs_mac and cs_mac_depthwise: multiply-accumulate with the weights in memories."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from codesign.backends.rtl.blocks.base import Fabric, Resources
from codesign.backends.rtl.blocks.cost import rom
from codesign.backends.rtl.blocks.encode import hex_words, plain_signed, type_parameters
from codesign.backends.rtl.blocks.trees import dot_product, product_bits
from codesign.ir.types import IntArray, IntType

# Products of up to so many bits (inputs times weights) are cheaper in LUTs than in a DSP block.
_LUT_PRODUCT = 16


def resolve_mul_style(style: str, a: IntType, b: IntType) -> str:
    """lut or dsp: bipolar operands have nothing to multiply; `auto` takes DSP blocks from 17 partial products on."""
    if a.bipolar or b.bipolar or style == "lut":
        return "lut"
    if style == "auto":
        return "lut" if a.bits * b.bits <= _LUT_PRODUCT else "dsp"
    return "dsp"


def _elements(
    fabric: Fabric,
    style: str,
    elements: int,
    terms: int,
    a: IntType,
    w: IntType,
    acc_bits: int,
    stride: int,
    bias: bool,
) -> Resources:
    """Processing elements (cs_mac_pe): the dot product (`trees.dot_product`) and the accumulator.

    lut, ff  of the accumulator: a LUT and a flip-flop per bit, another LUT to choose the initial value where the carry
             chain's LUT does not take it along: with a bias, or a signed sum
    dsp      a block per product, more for operands wider than its ports
    With one bipolar operand the common term, a dot product with ones, is made once and added in every element: a full
    adder, two LUTs, per bit.
    """
    pe = dot_product(fabric, style == "lut", terms, a, w, stride, acc_bits)
    common = Resources()
    if a.bipolar != w.bipolar:
        common = dot_product(fabric, True, terms, a, IntType(1, False), stride, acc_bits)
        pe += Resources(lut=2 * min(product_bits(a, w) + terms.bit_length(), acc_bits))
    signed = plain_signed(a) or plain_signed(w)
    pe += Resources(lut=acc_bits * (1 + int(bias or signed)), ff=acc_bits)
    if style == "dsp":
        blocks = min(
            math.ceil(a.bits / (fabric.dsp_a - 1)) * math.ceil(w.bits / (fabric.dsp_b - 1)),
            math.ceil(a.bits / (fabric.dsp_b - 1)) * math.ceil(w.bits / (fabric.dsp_a - 1)),
        )
        pe += Resources(dsp=terms * blocks)
    return Resources(pe.lut * elements, pe.ff * elements, 0, pe.dsp * elements) + common


@dataclass(frozen=True, eq=False)
class Mac:
    """Matrix-vector product: weights (outputs, terms), terms in the order in which the window gives them.

    bias       (outputs) or None
    pe, simd   outputs and terms worked on in a cycle; they divide outputs and terms
    rom_reg    a register behind the weight memory and the inputs
    mul_reg    a register behind the multipliers (DSP blocks only)
    tree_stride  adder levels between two registers; 0: none
    """

    weights: IntArray
    weight_type: IntType
    bias: IntArray | None
    in_type: IntType
    acc_type: IntType
    pe: int
    simd: int
    mul_style: str = "auto"
    mem_style: str = "auto"
    rom_reg: bool = False
    mul_reg: bool = False
    tree_stride: int = 0
    module: str = "cs_mac"

    @property
    def folds(self) -> int:
        """Result words of a position: outputs / pe."""
        return int(self.weights.shape[0]) // self.pe

    @property
    def steps(self) -> int:
        """Steps of a result: terms / simd."""
        return int(self.weights.shape[1]) // self.simd

    @property
    def out_width(self) -> int:
        """Bits of data_o."""
        return self.pe * self.acc_type.bits

    @property
    def style(self) -> str:
        """lut or dsp."""
        return resolve_mul_style(self.mul_style, self.in_type, self.weight_type)

    @property
    def latency(self) -> int:
        """RomReg + MulReg + ceil(clog2(Simd) / TreeStride) + 1."""
        levels = (self.simd - 1).bit_length()
        tree = -(-levels // self.tree_stride) if self.tree_stride else 0
        return int(self.rom_reg) + int(self._product_register) + tree + 1

    @property
    def _product_register(self) -> bool:
        return self.mul_reg and self.style == "dsp"

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_mac but for the memory files."""
        return {
            "Pe": self.pe,
            "Simd": self.simd,
            **type_parameters("In", self.in_type),
            **type_parameters("Weight", self.weight_type),
            "AccBits": self.acc_type.bits,
            "Words": self.folds * self.steps,
            "Folds": self.folds,
            "HasBias": int(self.bias is not None),
            "MulStyle": self.style,
            "MemStyle": self.mem_style,
            "RomReg": int(self.rom_reg),
            "MulReg": int(self._product_register),
            "TreeStride": self.tree_stride,
        }

    def memories(self) -> Mapping[str, list[str]]:
        """WeightFile: word nf * steps + sf holds pe x simd weights, as bit planes for lut; BiasFile: word nf."""
        bits = self.weight_type.bits
        codes = self.weight_type.encode(self.weights).reshape(self.folds, self.pe, self.steps, self.simd)
        words = codes.transpose(0, 2, 1, 3).reshape(self.folds * self.steps, self.pe, self.simd)
        if self.style == "lut":
            planes = (words[:, :, None, :] >> np.arange(bits, dtype=np.int64)[:, None]) & 1
            lines = hex_words(planes.reshape(words.shape[0], -1), 1)
        else:
            lines = hex_words(words.reshape(words.shape[0], -1), bits)
        return {"WeightFile": lines, **_bias_file(self.bias, self.acc_type, self.pe)}

    def resources(self, fabric: Fabric) -> Resources:
        """Weight and bias memory (`cost.rom`), the processing elements (`_elements`), pipeline registers, three flags
        along with them and valid_o.

        The DSP blocks of 6-input fabrics have a register for the product. A single weight word is a constant: of its
        bit planes the ones remain.
        """
        a, w, acc = self.in_type, self.weight_type, self.acc_type.bits
        words = self.folds * self.steps
        memory = rom(fabric, self.pe * self.simd * w.bits, words, self.mem_style)
        if self.bias is not None:
            memory += rom(fabric, self.pe * acc, self.folds, "auto")
        terms = self.simd if words > 1 or self.style == "dsp" or a.bipolar else max(1, self._ones)
        ff = self.simd * (a.bits + self.pe * w.bits) if self.rom_reg else 0
        if self._product_register and fabric.lut_inputs < 6:
            ff += self.pe * self.simd * (a.bits + w.bits)
        biased = self.bias is not None
        elements = _elements(fabric, self.style, self.pe, terms, a, w, acc, self.tree_stride, biased)
        return memory + elements + Resources(ff=ff + 3 * (self.latency - 1) + 1)

    @cached_property
    def _ones(self) -> int:
        """Ones of a bit plane of a neuron's weights, on average."""
        codes = self.weight_type.encode(self.weights)
        ones = sum(int(np.count_nonzero(codes >> bit & 1)) for bit in range(self.weight_type.bits))
        return round(ones / (int(self.weights.shape[0]) * self.weight_type.bits))


@dataclass(frozen=True, eq=False)
class MacDepthwise:
    """Depthwise convolution: weights (channels, taps), `lanes` channels worked on in a cycle; the rest as `Mac`."""

    weights: IntArray
    weight_type: IntType
    bias: IntArray | None
    in_type: IntType
    acc_type: IntType
    lanes: int
    mul_style: str = "auto"
    mem_style: str = "auto"
    rom_reg: bool = False
    mul_reg: bool = False
    module: str = "cs_mac_depthwise"

    @property
    def folds(self) -> int:
        """Result words of a position: channels / lanes."""
        return int(self.weights.shape[0]) // self.lanes

    @property
    def out_width(self) -> int:
        """Bits of data_o."""
        return self.lanes * self.acc_type.bits

    @property
    def style(self) -> str:
        """lut or dsp."""
        return resolve_mul_style(self.mul_style, self.in_type, self.weight_type)

    @property
    def latency(self) -> int:
        """RomReg + MulReg + 1."""
        return int(self.rom_reg) + int(self.mul_reg and self.style == "dsp") + 1

    def parameters(self) -> Mapping[str, int | str]:
        """Parameters of cs_mac_depthwise but for the memory files."""
        return {
            "Lanes": self.lanes,
            **type_parameters("In", self.in_type),
            **type_parameters("Weight", self.weight_type),
            "AccBits": self.acc_type.bits,
            "Words": self.folds * int(self.weights.shape[1]),
            "Folds": self.folds,
            "HasBias": int(self.bias is not None),
            "MulStyle": self.style,
            "MemStyle": self.mem_style,
            "RomReg": int(self.rom_reg),
            "MulReg": int(self.mul_reg and self.style == "dsp"),
        }

    def memories(self) -> Mapping[str, list[str]]:
        """WeightFile: word fold * taps + tap holds a weight per lane; BiasFile: word fold."""
        codes = self.weight_type.encode(self.weights).reshape(self.folds, self.lanes, -1).transpose(0, 2, 1)
        lines = hex_words(codes.reshape(-1, self.lanes), self.weight_type.bits)
        return {"WeightFile": lines, **_bias_file(self.bias, self.acc_type, self.lanes)}

    def resources(self, fabric: Fabric) -> Resources:
        """Weight and bias memory (`cost.rom`), a product and an accumulator per lane (`_elements`)."""
        a, w, acc = self.in_type, self.weight_type, self.acc_type.bits
        memory = rom(fabric, self.lanes * w.bits, self.folds * int(self.weights.shape[1]), self.mem_style)
        if self.bias is not None:
            memory += rom(fabric, self.lanes * acc, self.folds, "auto")
        products = self.mul_reg and self.style == "dsp" and fabric.lut_inputs < 6
        ff = self.lanes * (a.bits + w.bits) * (int(self.rom_reg) + int(products))
        elements = _elements(fabric, self.style, self.lanes, 1, a, w, acc, 0, self.bias is not None)
        return memory + elements + Resources(ff=ff + 3 * (self.latency - 1) + 1)


def _bias_file(bias: IntArray | None, acc: IntType, lanes: int) -> dict[str, list[str]]:
    """Arithmetic is modulo 2^bits: a bias is cut to the accumulator's bits, whatever its range."""
    if bias is None:
        return {}
    return {"BiasFile": hex_words((bias & ((1 << acc.bits) - 1)).reshape(-1, lanes), acc.bits)}
