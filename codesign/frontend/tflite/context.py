"""What the handlers of TFLite operators share: the graph being built, and one operator with its tensors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from codesign.frontend.context import Probe
from codesign.frontend.inputs import clamp_levels
from codesign.frontend.problems import Refusal, bad
from codesign.frontend.rational import constant
from codesign.frontend.tflite.params import Params, Rescale, activation_range, params_of
from codesign.frontend.tflite.schema import Array, Model, Operator, Tensor
from codesign.ir.graph import Const, Node, Port
from codesign.ir.ops import Arg, Lookup, Op, Requant, Reshape, Rounding, Threshold
from codesign.ir.ops.base import range_type
from codesign.ir.types import IntArray, IntType, TensorType

_INT32 = IntType(32, True)


def frame(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A tensor's shape in the graph: without the batch of one, and with at least one axis."""
    return (shape[1:] if len(shape) > 1 and shape[0] == 1 else shape) or (1,)


def has_batch(shape: tuple[int, ...]) -> bool:
    """Whether axis 0 is the batch that `frame` takes away."""
    return len(shape) > 1 and shape[0] == 1


@dataclass
class Context:
    """State of one walk over a model.

    values    the graph's value of every computed tensor, by the tensor's index; integers in the order of the file
    readers   how many operators read each tensor
    ports     the inputs of the graph by tensor; source_axes of computed outputs by tensor
    """

    model: Model
    values: dict[int, str] = field(default_factory=dict)
    ports: dict[int, Port] = field(default_factory=dict)
    output_axes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    readers: Counter[int] = field(default_factory=Counter)
    types: dict[str, TensorType] = field(default_factory=dict)
    consts: dict[str, Const] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def name(self, wanted: str) -> str:
        """A free name of the letters that the graph allows."""
        base = re.sub(r"[^\w.\-/:]", "_", wanted, flags=re.ASCII).strip("/") or "tensor"
        base = base if re.match(r"[A-Za-z_]", base) else f"t{base}"
        name, number = base, 2
        while name in self.types or name in self.consts:
            name, number = f"{base}_{number}", number + 1
        return name

    def add_input(self, index: int, type_: TensorType, source_axes: tuple[int, ...] = ()) -> str:
        """Declare a tensor of the model as an input of the graph; a second time it is declared anew."""
        known = self.ports.get(index)
        name = known.name if known else self.name(self.model.tensors[index].where)
        self.ports[index] = Port(name, type_, source_axes)
        self.types[name] = type_
        return name

    def arg(self, name: str) -> Arg:
        """A value as operators see it."""
        const = self.consts.get(name)
        return Arg(self.types[name]) if const is None else Arg(const.type, const.value)


