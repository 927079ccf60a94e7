"""The FlatBuffers wire format, read-only: tables, vectors and strings of a file that may be damaged.

A table starts with a signed distance back to its vtable, which holds for every field the offset from the table's start
(0: the field has its default). Vectors and strings lie at an unsigned offset from where they are referred to, and
start with their length. All numbers are little-endian. https://flatbuffers.dev/internals
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scalar = int | float | bool


class Damaged(Exception):
    """An offset or a length that leads out of the file."""


def _unpack(data: bytes, kind: str, position: int) -> Any:
    if position < 0:
        raise Damaged(f"an offset to {position}")
    try:
        return struct.unpack_from(f"<{kind}", data, position)[0]
    except struct.error as error:
        raise Damaged(f"an offset to {position} of {len(data)} bytes") from error


@dataclass(frozen=True)
class Table:
    """One table: the fields by their number in the schema, in the order of the schema's declaration.

    Every method raises Damaged for what leads out of the file.
    """

    data: bytes
    position: int

    @classmethod
    def root(cls, data: bytes) -> Table:
        """The table that the file starts with."""
        return cls(data, _unpack(data, "I", 0))

    def _at(self, number: int) -> int:
        """Where the field is; 0 when it has its default."""
        vtable = self.position - _unpack(self.data, "i", self.position)
        entry = 4 + 2 * number
        if entry + 2 > _unpack(self.data, "H", vtable):
            return 0
        offset: int = _unpack(self.data, "H", vtable + entry)
        return self.position + offset if offset else 0

    def _referred(self, number: int) -> int:
        """Where the object is that the field refers to; 0 when there is none."""
        at = self._at(number)
        return at + _unpack(self.data, "I", at) if at else 0

    def scalar(self, number: int, kind: str, default: Scalar = 0) -> Any:
        """A number; `kind` as in the module struct."""
        at = self._at(number)
        return _unpack(self.data, kind, at) if at else default

    def table(self, number: int) -> Table | None:
        """Another table; None when there is none."""
        at = self._referred(number)
        return Table(self.data, at) if at else None

    def text(self, number: int) -> str:
        """A string, '' when there is none; bytes that are no UTF-8 are replaced."""
        return self.array(number, "B").tobytes().decode("utf-8", errors="replace")

    def has(self, number: int) -> bool:
        """Whether the file gives the field a value."""
        return bool(self._at(number))

    def _vector(self, number: int, width: int) -> tuple[int, int]:
        """(position, length) of a vector of elements of `width` bytes."""
        at = self._referred(number)
        if not at:
            return 0, 0
        length: int = _unpack(self.data, "I", at)
        if at + 4 + length * width > len(self.data):
            raise Damaged(f"{length} elements at {at} of {len(self.data)} bytes")
        return at + 4, length

    def array(self, number: int, kind: str) -> NDArray[Any]:
        """A vector of numbers; empty when there is none."""
        dtype = np.dtype(kind).newbyteorder("<")
        at, length = self._vector(number, dtype.itemsize)
        return np.frombuffer(self.data, dtype=dtype, count=length, offset=at)

    def tables(self, number: int) -> list[Table]:
        """A vector of tables; empty when there is none."""
        at, length = self._vector(number, 4)
        places = range(at, at + 4 * length, 4)
        return [Table(self.data, place + _unpack(self.data, "I", place)) for place in places]
