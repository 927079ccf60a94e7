"""What memory holds from operator to operator of a compiled model, where its command streams share their regions.

Vela leaves a tensor in the arena across an operator of the CPU, and the next command stream reads it there without
naming it as an input. TensorFlow Lite Micro puts every tensor where the file says and keeps the arena of the command
streams as long as one of them is to come, so that the CPU writes only its results there. What is not certain to be
kept (fast memory outside the arena, results without an offset in the file) is not established.
"""

from __future__ import annotations

import numpy as np

from codesign.backends.ethosu.audit.flow import OPEN, Flow, is_open
from codesign.backends.ethosu.audit.program import Place, Program
from codesign.backends.ethosu.stream.memory import UNWRITTEN
from codesign.ir.types import IntArray


class Arena:
    """The labels of every byte of the regions, of which the arena is that which the model's own tensors are in.

    first  the first program: its region 1 is the arena
    """

    def __init__(self, flow: Flow, first: Program) -> None:
        self._flow = flow
        self._base, self._constants = first.base, first.constants
        self._arena = first.regions[0]
        self._held: dict[int, IntArray] = {self._arena: np.zeros(first.sizes[0], dtype=np.int64)}

    def enter(self, program: Program) -> list[IntArray]:
        """The regions of a program from 1 on, as they are when it starts; it changes them."""
        if (program.regions[0], program.base) != (self._arena, self._base):
            self._arena, self._base = program.regions[0], program.base
            self.forget()
        if program.constants != self._constants:  # a label says where in the block of constants a byte is from
            self._constants = program.constants
            for region in self._held.values():
                region[region < UNWRITTEN] = OPEN
        for tensor, size in zip(program.regions, program.sizes, strict=True):
            before = self._held.get(tensor)
            if before is None or len(before) != size:
                self._held[tensor] = np.full(size, UNWRITTEN if before is None else OPEN, dtype=np.int64)
            elif tensor != self._arena:
                before[before != UNWRITTEN] = OPEN
        return [self._held[tensor] for tensor in program.regions]

    def write(self, place: Place) -> None:
        """Something else than a command stream writes a tensor: the application an input, the CPU a result."""
        if place.address is None:
            self.forget()
            return
        labels, arena = self._labels(place), self._held[self._arena]
        start = place.address - self._base
        low, high = max(start, 0), min(start + place.size, len(arena))
        if low < high:
            arena[low:high] = labels[low - start : high - start]

    def wrong(self, place: Place) -> int:
        """How many elements of a tensor of the model are certainly not where the file says; 0: none that is known."""
        if place.address is None or place.tensor is None:
            return 0
        labels, start = self._labels(place), place.address - self._base
        found = self._held[self._arena][max(start, 0) : start + place.size]
        if start < 0 or len(found) != place.size or is_open(found) or is_open(labels):
            return 0
        different = (found != labels).reshape(self._flow.labels(place.tensor).size, -1)
        return int(np.count_nonzero(different.any(axis=1)))

    def forget(self) -> None:
        """From here on it is not known what memory holds."""
        for region in self._held.values():
            region[:] = OPEN

    def _labels(self, place: Place) -> IntArray:
        """The label of every byte of a tensor; not established for one that is none of the model's."""
        if place.tensor is not None:
            labels = self._flow.labels(place.tensor).reshape(-1)
            if place.size % labels.size == 0:
                return labels.repeat(place.size // labels.size)
        return np.full(place.size, OPEN, dtype=np.int64)
