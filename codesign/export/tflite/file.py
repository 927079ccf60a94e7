"""A `.tflite` file being written: tensors and operators one by one, then the flatbuffer. Schema version 3.

Fields are numbered as in tensorflow/lite/schema/schema.fbs; the options of operators come from the table that the
importer reads them with (frontend.tflite.schema).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.frontend.tflite.schema import BUILTINS, KINDS

_CODES: Mapping[str, int] = {name: code for code, (name, _) in BUILTINS.items()}
_KINDS: Mapping[str, int] = {name: number for number, (name, _) in KINDS.items()}

# Operator -> (number of its table in the union BuiltinOptions, version for int8, version for int16): what the kernels
# of these types were introduced with. An older interpreter then says that it lacks them instead of computing nonsense.
_OPTIONS: Mapping[str, tuple[int, int, int]] = {
    "ADD": (11, 2, 3),
    "ARG_MAX": (40, 2, 2),
    "AVERAGE_POOL_2D": (5, 2, 3),
    "CAST": (37, 1, 1),
    "CONCATENATION": (10, 2, 3),
    "CONV_2D": (1, 3, 4),
    "DEPTHWISE_CONV_2D": (2, 3, 5),
    "FULLY_CONNECTED": (8, 4, 7),
    "HARD_SWISH": (91, 1, 1),
    "LOGISTIC": (0, 2, 3),
    "MAX_POOL_2D": (5, 2, 3),
    "MEAN": (27, 2, 3),
    "MUL": (21, 2, 4),
    "PAD": (22, 2, 3),
    "PADV2": (43, 2, 3),
    "QUANTIZE": (89, 2, 2),
    "RELU": (0, 2, 3),
    "RELU6": (0, 2, 3),
    "RELU_N1_TO_1": (0, 1, 1),
    "RESHAPE": (17, 1, 1),
    "RESIZE_NEAREST_NEIGHBOR": (74, 3, 4),
    "SOFTMAX": (9, 2, 3),
    "STRIDED_SLICE": (32, 2, 4),
    "SUB": (28, 2, 5),
    "TANH": (0, 2, 3),
    "TRANSPOSE": (26, 2, 4),
}


@dataclass(frozen=True, eq=False)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    kind: str
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int
    data: NDArray[Any] | None


@dataclass(frozen=True)
class _Operator:
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]
    version: int


class ModelFile:
    """Tensors are known by their index, which `tensor` and `const` return."""

    def __init__(self) -> None:
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self._tensors: list[_Tensor] = []
        self._operators: list[_Operator] = []
        self._names: set[str] = set()

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        kind: str,
        scale: float | Sequence[float] | NDArray[Any] = (),
        zero_point: int = 0,
        axis: int = 0,
        data: NDArray[Any] | None = None,
    ) -> int:
        """A tensor, the batch included in its shape; with `data` a constant; without a scale not quantised."""
        scales = np.atleast_1d(np.asarray(scale, dtype=np.float32))
        zeros = np.full(scales.shape, zero_point, dtype=np.int64)
        self._tensors.append(_Tensor(self._free(name), tuple(shape), kind, scales, zeros, axis, data))
        return len(self._tensors) - 1

    def integers(self, name: str, values: Sequence[int] | NDArray[Any]) -> int:
        """A constant of int32: axes, sizes, offsets."""
        data = np.asarray(values, dtype=np.int32)
        return self.tensor(name, data.shape, "int32", data=data)

    def shape(self, index: int) -> tuple[int, ...]:
        """The shape of a tensor, the batch included."""
        return self._tensors[index].shape

    def name(self, index: int) -> str:
        """The name of a tensor."""
        return self._tensors[index].name

    def operator(self, name: str, inputs: Sequence[int], output: int, **options: Any) -> None:
        """An operator with one result; options that are not given have the schema's default."""
        kinds = {self._tensors[i].kind for i in (*inputs, output) if i >= 0}
        _, int8, int16 = _OPTIONS[name]
        version = int16 if "int16" in kinds else int8
        self._operators.append(_Operator(name, tuple(inputs), (output,), options, version))

    def _free(self, name: str) -> str:
        free, number = name, 2
        while free in self._names:
            free, number = f"{name}_{number}", number + 1
        self._names.add(free)
        return free

    # -- flatbuffer --------------------------------------------------------------------------------------------------

    def content(self) -> bytes:
        """The file: `Model` with one subgraph, constants aligned to 16 bytes."""
        import flatbuffers

        size = sum(t.data.nbytes for t in self._tensors if t.data is not None)
        b = flatbuffers.Builder(size + 1024 * (len(self._tensors) + len(self._operators) + 1))
        buffers, tensors = [_table(b, 3, [])], []  # buffer 0 is the empty one, of all computed tensors
        for tensor in self._tensors:
            number = 0
            if tensor.data is not None:
                number = len(buffers)
                buffers.append(_table(b, 3, [(0, "offset", _bytes(b, tensor.data))]))
            tensors.append(_tensor_table(b, tensor, number))
        kinds = list(dict.fromkeys((op.name, op.version) for op in self._operators))
        codes = [_code_table(b, name, version) for name, version in kinds]
        operators = [_operator_table(b, op, kinds.index((op.name, op.version))) for op in self._operators]
        graph = _table(
            b,
            5,
            [
                (0, "offset", _offsets(b, tensors)),
                (1, "offset", _vector(b, self.inputs)),
                (2, "offset", _vector(b, self.outputs)),
                (3, "offset", _offsets(b, operators)),
                (4, "offset", b.CreateString("main")),
            ],
        )
        model = _table(
            b,
            8,
            [
                (0, "I", 3),
                (1, "offset", _offsets(b, codes)),
                (2, "offset", _offsets(b, [graph])),
                (3, "offset", b.CreateString("codesign")),
                (4, "offset", _offsets(b, buffers)),
            ],
        )
        b.Finish(model, file_identifier=b"TFL3")
        return bytes(b.Output())


