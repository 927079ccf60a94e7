"""The custom operators of a compiled model: payloads, constants, and where inputs and outputs are in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codesign.backends.ethosu.audit.golden import Golden
from codesign.backends.ethosu.stream.errors import StreamError
from codesign.frontend.tflite.flatbuffer import Damaged, Table
from codesign.frontend.tflite.schema import Model, Operator, parse_model

_CUSTOM = "CUSTOM ethos-u"
_BUFFERS, _METADATA = 4, 6
_PLACES = "OfflineMemoryAllocation"


@dataclass(frozen=True, eq=False)
class Program:
    """One custom operator.

    sizes            bytes of the regions from 1 on
    inputs, outputs  (tensor of the source model, byte address in region 1)
    """

    payload: bytes
    read_only: bytes
    sizes: tuple[int, ...]
    inputs: tuple[tuple[int, int], ...]
    outputs: tuple[tuple[int, int], ...]


def programs(compiled: bytes, golden: Golden) -> list[Program]:
    """The programs of a compiled model, in order. Raises StreamError for a model that is none, or has none."""
    try:
        model = parse_model(compiled)
        places = _places(compiled)
    except Damaged as error:
        raise StreamError.at("compiled model", f"damaged: {error}", "a whole .tflite file") from error
    names = {tensor.name: index for index, tensor in enumerate(golden.model.tensors)}
    found = [_program(model, op, places, names) for op in model.operators if op.name == _CUSTOM]
    if not found:
        raise StreamError.at("compiled model", "no operator ethos-u", "at least one: nothing runs on the NPU")
    return found


def _places(compiled: bytes) -> list[int]:
    """The offset of every tensor in the arena, -1 for those outside: the metadata of TensorFlow Lite Micro."""
    root = Table.root(compiled)
    buffers = root.tables(_BUFFERS)
    for entry in root.tables(_METADATA):
        if entry.text(0) == _PLACES:
            return [int(v) for v in buffers[entry.scalar(1, "I")].array(0, "i4")[3:]]
    raise Damaged(f"no metadata {_PLACES}")


def _program(model: Model, op: Operator, places: list[int], names: dict[str, int]) -> Program:
    commands, read_only, *regions = (model.tensors[i] for i in op.inputs)
    computed = [t for t in regions if t.kind == "uint8" and t.name.startswith("scratch")]
    scratch = op.inputs[2]
    base = places[scratch] if scratch < len(places) else 0
    ends = []
    for indices in (op.inputs[2 + len(computed) :], op.outputs):
        found = []
        for index in indices:
            name = model.tensors[index].name
            if name in names and index < len(places) and places[index] >= 0:
                found.append((names[name], places[index] - base))
        ends.append(tuple(found))
    payload, constants = (b"" if t.data is None else t.data.tobytes() for t in (commands, read_only))
    return Program(payload, constants, tuple(int(np.prod(t.shape)) for t in computed), ends[0], ends[1])
