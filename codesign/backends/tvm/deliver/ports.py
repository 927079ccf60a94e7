"""The network's inputs and outputs: what a caller puts into memory, and finds there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codesign.backends.tvm.storage import element
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray, IntType, Quant, TensorType


@dataclass(frozen=True)
class Port:
    """One input or output. shape: without a batch, channels last; dtype: of an element, as NumPy names it."""

    name: str
    type: TensorType

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(element(self.type.dtype))

    @property
    def bytes(self) -> int:
        return self.type.size * self.dtype.itemsize

    @property
    def c_type(self) -> str:
        return f"{self.dtype.name}_t"

    def data(self) -> dict[str, Any]:
        """What network.json says of it."""
        type_ = self.type
        return {
            "name": self.name,
            "shape": list(type_.shape),
            "dtype": self.dtype.name,
            "bytes": self.bytes,
            "lo": type_.dtype.lo,
            "hi": type_.dtype.hi,
            "meaning": meaning(type_.quant),
        }


def ports_of(graph: Graph) -> tuple[list[Port], list[Port]]:
    """Inputs and outputs."""
    return [Port(p.name, graph.type(p.name)) for p in graph.inputs], [
        Port(p.name, graph.type(p.name)) for p in graph.outputs
    ]


def values_of(dtype: IntType) -> str:
    """The values of a type, in words."""
    return "-1 or 1" if dtype.bipolar else f"{dtype.lo} to {dtype.hi}"


def meaning(quant: Quant | None) -> str:
    """What real value an integer q stands for; empty where the model does not say."""
    if quant is None:
        return ""
    if len(quant.scale) == len(quant.zero_point) == 1:
        zero_point = quant.zero_point[0]
        return f"real = (q {'+' if zero_point < 0 else '-'} {abs(zero_point):g}) * {quant.scale[0]!r}"
    return f"real = (q - zero point) * scale, one of each per index of axis {quant.axis}"


def frames_to_bytes(ports: Sequence[Port], feeds: Sequence[IntArray]) -> bytes:
    """(frames, …) integers of every port as bytes: one frame after the other, of each one port after the other."""
    stored = [feed.astype(port.dtype).reshape(len(feed), -1) for port, feed in zip(ports, feeds, strict=True)]
    rows = [array.view(np.uint8).reshape(len(array), -1) for array in map(np.ascontiguousarray, stored)]
    joined: np.ndarray[Any, np.dtype[np.uint8]] = np.concatenate(rows, axis=1)
    return joined.tobytes()


def frames_from_bytes(ports: Sequence[Port], data: bytes) -> list[IntArray]:
    """The inverse of `frames_to_bytes`."""
    rows = np.frombuffer(data, np.uint8).reshape(-1, sum(port.bytes for port in ports))
    arrays, at = [], 0
    for port in ports:
        part = np.ascontiguousarray(rows[:, at : at + port.bytes]).view(port.dtype)
        arrays.append(part.astype(np.int64).reshape(len(rows), *port.type.shape))
        at += port.bytes
    return arrays


def described(ports: Mapping[str, Sequence[Port]]) -> str:
    """The table of README.md."""
    rows = [
        f"| {kind} {i} | {port.name} | `{port.c_type}` | {' x '.join(map(str, port.type.shape))} | {port.bytes:,} | "
        f"{values_of(port.type.dtype)} | {meaning(port.type.quant)} |"
        for kind, some in ports.items()
        for i, port in enumerate(some)
    ]
    return "\n".join(rows)
