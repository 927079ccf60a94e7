"""What the rules of the exporter share: the graph, the file being written, and the tensors of the graph's values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from codesign.export.tflite.cover import Kernel, clamp_of
from codesign.export.tflite.file import ModelFile
from codesign.export.tflite.storage import Storage
from codesign.frontend.problems import Refusal
from codesign.frontend.tflite.params import NONE, RELU, RELU6, RELU_N1_TO_1, activation_range
from codesign.ir.graph import Graph
from codesign.ir.ops.base import Padding
from codesign.ir.types import IntArray

SAME, VALID = 0, 1


@dataclass
class Export:
    """State of one export.

    storages  of every value that is kept; tensors: its index in the file, once it is declared
    layers    for each operator of the file, the user's name of the layer that it serves
    nearest   whether a layer that cannot be exact may become the nearest that TFLite has; what was made so: `inexact`
    """

    graph: Graph
    storages: Mapping[str, Storage]
    file: ModelFile = field(default_factory=ModelFile)
    tensors: dict[str, int] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    nearest: bool = False
    inexact: dict[str, str] = field(default_factory=dict)

    def storage(self, name: str) -> Storage:
        """How a value is kept. Refusal when no tensor holds it."""
        if name not in self.storages:
            found = f"{name} of type {self.graph.type(name).dtype} between two layers"
            raise Refusal(found, "at most 8 bits, or 16 signed bits", "a quantiser behind the layer that computes it")
        return self.storages[name]

    def approximate(self, kernel: Kernel, channels: int, of: int) -> None:
        """Note that a kernel is not exact in some channels. Refusal where only exact ones are wanted."""
        found = f"{channels} of {of} channels are no scale, offset and rounding as TFLite has them"
        if not self.nearest:
            allowed = "what 8-bit weights, a 32-bit bias and TFLite's double rounding carry exactly"
            hint = "codesign export to a .tosa file, whose rescaling is explicit, or with --nearest"
            raise Refusal(found, allowed, hint)
        self.inexact[kernel.node.name] = found

    def declare(self, name: str) -> int:
        """The tensor of a value, made when it is first asked for."""
        if name not in self.tensors:
            self.tensors[name] = self.helper(name, self.graph.type(name).shape, self.storage(name))
        return self.tensors[name]

    def helper(self, name: str, shape: Sequence[int], storage: Storage) -> int:
        """A tensor of `shape` (without the batch) that is kept as `storage` says."""
        return self.file.tensor(name, (1, *shape), storage.kind, storage.scale, storage.zero_point)

    def constant(self, name: str, values: IntArray, storage: Storage) -> int:
        """A constant of stored integers with the meaning of `storage`."""
        return self.file.tensor(
            name, values.shape, storage.kind, storage.scale, storage.zero_point, data=values.astype(storage.kind)
        )

    def emit(self, kernel: Kernel, name: str, inputs: Sequence[int], output: int, **options: object) -> None:
        """An operator on behalf of a kernel."""
        self.file.operator(name, inputs, output, **options)
        self.layers.append(kernel.node.where)

    def reshaped(self, kernel: Kernel, index: int, shape: Sequence[int], storage: Storage, suffix: str) -> int:
        """A tensor under another shape (without the batch); the tensor itself where it has that shape."""
        if self.file.shape(index) == (1, *shape):
            return index
        made = self.helper(f"{kernel.node.name}.{suffix}", shape, storage)
        self.reshape(kernel, index, made)
        return made

    def reshape(self, kernel: Kernel, source: int, output: int) -> None:
        """RESHAPE to the shape of `output`."""
        shape = self.file.integers(f"{self.file.name(output)}.shape", self.file.shape(output))
        self.emit(kernel, "RESHAPE", [source, shape], output)

    def result(self, kernel: Kernel, shape: Sequence[int]) -> int:
        """A tensor of `shape` for an operator that computes the kernel's value; `finish` makes it the value."""
        final = self.declare(kernel.node.name)
        if self.file.shape(final) == (1, *shape):
            return final
        return self.helper(f"{kernel.node.name}.rows", shape, self.storage(kernel.node.name))

    def finish(self, kernel: Kernel, made: int) -> None:
        """The kernel's value from the tensor that `result` gave."""
        final = self.declare(kernel.node.name)
        if made != final:
            self.reshape(kernel, made, final)

    def padded(self, kernel: Kernel, index: int, storage: Storage, padding: Padding, stored: int) -> int:
        """An image with (top, left, bottom, right) pixels of a stored integer around it."""
        height, width, channels = self.file.shape(index)[1:]
        top, left, bottom, right = padding
        shape = (height + top + bottom, width + left + right, channels)
        made = self.helper(f"{kernel.node.name}.padded", shape, storage)
        self.pad(kernel, index, made, storage, padding, stored)
        return made

    def pad(self, kernel: Kernel, index: int, output: int, storage: Storage, padding: Padding, stored: int) -> None:
        """PAD, which fills with the zero point, or PADV2 with another stored integer."""
        low, high = storage.params.dtype.lo, storage.params.dtype.hi
        if not low <= stored <= high:
            raise Refusal(
                f"padding with {stored - storage.offset}", f"{low - storage.offset} to {high - storage.offset}"
            )
        top, left, bottom, right = padding
        name = self.file.name(output)
        amounts = self.file.integers(f"{name}.amounts", np.array([[0, 0], [top, bottom], [left, right], [0, 0]]))
        if stored == storage.zero_point:
            self.emit(kernel, "PAD", [index, amounts], output)
        else:
            filler = self.constant(f"{name}.filler", np.array([stored]), storage)
            self.emit(kernel, "PADV2", [index, amounts, filler], output)


def padding_mode(
    size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], padding: Padding
) -> int | None:
    """SAME or VALID where that is this padding (kernels/padding.h); None where it is neither."""
    if not any(padding):
        return VALID
    for axis in (0, 1):
        s, n = stride[axis], size[axis]
        total = max(0, (-(-n // s) - 1) * s + dilation[axis] * (kernel[axis] - 1) + 1 - n)
        if (padding[axis], padding[axis + 2]) != (total // 2, total - total // 2):
            return None
    return SAME


def activation_for(storage: Storage, low: int, high: int, *, exactly: bool) -> tuple[int, int, int]:
    """(activation, its low, its high): the fused activation that leaves the stored integers low … high and least more.

    exactly  it must leave these and no others. Refusal when there is none.
    """
    found = []
    for activation in (NONE, RELU, RELU6, RELU_N1_TO_1):
        try:
            least, most = activation_range(activation, storage.params)
        except Refusal:
            continue
        if (least, most) == (low, high) or (not exactly and least <= low and most >= high):
            found.append((most - least, activation, least, most))
    if not found:
        values = f"a result limited to {low - storage.offset} … {high - storage.offset}"
        raise Refusal(f"{values} at scale {storage.scale:g}", "what NONE, RELU, RELU6 or RELU_N1_TO_1 leave")
    _, activation, least, most = min(found)
    return activation, least, most


def clamp_behind(export: Export, kernel: Kernel) -> tuple[int, int] | None:
    """What the clamps of a chain leave together; None: it has none. Assumes that nothing else in it limits."""
    clamps = [clamp for node in kernel.chain if (clamp := clamp_of(export.graph, node)) is not None]
    return (max(low for low, _ in clamps), min(high for _, high in clamps)) if clamps else None
