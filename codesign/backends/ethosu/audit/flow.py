"""Which elements of which tensor an operation reads and writes, known from the labels in memory alone.

Every element of every tensor of the model has a label. What an operation reads is looked up in memory under the
addresses that its registers give, so shapes, strides, formats, tiles, rolling buffers, slices and concatenations are
compared by what they lead to. Operators that only move values need no operation: their result is labelled as their
input is, moved by the golden graph's own evaluation.
"""

from __future__ import annotations

import numpy as np

from codesign.backends.ethosu.audit.golden import Golden
from codesign.backends.ethosu.stream.memory import Memory
from codesign.backends.ethosu.stream.operations import FeatureMap
from codesign.ir.ops import Concat, Pad, Reshape, Take
from codesign.ir.types import IntArray

_TENSOR = 1 << 36
NUMBER = 1 << 60
"""NUMBER + v: the number v, wherever it comes from: what pads an image."""
OPEN = 1 << 61
"""From here on: results of operations that are not established."""

_NUMBERS = NUMBER - (1 << 32), NUMBER + (1 << 32)


class Flow:
    """The labels of the model's tensors, and of what is in the memory of the program that runs."""

    def __init__(self, golden: Golden) -> None:
        self.golden, self.memory = golden, Memory(b"", [])
        self._labels: dict[int, IntArray] = {}
        self._sorted: dict[int, tuple[IntArray, IntArray]] = {}
        self._fresh = OPEN
        self.partial: dict[tuple[int, int], IntArray] = {}
        """By tensor and channel: what a mean's sums become before they are rescaled, for every sum there can be."""

    def labels(self, tensor: int) -> IntArray:
        """The label of every element of a tensor, in its shape without the batch."""
        found = self._labels.get(tensor)
        if found is None:
            found = self._moved(tensor)
            if found is None:
                size = int(np.prod(self.golden.shape(tensor)))
                found = (np.arange(size) + (tensor + 1) * _TENSOR).reshape(self.golden.shape(tensor))
            self._labels[tensor] = found
        return found

    def _moved(self, tensor: int) -> IntArray | None:
        """The labels of a tensor that its operator only moves; None for one that computes."""
        nodes = self.golden.nodes(tensor)
        if not nodes or not all(isinstance(n.op, Reshape | Take | Concat | Pad) for n in nodes):
            return None
        values = {self.golden.values[t]: self.labels(t)[None] for t in self.golden.ends(nodes)}
        for node in nodes:
            args = [values[name] for name in node.inputs]
            if isinstance(node.op, Pad):
                top, left, bottom, right = node.op.padding
                around = ((0, 0), (top, bottom), (left, right), (0, 0))
                values[node.name] = np.pad(args[0], around, constant_values=NUMBER + node.op.value)
            else:
                values[node.name] = node.op.evaluate(args, self.golden.graph.args(node))
        found: IntArray = values[nodes[-1].name][0]
        return found

    def moves(self, tensor: int) -> bool:
        """Whether a tensor's operator only moves values."""
        return tensor in self.golden.values and self._moved(tensor) is not None

    def unlimited(self, tensor: int) -> IntArray:
        """Labels of what a tensor is before its fused activation limits it, in row-major order."""
        size = int(np.prod(self.golden.shape(tensor)))
        return np.arange(size) + (tensor + 1) * _TENSOR + _TENSOR // 4

    def sums(self, tensor: int) -> IntArray:
        """Labels of the sums, one for each channel, that a mean is made of."""
        return np.arange(self.golden.shape(tensor)[-1]) + (tensor + 1) * _TENSOR + _TENSOR // 2

    def fresh(self, shape: tuple[int, ...]) -> IntArray:
        """Labels of their own for a result that is not established, or that no tensor of the model is."""
        size = int(np.prod(shape))
        self._fresh += size
        return np.arange(self._fresh - size, self._fresh).reshape(shape)

    def read(self, fm: FeatureMap, offset: int) -> IntArray:
        """The labels that a feature map has now."""
        return self.memory.read(fm, offset)

    def positions(self, labels: IntArray, tensor: int) -> IntArray | None:
        """The row-major index in a tensor of every label; None where one is not the tensor's, or is there twice."""
        known = self._sorted.get(tensor)
        if known is None:
            flat = self.labels(tensor).reshape(-1)
            order = np.argsort(flat, kind="stable")
            known = self._sorted[tensor] = flat[order], order
        ordered, order = known
        places = np.searchsorted(ordered, labels)
        if (places >= len(ordered)).any() or (ordered[places] != labels).any():
            return None
        repeated = places + 1 < len(ordered)
        if (ordered[np.minimum(places + 1, len(ordered) - 1)] == labels)[repeated].any():
            return None
        return order[places]

    def box(self, labels: IntArray, tensor: int) -> tuple[int, int, int] | None:
        """Where (row, column, channel) a tensor has exactly this box of labels; None where it has not."""
        whole = self.labels(tensor)
        if whole.ndim != 3:
            whole = whole.reshape((1,) * (3 - whole.ndim) + whole.shape) if whole.ndim < 3 else whole
        if whole.ndim != 3:
            return None
        flat = labels.reshape(-1)
        single = np.flatnonzero((flat < _NUMBERS[0]) | (flat >= _NUMBERS[1]))
        at = int(single[0]) if len(single) else 0
        for place in np.flatnonzero(whole.reshape(-1) == flat[at]):
            corner = np.array(np.unravel_index(place, whole.shape)) - np.unravel_index(at, labels.shape)
            end = corner + labels.shape
            if (corner < 0).any() or (end > whole.shape).any():
                continue
            y, x, c = (int(v) for v in corner)
            if (whole[y : end[0], x : end[1], c : end[2]] == labels).all():
                return y, x, c
        return None


def is_open(labels: IntArray) -> bool:
    """Whether any label is of a result that is not established."""
    return bool((labels >= OPEN).any())


def as_numbers(labels: IntArray, constants: IntArray | None) -> IntArray:
    """Labels of constants as numbers, so that a copy of them is what it says; others unchanged."""
    return labels if constants is None else NUMBER + constants
