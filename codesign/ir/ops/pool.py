"""MaxPool2d and AvgPool2d."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codesign.ir.ops.base import (
    Arg,
    OpError,
    Padding,
    Work,
    expect_data,
    expect_image,
    expect_inputs,
    expect_pad_value,
    output_extent,
    pad_image,
    range_type,
    windows,
)
from codesign.ir.types import IntArray, TensorType, Values


def _pooled(arg: Arg, kernel: tuple[int, int], stride: tuple[int, int], padding: Padding) -> tuple[int, int, int]:
    """The output shape of a pooling; raises OpError when the padding is as large as the window."""
    height, width, channels = expect_image(arg.type)
    top, left, bottom, right = padding
    if min(kernel) < 1 or min(stride) < 1 or min(padding) < 0:
        raise OpError(f"kernel {kernel}, stride {stride}, padding {padding}", "at least 1, 1, 0")
    if max(top, bottom) >= kernel[0] or max(left, right) >= kernel[1]:
        raise OpError(f"padding {padding} around a window of {kernel}", "padding smaller than the window")
    oh = output_extent(height, kernel[0], stride[0], top, bottom)
    ow = output_extent(width, kernel[1], stride[1], left, right)
    return oh, ow, channels


@dataclass(frozen=True)
class MaxPool2d:
    """y = the largest x of each window, per channel; padding never wins. Input (H, W, C), output (OH, OW, C)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding = (0, 0, 0, 0)

    def infer(self, args: Sequence[Arg]) -> TensorType:
        expect_inputs(args, 1, 1)
        expect_data(args[0])
        return TensorType(_pooled(args[0], self.kernel, self.stride, self.padding), args[0].type.dtype)

    def evaluate(self, values: Sequence[Values], args: Sequence[Arg]) -> Values:
        x = pad_image(values[0], self.padding, args[0].type.dtype.lo)
        view = windows(x, self.kernel, self.stride)
        y = view[..., 0, 0].copy()
        for ky in range(self.kernel[0]):
            for kx in range(self.kernel[1]):
                np.maximum(y, view[..., ky, kx], out=y)
        return y

    def work(self, args: Sequence[Arg]) -> Work:
        return Work(ops=self.infer(args).size * self.kernel[0] * self.kernel[1])


@dataclass(frozen=True)
class AvgPool2d:
    """The sum of each window, per channel, or its mean rounded half away from zero.

    Input (H, W, C), output (OH, OW, C).

    mean False  y = sum: exact; the division is left to the Threshold or Requant that follows
    mean True   y = round_half_away(sum / n), n the pixels of the window inside the image: TFLite's AVERAGE_POOL_2D
    pad_value   stands for the real 0 outside the image; only a sum counts it
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding = (0, 0, 0, 0)
    mean: bool = False
    pad_value: int = 0

    def infer(self, args: Sequence[Arg]) -> TensorType:
        expect_inputs(args, 1, 1)
        expect_data(args[0])
        shape = _pooled(args[0], self.kernel, self.stride, self.padding)
        x = args[0].type.dtype
        if self.mean:
            return TensorType(shape, range_type(x.lo, x.hi))
        expect_pad_value(self.pad_value)
        area = self.kernel[0] * self.kernel[1]
        lo, hi = x.lo, x.hi
        if any(self.padding):
            lo, hi = min(lo, self.pad_value), max(hi, self.pad_value)
        return TensorType(shape, range_type(lo * area, hi * area))

    def counts(self, shape: tuple[int, int, int]) -> IntArray:
        """The pixels inside the image of each window, (OH, OW, 1), for an input of `shape`."""
        ones = pad_image(np.ones((1, *shape[:2], 1), dtype=np.int64), self.padding, 0)
        return np.asarray(_sums(ones, self.kernel, self.stride, np.dtype(np.int64))[0], dtype=np.int64)

    def evaluate(self, values: Sequence[Values], args: Sequence[Arg]) -> Values:
        if not self.mean:
            padded = pad_image(values[0], self.padding, self.pad_value)
            return _sums(padded, self.kernel, self.stride, self.infer(args).dtype.storage)
        # In 64 bits: the sum of a mean may need more than the 32 that a value has.
        total = _sums(pad_image(values[0], self.padding, 0), self.kernel, self.stride, np.dtype(np.int64))
        count = self.counts(expect_image(args[0].type))
        magnitude = (np.abs(total) + count // 2) // count
        return np.where(total < 0, -magnitude, magnitude)

    def work(self, args: Sequence[Arg]) -> Work:
        return Work(ops=self.infer(args).size * self.kernel[0] * self.kernel[1])


def _sums(x: Values, kernel: tuple[int, int], stride: tuple[int, int], dtype: np.dtype[Any]) -> Values:
    """The sum of each window of `x`, in `dtype`."""
    view = windows(x, kernel, stride)
    total: Values = view[..., 0, 0].astype(dtype)
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            if ky or kx:
                np.add(total, view[..., ky, kx], out=total)
    return total
