"""Decoding of compressed weights: Ethos-U's standard coding, and U85's fast one.

Standard coding, bits from the lowest up, slice after slice. A slice has a header, then chunks. Weights other than 0
are numbers 2 |w| + (w < 0), through a palette of up to 32 of them; between them are runs of zeros. Both are Golomb-Rice
codes: quotients in unary, a chunk of up to 12 at a time, their remainders in the chunk behind. The header of 3 bits
is 7 at the end. Fast coding: a header of 256 bits, then for each weight an index into a palette of 4 or 16, or 8 bits.

Source: the public sources of the codec in Mesa, src/gallium/drivers/ethosu/mlw_codec; checked against
ethosu.mlw_codec.decode of Vela 5.2. Every bit is checked here, since that decoder ends the process at a damaged stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.backends.ethosu.stream.errors import StreamError
from codesign.ir.types import IntArray

_END, _NO_RUNS, _UNCOMPRESSED = 7, 6, 7
_SLOTS = 12
"""Quotients in a chunk; runs of zeros with 3 bits of remainder, and long uncompressed weights, come in 8."""
_SHORT = 8
_FAST_HEADER, _FAST_PALETTE, _FAST_BITS = 256, 112, 9

Bits = NDArray[np.uint8]


def decode_weights(data: bytes) -> IntArray:
    """The weights of a stream in standard coding. Raises StreamError for a damaged one."""
    reader = _Reader(data)
    slices: list[IntArray] = []
    palette = _Palette(np.zeros(0, dtype=np.int64), 0, 0)
    while (zero_shift := reader.next_slice()) is not None:
        values, palette = _slice(reader, zero_shift, palette)
        slices.append(values)
    return np.concatenate(slices) if slices else np.zeros(0, dtype=np.int64)


def decode_fast_weights(data: bytes) -> IntArray:
    """The weights of a stream in U85's fast coding, with the zeros that fill its last 32 bytes."""
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little")
    if len(bits) < _FAST_HEADER:
        raise StreamError.at("weights", f"{len(data)} bytes", "a header of 32 bytes")
    raw, small = bool(bits[0]), bool(bits[1])
    shift = _signed(_numbers(bits[_FAST_PALETTE - 8 : _FAST_PALETTE], 8), 8)[0]
    palette = _unfolded(_numbers(bits[_FAST_PALETTE:_FAST_HEADER], _FAST_BITS))
    width = 8 if raw else 2 if small else 4
    codes = _numbers(bits[_FAST_HEADER:], width)
    return _signed(codes, 8) - shift if raw else palette[codes]


@dataclass(frozen=True, eq=False)
class _Palette:
    """entries: what small codes mean; the others mean code - len(entries) + offset; bits of a code without palette."""

    entries: IntArray
    offset: int
    bits: int

    def values(self, codes: IntArray) -> IntArray:
        count = len(self.entries)
        folded = codes - count + self.offset
        small = codes < count
        folded[small] = self.entries[codes[small]]
        return _unfolded(folded)


