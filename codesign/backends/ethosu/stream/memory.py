"""What every byte of memory holds while a stream runs: a label for each, moved by transfers, set by operations.

A label is a number: of a byte of the read-only constants -1 - offset, of an element of a feature map whatever
positive number its writer gives it, 0 where nothing was written. Reading a feature map gives the labels of what is
really there, whatever its addresses are meant to say: that is how an audit or an interpreter knows its inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codesign.backends.ethosu.stream.commands import at
from codesign.backends.ethosu.stream.errors import StreamError
from codesign.backends.ethosu.stream.operations import Copy, FeatureMap, Range, Storage
from codesign.ir.types import IntArray

UNWRITTEN = 0
MIXED = np.iinfo(np.int64).min
"""The label of an element whose bytes belong to different ones."""

READ_ONLY = 0
"""The region of the constants."""

TABLE_BYTES, TABLES = 256, 8
_TABLE_MEMORY = TABLE_BYTES * TABLES


class Memory:
    """The regions of a program, the memory of the look-up tables, and what operations hand over directly (U85).

    read_only  the constants, region 0
    regions    the labels of every byte of the other regions, from region 1 on, which are changed in place; two of them
               may be one
    tables     where the memory of the look-up tables is, as transfers address it
    """

    def __init__(self, read_only: bytes, regions: Sequence[IntArray], tables: int = 0) -> None:
        self._table_start = tables
        self._constants = np.frombuffer(read_only, dtype=np.uint8)
        self._regions = [-1 - np.arange(len(read_only), dtype=np.int64)]
        self._regions += regions
        self._tables = np.zeros(_TABLE_MEMORY, dtype=np.int64)
        self._chained: dict[int, IntArray] = {}

    def copy(self, copy: Copy) -> None:
        """Move labels as a transfer moves bytes. Raises StreamError for one that is not a plain run."""
        if not copy.plain:
            raise StreamError.at(at(copy.offset), "a transfer in several dimensions", "a run of bytes")
        labels = self._slice(copy.source, copy.offset)
        if copy.to_table:
            start = copy.target.address - self._table_start
            if start < 0 or start + len(labels) > _TABLE_MEMORY:
                place = f"{len(labels)} bytes at {copy.target.address:#x}"
                raise StreamError.at(at(copy.offset), place, "within the memory of the look-up tables")
            self._tables[start : start + len(labels)] = labels
        else:
            self._slice(copy.target, copy.offset)[:] = labels

    def constants(self, found: Range, offset: int) -> bytes:
        """The constants that lie in a range now. Raises StreamError where something else does."""
        return self._bytes(self._slice(found, offset), offset)

    def table(self, slot: int, length: int, offset: int) -> bytes:
        """`length` bytes of a look-up table from slot `slot` on. Raises StreamError where no constants are."""
        start = slot * TABLE_BYTES
        return self._bytes(self._tables[start : start + length], offset)

    def feature_constants(self, labels: IntArray, bits: int, signed: bool) -> IntArray | None:
        """The numbers behind the labels of a feature map that is read from the constants; None where any is not."""
        if not ((labels < 0) & (labels != MIXED)).all():
            return None
        dtype = np.dtype(f"<{'i' if signed else 'u'}{bits // 8}")
        places = (-1 - labels)[..., None] + np.arange(bits // 8)
        if int(places.max(initial=0)) >= len(self._constants):
            return None
        raw = np.ascontiguousarray(self._constants[places])
        return np.asarray(raw.view(dtype)[..., 0], dtype=np.int64)

    def read(self, fm: FeatureMap, offset: int) -> IntArray:
        """The label of every element, (height, width, depth). Raises StreamError for addresses outside a region."""
        if fm.storage is Storage.NONE:
            raise StreamError.at(at(offset), "an input that is nowhere", "one in memory, or chained")
        if fm.storage is Storage.CHAINED:
            labels = self._chained.get(fm.region)
            if labels is None or labels.size != np.prod(fm.shape):
                raise StreamError.at(at(offset), f"chained input {fm.region}", "one that was written before")
            return labels.reshape(fm.shape)
        region, addresses = self._region(fm, offset)
        labels = region[addresses]
        for byte in range(1, fm.bytes):
            # The bytes of a constant are labelled one by one, those of an element alike.
            same = region[addresses + byte] == np.where(labels < 0, labels - byte, labels)
            labels = np.where(same, labels, MIXED)
        return labels

    def write(self, fm: FeatureMap, labels: IntArray, offset: int) -> None:
        """Label every element of a feature map, if it is anywhere.

        Raises StreamError for addresses outside a region, or in constants.
        """
        if fm.storage is Storage.NONE:
            return
        if fm.storage is Storage.CHAINED:
            self._chained[fm.region] = labels
            return
        region, addresses = self._region(fm, offset)
        if fm.region == READ_ONLY:
            raise StreamError.at(at(offset), "a result among the constants", "another region")
        for byte in range(fm.bytes):
            region[addresses + byte] = labels

    def _slice(self, found: Range, offset: int) -> IntArray:
        if found.region >= len(self._regions):
            raise StreamError.at(at(offset), f"region {found.region}", f"0 to {len(self._regions) - 1}")
        region = self._regions[found.region]
        if found.address < 0 or found.address + found.length > len(region):
            place = f"{found.length} bytes at {found.address:#x} of region {found.region}"
            raise StreamError.at(at(offset), place, f"within its {len(region)} bytes")
        return region[found.address : found.address + found.length]

    def _region(self, fm: FeatureMap, offset: int) -> tuple[IntArray, IntArray]:
        addresses = fm.addresses()
        low, high = int(addresses.min()), int(addresses.max())
        self._slice(Range(fm.region, low, high - low + fm.bytes), offset)
        return self._regions[fm.region], addresses

    def _bytes(self, labels: IntArray, offset: int) -> bytes:
        if not (labels < 0).all():
            raise StreamError.at(at(offset), "constants from memory that holds something else", "read-only bytes")
        return bytes(self._constants[-1 - labels])
