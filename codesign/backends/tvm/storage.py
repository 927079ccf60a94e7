"""How a tensor of the graph lies in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from codesign.ir.ops.base import Padding
from codesign.ir.types import IntArray, IntType

NO_BORDER: Padding = (0, 0, 0, 0)


@dataclass(frozen=True)
class Storage:
    """Rows of elements in channels-last order, with room around the image that a convolution needs.

    shape         the tensor's shape, without the batch
    dtype         of an element, as NumPy names it: `int8`, `uint8`, `int16`, `int32`, …
    offset        an element holds q - offset; other than 0 where an instruction wants unsigned operands
    border        pixels above, left, below and right of the image that hold `border_value`
    border_value  as a value of the graph: the zero point
    tail          elements behind the last one that may be read (whatever they hold): kernels read whole words

    An image (H, W, C) has H + above + below rows of (W + left + right) * C elements; other shapes have no border.
    """

    shape: tuple[int, ...]
    dtype: str
    offset: int = 0
    border: Padding = NO_BORDER
    border_value: int = 0
    tail: int = 0

    @property
    def physical(self) -> tuple[int, ...]:
        """The shape with its border."""
        if self.border == NO_BORDER:
            return self.shape
        height, width, channels = self.shape
        above, left, below, right = self.border
        return height + above + below, width + left + right, channels

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements between neighbours along each axis."""
        sizes = self.physical
        return tuple(int(np.prod(sizes[axis + 1 :], dtype=np.int64)) for axis in range(len(sizes)))

    @property
    def origin(self) -> int:
        """The index of the tensor's first element: behind the border above and left of it."""
        if self.border == NO_BORDER:
            return 0
        return self.border[0] * self.strides[0] + self.border[1] * self.strides[1]

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return int(np.dtype(self.dtype).itemsize)

    @property
    def bytes(self) -> int:
        """Bytes in memory, border and tail included."""
        return (int(np.prod(self.physical)) + self.tail) * self.itemsize

    def holds(self, value: int) -> bool:
        """Whether an element can hold a value of the graph."""
        limits = np.iinfo(self.dtype)
        return int(limits.min) <= value - self.offset <= int(limits.max)

    def store(self, values: IntArray) -> np.ndarray[Any, Any]:
        """One frame (shape) as the flat array of elements that lies in memory."""
        whole = np.full(self.physical, self.border_value, dtype=np.int64)
        self._inside(whole)[...] = values
        flat = np.concatenate([(whole - self.offset).reshape(-1), np.zeros(self.tail, dtype=np.int64)])
        elements: np.ndarray[Any, Any] = flat.astype(self.dtype)
        return elements

    def load(self, flat: np.ndarray[Any, Any]) -> IntArray:
        """The frame that `flat`, as `store` makes it, holds."""
        count = int(np.prod(self.physical))
        whole = flat[:count].astype(np.int64).reshape(self.physical) + self.offset
        return self._inside(whole)

    def _inside(self, whole: IntArray) -> IntArray:
        if self.border == NO_BORDER:
            return whole
        above, left, _, _ = self.border
        height, width, _ = self.shape
        return whole[above : above + height, left : left + width]


def element(dtype: IntType) -> str:
    """The narrowest NumPy integer type that holds every value of `dtype`."""
    signed = dtype.signed or dtype.bipolar
    bits = next(width for width in (8, 16, 32) if dtype.bits + (1 if dtype.bipolar else 0) <= width)
    return f"{'int' if signed else 'uint'}{bits}"


def plain(shape: tuple[int, ...], dtype: IntType) -> Storage:
    """A tensor without border or offset."""
    return Storage(shape, element(dtype))