def _tensor_table(b: Any, tensor: _Tensor, buffer: int) -> int:
    fields: list[tuple[int, str, Any]] = []
    if tensor.scale.size:
        scale = b.CreateNumpyVector(np.ascontiguousarray(tensor.scale))
        zero = b.CreateNumpyVector(np.ascontiguousarray(tensor.zero_point))
        fields.append((4, "offset", _table(b, 7, [(2, "offset", scale), (3, "offset", zero), (6, "i", tensor.axis)])))
    name, shape = b.CreateString(tensor.name), _vector(b, tensor.shape)
    numbers = [
        (1, "b", _KINDS[tensor.kind]),
        (2, "I", buffer),
        (8, "?", True),
    ]  # has_rank: the shape is the whole truth
    return _table(b, 10, [(0, "offset", shape), *numbers, (3, "offset", name), *fields])


def _code_table(b: Any, name: str, version: int) -> int:
    """Codes are in two fields: files older than code 127 know only the first one."""
    code = _CODES[name]
    return _table(b, 4, [(0, "b", min(code, 127)), (2, "i", version), (3, "i", code)])


def _operator_table(b: Any, op: _Operator, code: int) -> int:
    union, fields = _OPTIONS[op.name][0], BUILTINS[_CODES[op.name]][1]
    known = {field: (slot, kind) for slot, (field, kind, _) in enumerate(fields)}
    options = _table(b, max(len(fields), 1), [(*known[field], value) for field, value in op.options.items()])
    ends = [(1, "offset", _vector(b, op.inputs)), (2, "offset", _vector(b, op.outputs))]
    made = [(3, "B", union), (4, "offset", options)] if union else []
    return _table(b, 9, [(0, "I", code), *ends, *made])


_SLOTS: Mapping[str, str] = {
    "b": "PrependInt8Slot",
    "B": "PrependUint8Slot",
    "?": "PrependBoolSlot",
    "i": "PrependInt32Slot",
    "I": "PrependUint32Slot",
    "f": "PrependFloat32Slot",
    "offset": "PrependUOffsetTRelativeSlot",
}


def _table(b: Any, slots: int, fields: Sequence[tuple[int, str, Any]]) -> int:
    """A table from (slot, kind, value). Every given field is written, whether it equals the schema's default or not."""
    b.StartObject(slots)
    b.ForceDefaults(True)
    for slot, kind, value in fields:
        getattr(b, _SLOTS[kind])(slot, value, 0)
    b.ForceDefaults(False)
    position: int = b.EndObject()
    return position


def _bytes(b: Any, data: NDArray[Any]) -> int:
    """A vector of bytes, aligned to 16, as kernels and NPUs read constants."""
    raw = np.ascontiguousarray(data).astype(data.dtype.newbyteorder("<"), copy=False).tobytes()
    b.StartVector(1, len(raw), 16)
    b.head -= len(raw)
    b.Bytes[b.head : b.head + len(raw)] = raw
    position: int = b.EndVector()
    return position


def _vector(b: Any, values: Sequence[int]) -> int:
    position: int = b.CreateNumpyVector(np.asarray(values, dtype=np.int32))
    return position


def _offsets(b: Any, positions: Sequence[int]) -> int:
    b.StartVector(4, len(positions), 4)
    for position in reversed(positions):
        b.PrependUOffsetTRelative(position)
    end: int = b.EndVector()
    return end
