"""Frames as the beats of an AXI4-Stream, and back: element i of a beat in bits [i*W +: W], bytes lowest first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codesign.ir.types import IntArray, IntType


def beat_bytes(dtype: IntType, lanes: int) -> int:
    """Bytes of a beat: its bits, filled up to whole bytes."""
    return -(-lanes * dtype.bits // 8)


def pack(values: IntArray, dtype: IntType, lanes: int) -> NDArray[np.uint8]:
    """(frames, …) elements in stream order -> (frames, beats, bytes)."""
    frames = values.shape[0]
    codes = dtype.encode(values.reshape(frames, -1, lanes))
    if dtype.bits == 8:
        return codes.astype(np.uint8)
    shifts = np.arange(dtype.bits)
    bits = ((codes[..., None] >> shifts) & 1).astype(np.uint8).reshape(*codes.shape[:2], lanes * dtype.bits)
    return np.packbits(bits, axis=-1, bitorder="little")


def unpack(beats: NDArray[np.uint8], dtype: IntType, lanes: int, shape: tuple[int, ...]) -> IntArray:
    """The inverse of `pack`: (frames, beats, bytes) -> (frames, *shape)."""
    frames, count, _ = beats.shape
    bits = np.unpackbits(beats, axis=-1, bitorder="little")[..., : lanes * dtype.bits]
    weights = np.int64(1) << np.arange(dtype.bits)
    codes = bits.reshape(frames, count, lanes, dtype.bits).astype(np.int64) @ weights
    return dtype.decode(codes).reshape(frames, *shape)
