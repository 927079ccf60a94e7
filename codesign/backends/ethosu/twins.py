"""Layers of equal weights and unequal biases, which Vela 5.2 compiles wrongly: both get the biases of one of them.

It keeps the constants that it packs for a layer, and takes them again for another of the same weights, multipliers and
shifts; the biases are packed with them, but are not compared. Seen on all families, of .tflite and .tosa files alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from codesign.errors import Diagnostic
from codesign.frontend.tflite.schema import Model, Operator

_KERNELS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclass(frozen=True)
class Packed:
    """The constants of one convolution or fully connected layer. key: weights and scales, as bytes."""

    layer: str
    key: bytes
    biases: bytes


def twins(packed: Iterable[Packed]) -> list[Diagnostic]:
    """A finding for every layer that would get the biases of an earlier one."""
    first: dict[bytes, Packed] = {}
    found = []
    for layer in packed:
        other = first.setdefault(layer.key, layer)
        if other.biases != layer.biases:
            text = f"weights and scales equal to those of {other.layer}, but other biases: Vela 5.2 gives both the same"
            found.append(Diagnostic(layer.layer, text, "weights or scales that differ", "an FPGA target"))
    return found


def packed_of(model: Model, layers: Sequence[str]) -> list[Packed]:
    """The layers of a .tflite file with constants; `layers`: the user's name for every operator."""
    pairs = zip(model.operators, layers, strict=True)
    return [_packed(model, op, layer) for op, layer in pairs if op.name in _KERNELS]


def _packed(model: Model, op: Operator, layer: str) -> Packed:
    x, weights, y = (model.tensors[i] for i in (*op.inputs[:2], op.outputs[0]))
    bias = model.tensors[op.inputs[2]].data if len(op.inputs) > 2 and op.inputs[2] >= 0 else None
    factors = np.float64(x.scale[0]) * weights.scale / np.float64(y.scale[0])
    data = b"" if weights.data is None else weights.data.tobytes()
    return Packed(layer, factors.tobytes() + data, b"" if bias is None else bias.tobytes())
