"""Numbers as text that C code includes: the C itself is in app/, only data is made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codesign.errors import Diagnostic, UnsupportedError, raise_all
from codesign.frontend.tflite.schema import Model, Tensor
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray

_WORDS_A_LINE, _BYTES_A_LINE = 8, 24
_KINDS = ("int8", "uint8", "int16", "int32")


@dataclass(frozen=True)
class CPort:
    """An input or output as the NPU has it: the row of `struct model_port` in app/model.h.

    address     of its first byte in the arena; None where an interpreter finds a place for it
    shape       with the batch of one
    scale       0: the model says none
    """

    name: str
    kind: str
    address: int | None
    shape: tuple[int, ...]
    scale: float
    zero_point: int

    @property
    def element_bytes(self) -> int:
        return np.dtype(self.kind).itemsize

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape)) * self.element_bytes

    def row(self) -> str:
        """The initialiser; a hexadecimal float loses nothing."""
        shape = ", ".join(map(str, self.shape))
        return (
            f'{{"{self.name}", {self.address}, {self.bytes}, {self.element_bytes}, {len(self.shape)}, {{{shape}}}, '
            f"{self.scale.hex()}f, {self.zero_point}}},\n"
        )


def words(content: bytes) -> str:
    """Little-endian 32-bit words, as Cortex-M and the NPU read memory; zeros fill the last one."""
    values = np.frombuffer(content + bytes(-len(content) % 4), dtype="<u4").tolist()
    return _lines([f"0x{value:08x}," for value in values], _WORDS_A_LINE)


def byte_rows(rows: Sequence[bytes]) -> str:
    """One brace per row of bytes."""
    return "".join(f"{{\n{_lines([f'{value},' for value in row], _BYTES_A_LINE)}}},\n" for row in rows)


def defines(values: Mapping[str, int]) -> str:
    """A header of numbers."""
    return "".join(f"#define {name} {value}\n" for name, value in values.items())


def _lines(cells: Sequence[str], width: int) -> str:
    return "".join(" ".join(cells[i : i + width]) + "\n" for i in range(0, len(cells), width))


def ports(model: Model, graph: Graph, addresses: Sequence[int] | None) -> tuple[list[CPort], list[CPort]]:
    """Inputs and outputs of a compiled model under the golden graph's names, at `addresses` (inputs, then outputs).

    Raises UnsupportedError for tensors that are no plain integers.
    """
    names = [port.name for port in (*graph.inputs, *graph.outputs)]
    tensors = [model.tensors[i] for i in (*model.inputs, *model.outputs)]
    found, problems = [], []
    for number, (name, tensor) in enumerate(zip(names, tensors, strict=True)):
        if tensor.kind not in _KINDS:
            problems.append(Diagnostic(name, f"a tensor of {tensor.kind} in the compiled model", ", ".join(_KINDS)))
            continue
        found.append(_port(name, tensor, None if addresses is None else addresses[number]))
    raise_all(UnsupportedError, problems)
    return found[: len(graph.inputs)], found[len(graph.inputs) :]


def _port(name: str, tensor: Tensor, address: int | None) -> CPort:
    scale = float(tensor.scale[0]) if tensor.scale.size else 0.0
    zero_point = int(tensor.zero_point[0]) if tensor.zero_point.size else 0
    return CPort(name, tensor.kind, address, tensor.shape, scale, zero_point)


def vectors(ports: Sequence[CPort], values: Sequence[IntArray]) -> list[bytes]:
    """Per frame the bytes of all tensors one after the other.

    values  (frames, …) of each: the integers that the tensors hold

    Raises UnsupportedError where they do not fit into the tensor.
    """
    encoded, problems = [], []
    for port, array in zip(ports, values, strict=True):
        limits = np.iinfo(port.kind)
        assert array[0].size * port.element_bytes == port.bytes, f"{port.name}: {array.shape} for {port.shape}"
        if array.size and not limits.min <= array.min() <= array.max() <= limits.max:
            found = f"values from {array.min()} to {array.max()}"
            problems.append(Diagnostic(port.name, found, f"{port.kind}: {limits.min} to {limits.max}"))
        else:
            encoded.append(np.ascontiguousarray(array, dtype=f"<{limits.dtype.str[1:]}"))
    raise_all(UnsupportedError, problems)
    return [b"".join(array[frame].tobytes() for array in encoded) for frame in range(len(values[0]))]
