"""The integer graph while it is being built: values whose producer may still be changed, and the nodes so far."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from codesign.frontend.problems import Refusal
from codesign.ir.graph import Const, Graph, Node, Port
from codesign.ir.ops import Conv2d, Dense, Op
from codesign.ir.types import IntArray, IntType, Quant, TensorType


@dataclass(eq=False)
class Value:
    """A tensor of integers in the graph being built.

    shape     without the batch, channels last
    lo, hi    the values that can really occur, (1,) or (channels,); at most what the type allows
    dtype     its type where that is known before the graph is verified
    shared    more than one layer of the model reads it: its producer must not be changed any more
    weights   of the Conv2d or Dense that computes it: (O, …); bias (O,) or None. Both may change until it is read.
    raw       the model's real input, which no quantiser has turned into integers yet
    """

    name: str
    shape: tuple[int, ...]
    lo: IntArray
    hi: IntArray
    dtype: IntType | None = None
    shared: bool = False
    weights: IntArray | None = None
    bias: IntArray | None = None
    raw: bool = False

    @property
    def channels(self) -> int:
        return self.shape[-1]

    @property
    def step(self) -> int:
        """The distance between neighbouring values."""
        return 1 if self.dtype is None else self.dtype.step

    @property
    def adjustable(self) -> bool:
        """Whether weights and bias of the producer may change for the sake of the only reader."""
        return self.weights is not None and not self.shared

    def negate(self, channels: IntArray) -> None:
        """Turn the sign of the selected output channels (bool mask) by negating their weights and bias."""
        assert self.weights is not None
        sign = np.where(channels, -1, 1)
        self.weights = self.weights * sign.reshape(-1, *[1] * (self.weights.ndim - 1))
        self.bias = None if self.bias is None else self.bias * sign
        lo, hi = self.lo, self.hi
        self.lo, self.hi = np.where(channels, -hi, lo), np.where(channels, -lo, hi)

    def add_bias(self, bias: IntArray) -> None:
        """Add a constant per output channel."""
        if not bias.any():
            return
        self.bias = np.broadcast_to(bias, (self.channels,)) + (0 if self.bias is None else self.bias)
        self.lo, self.hi = self.lo + bias, self.hi + bias


@dataclass
class _Draft:
    value: Value
    op: Op
    inputs: Sequence[Value]
    consts: Mapping[str, IntArray]
    origin: str
    quant: Quant | None = None


def interval(lo: int, hi: int) -> tuple[IntArray, IntArray]:
    """The range lo … hi of a whole tensor as arrays of shape (1,)."""
    return np.array([lo], dtype=np.int64), np.array([hi], dtype=np.int64)


@dataclass
class Builder:
    """Collects inputs and nodes; `finish` verifies them as a Graph."""

    inputs: list[Port] = field(default_factory=list)
    drafts: list[_Draft] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def name(self, wanted: str, suffix: str = "") -> str:
        """A free name of the allowed letters: the wanted one, else with the suffix, else with a number."""
        base = re.sub(r"[^\w.\-/:]", "_", wanted.strip("/")) or "layer"
        base = base if re.match(r"[A-Za-z_]", base) else f"n{base}"
        candidates = [base, f"{base}.{suffix}"] if suffix else [base]
        candidates += [f"{candidates[-1]}_{i}" for i in range(2, 3 + len(self.names))]
        name = next(c for c in candidates if c not in self.names)
        self.names.add(name)
        return name

    def add_input(self, name: str, type_: TensorType, source_axes: tuple[int, ...]) -> None:
        """Declare an input under a name that `name` gave."""
        identity = source_axes == tuple(range(len(source_axes)))
        self.inputs.append(Port(name, type_, () if identity else source_axes))

    def emit(
        self,
        op: Op,
        inputs: Sequence[Value],
        origin: str,
        shape: tuple[int, ...],
        bounds: tuple[IntArray, IntArray],
        *,
        suffix: str = "",
        helper: str = "",
        consts: Mapping[str, IntArray] | None = None,
        dtype: IntType | None = None,
        quant: Quant | None = None,
    ) -> Value:
        """A new node; `consts` become constants named after it. Raises Refusal when the values need over 32 bits.

        It is named after its origin, with `suffix` where that name is taken; a node that the user's layer does not
        consist of, but needs, is a `helper` and named ORIGIN.HELPER.
        """
        lo, hi = int(bounds[0].min()), int(bounds[1].max())
        if max(hi, -lo - 1).bit_length() > 31 + (lo >= 0):
            raise Refusal(f"values from {lo} to {hi}", "values of at most 32 bits", "narrower weights or activations")
        wanted = f"{origin}.{helper}" if helper else origin
        value = Value(self.name(wanted, suffix or type(op).__name__.lower()), shape, *bounds, dtype)
        self.drafts.append(_Draft(value, op, inputs, consts or {}, origin, quant))
        return value

    def emit_linear(
        self,
        op: Conv2d | Dense,
        x: Value,
        weights: IntArray,
        origin: str,
        shape: tuple[int, ...],
        bounds: tuple[IntArray, IntArray],
        *,
        helper: str = "",
    ) -> Value:
        """A new Conv2d or Dense, whose weights and bias stay adjustable."""
        value = self.emit(op, [x], origin, shape, bounds, helper=helper)
        value.weights = weights
        return value

    def reshape(self, x: Value, shape: tuple[int, ...], origin: str) -> Value:
        """The same elements in the same order under another shape."""
        from codesign.frontend.rational import regroup
        from codesign.ir.ops import Reshape

        if x.shape == shape:
            return x
        size = int(np.prod(shape))
        try:
            bounds = regroup(x.lo, size, shape[-1]), regroup(x.hi, size, shape[-1])
        except ValueError:
            bounds = interval(int(x.lo.min()), int(x.hi.max()))
        return self.emit(Reshape(shape), [x], origin, shape, bounds, helper="reshape", dtype=x.dtype)

    def finish(self, outputs: Sequence[Port], quants: Mapping[str, Quant]) -> Graph:
        """The verified graph; `quants` overrides the meaning of values by name."""
        nodes, consts = [], {}
        for draft in self._needed({p.name for p in outputs}):
            value = draft.value
            held = dict(draft.consts)
            if value.weights is not None:
                held["weight"] = value.weights
                if value.bias is not None and value.bias.any():
                    held["bias"] = value.bias
            for key, array in held.items():
                dtype = weight_type(array) if key == "weight" else None
                consts[f"{value.name}.{key}"] = Const.of(array, dtype)
            inputs = (*(v.name for v in draft.inputs), *(f"{value.name}.{key}" for key in held))
            nodes.append(Node(value.name, draft.op, inputs, draft.origin, quants.get(value.name, draft.quant)))
        return Graph(tuple(self.inputs), consts, tuple(nodes), tuple(outputs))

    def _needed(self, wanted: set[str]) -> list[_Draft]:
        """The nodes that the outputs depend on, in order."""
        kept = []
        for draft in reversed(self.drafts):
            if draft.value.name in wanted:
                wanted |= {v.name for v in draft.inputs}
                kept.append(draft)
        return kept[::-1]


def weight_type(weights: IntArray) -> IntType:
    """The narrowest type of a weight tensor; {-1, +1} is bipolar."""
    from codesign.ir.types import BIPOLAR

    if BIPOLAR.holds(weights) and (weights == -1).any():
        return BIPOLAR
    return IntType.smallest(int(weights.min()), int(weights.max()))
