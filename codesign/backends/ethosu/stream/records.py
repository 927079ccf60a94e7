"""Biases and scales of a convolution: a record of 10 bytes for each output.

U55, U65: bias 40 bits, multiplier 32 bits, shift 6 bits. U85, accumulators of 32 bits: bias 32, multiplier 31 (the
bit above it is 0), shift 6; accumulators of 48 bits: bias 48, multiplier 15, shift 6. All little-endian, the bias
signed. Source: Vela 5.2, encode_bias in ethosu/vela/weight_compressor.py; U85: established from what the compiler
core packs for models with known biases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codesign.backends.ethosu.stream.errors import StreamError
from codesign.ir.types import IntArray

_BYTES = 10


@dataclass(frozen=True, eq=False)
class Records:
    """bias, multiplier and shift of every output."""

    bias: IntArray
    multiplier: IntArray
    shift: IntArray


def read_records(data: bytes, family: str, accumulator: int) -> Records:
    """The records in `data`; bytes behind the last whole one are padding. StreamError for bits that mean nothing."""
    count = len(data) // _BYTES
    rows = np.frombuffer(data, dtype=np.uint8, count=count * _BYTES).reshape(count, _BYTES).astype(np.int64)
    bias_bytes = 5 if family != "ethos-u85" else 4 if accumulator == 32 else 6
    scale_end = 9 if family != "ethos-u85" else 8
    bias = _number(rows[:, :bias_bytes])
    bits = 8 * bias_bytes
    bias -= (bias >> (bits - 1)) << bits
    if (rows[:, scale_end:] >> 6).any() or rows[:, scale_end + 1 :].any():
        raise StreamError.at("biases and scales", "bits behind a shift", "0 there")
    return Records(bias, _number(rows[:, bias_bytes:scale_end]), rows[:, scale_end])


def join_cores(parts: list[Records], outputs: int) -> Records | None:
    """The records of all outputs from those of the cores, each with every n-th; None where one has too few."""
    joined = [np.zeros(outputs, dtype=np.int64) for _ in range(3)]
    for core, part in enumerate(parts):
        wanted = len(range(core, outputs, len(parts)))
        if len(part.bias) < wanted:
            return None
        for target, source in zip(joined, (part.bias, part.multiplier, part.shift), strict=True):
            target[core :: len(parts)] = source[:wanted]
    return Records(*joined)


def _number(columns: IntArray) -> IntArray:
    weights = np.int64(1) << (8 * np.arange(columns.shape[1], dtype=np.int64))
    return np.asarray(columns @ weights, dtype=np.int64)
