"""Integers as the words of a memory file, and integer types as parameters of a module."""

from __future__ import annotations

import numpy as np

from codesign.ir.types import IntArray, IntType


def hex_words(codes: IntArray, bits: int) -> list[str]:
    """One line of hexadecimal digits per row of `codes` (words, elements): element i in bits [i*bits +: bits].

    `codes` are bit patterns, non-negative and below 2^bits, as `IntType.encode` gives them; bits is 1 to 63.
    """
    words, elements = codes.shape
    columns = -(-bits * elements // 8) * 8
    planes = (codes[:, :, None] >> np.arange(bits, dtype=np.int64)) & 1
    flat = np.zeros((words, columns), dtype=np.uint8)
    flat[:, : bits * elements] = planes.reshape(words, -1)
    packed = np.packbits(flat, axis=1, bitorder="little")[:, ::-1]
    digits = -(-bits * elements // 4)
    return [row.tobytes().hex()[-digits:] for row in packed]


def word_literal(code: int, bits: int) -> str:
    """A sized literal: `4'hf`."""
    return f"{bits}'h{code:x}"


def plain_signed(dtype: IntType) -> bool:
    """Whether the word is two's complement; a bipolar one is not."""
    return dtype.signed and not dtype.bipolar


def type_parameters(prefix: str, dtype: IntType) -> dict[str, int | str]:
    """`{prefix}Bits`, `{prefix}Signed`, `{prefix}Bipolar`."""
    return {
        f"{prefix}Bits": dtype.bits,
        f"{prefix}Signed": int(plain_signed(dtype)),
        f"{prefix}Bipolar": int(dtype.bipolar),
    }
