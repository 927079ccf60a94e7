"""The custom operators of a compiled model: payloads, constants, and where inputs and outputs are in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codesign.backends.ethosu.audit.golden import Golden
from codesign.backends.ethosu.stream.errors import StreamError
from codesign.backends.ethosu.vela import NPU_OPERATOR
from codesign.frontend.tflite.flatbuffer import Damaged, Table
from codesign.frontend.tflite.schema import Model, Operator, Tensor, parse_model

_BUFFERS, _METADATA = 4, 6
_PLACES = "OfflineMemoryAllocation"


@dataclass(frozen=True)
class Place:
    """Where a tensor of the compiled model is.

    tensor   of the source model; None: Vela made it
    address  in the arena, in bytes; None: no offset is fixed for it
    size     bytes
    """

    tensor: int | None
    address: int | None
    size: int


@dataclass(frozen=True, eq=False)
class Program:
    """What a custom operator has the NPU do.

    constants  which block of constants it has: the number of the tensor in the file
    regions    the tensors that are its regions from 1 on; region 1 is the arena, from `base` on
    sizes      their bytes
    """

    payload: bytes
    read_only: bytes
    constants: int
    regions: tuple[int, ...]
    sizes: tuple[int, ...]
    base: int


@dataclass(frozen=True, eq=False)
class Call:
    """An operator of the compiled model: the variables that it reads and writes; without a program it is the CPU's."""

    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    program: Program | None = None


@dataclass(frozen=True, eq=False)
class Executable:
    """A compiled model: its variables at the start and at the end, and its operators in the order of execution."""

    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    calls: tuple[Call, ...]

    @property
    def programs(self) -> tuple[Program, ...]:
        """The programs of all custom operators."""
        return tuple(call.program for call in self.calls if call.program is not None)


def executable(compiled: bytes, golden: Golden) -> Executable:
    """A compiled model taken apart. Raises StreamError for one that is none, or has nothing for the NPU."""
    try:
        model = parse_model(compiled)
        places = _places(compiled)
    except Damaged as error:
        raise StreamError.at("compiled model", f"damaged: {error}", "a whole .tflite file") from error
    names = {tensor.name: index for index, tensor in enumerate(golden.model.tensors)}

    def located(indices: Sequence[int]) -> tuple[Place, ...]:
        return tuple(_place(model.tensors[i], places[i], names) for i in indices if _varies(model, i))

    if len(places) < len(model.tensors):
        raise StreamError.at("compiled model", f"offsets of {len(places)} tensors", f"of all {len(model.tensors)}")
    calls = []
    for op in model.operators:
        program, first = _program(model, op, places) if op.name == NPU_OPERATOR else (None, 0)
        calls.append(Call(located(op.inputs[first:]), located(op.outputs), program))
    found = Executable(located(model.inputs), located(model.outputs), tuple(calls))
    if not found.programs:
        raise StreamError.at("compiled model", "no operator ethos-u", "at least one: nothing runs on the NPU")
    return found


def _places(compiled: bytes) -> list[int]:
    """The offset of every tensor in the arena, -1 for those outside: the metadata of TensorFlow Lite Micro."""
    root = Table.root(compiled)
    buffers = root.tables(_BUFFERS)
    for entry in root.tables(_METADATA):
        if entry.text(0) == _PLACES:
            content = buffers[entry.scalar(1, "I")].array(0, "u1").tobytes()
            return [int(v) for v in np.frombuffer(content, "<i4", len(content) // 4)[3:]]
    raise Damaged(f"no metadata {_PLACES}")


def _varies(model: Model, index: int) -> bool:
    """Whether there is such an input (operators may leave some out), and it is computed."""
    return index >= 0 and model.tensors[index].data is None


def _place(tensor: Tensor, address: int, names: Mapping[str, int]) -> Place:
    size = int(np.prod(tensor.shape)) * np.dtype(tensor.kind).itemsize
    return Place(names.get(tensor.name), address if address >= 0 else None, size)


def _program(model: Model, op: Operator, places: Sequence[int]) -> tuple[Program, int]:
    """(what a custom operator runs, how many of its inputs are there for it: commands, constants and regions)."""
    first = 2 + sum(_is_region(model.tensors[i]) for i in op.inputs[2:])
    commands, read_only, *regions = (model.tensors[i] for i in op.inputs[:first])
    payload, constants = (b"" if t.data is None else t.data.tobytes() for t in (commands, read_only))
    sizes = tuple(int(np.prod(t.shape)) for t in regions)
    base = max(places[op.inputs[2]], 0)
    return Program(payload, constants, op.inputs[1], tuple(op.inputs[2:first]), sizes, base), first


def _is_region(tensor: Tensor) -> bool:
    return tensor.kind == "uint8" and tensor.name.startswith("scratch")
