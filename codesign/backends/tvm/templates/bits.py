"""Integers of one or two bits as planes of bits, eight of a plane in a byte: what bit-serial products count.

    x = constant + sum over p of coefficients[p] * bit p

Two's complement has the coefficients (1, -2), an unsigned integer (1, 2), and {-1, 1} is 1 - 2 b.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.windows import divisors, input_of, windows_of
from codesign.ir.ops import Conv2d
from codesign.ir.types import IntArray, IntType

BYTE = 8
MOST_PLANES = 2
MOST_BYTES = 255 // BYTE  # whose bits are counted in a byte
SHORTEST = 12  # of them, for the counts' way to 16 bits to cost little


@dataclass(frozen=True)
class Planes:
    """An integer by its bits, those of its two's complement from number `first` on."""

    coefficients: tuple[int, ...]
    constant: int = 0
    first: int = 0

    @property
    def count(self) -> int:
        return len(self.coefficients)


SIGNS = Planes((-2,), 1, 1)  # -1 is ...11 and 1 is ...01: bit 1 differs


def planes_of(lo: int, hi: int) -> Planes | None:
    """Of the integers lo to hi; None where that takes more than `MOST_PLANES`."""
    bits = max(hi.bit_length(), 1) if lo >= 0 else max(hi.bit_length(), (-lo - 1).bit_length()) + 1
    if lo == -1 and hi <= 0:
        return Planes((-1,))
    if bits > MOST_PLANES:
        return None
    top = 1 << (bits - 1)
    return Planes((*(1 << p for p in range(bits - 1)), -top if lo < 0 else top))


def planes_of_type(dtype: IntType) -> Planes | None:
    """Of every value of a type."""
    return SIGNS if dtype.bipolar else planes_of(dtype.lo, dtype.hi)


def planes_of_weights(weights: IntArray) -> Planes | None:
    """Of constants: the fewest."""
    if bool((np.abs(weights) == 1).all()):
        return SIGNS
    return planes_of(int(weights.min()), int(weights.max()))


def pack_planes(values: IntArray, planes: Planes, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Values (..., C) as bytes (..., planes, size): bit i of byte g is of value i * size + g, or 0 behind the last."""
    missing = BYTE * size - values.shape[-1]
    numbers = np.arange(planes.first, planes.first + planes.count)[:, None]
    bits = (values[..., None, :] >> numbers) & 1
    padded = np.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, missing)])
    eighths = padded.reshape(*bits.shape[:-1], BYTE, size) << np.arange(BYTE)[:, None]
    return np.asarray(eighths.sum(axis=-2)).astype(np.uint8)


@dataclass(frozen=True)
class Layer:
    """A product that can be counted.

    rows, columns  output pixels                 taps  (kernel rows, kernel columns)
    stride, dilation  as the operator's          groups, size  bytes of a pixel's plane: `groups` times `size`
    x, w           planes of activations, weights
    """

    rows: int
    columns: int
    taps: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    size: int
    x: Planes
    w: Planes

    @property
    def differ(self) -> bool:
        """Whether products are counted where bits differ."""
        return bool(self.x.constant and self.w.constant)

    @property
    def needs_sums(self) -> bool:
        """Whether the sum of a window's activations is part of the result: of x * (1 - 2 b)."""
        return bool(self.w.constant and not self.x.constant)

    @property
    def factors(self) -> list[int]:
        """By which the counts of pairs of planes are multiplied."""
        if self.differ:
            return [-2]
        return [a * b for a, b in itertools.product(self.x.coefficients, self.w.coefficients)]

    @property
    def within(self) -> tuple[str, ...]:
        """The axes that are counted in a byte; of the others each step is put together in 16 bits."""
        kh, kw = self.taps
        axes = {"ky": kh, "kx": kw, "group": self.groups}
        size = self.size
        inner: list[str] = []
        for label in reversed(axes):
            if size * axes[label] > MOST_BYTES:
                break
            size *= axes[label]
            inner.insert(0, label)
        return (*inner, "byte")

    @property
    def axes(self) -> dict[str, int]:
        return {"ky": self.taps[0], "kx": self.taps[1], "group": self.groups, "byte": self.size}


def layer_of(task: Task, cpu: Cpu) -> Layer | None:
    """The task's product as one that is counted; None where it is not of few bits, or the core is another."""
    windows = windows_of(task)
    if cpu.arch != "aarch64" or windows is None:
        return None
    anchor = task.anchor
    assert anchor is not None
    name, weights = anchor.inputs[0], task.consts[anchor.inputs[1]]
    dtype, storage = task.types[name].dtype, task.storage[name]
    x, w = planes_of_type(dtype), planes_of_weights(weights)
    if x is None or w is None or storage.dtype not in ("int8", "uint8") or storage.offset:
        return None
    taps, stride, dilation = (1, 1), (1, 1), (1, 1)
    if isinstance(anchor.op, Conv2d):
        op = anchor.op
        pad = op.pad_value
        if any(op.padding) and not (dtype.lo <= pad <= dtype.hi and (pad or not dtype.bipolar)):
            return None
        taps, stride, dilation = (weights.shape[1], weights.shape[2]), op.stride, op.dilation
    return Layer(windows.rows, windows.columns, taps, stride, dilation, *_bytes(storage.shape[-1]), x, w)


def _bytes(channels: int) -> tuple[int, int]:
    """Groups and bytes of each for so many channels: as few bytes as hold them, if that splits into long groups."""
    size = -(-channels // BYTE)
    longest = divisors(size, MOST_BYTES)[-1]
    if size <= MOST_BYTES or longest >= SHORTEST:
        return size // longest, longest
    groups = -(-size // MOST_BYTES)
    return groups, -(-size // groups)


def image(task: Task, layer: Layer) -> tuple[tuple[int, int, int], tuple[int, int, int], int]:
    """Shape (rows, columns, channels), strides and start of the input with the padding around it."""
    storage = task.storage[input_of(task)]
    op = task.anchor.op if task.anchor is not None else None
    channels = storage.shape[-1]
    if not isinstance(op, Conv2d):
        return (layer.rows, layer.columns, channels), (layer.columns * channels, channels, 1), storage.origin
    (top, left, bottom, right), (height, width, _) = op.padding, storage.shape
    row, column, _ = storage.strides
    start = (storage.border[0] - top) * row + (storage.border[1] - left) * column
    return (height + top + bottom, width + left + right, channels), (row, column, 1), start


def weights_of(task: Task, layer: Layer) -> IntArray:
    """The weights (O, KH, KW, C)."""
    assert task.anchor is not None
    weights = task.consts[task.anchor.inputs[1]]
    shaped: IntArray = weights.reshape(len(weights), *layer.taps, -1)
    return shaped
