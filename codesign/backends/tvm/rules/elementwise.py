"""Requant, Threshold, Lookup, Add and Mul: an integer at an index, from integers at the same index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import tirx

from codesign.backends.tvm.definition import Builder, Expr, Value, integer, word
from codesign.backends.tvm.pairs import PairSum, Pattern, patterns
from codesign.backends.tvm.requant import cheapest
from codesign.backends.tvm.rules.rescale import channel, repeats_operand, rescaled, summed
from codesign.backends.tvm.task import Task
from codesign.ir.graph import Node
from codesign.ir.ops import Add, Lookup, Mul, Requant, Threshold
from codesign.ir.types import IntArray, TensorType


def elementwise(builder: Builder, anchor: Value | None = None, bias: IntArray | None = None) -> Value:
    """The value of the task's output: its elementwise nodes over its inputs, and over the anchor's value.

    bias  (C), still to be added to what `anchor` gives: it is, or the rescaling behind takes it in
    """
    if not builder.task.nodes:
        return builder.read(builder.task.inputs[0])
    return _Expressions(builder, anchor, bias).value(builder.task.output)


class _Expressions:
    """The values of a task by name, made when they are asked for: what a fused form skips is never computed."""

    def __init__(self, builder: Builder, anchor: Value | None, bias: IntArray | None) -> None:
        self.builder, self.task = builder, builder.task
        self.nodes = {node.name: node for node in builder.task.nodes}
        self.values: dict[str, Value] = {}
        self.bias: dict[str, IntArray] = {}  # what is still to be added
        self.sums = _exact_sums(self.task)
        self.repeats: set[str] = set()  # what is computed by an expression that holds its operand several times
        if self.task.anchor is not None:
            assert anchor is not None
            self.values[self.task.anchor.name] = anchor
            if bias is not None and bias.any():
                self.bias[self.task.anchor.name] = bias

    def value(self, name: str) -> Value:
        """The integers of `name`."""
        value = self.raw(name)
        if name not in self.bias:
            return value
        table = self.builder.constant("bias", self.bias[name].astype(word(self.task.types[name].dtype)))
        return lambda index: value(index) + table(channel(table, index))

    def raw(self, name: str) -> Value:
        """The integers of `name`, without the bias that is still to be added."""
        if name not in self.values:
            node = self.nodes.get(name)
            self.values[name] = self.builder.read(name) if node is None else self._apply(node)
        return self.values[name]

    def _apply(self, node: Node) -> Value:
        task = self.task
        args = [name for name in node.inputs if name not in task.consts]
        op, kind = node.op, word(task.types[node.name].dtype)
        if node.name in self.sums:
            pattern, form = self.sums[node.name]
            if not self.repeats.isdisjoint((pattern.a, pattern.b)):
                self.repeats.add(node.name)
            out = task.types[node.name].dtype
            return summed(self.builder, form, self.value(pattern.a), self.value(pattern.b), out)
        if isinstance(op, Requant | Threshold):
            return self._rescaled(node, op, args[0])
        taken = [self.value(name) for name in args]
        if not self.repeats.isdisjoint(args):
            self.repeats.add(node.name)
        match op:
            case Add():
                a, b = taken
                return lambda index: a(index).astype(kind) + b(index).astype(kind)
            case Mul():
                a, b = taken
                return lambda index: a(index).astype(kind) * b(index).astype(kind)
            case Lookup():
                values = next(task.consts[name] for name in node.inputs if name in task.consts)
                return _lookup(self.builder, op, taken[0], task.types[args[0]], values)
        raise AssertionError(f"{op} is not elementwise")

    def _rescaled(self, node: Node, op: Requant | Threshold, name: str) -> Value:
        type_ = self.task.types[name]
        constants = [self.task.consts[other] for other in node.inputs if other in self.task.consts]
        value = self.raw(name)
        try:
            form = cheapest(op, type_.dtype, constants, self.bias.get(name), self.builder.neon)
        except ValueError:
            form, value = cheapest(op, type_.dtype, constants, None, self.builder.neon), self.value(name)
        if repeats_operand(form):
            if name in self.repeats:
                value = self.builder.stage(value, type_)
            self.repeats.add(node.name)
        return rescaled(self.builder, form, value, op.out)


def _exact_sums(task: Task) -> dict[str, tuple[Pattern, PairSum]]:
    """By their result: the sums of two narrow values, with rescalings around them, that two multiply-adds compute."""
    found = {}
    for pattern in patterns(task.nodes, task.types, task.consts, (task.output,)):
        form = pattern.form(task.types, task.consts)
        if form is not None:
            found[pattern.result] = pattern, form
    return found


def _lookup(builder: Builder, op: Lookup, x: Value, type_: TensorType, values: IntArray) -> Value:
    table = builder.constant("table", values.astype(np.int16 if op.out.bits < 16 else np.int32))
    kind, lo, step = word(type_.dtype), type_.dtype.lo, type_.dtype.step

    def value(index: Sequence[Expr]) -> Expr:
        position = x(index) - integer(lo, kind)
        if step > 1:
            position = tirx.shift_right(position, integer(1, kind))
        return table(index[-1] if values.shape[0] > 1 else integer(0, "int32"), position).astype(word(op.out))

    return value
