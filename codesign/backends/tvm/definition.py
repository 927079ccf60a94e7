"""A kernel as TVM's tensor expressions: placeholders for tensors and constants, and the function that they make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm_ffi
from tvm import te, tirx
from tvm.ir.expr import Var

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.storage import Storage
from codesign.backends.tvm.task import Task
from codesign.ir.types import IntType, TensorType

Expr = Any  # a scalar expression of TVM's
Value = Callable[[Sequence[Expr]], Expr]  # the integer at an index (without the batch)


@dataclass(frozen=True)
class Tensor:
    """A tensor as an argument of a kernel: its pointer, `start` elements behind the beginning of its memory."""

    name: str
    start: int = 0


Argument = Tensor | np.ndarray[Any, Any]  # a constant is given by its values, in the type and layout of the kernel


@dataclass(frozen=True, eq=False)
class Definition:
    """A function of TVM's, not yet scheduled or scheduled, and what its parameters are. The last one is the output."""

    func: Any
    arguments: tuple[Argument, ...]


def word(dtype: IntType) -> str:
    """The type that values of `dtype` are computed in: int32, or int64 for what that does not hold."""
    return "int32" if dtype.lo >= -(1 << 31) and dtype.hi < 1 << 31 else "int64"


def integer(value: int, dtype: str) -> Expr:
    """A constant of TVM's."""
    return tirx.const(int(value), dtype)


def kind_of(value: Expr) -> str:
    """The type of an expression, as NumPy names it."""
    return str(value.ty.dtype)


class Builder:
    """Collects the placeholders of one kernel.

    neon  whether expressions may take the form that becomes the fewest Advanced SIMD instructions
    """

    def __init__(self, task: Task, cpu: Cpu | None = None) -> None:
        self.task = task
        self.neon = cpu is not None and cpu.arch == "aarch64"
        self._stages = 0
        self._tensors: list[tuple[te.Tensor, Argument, Sequence[int] | None]] = []

    def constant(self, name: str, values: np.ndarray[Any, Any], vectors: int = 1) -> te.Tensor:
        """A constant parameter; `vectors`: as vectors of so many elements along its last axis."""
        dtype = str(values.dtype) if vectors == 1 else f"{values.dtype}x{vectors}"
        tensor = te.placeholder((*values.shape[:-1], values.shape[-1] // vectors), dtype, name)
        self._tensors.append((tensor, np.ascontiguousarray(values), None))
        return tensor

    def tensor(self, name: str) -> te.Tensor:
        """A tensor that is read, under its own shape; its elements are q - offset."""
        storage = self.task.storage[name]
        return self.view(name, storage.shape, storage.strides, storage.origin)

    def view(self, name: str, shape: Sequence[int], strides: Sequence[int], start: int, dtype: str = "") -> te.Tensor:
        """A tensor that is read, as any window on its memory: strides and start in elements.

        dtype  of the window's elements where it is not that of memory: a vector of them, which strides then count
        """
        storage = self.task.storage[name]
        tensor = te.placeholder(tuple(shape), dtype or storage.dtype, f"x{len(self._tensors)}")
        self._tensors.append((tensor, Tensor(name, start), tuple(strides)))
        return tensor

    def read(self, name: str) -> Value:
        """The integers of a tensor that is read."""
        tensor, storage, dtype = self.tensor(name), self.task.storage[name], self.task.types[name].dtype
        return loaded(tensor, storage, dtype)

    def stage(self, value: Value, type_: TensorType) -> Value:
        """`value` computed once per index, however often it is used."""
        self._stages += 1
        stage = te.compute(type_.shape, lambda *index: value(index), f"stage{self._stages}")
        return lambda index: stage(*index)

    def finish(self, value: Value) -> Definition:
        """The function that computes `value` as the task's output."""
        name = self.task.output
        storage, dtype = self.task.storage[name], self.task.types[name].dtype

        def stored(*index: Expr) -> Expr:
            q = value(index)
            return (q - integer(storage.offset, kind_of(q)) if storage.offset else q).astype(storage.dtype)

        assert storage.holds(dtype.lo), f"{storage.dtype} of {name}"
        assert storage.holds(dtype.hi), f"{storage.dtype} of {name}"
        output = te.compute(storage.shape, stored, "out")
        tensors = [*(tensor for tensor, _, _ in self._tensors), output]
        strides = [*(s for _, _, s in self._tensors), storage.strides]
        func = _with_strides(te.create_prim_func(tensors), strides)
        arguments = (*(argument for _, argument, _ in self._tensors), Tensor(name, storage.origin))
        return Definition(func, arguments)


def loaded(tensor: te.Tensor, storage: Storage, dtype: IntType) -> Value:
    """The integers that `tensor`, stored as `storage`, stands for."""
    kind = word(dtype)

    def value(index: Sequence[Expr]) -> Expr:
        q = tensor(*index).astype(kind)
        return q + integer(storage.offset, kind) if storage.offset else q

    return value


def _with_strides(func: Any, strides: Sequence[Sequence[int] | None]) -> Any:
    """The function with strides for its parameters (None: dense), which TVM's tensor expressions cannot say."""
    changed = []
    for param, steps in zip(func.params, strides, strict=True):
        if steps is None or tuple(steps) == _dense(param.shape):
            continue
        buffer = tirx.decl_buffer(param.shape, param.dtype, param.name, strides=list(steps))
        changed.append((param, buffer))

    def swap(var: Any) -> Any:
        return next((new for old, new in changed if old.same_as(var)), var)

    return tvm_ffi.structural_map(func, (Var, swap)) if changed else func


def _dense(shape: Sequence[Any]) -> tuple[int, ...]:
    sizes = [int(n) for n in shape]
    return tuple(int(np.prod(sizes[axis + 1 :], dtype=np.int64)) for axis in range(len(sizes)))
