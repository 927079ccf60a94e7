"""The functions of an ELF executable: where they begin and end. A reader of 64-bit little-endian symbol tables.

Source: System V Application Binary Interface, chapter 4, and its supplement for 64-bit objects.
"""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from codesign.errors import InputError

FIXED, SHARED = 2, 3
"""Kinds of ELF file (e_type): loaded where it says, or anywhere."""

_SYMTAB = 2
_FUNCTION = 2
_INDIRECT = 10  # STT_GNU_IFUNC


@dataclass(frozen=True)
class Function:
    """A function's first address, and the first one behind it."""

    name: str
    start: int
    end: int


class Functions:
    """Which function an address belongs to."""

    def __init__(self, functions: Iterable[Function]) -> None:
        self.all = sorted(functions, key=lambda f: f.start)
        self._starts = [f.start for f in self.all]

    def at(self, address: int) -> Function | None:
        i = bisect.bisect_right(self._starts, address) - 1
        return self.all[i] if i >= 0 and address < self.all[i].end else None


def kind_of(path: Path) -> int:
    """FIXED or SHARED."""
    return int.from_bytes(path.read_bytes()[16:18], "little")


def functions_of(path: Path) -> Functions:
    """The functions in the symbol table of a file; of several names for one address the first in alphabetical order.

    A function without a size, as hand-written assembly has, ends where the next begins. InputError: not such a file.
    """
    data = path.read_bytes()
    try:
        symbols = dict(sorted(_symbols(data), key=lambda item: (item[0], item[1][1]), reverse=True))
    except (struct.error, IndexError, ValueError) as error:
        raise InputError.at(
            str(path), f"its symbol table cannot be read: {error}", "a 64-bit ELF executable"
        ) from error
    starts = sorted(symbols)
    functions = []
    for i, start in enumerate(starts):
        size, name = symbols[start]
        following = starts[i + 1] if i + 1 < len(starts) else start + 4
        functions.append(Function(name, start, start + size if size else following))
    return Functions(functions)


def _symbols(data: bytes) -> Iterable[tuple[int, tuple[int, str]]]:
    (offset,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<2H", data, 0x3A)
    headers = [struct.unpack_from("<2I4Q2I2Q", data, offset + i * size) for i in range(count)]
    for header in headers:
        if header[1] != _SYMTAB:
            continue
        names_at = headers[header[6]][4]
        for at in range(header[4], header[4] + header[5], 24):
            name, info, _, section, value, length = struct.unpack_from("<IBBHQQ", data, at)
            if info & 15 not in (_FUNCTION, _INDIRECT) or not section:
                continue
            start = names_at + name
            yield value, (length, data[start : data.index(0, start)].decode(errors="replace"))


def code_bytes(path: Path) -> int:
    """The sizes of the functions in a file's symbol table, an object file's included."""
    return sum(size for _, (size, _) in _symbols(path.read_bytes()))
