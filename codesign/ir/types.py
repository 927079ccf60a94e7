"""The types of the integer graph: what a tensor's integers may be, and what they mean as real numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
RealArray = NDArray[np.float64]
Values = NDArray[np.signedinteger[Any]]  # while a graph is evaluated: in any dtype that holds their IntType

MAX_BITS = 32
_STORAGE: dict[int, np.dtype[np.signedinteger[Any]]] = {
    8: np.dtype(np.int8),
    16: np.dtype(np.int16),
    32: np.dtype(np.int32),
    64: np.dtype(np.int64),
}


@dataclass(frozen=True)
class IntType:
    """The integers lo … hi of a two's-complement or unsigned word, or {-1, +1}.

    bits     1 to 32
    signed   two's complement; a signed 1-bit word is {-1, 0}
    bipolar  the two values -1 and +1 in one bit: bit 0 means -1, bit 1 means +1 (then bits is 1, signed is True)

    Text form: `u4`, `i8`, `bipolar`. Raises ValueError for widths outside 1 … 32.
    """

    bits: int
    signed: bool
    bipolar: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MAX_BITS:
            raise ValueError(f"an integer type has 1 to {MAX_BITS} bits, not {self.bits}")
        if self.bipolar and not (self.bits == 1 and self.signed):
            raise ValueError("a bipolar type is one signed bit")

    @property
    def lo(self) -> int:
        """The smallest value."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        """The largest value."""
        if self.bipolar:
            return 1
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def largest(self) -> int:
        """The largest magnitude."""
        return max(-self.lo, self.hi)

    @property
    def step(self) -> int:
        """The distance between neighbouring values: 2 for bipolar, else 1."""
        return 2 if self.bipolar else 1

    @property
    def count(self) -> int:
        """How many values there are: (hi - lo) / step + 1."""
        return (self.hi - self.lo) // self.step + 1

    @classmethod
    def smallest(cls, lo: int, hi: int) -> IntType:
        """The narrowest plain type that holds lo and hi. Raises ValueError when 32 bits do not."""
        if lo > hi:
            raise ValueError(f"an empty range {lo} … {hi}")
        if lo >= 0:
            return cls(max(1, int(hi).bit_length()), False)
        return cls(max(int(-lo - 1).bit_length(), int(hi).bit_length() if hi > 0 else 0) + 1, True)

    @classmethod
    def parse(cls, text: str) -> IntType:
        """The inverse of `str`. Raises ValueError."""
        if text == "bipolar":
            return BIPOLAR
        match = re.fullmatch(r"([iu])(\d+)", text)
        if match is None:
            raise ValueError(f"not an integer type: {text!r} (u1 … u32, i1 … i32, bipolar)")
        return cls(int(match[2]), match[1] == "i")

    def holds(self, values: NDArray[np.integer[Any]]) -> bool:
        """Whether every element is a value of this type."""
        if values.size == 0:
            return True
        inside = int(values.min()) >= self.lo and int(values.max()) <= self.hi
        return inside and not (self.bipolar and bool((values == 0).any()))

    @property
    def storage(self) -> np.dtype[np.signedinteger[Any]]:
        """The narrowest NumPy dtype that holds every value: evaluation is bound by memory traffic."""
        bits = self.bits + (0 if self.signed else 1) + (1 if self.bipolar else 0)
        return next(dtype for width, dtype in _STORAGE.items() if bits <= width)

    def encode(self, values: IntArray) -> IntArray:
        """The bit pattern of each value as a non-negative integer: two's complement, or (v + 1) / 2 for bipolar."""
        words: IntArray = (values + 1) >> 1 if self.bipolar else values & ((1 << self.bits) - 1)
        return words

    def decode(self, words: IntArray) -> IntArray:
        """The inverse of `encode`; bits above the width are ignored."""
        words = words & ((1 << self.bits) - 1)
        if self.bipolar:
            return 2 * words - 1
        return words - ((words >> (self.bits - 1)) << self.bits) if self.signed else words

    def __str__(self) -> str:
        return "bipolar" if self.bipolar else f"{'i' if self.signed else 'u'}{self.bits}"


BIPOLAR = IntType(1, True, bipolar=True)


@dataclass(frozen=True)
class Quant:
    """real = (q - zero_point) * scale: what integers mean. Metadata for import, export and reports.

    scale, zero_point  one value, or one for each index along `axis`
    axis               the axis of the tensor, without the batch, that scale and zero_point run along; None: per tensor
    """

    scale: tuple[float, ...]
    zero_point: tuple[float, ...] = (0.0,)
    axis: int | None = None

    def __post_init__(self) -> None:
        # Plain floats, whatever came in: the text form prints them, and float32 scalars would print otherwise.
        object.__setattr__(self, "scale", tuple(float(s) for s in self.scale))
        object.__setattr__(self, "zero_point", tuple(float(z) for z in self.zero_point))
        sizes = {len(self.scale), len(self.zero_point)} - {1}
        if len(sizes) > 1 or 0 in sizes or (sizes and self.axis is None):
            raise ValueError(f"{len(self.scale)} scales and {len(self.zero_point)} zero points on axis {self.axis}")
        if not all(np.isfinite(s) and s != 0 for s in self.scale):
            raise ValueError("a scale is NaN, infinite or zero")
        if not all(np.isfinite(z) for z in self.zero_point):
            raise ValueError("a zero point is NaN or infinite")

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether the axis exists in `shape` and is as long as the scales and zero points."""
        if self.axis is None:
            return True
        if not -len(shape) <= self.axis < len(shape):
            return False
        return {len(self.scale), len(self.zero_point)} <= {1, shape[self.axis]}

    def _along_axis(self, values: Sequence[float], rank: int) -> RealArray:
        array = np.asarray(values, dtype=np.float64)
        if array.size == 1 or self.axis is None:
            return array.reshape(-1)[:1]
        shape = [1] * rank
        shape[self.axis % rank] = array.size
        return array.reshape(shape)

    def dequantise(self, q: IntArray) -> RealArray:
        """(q - zero_point) * scale; `q` has the batch as its first axis."""
        rank = q.ndim - 1
        real: RealArray = (q - self._along_axis(self.zero_point, rank)) * self._along_axis(self.scale, rank)
        return real

    def quantise(self, real: RealArray, dtype: IntType) -> IntArray:
        """round_half_even(real / scale + zero_point), limited to `dtype`; bipolar: +1 where that is >= 0, else -1."""
        rank = real.ndim - 1
        exact = real / self._along_axis(self.scale, rank) + self._along_axis(self.zero_point, rank)
        if dtype.bipolar:
            return np.where(exact >= 0, 1, -1).astype(np.int64)
        q = np.rint(exact)
        return np.asarray(np.clip(q, dtype.lo, dtype.hi), dtype=np.int64)


@dataclass(frozen=True)
class TensorType:
    """Shape without the batch (H, W, C or C), integer type and meaning of a tensor. Channels are always last."""

    shape: tuple[int, ...]
    dtype: IntType
    quant: Quant | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if not self.shape or any(n < 1 for n in self.shape):
            raise ValueError(f"a tensor needs at least one axis and no empty one, not {self.shape}")

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape))

    @property
    def channels(self) -> int:
        """The length of the last axis."""
        return self.shape[-1]

    @property
    def bits(self) -> int:
        """The storage in bits."""
        return self.size * self.dtype.bits

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"
