"""Operations of the NPU as typed data: all that the registers say when one starts."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from codesign.ir.ops.base import Padding
from codesign.ir.types import IntArray

BRICK = 16
"""Channels that lie together in the format NHCWB16."""


class Kind(enum.Enum):
    """What computes."""

    CONVOLUTION = "convolution"
    DEPTHWISE = "depthwise convolution"
    POOLING = "pooling"
    ELEMENTWISE = "elementwise operation"
    RESIZE = "resize"


class Pooling(enum.Enum):
    """What a pooling does with a window; REDUCE_SUM adds the channels of a pixel."""

    MAX = 0
    AVERAGE = 1
    REDUCE_SUM = 2
    SUM = 3
    NONE = 4
    OTHER = -1


class Elementwise(enum.Enum):
    """What an elementwise operation computes. SHR shifts arithmetically."""

    MUL = 0
    ADD = 1
    SUB = 2
    MIN = 3
    MAX = 4
    LRELU = 5
    ABS = 6
    CLZ = 7
    SHR = 8
    SHL = 9
    OTHER = -1


class Rounding(enum.Enum):
    """How a product is shifted right. DOUBLE is that of gemmlowp, NATURAL half up."""

    DOUBLE = "double"
    TRUNCATE = "truncate"
    NATURAL = "natural"
    OTHER = "other"


class Storage(enum.Enum):
    """Where a feature map is: in memory as four tiles, or handed from operation to operation (U85: chained)."""

    MEMORY = 0
    MEMORY_3X1 = 1
    CHAINED = 2
    NONE = 3


class ScaleMode(enum.Enum):
    """U55 and U65, addition and subtraction: 16-bit scales for both inputs, or one of 32 bits for one of them."""

    BOTH_16 = 0
    FIRST_32 = 1
    SECOND_32 = 2


@dataclass(frozen=True)
class FeatureMap:
    """A box of elements in memory, made of four tiles: above and below height, left and right of width.

    region              base pointer; of a chained one the number of the chain's buffer
    base                byte addresses of the tiles: top left, top right, bottom left, bottom right
    height0, height1    rows of the top left and of the top right tile
    width0              columns of the left tiles
    shape               (height, width, depth) of the box; of an input as far as its window reaches
    stride_y, stride_x  bytes from row to row, from column to column
    stride_c            bytes from brick to brick, in NHCWB16
    brick               NHCWB16 instead of NHWC
    bits, signed        of an element
    """

    region: int
    base: tuple[int, int, int, int]
    height0: int
    height1: int
    width0: int
    shape: tuple[int, int, int]
    stride_y: int
    stride_x: int
    stride_c: int
    brick: bool
    bits: int
    signed: bool
    zero_point: int
    storage: Storage = Storage.MEMORY

    @property
    def bytes(self) -> int:
        """Bytes of an element."""
        return self.bits // 8

    def addresses(self) -> IntArray:
        """The byte address of every element, (height, width, depth)."""
        height, width, depth = self.shape
        y, x, c = np.arange(height)[:, None], np.arange(width)[None, :], np.arange(depth)
        right = x >= self.width0
        below = y >= np.where(right, self.height1, self.height0)
        base = np.array(self.base, dtype=np.int64)[2 * below + right]
        rows = y - np.where(below, np.where(right, self.height1, self.height0), 0)
        columns = x - np.where(right, self.width0, 0)
        if self.brick:
            plane = rows * self.stride_y + columns * (BRICK * self.bytes)
            deep = (c // BRICK) * self.stride_c + (c % BRICK) * self.bytes
        else:
            plane = rows * self.stride_y + columns * self.stride_x
            deep = c * self.bytes
        found: IntArray = (base + plane)[:, :, None] + deep
        return found


@dataclass(frozen=True)
class Kernel:
    """A window: taps, steps between windows, steps between taps. `part_kernel`: the order of the weights."""

    height: int
    width: int
    stride_y: int
    stride_x: int
    dilation_y: int
    dilation_x: int
    part_kernel: bool


@dataclass(frozen=True)
class Range:
    """Bytes of a region."""

    region: int
    address: int
    length: int


@dataclass(frozen=True)
class Scale:
    """x * multiplier / 2^shift. double_round: bits that the input is shifted left by in what DOUBLE repeats (U85)."""

    multiplier: int
    shift: int
    rounding: Rounding
    double_round: int = 0


@dataclass(frozen=True)
class Activation:
    """minimum and maximum limit the result, zero point added; then it goes through a table of 8-bit index, if any.

    function  the device's number for it
    table     slot of the look-up table in its memory, of 256 bytes each; None without one
    bits      the limits are within a signed number of so many bits, -8: unsigned, 0: within the type of the result;
              None: there are none
    """

    function: int
    table: int | None
    minimum: int
    maximum: int
    bits: int | None = 0


@dataclass(frozen=True)
class Broadcast:
    """Which axes of an input are repeated; `scalar`: it is one number, of a register."""

    height: bool = False
    width: bool = False
    depth: bool = False
    scalar: bool = False


@dataclass(frozen=True)
class Block:
    """(height, width, depth) of what is computed at once, and of the part of it that one step computes (U85)."""

    height: int
    width: int
    depth: int
    microblock: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Sums:
    """start: 0 from 0, 1 from what the operation before left inside, 2 from the second input; stay: left inside."""

    start: int = 0
    stay: bool = False


@dataclass(frozen=True)
class Operation:
    """One operation that computes.

    offset        of its command in the stream, in bytes
    mode          Pooling or Elementwise; a number of a resize; None of convolutions
    ifm2          the second input of an elementwise operation, or the number in its place
    swapped       the inputs change places (U55, U65); broadcasts of the first and the second input
    weights       a stream for every core; empty where there are none
    fast, sparse  the coding of the weights (U85)
    per_channel   whether scales and biases come for each channel from `scales`; else `scale` is for all
    input_scales  of the inputs of an addition or subtraction; scale_mode of U55 and U65
    moved         the output is transposed or reversed (U85)
    accumulator   bits; sums: what they start from, and whether they stay inside (U85)
    """

    offset: int
    kind: Kind
    mode: Pooling | Elementwise | int | None
    ifm: FeatureMap
    ifm2: FeatureMap | int | None
    ofm: FeatureMap
    kernel: Kernel | None
    padding: Padding
    upscale: int
    weights: tuple[Range, ...]
    scales: tuple[Range, ...]
    fast: bool
    sparse: bool
    per_channel: bool
    scale: Scale
    input_scales: tuple[Scale, Scale] | None
    scale_mode: ScaleMode
    swapped: bool
    broadcasts: tuple[Broadcast, Broadcast]
    activation: Activation
    block: Block
    accumulator: int
    sums: Sums
    moved: bool

    @property
    def accumulates(self) -> bool:
        """Whether it is a part of a computation whose sums go from operation to operation."""
        return self.sums != Sums()


@dataclass(frozen=True)
class Copy:
    """A transfer of `length` bytes. `to_table`: into the memory of the look-up tables, `target` its address there.

    plain  one run of bytes; else a transfer in two or three dimensions, or one with indices
    """

    offset: int
    source: Range
    target: Range
    to_table: bool
    plain: bool


@dataclass(frozen=True)
class Wait:
    """Waits until at most `outstanding` transfers (or operations) are left."""

    offset: int
    transfers: bool
    outstanding: int


@dataclass(frozen=True)
class End:
    """The stream ends, with an interrupt."""

    offset: int
    mask: int


Event = Operation | Copy | Wait | End
