"""A TOSA graph while it grows: tensors, constants and operators, then the flatbuffer of TOSA 1.0."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Dtype(enum.Enum):
    """The element types that are used, by their names in TOSA."""

    I8 = "INT8"
    I16 = "INT16"
    I32 = "INT32"
    I48 = "INT48"

    @property
    def numpy(self) -> np.dtype[Any]:
        """The dtype of the element type in memory."""
        return _NUMPY[self]


_NUMPY: dict[Dtype, np.dtype[Any]] = {
    Dtype.I8: np.dtype(np.int8),
    Dtype.I16: np.dtype(np.int16),
    Dtype.I32: np.dtype(np.int32),
    Dtype.I48: np.dtype(np.int64),
}


class Mode(enum.Enum):
    """Modes of operators; the value is the enumeration of the serialiser that has them."""

    SINGLE_ROUND = ("RoundingMode", 1)
    DOUBLE_ROUND = ("RoundingMode", 2)
    PROPAGATE = ("NanPropagationMode", 1)

    @property
    def kind(self) -> str:
        """The name of the enumeration."""
        return self.value[0]


@dataclass(frozen=True)
class Tensor:
    """A value of the TOSA graph; `shape` has the batch as its first axis."""

    index: int
    shape: tuple[int, ...]
    dtype: Dtype


@dataclass(frozen=True, eq=False)
class _Operation:
    """One operator; the arguments of its attribute are in the order of the specification."""

    kind: str
    inputs: tuple[int, ...]
    output: Tensor
    attribute: str
    arguments: tuple[Any, ...]
    layer: str


@dataclass(frozen=True, eq=False)
class _Const:
    """A constant tensor, or with dtype None a constant shape."""

    values: NDArray[Any]
    dtype: Dtype | None
    layer: str


class Writer:
    """Operators in the order in which they are added; `serialise` keeps those that an output depends on.

    layer    the node that is being written: tensors without a name of their own are named after it
    written  once serialised: kind and node of every operator in the file, constants included
    """

    def __init__(self) -> None:
        self.layer = ""
        self.written: tuple[tuple[str, str], ...] = ()
        self._count = 0
        self._inputs: list[Tensor] = []
        self._consts: dict[int, _Const] = {}
        self._known: dict[tuple[Dtype | None, tuple[int, ...], bytes], int] = {}
        self._operations: list[_Operation] = []
        self._unshaped: dict[int, Tensor] = {}
        self._names: dict[int, str] = {}

    def _next(self) -> int:
        self._count += 1
        return self._count

    def input(self, name: str, shape: Sequence[int], dtype: Dtype) -> Tensor:
        """An input of the TOSA graph."""
        tensor = Tensor(self._next(), tuple(shape), dtype)
        self._inputs.append(tensor)
        self._names[tensor.index] = name
        return tensor

    def const(self, values: ArrayLike, dtype: Dtype) -> Tensor:
        """A constant tensor; equal ones are one. The values must fit the type."""
        wanted = np.asarray(values)
        array = np.ascontiguousarray(wanted, dtype=dtype.numpy)
        assert np.array_equal(array, wanted), "a constant outside its type"
        return Tensor(self._const(array, dtype), array.shape, dtype)

    def _const(self, values: NDArray[Any], dtype: Dtype | None) -> int:
        key = (dtype, values.shape, values.tobytes())
        if key not in self._known:
            self._known[key] = self._next()
            self._consts[self._known[key]] = _Const(values, dtype, self.layer)
        return self._known[key]

    def add(
        self,
        kind: str,
        inputs: Sequence[Tensor],
        shape: Sequence[int],
        dtype: Dtype,
        attribute: str,
        *arguments: Any,
        extents: Sequence[Sequence[int]] = (),
    ) -> Tensor:
        """The result of an operator. `extents` are inputs of type shape_t, which follow the first tensor."""
        output = Tensor(self._next(), tuple(int(n) for n in shape), dtype)
        shapes = [self._const(np.array(extent, dtype=np.int64), None) for extent in extents]
        indices = [tensor.index for tensor in inputs]
        indices[1:1] = shapes
        self._operations.append(_Operation(kind, tuple(indices), output, attribute, arguments, self.layer))
        if kind == "RESHAPE":
            self._unshaped[output.index] = inputs[0]
        return output

    def unshaped(self, tensor: Tensor) -> Tensor:
        """What a RESHAPE got, for its result; else `tensor` itself."""
        return self._unshaped.get(tensor.index, tensor)

    def is_input(self, tensor: Tensor) -> bool:
        """Whether `tensor` is an input of the TOSA graph."""
        return tensor in self._inputs

    def name(self, tensor: Tensor, name: str) -> None:
        """Name a tensor that an operator computes."""
        self._names.setdefault(tensor.index, name)

    def serialise(self, outputs: Sequence[tuple[str, Tensor]]) -> bytes:
        """The flatbuffer. Every output is the result of an operator, no two the same, and gets the name beside it."""
        import tosa_serializer as tosa

        names = {tensor.index: name for name, tensor in outputs}
        needed = set(names)
        for operation in reversed(self._operations):
            if operation.output.index in needed:
                needed.update(operation.inputs)
        kept = [o for o in self._operations if o.output.index in needed]
        consts = {index: const for index, const in self._consts.items() if index in needed}
        self._complete(names, [*((o.output.index, o.layer) for o in kept), *((i, c.layer) for i, c in consts.items())])

        constants = (("CONST", const.layer) for const in consts.values())
        self.written = (*constants, *((operation.kind, operation.layer) for operation in kept))
        file = tosa.TosaSerializer(targetMajor=1, targetMinor=0, targetPatch=0, targetDraft=False)
        block = file.currRegion.basicBlocks[0]
        for tensor in self._inputs:
            block.addTensor(names[tensor.index], list(tensor.shape), getattr(tosa.DType, tensor.dtype.value))
            block.addInput(names[tensor.index])
        for index, const in consts.items():
            _write_const(tosa, block, names[index], const)
        for operation in kept:
            made = operation.output
            block.addTensor(names[made.index], list(made.shape), getattr(tosa.DType, made.dtype.value))
            kind, inputs = getattr(tosa.Op, operation.kind), [names[i] for i in operation.inputs]
            block.addOperator(kind, inputs, [names[made.index]], _attribute(tosa, operation))
        for name, _ in outputs:
            block.addOutput(name)
        return bytes(file.serialize())

    def convolutions(self) -> list[tuple[str, bytes, bytes]]:
        """Of every convolution the node, its weights with the multipliers and shifts behind it, and its biases."""
        rescales = {o.inputs[0]: o.inputs[1:3] for o in self._operations if o.kind == "RESCALE"}
        found = []
        for o in self._operations:
            if o.kind in ("CONV2D", "DEPTHWISE_CONV2D"):
                weights, biases = o.inputs[1:3]
                data = [self._consts[i].values.tobytes() for i in (weights, *rescales.get(o.output.index, ()))]
                found.append((o.layer, b"".join(data), self._consts[biases].values.tobytes()))
        return found

    def _complete(self, names: dict[int, str], others: Sequence[tuple[int, str]]) -> None:
        """Give every tensor a name: its own, else that of its layer with a number."""
        taken = set(names.values())
        for tensor in self._inputs:
            names.setdefault(tensor.index, self._names[tensor.index])
            taken.add(names[tensor.index])
        for index, layer in others:
            wanted = self._names.get(index, f"{layer}/1")
            name, number = wanted, 1
            while name in taken:
                number += 1
                name = f"{layer}/{number}"
            if index not in names:
                names[index] = name
                taken.add(name)


def _write_const(tosa: Any, block: Any, name: str, const: _Const) -> None:
    attribute = tosa.TosaSerializerAttribute()
    if const.dtype is None:
        block.addShape(name, const.values.size, const.values.tolist())
        attribute.ConstShapeAttribute()
        block.addOperator(tosa.Op.CONST_SHAPE, [], [name], attribute)
    else:
        block.addTensor(name, list(const.values.shape), getattr(tosa.DType, const.dtype.value), data=const.values)
        attribute.ConstAttribute()
        block.addOperator(tosa.Op.CONST, [], [name], attribute)


def _attribute(tosa: Any, operation: _Operation) -> Any:
    """The attribute of an operator; element types and modes go by their names in TOSA."""
    attribute = tosa.TosaSerializerAttribute()
    arguments = [_argument(tosa, a) for a in operation.arguments]
    getattr(attribute, f"{operation.attribute}Attribute")(*arguments)
    return attribute


def _argument(tosa: Any, argument: Any) -> Any:
    if isinstance(argument, Dtype):
        return getattr(tosa.DType, argument.value)
    if isinstance(argument, Mode):
        return getattr(getattr(tosa, argument.kind), argument.name)
    return argument
