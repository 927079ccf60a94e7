"""The sum of two exact reals: residual connections, with equal and with unequal scales."""

from __future__ import annotations

from codesign.frontend.absorb import Steps
from codesign.frontend.context import Context
from codesign.frontend.draft import Value
from codesign.frontend.problems import Refusal
from codesign.frontend.rational import compact
from codesign.frontend.real import Real, Term
from codesign.ir.ops import Add


def add_reals(ctx: Context, first: Real, second: Real, origin: str) -> Real:
    """first + second. Equal scales are added at once; unequal ones wait for the quantiser that follows."""
    if first.shape != second.shape:
        raise Refusal(f"a sum of shapes {first.shape} and {second.shape}", "two tensors of one shape")
    if first.raw or second.raw:
        raise Refusal("a sum with the unquantised input", "a quantiser on the input", "a QuantIdentity first")
    first, second = first.settled(), second.settled()
    if first.is_clipped or second.is_clipped:
        raise Refusal("a sum of a ReLU or Clip without a quantiser", "a quantiser before the sum")
    shape = first.terms[0].value.shape
    second = second.reshaped(ctx.builder, shape, origin)
    if not (first.layout == second.layout).all():
        raise Refusal("a sum of tensors with different axes", "tensors in the same order")
    joined = Real(first.terms + second.terms, compact(first.b + second.b), first.lo, first.hi, first.layout)
    return merge_equal(ctx, joined, origin)


def merge_equal(ctx: Context, real: Real, origin: str) -> Real:
    """The same with terms of equal scales added up."""
    terms: list[Term] = []
    for term in real.terms:
        for i, other in enumerate(terms):
            if (term.a == other.a).all():
                terms[i] = Term(add_values(ctx, other.value, term.value, origin), term.a)
                break
        else:
            terms.append(term)
    return Real(tuple(terms), real.b, real.lo, real.hi, real.layout)


def add_values(ctx: Context, x: Value, y: Value, origin: str) -> Value:
    """x + y, elementwise."""
    bounds = x.lo + y.lo, x.hi + y.hi
    return ctx.builder.emit(Add(), [x, y], origin, x.shape, bounds, suffix="add")


def resolve(ctx: Context, real: Real, steps: Steps | None, origin: str) -> Real:
    """The same over a single value: terms of unequal scales are brought to a common one."""
    if len(real.terms) == 1:
        return real
    raise Refusal("a sum of unequal scales", "equal scales")
