"""Conv2d and Dense: exact integer multiply-accumulate, in the narrowest accumulator that the weights allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from codesign.ir.types import IntArray, IntType, TensorType, Values


def exact_dtypes(largest: int, weights: Values, bias: Values | None) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """The fastest dtype in which every sum of x * weights (outputs, terms) + bias is exact, and one to keep it in.

    largest  the largest magnitude of x

    Integers up to 2^24 (2^53) are exact in float32 (float64), and so is every product and partial sum of them, in any
    order: the fast matrix product of the BLAS library then gives the integer result. Above 2^53: int64.
    """
    bound = largest * int(np.abs(weights).sum(axis=1).max())
    bound += 0 if bias is None else int(np.abs(bias).max())
    exact = np.float32 if bound <= 1 << 24 else np.float64 if bound <= 1 << 53 else np.int64
    return np.dtype(exact), np.dtype(np.int32 if bound < 1 << 31 else np.int64)


def sum_bounds(lo: int, hi: int, weights: IntArray, bias: IntArray | None) -> tuple[IntArray, IntArray]:
    """The smallest and the largest sum(x * w) + b of each output, every x from lo to hi; weights (outputs, terms)."""
    # Of w * lo and w * hi, with lo <= hi, the smaller is w * lo for w > 0, and w * hi for w < 0.
    positive = np.maximum(weights, 0).sum(axis=1)
    negative = weights.sum(axis=1) - positive
    low, high = positive * lo + negative * hi, positive * hi + negative * lo
    return (low, high) if bias is None else (low + bias, high + bias)


def accumulator_type(x: IntType, weights: IntArray, bias: IntArray | None, extra: int | None = None) -> IntType:
    """The narrowest type of sum(x * w) + b over all inputs of type `x`, from the real weights.

    weights  (outputs, terms); bias (outputs) or None; extra: another value that x may take (the padding)
    """
    lo, hi = x.lo, x.hi
    if extra is not None:
        lo, hi = min(lo, extra), max(hi, extra)
    # A sum this large cannot be formed in 64 bits, and spans far more than 32.
    bound = max(abs(lo), abs(hi)) * int(np.abs(weights).sum(axis=1).max())
    if bound >= 1 << 61:
        raise OpError(f"sums up to {bound:.3g}, more than 32 bits", "an accumulator of at most 32 bits")
    low, high = sum_bounds(lo, hi, weights, bias)
    return range_type(int(low.min()), int(high.max()))


@dataclass(frozen=True)
class Conv2d:
    """y[o] = b[o] + sum over (ky, kx, i) of x[oy*sy + ky*dy - top, ox*sx + kx*dx - left, i] * w[o, ky, kx, i].

    Inputs: x (H, W, C); w (O, KH, KW, C / groups), constant; b (O), constant, optional. Output (OH, OW, O).
    padding is (top, left, bottom, right), filled with pad_value: the zero point of x, which stands for the real 0.
    groups == C is a depthwise convolution.
    """

    stride: tuple[int, int] = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    groups: int = 1
    dilation: tuple[int, int] = (1, 1)
    pad_value: int = 0

    def infer(self, args: Sequence[Arg]) -> TensorType:
        expect_inputs(args, 2, 3)
        expect_data(args[0])
        height, width, channels = expect_image(args[0].type)
        weights = args[1].constant("the weight")
        if weights.ndim != 4:
            raise OpError(f"a weight of shape {weights.shape}", "(outputs, height, width, inputs per group)")
        outputs, kh, kw, per_group = weights.shape
        if self.groups < 1 or per_group * self.groups != channels or outputs % self.groups:
            found = f"{channels} input channels, {outputs} outputs, {self.groups} groups, {per_group} weights per group"
            raise OpError(found, "inputs and outputs divisible by groups, inputs per group as the weight says")
        bias = _bias(args, outputs)
        top, left, bottom, right = self.padding
        if min(self.padding) < 0 or min(self.stride) < 1 or min(self.dilation) < 1:
            raise OpError(f"padding {self.padding}, stride {self.stride}, dilation {self.dilation}", "at least 0, 1, 1")
        expect_pad_value(self.pad_value)
        oh = output_extent(height, kh, self.stride[0], top, bottom, self.dilation[0])
        ow = output_extent(width, kw, self.stride[1], left, right, self.dilation[1])
        extra = self.pad_value if any(self.padding) else None
        dtype = accumulator_type(args[0].type.dtype, weights.reshape(outputs, -1), bias, extra)
        return TensorType((oh, ow, outputs), dtype)

    def evaluate(self, values: Sequence[Values], args: Sequence[Arg]) -> Values:
        weights, bias = values[1], values[2] if len(values) == 3 else None
        outputs, _, _, per_group = weights.shape
        largest = max(args[0].type.dtype.largest, abs(self.pad_value))
        exact, kept = exact_dtypes(largest, weights.reshape(outputs, -1), bias)
        padded = pad_image(values[0], self.padding, self.pad_value)
        if per_group == 1 and self.groups > 1:
            y = self._depthwise(padded.astype(exact), weights.astype(exact))
        else:
            y = self._matmul(padded, weights.astype(exact))
        if bias is not None:
            y += bias.astype(exact)
        return np.asarray(y, dtype=kept)

    def _matmul(self, x: Values, weights: NDArray[Any]) -> NDArray[Any]:
        """One matrix product per group: all windows, as rows, times the kernels, as columns."""
        outputs, kh, kw, per_group = weights.shape
        view = windows(x, (kh, kw), self.stride, self.dilation)
        batch, oh, ow = view.shape[:3]
        parts = []
        for g in range(self.groups):
            group = view[:, :, :, g * per_group : (g + 1) * per_group].transpose(0, 1, 2, 4, 5, 3)
            rows = np.empty(group.shape, dtype=weights.dtype)
            rows[...] = group  # copies and converts at once
            kernel = weights.reshape(self.groups, outputs // self.groups, -1)[g]
            parts.append(rows.reshape(batch * oh * ow, kh * kw * per_group) @ kernel.T)
        y = parts[0] if self.groups == 1 else np.concatenate(parts, axis=1)
        return np.reshape(y, (batch, oh, ow, outputs))

    def _depthwise(self, x: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
        """One input channel per group: a sum over the kernel positions instead of a matrix product."""
        outputs, kh, kw, _ = weights.shape
        view = windows(x, (kh, kw), self.stride, self.dilation)
        repeat = outputs // self.groups
        y = np.zeros((*view.shape[:3], outputs), dtype=weights.dtype)
        for ky in range(kh):
            for kx in range(kw):
                tap = view[:, :, :, :, ky, kx]
                y += (np.repeat(tap, repeat, axis=3) if repeat > 1 else tap) * weights[:, ky, kx, 0]
        return y

    def work(self, args: Sequence[Arg]) -> Work:
        oh, ow, outputs = self.infer(args).shape
        weights = args[1].constant("the weight")
        return Work(macs=oh * ow * weights.size, ops=oh * ow * outputs * (len(args) - 2), const_bits=_const_bits(args))


@dataclass(frozen=True)
class Dense:
    """y[o] = b[o] + sum over i of x[i] * w[o, i], on the last axis of x.

    Inputs: x (…, I); w (O, I), constant; b (O), constant, optional. Output (…, O).
    """

    def infer(self, args: Sequence[Arg]) -> TensorType:
        expect_inputs(args, 2, 3)
        expect_data(args[0])
        weights = args[1].constant("the weight")
        if weights.ndim != 2 or weights.shape[1] != args[0].type.channels:
            found = f"an input of shape {args[0].type.shape} and a weight of {weights.shape}"
            raise OpError(found, "a weight of (outputs, inputs)")
        dtype = accumulator_type(args[0].type.dtype, weights, _bias(args, weights.shape[0]))
        return TensorType((*args[0].type.shape[:-1], weights.shape[0]), dtype)

    def evaluate(self, values: Sequence[Values], args: Sequence[Arg]) -> Values:
        bias = values[2] if len(values) == 3 else None
        exact, kept = exact_dtypes(args[0].type.dtype.largest, values[1], bias)
        y = values[0].astype(exact) @ values[1].T.astype(exact)
        if bias is not None:
            y += bias.astype(exact)
        return np.asarray(y, dtype=kept)

    def work(self, args: Sequence[Arg]) -> Work:
        rows = args[0].type.size // args[0].type.channels
        weights = args[1].constant("the weight")
        ops = rows * weights.shape[0] * (len(args) - 2)
        return Work(macs=rows * weights.size, ops=ops, const_bits=_const_bits(args))


def _bias(args: Sequence[Arg], outputs: int) -> IntArray | None:
    if len(args) < 3:
        return None
    bias = args[2].constant("the bias")
    if bias.shape != (outputs,):
        raise OpError(f"a bias of shape {bias.shape}", f"({outputs},)")
    return bias


def _const_bits(args: Sequence[Arg]) -> int:
    return sum(a.type.bits for a in args if a.value is not None)
