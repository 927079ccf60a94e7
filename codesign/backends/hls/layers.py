"""The layers of an HLS project as data: what hls4ml's own layers compute, and what the integer layers do.

A layer is named after its node, has one output, and its tables hold the numbers that the project will hold. Everything
hls4ml could choose (types above all) is chosen here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from codesign.ir.types import IntArray, IntType, TensorType

Product = Literal["multiply", "ternary", "sign of weight", "sign of input", "xnor"]


@dataclass(frozen=True)
class Word:
    """How an integer is stored: two's complement, unsigned, or `xnor`, one bit for -1 and +1."""

    bits: int
    signed: bool
    xnor: bool = False

    @classmethod
    def of(cls, dtype: IntType) -> Word:
        """The word of a tensor's elements."""
        return cls(1, False, True) if dtype.bipolar else cls(dtype.bits, dtype.signed)

    @property
    def precision(self) -> str:
        """The type in hls4ml's words; an `xnor` word is a type of its own there, which prints as this one."""
        return f"{'' if self.signed else 'u'}int<{self.bits}>"


@dataclass(frozen=True, eq=False)
class Table:
    """Constants of a layer: `name` and `name`_t in C++, the values row by row."""

    name: str
    values: IntArray
    word: Word


@dataclass(frozen=True, eq=False)
class Layer:
    """What all layers have.

    name    identifier, unique without regard to case
    node    the node of the prepared graph that it computes, or helps to compute
    where   the user's name of it
    inputs  names of layers or of the input
    type    of the result
    """

    name: str
    node: str
    where: str
    inputs: tuple[str, ...]
    type: TensorType

    @property
    def beats(self) -> int:
        """Pixels of the result."""
        return self.type.size // self.type.channels


@dataclass(frozen=True, eq=False)
class Linear(Layer):
    """hls4ml's Dense, or Conv2D without padding, dilation and groups.

    weight   Dense (inputs, outputs), Conv2D (KH, KW, inputs, outputs), stored as `word`
    bias     (outputs) or None
    product  what a multiplication comes to with these words
    input    type of the input; in a stream, that before a Flatten
    """

    weight: IntArray
    word: Word
    bias: IntArray | None
    product: Product
    input: TensorType
    stride: tuple[int, int] = (1, 1)

    @property
    def is_conv(self) -> bool:
        return self.weight.ndim == 4

    @property
    def terms(self) -> int:
        """Products of one result."""
        return math.prod(self.weight.shape[:-1])

    @property
    def outputs(self) -> int:
        """Results of one pixel."""
        return int(self.weight.shape[-1])

    @property
    def in_beats(self) -> int:
        """Pixels of the input."""
        return self.input.size // self.input.channels


@dataclass(frozen=True, eq=False)
class Flatten(Layer):
    """hls4ml's Reshape: nothing is computed, and what follows gathers the vector from the pixels.

    input  the type before
    """

    input: TensorType


@dataclass(frozen=True, eq=False)
class Integer(Layer):
    """A layer of firmware/codesign_layers.h.

    function   its name there
    base       the configuration that its own derives from
    constants  members of the configuration: whole numbers, booleans as `true` and `false`
    widths     typedefs of the configuration: signed integers of so many bits
    input      type of the first input
    tables     constants that it is called with, in this order
    """

    function: str
    constants: Mapping[str, int | bool]
    widths: Mapping[str, int]
    input: TensorType
    tables: tuple[Table, ...] = ()
    base: Literal["integer_config", "window_config", "pad_config"] = "integer_config"

    @property
    def in_beats(self) -> int:
        """Pixels of the input."""
        return self.input.size // self.input.channels


@dataclass(frozen=True, eq=False)
class Network:
    """The layers in order; `input` is the name of the port, the last layer's result leaves."""

    input: str
    input_type: TensorType
    layers: tuple[Layer, ...]
    output_type: TensorType

    @property
    def output(self) -> str:
        """The last layer's name."""
        return self.layers[-1].name

    def readers(self, name: str) -> list[Layer]:
        """The layers that read `name`, once for every time."""
        return [layer for layer in self.layers for source in layer.inputs if source == name]


def stored(values: IntArray, dtype: IntType) -> IntArray:
    """The words of a tensor as numbers: bits for bipolar values, else the values themselves."""
    return dtype.encode(values) if dtype.bipolar else values


def restored(words: IntArray, dtype: IntType) -> IntArray:
    """The inverse of `stored`."""
    return dtype.decode(words) if dtype.bipolar else words


def weight_word(values: IntArray, dtype: IntType, x: IntType, can_xnor: bool) -> tuple[Word, Product]:
    """How weights are stored so that hls4ml 1.3 multiplies exactly, and what it then does.

    hls4ml takes the product from the types: one bit (its Xnor type) means -1 and +1, `int<2>` means -1, 0 and +1, so a
    weight of -2 needs a third bit. Two operands of type uint<1> make it count equal bits and subtract the number of
    inputs, whatever they mean; that is right for two bipolar operands without bias only, and where the flow can
    (`can_xnor`).
    """
    if dtype.bipolar:
        if x.bipolar and can_xnor:
            return Word(1, False, True), "xnor"
        if x.bits > 1:
            return Word(1, False, True), "sign of weight"
        return Word(2, True), "sign of input" if x.bipolar else "ternary"
    signed, bits = dtype.signed, max(dtype.bits, 2)
    if signed and bits == 2 and int(np.min(values)) == -2:
        bits = 3
    product: Product = "sign of input" if x.bipolar else "ternary" if signed and bits == 2 else "multiply"
    return Word(bits, signed), product
