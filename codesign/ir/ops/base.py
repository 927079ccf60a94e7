"""What every operator offers: `infer`, `evaluate` and `work`. The operators are in the files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from codesign.ir.types import IntArray, IntType, TensorType, Values


@dataclass(frozen=True)
class Arg:
    """One input of an operator at compile time: its type, and its value when it is a constant."""

    type: TensorType
    value: IntArray | None = None

    def constant(self, what: str) -> IntArray:
        """The value; raises OpError when the input is not a constant."""
        if self.value is None:
            raise OpError(f"{what} is computed by another node", "a constant")
        return self.value


@dataclass(frozen=True)
class Work:
    """What one evaluation costs: multiply-accumulates, other arithmetic operations, bits of constants read."""

    macs: int = 0
    ops: int = 0
    const_bits: int = 0


Padding = tuple[int, int, int, int]  # top, left, bottom, right, in pixels


class OpError(Exception):
    """An operator used against its rules. The graph adds the layer's name; see `Graph`."""

    def __init__(self, found: str, allowed: str = "") -> None:
        super().__init__(found)
        self.found, self.allowed = found, allowed


class Operator(Protocol):
    """The contract of an operator: a frozen dataclass of plain data with three methods.

    infer     types (and constants) of the inputs -> type of the output without meaning; raises OpError
    evaluate  exact integer result, the first axis of every non-constant input being the batch; data comes and goes in
              any integer dtype that holds its type, so an operator widens what it computes with
    work      cost of one frame
    """

    def infer(self, args: Sequence[Arg]) -> TensorType: ...

    def evaluate(self, values: Sequence[Values], args: Sequence[Arg]) -> Values: ...

    def work(self, args: Sequence[Arg]) -> Work: ...


def expect_inputs(args: Sequence[Arg], least: int, most: int) -> None:
    """Raise OpError unless there are `least` to `most` inputs."""
    if not least <= len(args) <= most:
        raise OpError(f"{len(args)} inputs", f"{least}" if least == most else f"{least} to {most}")


def expect_data(arg: Arg) -> None:
    """Raise OpError for a constant where an operator takes data: it has no batch axis, and belongs in the operator."""
    if arg.value is not None:
        raise OpError("a constant as data", "an input of the graph or the result of a node")


def expect_image(type_: TensorType) -> tuple[int, int, int]:
    """(H, W, C) of an image; raises OpError for any other rank."""
    if len(type_.shape) != 3:
        raise OpError(f"an input of shape {type_.shape}", "(height, width, channels)")
    height, width, channels = type_.shape
    return height, width, channels


def expect_pad_value(value: int) -> None:
    """Raise OpError for a padding that no type of 32 bits holds."""
    if not -(1 << 31) <= value < 1 << 32:
        raise OpError(f"the pad value {value}", "at most 32 bits")


def range_type(lo: int, hi: int) -> IntType:
    """`IntType.smallest`, as an OpError when the range needs more than 32 bits."""
    try:
        return IntType.smallest(lo, hi)
    except ValueError as error:
        raise OpError(f"results from {lo} to {hi} need more than 32 bits", "at most 32 bits") from error


def padded_type(x: IntType, value: int) -> IntType:
    """`x`, or the narrowest type that holds its values and `value` too (a bipolar image padded with 0 becomes i2)."""
    if x.holds(np.array([value])):
        return x
    return range_type(min(x.lo, value), max(x.hi, value))


def output_extent(size: int, kernel: int, stride: int, before: int = 0, after: int = 0, dilation: int = 1) -> int:
    """floor((size + before + after - dilation * (kernel - 1) - 1) / stride) + 1; raises OpError when nothing fits."""
    span = size + before + after - dilation * (kernel - 1) - 1
    if span < 0:
        window = dilation * (kernel - 1) + 1
        raise OpError(f"a window of {window} on {size + before + after} pixels", "a window inside the image")
    return span // stride + 1


def windows(x: Values, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> Values:
    """All windows of a batch of images, as a view: (N, H, W, C) -> (N, OH, OW, C, KH, KW)."""
    span = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(x, span, axis=(1, 2))  # type: ignore[call-overload]
    result: Values = view[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
    return result


def pad_image(x: Values, padding: Padding, value: int) -> Values:
    """Add (top, left, bottom, right) pixels of `value` around a batch of images."""
    top, left, bottom, right = padding
    if not any(padding):
        return x
    x = x.astype(np.promote_types(x.dtype, IntType.smallest(value, value).storage), copy=False)
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)
