"""Reshape, Concat, Pad, Take and Transpose: where values are, not what they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign.ir.ops.base import (
    Arg,
    OpError,
    Padding,
    Work,
    expect_data,
    expect_image,
    expect_inputs,
    pad_image,
    padded_type,
)
from codesign.ir.types import TensorType, Values


@dataclass(frozen=True)
class Reshape:
    """The same values in row-major order under another shape (without the batch)."""

    shape: tuple[int, ...]

    def infer(self, args: Sequence[Arg]) -> TensorType:
        expect_inputs(args, 1, 1)
        expect_data(args[0])
        if min(self.shape, default=0) < 1 or math.prod(self.shape) != args[0].type.size:
            raise OpError(f"{args[0].type.shape} to {self.shape}", "the same number of elements, no empty axis")
        return TensorType(self.shape, args[0].type.dtype)

    def evaluate(self, values: Sequence[Values], args: Sequence[Arg]) -> Values:
        return values[0].reshape(len(values[0]), *self.shape)

    def work(self, args: Sequence[Arg]) -> Work:
        return Work()


@dataclass(frozen=True)
class Concat:
    """The inputs one after the other along the channels. All other axes are equal; one type and one meaning for all."""

    def infer(self, args: Sequence[Arg]) -> TensorType:
        expect_inputs(args, 1, 1 << 16)
        for arg in args:
            expect_data(arg)
        shapes = {a.type.shape[:-1] for a in args}
        dtypes = {a.type.dtype for a in args}
        if len(shapes) > 1 or len(dtypes) > 1:
            raise OpError("inputs " + ", ".join(str(a.type) for a in args), "one type, one shape but for the channels")
        channels = sum(a.type.channels for a in args)
        return TensorType((*args[0].type.shape[:-1], channels), args[0].type.dtype)

    def evaluate(self, values: Sequence[Values], args: Sequence[Arg]) -> Values:
        return np.concatenate(list(values), axis=-1)

    def work(self, args: Sequence[Arg]) -> Work:
        return Work()


@dataclass(frozen=True)
class Pad:
    """(top, left, bottom, right) pixels of `value` around the image; the type grows when it does not hold the value."""

    padding: Padding
    value: int = 0

    def infer(self, args: Sequence[Arg]) -> TensorType:
        expect_inputs(args, 1, 1)
        expect_data(args[0])
        height, width, channels = expect_image(args[0].type)
        top, left, bottom, right = self.padding
        if min(self.padding) < 0:
            raise OpError(f"padding {self.padding}", "0 or more")
        dtype = padded_type(args[0].type.dtype, self.value)
        return TensorType((height + top + bottom, width + left + right, channels), dtype)

    def evaluate(self, values: Sequence[Values], args: Sequence[Arg]) -> Values:
        return pad_image(values[0], self.padding, self.value)

    def work(self, args: Sequence[Arg]) -> Work:
        return Work()


@dataclass(frozen=True)
class Take:
    """y[…, i, …] = x[…, indices[i], …] along `axis`: slices, strides, repeats and nearest-neighbour resizing.

    axis 0 is the first one without the batch. An index may occur any number of times, in any order.
    """

    axis: int
    indices: tuple[int, ...]

    def infer(self, args: Sequence[Arg]) -> TensorType:
        expect_inputs(args, 1, 1)
        expect_data(args[0])
        shape = args[0].type.shape
        if not 0 <= self.axis < len(shape):
            raise OpError(f"axis {self.axis} of shape {shape}", f"0 to {len(shape) - 1}")
        length = shape[self.axis]
        if not self.indices or min(self.indices) < 0 or max(self.indices) >= length:
            ends = f"indices from {min(self.indices)} to {max(self.indices)}" if self.indices else "no indices"
            raise OpError(ends, f"at least one, 0 to {length - 1}")
        return TensorType((*shape[: self.axis], len(self.indices), *shape[self.axis + 1 :]), args[0].type.dtype)

    def evaluate(self, values: Sequence[Values], args: Sequence[Arg]) -> Values:
        return np.take(values[0], self.indices, axis=self.axis + 1)

    def work(self, args: Sequence[Arg]) -> Work:
        return Work()


@dataclass(frozen=True)
class Transpose:
    """Axis i of y is axis axes[i] of x; axis 0 is the first one without the batch."""

    axes: tuple[int, ...]

    def infer(self, args: Sequence[Arg]) -> TensorType:
        expect_inputs(args, 1, 1)
        expect_data(args[0])
        shape = args[0].type.shape
        if sorted(self.axes) != list(range(len(shape))):
            raise OpError(f"axes {self.axes} of shape {shape}", f"every axis from 0 to {len(shape) - 1} once")
        return TensorType(tuple(shape[axis] for axis in self.axes), args[0].type.dtype)

    def evaluate(self, values: Sequence[Values], args: Sequence[Arg]) -> Values:
        return values[0].transpose(0, *(axis + 1 for axis in self.axes))

    def work(self, args: Sequence[Arg]) -> Work:
        return Work()