class _Reader:
    """Bits of a stream, one after the other; raises StreamError behind its end."""

    def __init__(self, data: bytes) -> None:
        self.bits: Bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little")
        self._data = data + bytes(8)
        self._end = 8 * len(data)
        self.position = 0

    def get(self, count: int) -> int:
        """The next `count` bits, at most 32 of them."""
        position = self.position
        self.position = position + count
        if self.position > self._end:
            raise StreamError.at("weights", f"{self._end // 8} bytes, and more needed", "a whole stream")
        word = int.from_bytes(self._data[position >> 3 : (position >> 3) + 5], "little")
        return word >> (position & 7) & ((1 << count) - 1)

    def next_slice(self) -> int | None:
        """The first number of the next slice's header; None at the end of the stream."""
        while self._end - self.position >= 3:
            found = self.get(3)
            if found != _END:
                return found
            self.position = -(-self.position // 8) * 8
        return None


def _slice(reader: _Reader, zero_shift: int, palette: _Palette) -> tuple[IntArray, _Palette]:
    """One slice: its weights with the zeros between, and the palette for the next."""
    if zero_shift not in (0, 1, 2, 3, _NO_RUNS):
        raise StreamError.at("weights", f"a slice that starts with {zero_shift}", "0 to 3, 6 or 7")
    get = reader.get
    count, shift = get(15) + 1, get(3)
    truncated, renewed = bool(get(1)), bool(get(1))
    if renewed:
        offset, size, bits = get(5), get(5), get(3) + 2
        entries = [get(bits) for _ in range(size + 1 if size else 0)]
        palette = _Palette(np.array(entries, dtype=np.int64), offset, bits)
    if shift == 6:
        raise StreamError.at("weights", "a slice with remainders of 6 bits", "0 to 5 bits, or uncompressed")
    uncompressed = shift == _UNCOMPRESSED
    if uncompressed:
        size = len(palette.entries)
        shift = max(size - 1, 0).bit_length() if size else palette.bits
    runs = count + renewed if zero_shift != _NO_RUNS else 0
    walk = _walk(reader, count, shift, truncated, uncompressed, runs, zero_shift)
    values = palette.values(walk.weights(reader.bits))
    if not runs:
        return values, palette
    zeros = walk.zero_runs(reader.bits)
    before = zeros[:count] if renewed else np.concatenate([[0], zeros[: count - 1]])
    places = np.cumsum(before) + np.arange(count)
    found = np.zeros(count + int(zeros.sum()), dtype=np.int64)
    found[places] = values
    return found, palette


@dataclass(frozen=True, eq=False)
class _Chunks:
    """Where the parts of a slice are: unary words, positions and numbers of remainders, chunk by chunk."""

    count: int
    shift: int
    truncated: bool
    unary: list[tuple[int, int]]
    remainders: list[tuple[int, int]]
    runs: int
    zero_shift: int
    zero_unary: list[int]
    zero_remainders: list[tuple[int, int]]

    def weights(self, bits: Bits) -> IntArray:
        """The code of every weight: quotient * 2^shift + remainder."""
        low = _gathered(bits, self.remainders, self.shift)
        if not self.unary:
            return low
        words = np.array(self.unary, dtype=np.int64)
        first = words[:, :1] >> np.arange(_SLOTS) & 1
        second = words[:, 1:] >> np.maximum(np.cumsum(first, axis=1) - 1, 0) & 1
        steps = (first * (1 + second)).reshape(-1)
        ends = np.ones(len(steps), bool) if self.truncated else steps < 2
        return (_sums(steps, ends)[: self.count] << self.shift) + low

    def zero_runs(self, bits: Bits) -> IntArray:
        """The length of every run of zeros."""
        low = _gathered(bits, self.zero_remainders, self.zero_shift)
        width = _SLOTS if self.zero_shift < 3 else _SHORT
        steps = (np.array(self.zero_unary, dtype=np.int64)[:, None] >> np.arange(width) & 1).reshape(-1)
        return (_sums(steps, steps == 0)[: self.runs] << self.zero_shift) + low


def _walk(
    reader: _Reader, count: int, shift: int, truncated: bool, uncompressed: bool, runs: int, zero_shift: int
) -> _Chunks:
    """Find the parts of a slice: chunk by chunk, since each says how long the next is."""
    get = reader.get
    chunks = _Chunks(count, shift, truncated, [], [], runs, zero_shift, [], [])
    slots = _SHORT if uncompressed and shift > 5 else _SLOTS
    zero_width = _SLOTS if zero_shift < 3 else _SHORT
    done = zeros = 0
    weights_before = zeros_before = 0  # symbols of the last chunk, whose remainders come in this one
    while True:
        ahead = done - zeros if runs else 0
        take_weights = done < count and ahead < 8
        take_zeros = runs > 0 and ahead >= 0 and zeros < runs
        first = get(_SLOTS) if take_weights and not uncompressed else 0
        new_zeros = new_weights = 0
        if take_zeros:
            unary = get(zero_width)
            chunks.zero_unary.append(unary)
            new_zeros = min(zero_width - unary.bit_count(), runs - zeros)
        if take_weights:
            ones = first.bit_count()
            second = get(ones) if ones else 0
            if not uncompressed:
                chunks.unary.append((first, second))
            new_weights = min(slots if truncated else slots - second.bit_count(), count - done)
        for found, symbols, width in (
            (chunks.remainders, weights_before, shift),
            (chunks.zero_remainders, zeros_before, zero_shift),
        ):
            if symbols:
                found.append((reader.position, symbols))
                reader.position += symbols * width
        done, zeros = done + new_weights, zeros + new_zeros
        weights_before, zeros_before = new_weights, new_zeros
        if not (take_weights or take_zeros):
            get(0)  # the remainders end within the stream
            return chunks


def _sums(steps: IntArray, ends: NDArray[np.bool_]) -> IntArray:
    """The sum of the steps up to each end, from behind the last one."""
    return np.diff(np.cumsum(steps)[ends], prepend=0)


def _gathered(bits: Bits, runs: list[tuple[int, int]], width: int) -> IntArray:
    """Numbers of `width` bits: for each (position, count) so many in a row."""
    if not runs:
        return np.zeros(0, dtype=np.int64)
    starts, counts = np.array(runs, dtype=np.int64).T
    if not width:
        return np.zeros(int(counts.sum()), dtype=np.int64)
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    places = np.repeat(starts, counts) + within * width
    return _weighted(bits[places[:, None] + np.arange(width)])


def _numbers(bits: Bits, width: int) -> IntArray:
    """All numbers of `width` bits."""
    return _weighted(bits[: len(bits) // width * width].reshape(-1, width))


def _weighted(rows: Bits) -> IntArray:
    return np.asarray(rows @ (1 << np.arange(rows.shape[1], dtype=np.int64)), dtype=np.int64)


def _unfolded(codes: IntArray) -> IntArray:
    """2 |w| + (w < 0) -> w."""
    return np.where(codes & 1, -(codes >> 1), codes >> 1)


def _signed(codes: IntArray, bits: int) -> IntArray:
    return codes - (codes >> (bits - 1) << bits)