@dataclass
class Layer:
    """One operator of the model, with what it needs to become nodes.

    The node that computes the operator's result has the result's name, the others ORIGIN.HELPER.
    """

    ctx: Context
    op: Operator

    def tensor(self, index: int) -> Tensor:
        """An input tensor; bad when the operator has none there."""
        if index >= len(self.op.inputs) or self.op.inputs[index] < 0:
            raise bad(f"{self.op.name} without input {index}", f"at least {index + 1} inputs")
        return self.ctx.model.tensors[self.op.inputs[index]]

    def optional(self, index: int) -> Tensor | None:
        """An input tensor that may be left out."""
        return self.tensor(index) if len(self.op.inputs) > index and self.op.inputs[index] >= 0 else None

    def result(self, index: int = 0) -> Tensor:
        """An output tensor."""
        if index >= len(self.op.outputs):
            raise bad(f"{self.op.name} without output {index}", f"at least {index + 1} outputs")
        return self.ctx.model.tensors[self.op.outputs[index]]

    @property
    def where(self) -> str:
        """The user's name of the layer: its result's."""
        return self.ctx.model.tensors[self.op.outputs[0]].where if self.op.outputs else self.op.name

    def option(self, name: str) -> Any:
        """An option of the operator."""
        return self.op.options[name]

    def constant(self, index: int, what: str) -> Array:
        """The array of a constant input."""
        data = self.tensor(index).data
        if data is None:
            raise Refusal(f"{what} that is computed", "a constant")
        return data

    def integers(self, index: int, what: str, count: int | None = None) -> list[int]:
        """A constant input of axes, sizes or offsets, `count` of them."""
        data = self.constant(index, what)
        if data.dtype.kind not in "iu" or (count is not None and data.size != count):
            raise bad(f"{what} of shape {data.shape} and type {data.dtype}", f"{count or 'some'} integers")
        return [int(v) for v in data.reshape(-1)]

    def is_constant(self, index: int) -> bool:
        return self.tensor(index).data is not None

    def value(self, index: int) -> str:
        """The graph's value of a computed input."""
        tensor = self.tensor(index)
        number = self.op.inputs[index]
        if tensor.data is not None:
            raise Refusal(f"the constant {tensor.where!r} as data", "a computed tensor")
        if number not in self.ctx.values:
            raise bad(f"reads {tensor.where!r}, which nothing computes", "tensors computed earlier")
        return self.ctx.values[number]

    def type(self, value: str) -> TensorType:
        return self.ctx.types[value]

    def x(self, index: int = 0) -> tuple[str, Params]:
        """A computed input: its value and what its integers mean."""
        return self.value(index), params_of(self.tensor(index))

    @property
    def out(self) -> Params:
        """What the integers of the result mean."""
        return params_of(self.result())

    def image(self, index: int = 0) -> str:
        """A computed input that is one image."""
        value, shape = self.value(index), self.tensor(index).shape
        if len(shape) != 4 or shape[0] != 1:
            raise Refusal(f"an input of shape {shape}", "(1, height, width, channels)")
        return value

    def axis(self, axis: int, shape: tuple[int, ...]) -> int:
        """An axis of a tensor of `shape`, counted as the graph does; -1 for the batch. bad when there is no such."""
        if not -len(shape) <= axis < len(shape):
            raise bad(f"axis {axis} of shape {shape}", f"{-len(shape)} to {len(shape) - 1}")
        return axis % len(shape) - has_batch(shape)

    # -- nodes -----------------------------------------------------------------------------------------------------

    def emit(self, op: Op, inputs: Sequence[str], helper: str, **arrays: IntArray) -> str:
        """A node named ORIGIN.HELPER; `arrays` become its constants. OpError when the operator refuses its inputs."""
        return self._add(op, inputs, self.ctx.name(f"{self.where}.{helper}"), arrays)

    def final(self, op: Op, inputs: Sequence[str], index: int = 0, **arrays: IntArray) -> None:
        """The node that computes the result."""
        tensor = self.result(index)
        params, name = params_of(tensor), self.ctx.name(tensor.where)
        self._add(op, inputs, name, arrays, params)
        found, expected = self.type(name), TensorType(frame(tensor.shape), params.dtype)
        if found.shape != expected.shape:
            raise bad(f"a result of shape {found.shape}, declared as {expected.shape}", "the shape that it computes")
        number = self.op.outputs[index]
        self.ctx.values[number] = name
        scale = Fraction(params.scale)
        layout = np.arange(found.size).reshape(found.shape)
        a, b = constant(scale), constant(-params.zero_point * scale)
        self.ctx.probes.append(Probe(tensor.where, name, str(number), "", 0, a, b, layout))

    def _add(
        self, op: Op, inputs: Sequence[str], name: str, arrays: dict[str, IntArray], params: Params | None = None
    ) -> str:
        names = []
        for key, array in arrays.items():
            names.append(self.ctx.name(f"{name}.{key}"))
            self.ctx.consts[names[-1]] = Const.of(np.asarray(array, dtype=np.int64))
        node = Node(name, op, (*inputs, *names), self.where, params.quant if params else None)
        self.ctx.types[name] = replace(op.infer([self.ctx.arg(n) for n in node.inputs]), quant=node.quant)
        self.ctx.nodes.append(node)
        return name

    def exact(self, value: str, factor: int, offset: int, helper: str) -> str:
        """x * factor + offset, in the narrowest type; the value itself where that is nothing."""
        if factor == 1 and offset == 0:
            return value
        dtype = self.type(value).dtype
        out = range_type(*sorted(q * factor + offset for q in (dtype.lo, dtype.hi)))
        op = Requant(out, Rounding.HALF_UP, offset)
        return self.emit(op, [value], helper, multiplier=np.array([factor]), shift=np.array([0]))

    def centred(self, value: str, params: Params, helper: str = "centred") -> str:
        """x - zero_point."""
        return self.exact(value, 1, -params.zero_point, helper)

    def rescaled(self, value: str, by: Rescale, helper: str) -> str:
        """round(x * multiplier / 2^shift) as a helper, in the narrowest type."""
        self._check_width(value, by)
        dtype = self.type(value).dtype
        ends = np.concatenate([by(np.array([dtype.lo])), by(np.array([dtype.hi]))])
        out = range_type(int(ends.min()), int(ends.max()))
        return self.emit(Requant(out, by.rounding), [value], helper, multiplier=by.multiplier, shift=by.shift)

    def rescaled_result(self, value: str, by: Rescale, limits: tuple[int, int]) -> None:
        """clamp(round(x * multiplier / 2^shift) + zero_point, limits): the end of most kernels."""
        out = self.out
        op = Requant(out.dtype, by.rounding, out.zero_point)
        self._check_width(value, by)
        if limits == (out.dtype.lo, out.dtype.hi):
            self.final(op, [value], multiplier=by.multiplier, shift=by.shift)
            return
        self.clamped_result(self.emit(op, [value], "unlimited", multiplier=by.multiplier, shift=by.shift), limits)

    def clamped_result(self, value: str, limits: tuple[int, int]) -> None:
        """x limited to `limits`, a Threshold with a level at every value between."""
        dtype = self.type(value).dtype
        self.final(Threshold(dtype), [value], levels=clamp_levels(dtype, *limits))

    def table_result(self, value: str, table: IntArray) -> None:
        """The result as a table look-up: (values,) or (channels, values)."""
        self.final(Lookup(self.out.dtype), [value], table=np.atleast_2d(table))

    def reshaped(self, value: str, shape: tuple[int, ...], helper: str) -> str:
        """The same elements under another shape; the value itself where it has that shape."""
        return value if self.type(value).shape == shape else self.emit(Reshape(shape), [value], helper)

    def same(self, value: str, index: int = 0) -> None:
        """The result is the value itself: the shape may differ, the integers and their meaning do not."""
        self.final(Reshape(frame(self.result(index).shape)), [value], index)

    def expect_same_scale(self, index: int = 0, result: int = 0) -> None:
        """bad unless input and result have one meaning, as the kernels that only move or choose values demand."""
        x, y = params_of(self.tensor(index)), params_of(self.result(result))
        if x != y:
            found = f"{self.op.name} from scale {x.scale:g}, zero point {x.zero_point} to {y.scale:g}, {y.zero_point}"
            raise bad(found, "one scale and zero point")

    def limits(self) -> tuple[int, int]:
        """What the fused activation leaves."""
        return activation_range(int(self.option("activation")), self.out)

    def _check_width(self, value: str, by: Rescale) -> None:
        """Refuse what the kernel cannot hold in 32 signed bits, in which it also shifts left first."""
        dtype = self.type(value).dtype
        inside = _INT32.lo <= dtype.lo << by.left and dtype.hi << by.left <= _INT32.hi
        if by.rounding is Rounding.TFLITE_DOUBLE and not inside:
            shifted = f", shifted left by {by.left} bits" if by.left else ""
            hint = "an output scale that is not far smaller" if by.left else ""
            allowed = "the 32 signed bits in which the reference kernel computes"
            raise Refusal(f"values of type {dtype}{shifted}", allowed, hint)


Handler = Callable[[Layer], None]
