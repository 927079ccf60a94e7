"""What a tensor of the user's model is, exactly: an affine, possibly clipped function of integers in the graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.frontend.draft import Builder, Value
from codesign.frontend.problems import Refusal
from codesign.frontend.rational import INF, Rationals, compact, constant, rationals, regroup
from codesign.ir.types import IntArray


@dataclass(frozen=True)
class Term:
    """a * q: `q` a value of the graph, `a` rational, per tensor (1,) or per channel (C,)."""

    value: Value
    a: Rationals


@dataclass(frozen=True, eq=False)
class Real:
    """real = clip(sum of a_i * q_i + b, lo, hi), elementwise.

    terms     one, or several after an addition that has not been carried out yet
    b, lo, hi rational, per tensor (1,) or per channel (C,); lo and hi may be infinite
    layout    shape: the user's tensor without the batch; element: its index in the graph's tensor, in row-major order.
              Transposing and reshaping the user's tensor only changes this array.
    """

    terms: tuple[Term, ...]
    b: Rationals
    lo: Rationals
    hi: Rationals
    layout: IntArray

    @classmethod
    def of(cls, value: Value, a: Rationals, b: Rationals, layout: IntArray) -> Real:
        """a * value + b, unclipped."""
        return cls((Term(value, compact(a)),), compact(b), constant(-INF), constant(INF), layout)

    @property
    def only(self) -> Term:
        """The one term; a sum must have been carried out before."""
        assert len(self.terms) == 1
        return self.terms[0]

    @property
    def value(self) -> Value:
        return self.only.value

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the user's tensor, without the batch."""
        return tuple(int(n) for n in self.layout.shape)

    @property
    def raw(self) -> bool:
        """Whether this is still the model's real input."""
        return any(t.value.raw for t in self.terms)

    def scaled(self, factor: Rationals) -> Real:
        """real * factor."""
        terms = tuple(Term(t.value, compact(t.a * factor)) for t in self.terms)
        zero = factor == 0
        # 0 * infinity has no value; a factor of 0 makes the result 0 whatever the limits are.
        lo = np.where(zero, 0, self.lo) * factor
        hi = np.where(zero, 0, self.hi) * factor
        swap = factor < 0
        return replace(
            self,
            terms=terms,
            b=compact(self.b * factor),
            lo=compact(np.where(swap, hi, lo)),
            hi=compact(np.where(swap, lo, hi)),
        )

    def shifted(self, offset: Rationals) -> Real:
        """real + offset."""
        return replace(self, b=compact(self.b + offset), lo=compact(self.lo + offset), hi=compact(self.hi + offset))

    def clipped(self, lo: Rationals, hi: Rationals) -> Real:
        """min(max(real, lo), hi)."""
        return replace(
            self,
            lo=compact(np.minimum(np.maximum(self.lo, lo), hi)),
            hi=compact(np.minimum(np.maximum(self.hi, lo), hi)),
        )

    def bounds(self) -> tuple[Rationals, Rationals]:
        """The least and greatest value before clipping."""
        if self.raw:
            return constant(-INF), constant(INF)
        low, high = self.b, self.b
        for term in self.terms:
            ends = term.a * rationals(term.value.lo), term.a * rationals(term.value.hi)
            low, high = low + np.minimum(*ends), high + np.maximum(*ends)
        return low, high

    def settled(self) -> Real:
        """Without limits that are never reached."""
        low, high = self.bounds()
        if (self.lo <= low).all() and (high <= self.hi).all():
            return replace(self, lo=constant(-INF), hi=constant(INF))
        return self

    @property
    def is_clipped(self) -> bool:
        """Whether a limit can be reached."""
        real = self.settled()
        return bool((real.lo != -INF).any() or (real.hi != INF).any())

    def with_layout(self, layout: IntArray) -> Real:
        return replace(self, layout=layout)

    def reshaped(self, builder: Builder, shape: tuple[int, ...], origin: str) -> Real:
        """The same with the graph's tensor under another shape; Refusal when a channel's constants then vary."""
        if self.raw or all(t.value.shape == shape for t in self.terms):
            return self
        size, channels = int(np.prod(shape)), shape[-1]
        try:
            regrouped = [regroup(r, size, channels) for r in (self.b, self.lo, self.hi, *(t.a for t in self.terms))]
        except ValueError as error:
            raise Refusal("constants that differ between pixels", "one constant per channel") from error
        b, lo, hi, *factors = regrouped
        terms = tuple(
            Term(builder.reshape(t.value, shape, origin), a) for t, a in zip(self.terms, factors, strict=True)
        )
        return replace(self, terms=terms, b=b, lo=lo, hi=hi)

    def per_channel(self, values: NDArray[Any], what: str) -> Rationals | None:
        """A constant that broadcasts against the user's tensor, per channel of the graph's; None where pixels differ.

        values  (…) as the model holds it, possibly with a batch axis of 1; raises Refusal when it does not broadcast
        """
        if values.size == 1:
            return rationals(values.reshape(1), what)
        if values.ndim == self.layout.ndim + 1 and values.shape[0] == 1:
            values = values[0]
        try:
            spread = np.broadcast_to(values, self.shape)
        except ValueError as error:
            raise Refusal(f"{what} of shape {values.shape}", f"a shape that fits {self.shape}") from error
        flat = np.empty(self.layout.size, dtype=values.dtype)
        flat[self.layout.reshape(-1)] = spread.reshape(-1)
        rows = flat.reshape(-1, self.terms[0].value.channels)
        return rationals(rows[0], what) if (rows == rows[0]).all() else None
