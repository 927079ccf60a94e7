"""What the handlers of ONNX operators share: the tensors so far, the graph being built, notes and probes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.frontend.draft import Builder, Value
from codesign.frontend.names import module_path
from codesign.frontend.problems import Refusal, bad
from codesign.frontend.rational import Rationals
from codesign.frontend.real import Real
from codesign.ir.types import IntArray, TensorType

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class QuantConst:
    """A quantised constant: real = q * scale. q integers with the zero point already subtracted.

    scale  rational, of the rank of q, each axis as long as q's or 1
    bits   the width that the model declares
    """

    q: IntArray
    scale: Rationals
    bits: int


@dataclass(frozen=True)
class Failed:
    """The result of a layer that was refused: what reads it is not reported again."""


Item = Array | QuantConst | Real | Failed


@dataclass(frozen=True)
class OnnxNode:
    """One node: operator, domain, names of inputs and outputs, attributes as Python values, the user's layer name."""

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    layer: str

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute; text as str."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value


@dataclass(frozen=True, eq=False)
class Probe:
    """A place where the golden evaluation can be compared with the source model.

    layer   the user's layer
    node    the value in the graph
    tensor  the source tensor's name in the ONNX file; module: the module path of the quantiser that computes it
    call    which call of that module this is, from 0
    real    what the graph's integers mean, and where the elements of the user's tensor are
    """

    layer: str
    node: str
    tensor: str
    module: str
    call: int
    a: Rationals
    b: Rationals
    layout: IntArray


@dataclass
class Context:
    """State of one walk over a model.

    items      every tensor of the model so far; readers: the nodes that read each, once per use
    annotated  integer types that the file gives to tensors (FINN)
    axes       source_axes of each input; declared: the inputs that a quantiser has turned into integers
    batch      the batch size that the file was exported with
    layouts    of each output, the layout of its Real; computed: every tensor that some node computes
    calls      how often each module has been seen; modules: the module paths of the source, where they are known
    """

    items: dict[str, Item] = field(default_factory=dict)
    builder: Builder = field(default_factory=Builder)
    notes: list[str] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    readers: dict[str, list[OnnxNode]] = field(default_factory=dict)
    annotated: dict[str, str] = field(default_factory=dict)
    axes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    declared: dict[str, tuple[TensorType, Value]] = field(default_factory=dict)
    layouts: dict[str, IntArray] = field(default_factory=dict)
    computed: Collection[str] = ()
    batch: int = 1
    opset: int = 13
    calls: dict[str, int] = field(default_factory=dict)
    modules: Collection[str] = ()

    def item(self, name: str) -> Item:
        """A tensor; Refusal when nothing computes it."""
        if name not in self.items and name in self.computed:
            found = f"reads {name!r}, which is computed later: the nodes are not sorted, or form a cycle"
            raise bad(found, "nodes in the order of their computation")
        if name not in self.items:
            raise bad(f"reads {name!r}, which nothing computes", "tensors computed earlier")
        return self.items[name]

    def real(self, name: str) -> Real:
        """A computed tensor; a tensor with several readers marks its values as shared."""
        item = self.item(name)
        if not isinstance(item, Real):
            raise Refusal(f"an input {name!r} that is a constant", "a computed tensor")
        if len(self.readers.get(name, ())) > 1:
            for term in item.terms:
                term.value.shared = True
        return item

    def is_real(self, name: str) -> bool:
        return isinstance(self.item(name), Real)

    def constant(self, name: str, what: str) -> Array:
        """The array of a constant, dequantised when it is quantised; Refusal for computed tensors."""
        item = self.item(name)
        if isinstance(item, QuantConst):
            values: Array = item.q * item.scale
            return values
        if not isinstance(item, np.ndarray):
            raise Refusal(f"{what} is computed by another layer", "a constant")
        return item

    def per_channel(self, real: Real, name: str, what: str, origin: str) -> tuple[Real, Rationals]:
        """A constant that broadcasts against `real`, per channel; `real` perhaps flattened so that this is possible."""
        array = self.constant(name, what)
        values = real.per_channel(array, what)
        if values is None and len(real.shape) == 1:
            real = real.reshaped(self.builder, (real.layout.size,), origin)
            values = real.per_channel(array, what)
        if values is None:
            raise Refusal(f"{what} that differs between pixels", "one constant per channel")
        return real, values

    def optional(self, node: OnnxNode, index: int) -> str | None:
        """The name of an optional input, or None."""
        return node.inputs[index] if len(node.inputs) > index and node.inputs[index] else None

    def probe(self, node: OnnxNode, real: Real) -> None:
        """Remember that `real` is what the node's output is, for the comparison with the source."""
        module = module_path(node.name, self.modules)
        call = self.calls.get(module, 0)
        self.calls[module] = call + 1
        term = real.only
        self.probes.append(
            Probe(node.layer, term.value.name, node.outputs[0], module, call, term.a, real.b, real.layout)
        )


Handler = Callable[[Context, OnnxNode], Sequence[Item]]
