"""Requant, Threshold, Lookup, Add and Mul: an integer at an index, from integers at the same index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from tvm import tirx

from codesign.backends.tvm.definition import Builder, Expr, Value, integer, kind_of, word
from codesign.backends.tvm.pairs import PairSum, Pattern, patterns
from codesign.backends.tvm.requant import Affine, Form, HighMul, Levels, Narrow, Wide, cheapest
from codesign.backends.tvm.task import Task
from codesign.ir.graph import Node
from codesign.ir.ops import Add, Lookup, Mul, Requant, Rounding, Threshold
from codesign.ir.types import IntArray, IntType, TensorType


def elementwise(builder: Builder, anchor: Value | None = None, bias: IntArray | None = None) -> Value:
    """The value of the task's output: its elementwise nodes over its inputs, and over the anchor's value.

    bias  (C), still to be added to what `anchor` gives: it is, or the rescaling behind takes it in
    """
    task = builder.task
    values: dict[str, Value] = {}
    pending: dict[str, IntArray] = {}
    repeats: set[str] = set()  # what is computed by an expression that holds its operand several times
    sums = _exact_sums(task)
    replaced = {node.name for pattern, _ in sums.values() for node in pattern.nodes[:-1]}
    for node in task.nodes:
        if node.name in replaced:
            continue
        if node is task.anchor:
            assert anchor is not None
            values[node.name] = anchor
            if bias is not None:
                pending[node.name] = bias
            continue
        pattern, form = sums.get(node.name, (None, None))
        args = []
        for name in node.inputs if pattern is None else (pattern.a, pattern.b):
            if name in task.consts:
                continue
            if name not in values:
                values[name] = builder.read(name)
            args.append(name)
        if form is not None:
            a, b = (_added(builder, name, values, pending) for name in args)
            values[node.name] = _pair_sum(form, a, b, task.types[node.name].dtype)
            if not repeats.isdisjoint(args):
                repeats.add(node.name)
            continue
        values[node.name] = _apply(builder, node, args, values, pending, repeats)
    if not task.nodes:
        return builder.read(task.inputs[0])
    return _added(builder, task.output, values, pending)


def _exact_sums(task: Task) -> dict[str, tuple[Pattern, PairSum]]:
    """By their result: the sums of two narrow values, with rescalings around them, that two multiply-adds compute."""
    found = {}
    for pattern in patterns(task.nodes, task.types, task.consts, (task.output,)):
        form = pattern.form(task.types, task.consts)
        if form is not None:
            found[pattern.result] = pattern, form
    return found


def _pair_sum(form: PairSum, a: Value, b: Value, out: IntType) -> Value:
    first, second, offset = (tirx.const(float(c), "float32") for c in (form.first, form.second, form.offset))

    def value(index: Sequence[Expr]) -> Expr:
        total = second * b(index).astype("float32") + (first * a(index).astype("float32") + offset)
        y = tirx.nearbyint(total).astype("int32")
        return tirx.min(tirx.max(y, integer(out.lo, "int32")), integer(out.hi, "int32"))

    return value


def _added(builder: Builder, name: str, values: Mapping[str, Value], pending: dict[str, IntArray]) -> Value:
    """The value of `name` with its bias, where that is still to be added."""
    bias = pending.get(name)
    if bias is None or not bias.any():
        return values[name]
    kind, value = word(builder.task.types[name].dtype), values[name]
    table = builder.constant("bias", bias.astype(kind))
    return lambda index: value(index) + table(_channel(table, index))


def _apply(
    builder: Builder, node: Node, args: Sequence[str], values: Mapping[str, Value], pending: dict[str, IntArray],
    repeats: set[str],
) -> Value:  # fmt: skip
    task = builder.task
    types = [task.types[name] for name in args]
    constants = [task.consts[name] for name in node.inputs if name in task.consts]
    op = node.op
    if isinstance(op, Requant | Threshold):
        (name,) = args
        try:
            form, value = cheapest(op, types[0].dtype, constants, pending.get(name)), values[name]
        except ValueError:
            form, value = cheapest(op, types[0].dtype, constants), _added(builder, name, values, pending)
        several = isinstance(form, Narrow | Wide) or (isinstance(form, Levels) and form.levels.shape[1] > 1)
        if several and name in repeats:
            value = builder.stage(value, types[0])
        if several:
            repeats.add(node.name)
        return rescaled(builder, form, value, op.out)
    if not repeats.isdisjoint(args):
        repeats.add(node.name)
    taken = [_added(builder, name, values, pending) for name in args]
    kind = word(task.types[node.name].dtype)
    match op:
        case Add():
            a, b = taken if len(taken) == 2 else (taken[0], taken[0])
            return lambda index: a(index).astype(kind) + b(index).astype(kind)
        case Mul():
            a, b = taken if len(taken) == 2 else (taken[0], taken[0])
            return lambda index: a(index).astype(kind) * b(index).astype(kind)
        case Lookup():
            return _lookup(builder, op, taken[0], types[0], constants[0])
    raise AssertionError(f"{op} is not elementwise")


def _lookup(builder: Builder, op: Lookup, x: Value, type_: TensorType, values: IntArray) -> Value:
    table = builder.constant("table", values.astype(np.int16 if op.out.bits < 16 else np.int32))
    kind, lo, step = word(type_.dtype), type_.dtype.lo, type_.dtype.step

    def value(index: Sequence[Expr]) -> Expr:
        position = x(index) - integer(lo, kind)
        if step > 1:
            position = tirx.shift_right(position, integer(1, kind))
        return table(index[-1] if values.shape[0] > 1 else integer(0, "int32"), position).astype(word(op.out))

    return value


def _channel(table: object, index: Sequence[Expr]) -> Expr:
    return index[-1] if int(table.shape[0]) > 1 else integer(0, "int32")  # type: ignore[attr-defined]


def rescaled(builder: Builder, form: Form, x: Value, out: IntType) -> Value:
    """`form` applied to x."""
    match form:
        case Levels(levels):
            return _levels(builder, levels, x, out)
        case Affine(multiplier, offset):
            m, b = builder.constant("multiplier", multiplier), builder.constant("offset", offset)

            def index_of(index: Sequence[Expr]) -> Expr:
                c = _channel(m, index)
                return (x(index).astype("float32") * m(c) + b(c)).astype("int32")

            return _limited(index_of, out)
        case HighMul(multiplier, offset, right, left):
            m, b = builder.constant("multiplier", multiplier), builder.constant("offset", offset)
            r = builder.constant("right", right)

            def index_of(index: Sequence[Expr]) -> Expr:
                c = _channel(m, index)
                wide = (x(index) << integer(left, "int32")).astype("int64") * m(c).astype("int64")
                return tirx.shift_right((wide >> integer(32, "int64")).astype("int32") + b(c), r(c))

            return _limited(index_of, out)
        case Narrow(op, multiplier, shift) | Wide(op, multiplier, shift):
            kind = "int32" if isinstance(form, Narrow) else "int64"
            return _defined(builder, op, multiplier.astype(kind), shift.astype(kind), x, kind)


def _limited(index_of: Value, out: IntType) -> Value:
    top = out.count - 1

    def value(index: Sequence[Expr]) -> Expr:
        limited = tirx.min(tirx.max(index_of(index), integer(0, "int32")), integer(top, "int32"))
        return limited + integer(out.lo, "int32")

    return value


def _levels(builder: Builder, levels: IntArray, x: Value, out: IntType) -> Value:
    # In 64 bits where a level is beyond the last value of 32 (never reached), or x is.
    kind = "int32" if levels.min() >= -(1 << 31) and levels.max() < 1 << 31 else "int64"
    table = builder.constant("levels", np.ascontiguousarray(levels.T).astype(kind))
    count = levels.shape[1]

    def value(index: Sequence[Expr]) -> Expr:
        c, q = (index[-1] if levels.shape[0] > 1 else integer(0, "int32")), x(index)
        total = integer(out.lo, "int32")
        for k in range(count):
            level = table(integer(k, "int32"), c)
            common = "int32" if kind_of(q) == kind == "int32" else "int64"
            reached = (q.astype(common) >= level.astype(common)).astype("int32")
            total = total + (reached * integer(out.step, "int32") if out.step > 1 else reached)
        return total

    return value


def _defined(builder: Builder, op: Requant, multiplier: IntArray, shift: IntArray, x: Value, kind: str) -> Value:
    """Requant by its definition (see `round_shift`), in words of `kind`."""
    m, s = builder.constant("multiplier", multiplier), builder.constant("shift", shift)
    zero, one = integer(0, kind), integer(1, kind)

    def value(index: Sequence[Expr]) -> Expr:
        product = x(index).astype(kind) * m(_channel(m, index))
        amount = s(_channel(s, index))
        quotient = product >> amount
        rest = product & ((one << amount) - one)
        half = tirx.shift_right(one << amount, one)
        if op.rounding is Rounding.HALF_EVEN:
            up = tirx.Select(rest + (quotient & one) > half, one, zero)
            y = quotient + tirx.Select(amount > zero, up, zero)
        else:
            total = rest + half
            if op.rounding is Rounding.TFLITE_DOUBLE and kind == "int64":
                nudge = tirx.Select(product >= zero, integer(1 << 30, kind), integer(-(1 << 30), kind))
                total = total + tirx.Select(amount > integer(31, kind), nudge, zero)
            y = quotient + (total >> amount)
        lo, hi = (integer(end - op.zero_point, kind) for end in (op.out.lo, op.out.hi))
        limited = tirx.min(tirx.max(y, lo), hi) + integer(op.zero_point, kind)
        return limited.astype(word(op.out))

    return value
