"""Chains of Requants, Thresholds and tables as one function per channel, from an exact sum to a stored integer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign.frontend.problems import Refusal
from codesign.frontend.rational import regroup
from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Lookup, Requant, Reshape, Threshold
from codesign.ir.ops.rescale import threshold_values
from codesign.ir.types import IntArray, IntType


@dataclass(frozen=True, eq=False)
class Step:
    """One operator with its constants per channel: multiplier and shift, or levels or a table (rows, …)."""

    op: Requant | Threshold | Lookup
    constants: tuple[IntArray, ...]
    dtype: IntType

    def __call__(self, t: IntArray) -> IntArray:
        """The operator on (…, channels)."""
        if isinstance(self.op, Requant):
            return self.op.apply(t, *self.constants)
        (rows,) = self.constants
        if isinstance(self.op, Threshold):
            return np.asarray(threshold_values(t, rows, self.dtype, self.op.out), dtype=np.int64)
        index = (t - self.dtype.lo) // self.dtype.step
        return np.asarray(rows[np.arange(len(rows)), index] if len(rows) > 1 else rows[0, index])

    @property
    def sign(self) -> IntArray:
        """1 where the operator never falls, -1 where it never rises; one for all channels, or one for each."""
        if isinstance(self.op, Requant):
            return np.where(self.constants[0] < 0, -1, 1)
        if isinstance(self.op, Threshold):
            return np.ones(1, dtype=np.int64)
        rises = np.diff(self.constants[0], axis=1)
        if not ((rises >= 0).all(axis=1) | (rises <= 0).all(axis=1)).all():
            allowed = "LOGISTIC, TANH, HARD_SWISH, or a function that only rises or only falls"
            raise Refusal("a table of some other function", allowed, "codesign export to a .tosa file")
        return np.where((rises >= 0).all(axis=1), 1, -1)


@dataclass(frozen=True, eq=False)
class Chain:
    """y[c] = f_c(t[c]), each f_c non-decreasing, or non-increasing where sign[c] is -1.

    steps  in order; none: y = t
    sign   (channels,)
    """

    steps: tuple[Step, ...]
    sign: IntArray

    @classmethod
    def of(cls, graph: Graph, nodes: Sequence[Node], channels: int) -> Chain:
        """The function of consecutive nodes behind a value of `channels`; Reshapes must keep the channels apart.

        Refusal where one function per channel is not enough, or one that rises and falls.
        """
        steps = []
        size = graph.type(nodes[0].inputs[0]).size if nodes else channels
        for node in nodes:
            if isinstance(node.op, Reshape):
                continue
            assert isinstance(node.op, Requant | Threshold | Lookup)
            constants = [graph.consts[name].value for name in node.inputs[1:]]
            try:
                per_channel = [_regrouped(c, size, channels) for c in constants]
            except ValueError as error:
                raise Refusal(f"constants that differ between pixels: {error}", "one function per channel") from error
            steps.append(Step(node.op, tuple(per_channel), graph.type(node.inputs[0]).dtype))
        sign = np.ones(channels, dtype=np.int64)
        for step in steps:
            sign = sign * step.sign
        return cls(tuple(steps), sign)

    @property
    def out(self) -> IntType:
        """The type of the result; only for a chain with steps."""
        return self.steps[-1].op.out

    def __call__(self, t: IntArray) -> IntArray:
        """The function on (…, channels)."""
        for step in self.steps:
            t = step(t)
        return t

    def levels(self, targets: IntArray, lo: IntArray, hi: IntArray) -> IntArray:
        """(channels, targets): for every channel and target j the least u from lo to hi with f(sign * u) >= j.

        hi + 1 where no u reaches j. By bisection on the function itself, all channels and targets at once.
        """
        shape = (targets.size, lo.size)
        low, high = np.broadcast_to(lo, shape).copy(), np.broadcast_to(hi + 1, shape).copy()
        goal = targets[:, None]
        while (low < high).any():
            middle = (low + high) >> 1
            # Where low == high, the middle may be hi + 1, for which the function is not defined.
            reached = self(self.sign * np.minimum(middle, hi)) >= goal
            open_ = low < high
            high = np.where(open_ & reached, middle, high)
            low = np.where(open_ & ~reached, middle + 1, low)
        return np.ascontiguousarray(low.T)


def _regrouped(values: IntArray, size: int, channels: int) -> IntArray:
    """Constants of one per channel at the end of a chain as constants per channel at its start, or one for all."""
    if values.shape[0] in (1, channels):
        return values
    if values.ndim == 1:
        return regroup(values, size, channels)
    columns = [regroup(column, size, channels) for column in values.T]
    return np.stack(columns, axis=1)
