"""The integer graph: nodes over named values, verified on construction, with the golden evaluation."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from codesign.errors import Diagnostic, GraphError, InputError, raise_all
from codesign.ir.ops import Arg, Op, OpError, Work
from codesign.ir.types import IntArray, IntType, Quant, RealArray, TensorType, Values

# What a value may be called: the text form and every backend's file and signal names rest on it.
NAME = r"[A-Za-z_][\w.\-/:]*"

Feed = NDArray[np.integer[Any]]  # integers of any width; taken as int64

# Frames evaluated at once: few enough for the caches, enough to hide the cost of a call.
_CHUNK_ELEMENTS = 1 << 21
_WORKERS = min(8, os.cpu_count() or 1)  # chunks at once: each holds some 50 MB


@dataclass(frozen=True)
class Port:
    """An input or output of the graph.

    name         the value in the graph
    type         its type; for an output None, since the graph knows it
    source_axes  where the user's model has other axes (NCHW): graph axis i is the model's axis source_axes[i],
                 the batch not counted; empty when both agree
    """

    name: str
    type: TensorType | None = None
    source_axes: tuple[int, ...] = ()

    def source_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape in the user's model of a graph tensor of `shape`."""
        if not self.source_axes:
            return shape
        back = [0] * len(shape)
        for axis, source in enumerate(self.source_axes):
            back[source] = shape[axis]
        return tuple(back)


@dataclass(frozen=True, eq=False)
class Const:
    """A constant tensor: type and values (int64, read-only)."""

    type: TensorType
    value: IntArray

    def __post_init__(self) -> None:
        if self.value.flags.writeable or self.value.dtype != np.int64:
            value = np.array(self.value, dtype=np.int64, order="C")
            value.flags.writeable = False
            object.__setattr__(self, "value", value)

    @classmethod
    def of(cls, value: NDArray[np.integer[Any]], dtype: IntType | None = None) -> Const:
        """A constant in `dtype`, or in the narrowest type that holds its values. Raises GraphError."""
        value = np.asarray(value)
        if value.size == 0 or value.ndim == 0 or not np.issubdtype(value.dtype, np.integer):
            found = f"an array of shape {value.shape} and type {value.dtype}"
            raise GraphError.at("constant", found, "integers, at least one axis, at least one element")
        try:
            dtype = dtype or IntType.smallest(int(value.min()), int(value.max()))
        except ValueError as error:
            raise GraphError.at("constant", f"values from {value.min()} to {value.max()}", "at most 32 bits") from error
        return cls(TensorType(value.shape, dtype), np.asarray(value, dtype=np.int64))


@dataclass(frozen=True)
class Node:
    """One operator: the value `name` = op(inputs).

    inputs  names of graph inputs, constants or other nodes
    origin  module path or node name in the user's model; every diagnostic uses it
    quant   what the result means as a real number, when that is known
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    origin: str = ""
    quant: Quant | None = None

    @property
    def where(self) -> str:
        """The user's name of this layer."""
        return self.origin or self.name


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order over inputs and constants; construction verifies every rule and raises GraphError.

    The rules, checked together and reported together:
    - there is at least one input and one output;
    - names are unique, and words of letters, digits and `_ . - / :`;
    - every node reads values that come before it, and its operator accepts them;
    - constants hold values of their type and have its shape;
    - scales and zero points are one, or as many as their axis is long; source_axes permutes the axes;
    - outputs are inputs or results of nodes.
    """

    inputs: tuple[Port, ...]
    consts: Mapping[str, Const]
    nodes: tuple[Node, ...]
    outputs: tuple[Port, ...]
    _types: dict[str, TensorType] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "consts", dict(self.consts))
        found: list[Diagnostic] = []
        if not self.inputs or not self.outputs:
            counts = f"{len(self.inputs)} inputs and {len(self.outputs)} outputs"
            found.append(Diagnostic("graph", counts, "at least one of each"))
        for port in self.inputs:
            if port.type is None:
                found.append(Diagnostic(port.name, "an input without a type", "a TensorType"))
            else:
                self._define(port.name, port.name, port.type, found)
                self._verify_axes(port, found)
        for name, const in self.consts.items():
            self._define(name, name, const.type, found)
            if const.value.shape != const.type.shape:
                found.append(Diagnostic(name, f"a constant {const.type} with an array of shape {const.value.shape}"))
            elif not const.type.dtype.holds(const.value):
                values = f"a constant {const.type} with values from {const.value.min()} to {const.value.max()}"
                found.append(Diagnostic(name, values, _range(const.type.dtype)))
        refused: set[str] = set()
        for node in self.nodes:
            if not refused.isdisjoint(node.inputs) or not self._verify(node, found):
                refused.add(node.name)  # what reads it is not reported: it would only repeat the cause
        for port in self.outputs:
            if port.name in self.consts:
                found.append(Diagnostic("graph", f"the output {port.name!r} is a constant", "the result of a node"))
            elif port.name in self._types:
                self._verify_axes(port, found)
            elif port.name not in refused:
                found.append(Diagnostic("graph", f"the output {port.name!r} is not computed", "the name of a value"))
        raise_all(GraphError, found)

    def _define(self, name: str, where: str, type_: TensorType, found: list[Diagnostic]) -> None:
        if name in self._types:
            found.append(Diagnostic(where, f"two values have the name {name!r}", "unique names"))
        if not re.fullmatch(NAME, name):
            allowed = "a letter or _, then letters, digits and _ . - / :"
            found.append(Diagnostic(where, f"a value has the name {name!r}", allowed))
        if type_.quant is not None and not type_.quant.fits(type_.shape):
            scales = f"{len(type_.quant.scale)} scales, {len(type_.quant.zero_point)} zero points"
            meaning = f"{scales} along axis {type_.quant.axis} of shape {type_.shape}"
            found.append(Diagnostic(where, meaning, "one, or as many as the axis is long"))
        self._types[name] = type_

    def _verify_axes(self, port: Port, found: list[Diagnostic]) -> None:
        rank = len(self._types[port.name].shape)
        if port.source_axes and sorted(port.source_axes) != list(range(rank)):
            allowed = f"a permutation of {', '.join(map(str, range(rank)))}"
            found.append(Diagnostic(port.name, f"source axes {port.source_axes}", allowed))

    def _verify(self, node: Node, found: list[Diagnostic]) -> bool:
        """Define the node's value; False after adding what stands against it to `found`."""
        missing = [name for name in node.inputs if name not in self._types]
        if missing:
            reads = f"reads {', '.join(missing)}, not computed before it"
            found.append(Diagnostic(node.where, reads, "values computed earlier"))
            return False
        try:
            result = node.op.infer(self.args(node))
        except OpError as error:
            found.append(Diagnostic(node.where, f"{type(node.op).__name__} with {error.found}", error.allowed))
            return False
        self._define(node.name, node.where, replace(result, quant=node.quant), found)
        return True

    def args(self, node: Node) -> list[Arg]:
        """The inputs of `node` as its operator sees them."""
        return [Arg(self._types[n], self.consts[n].value if n in self.consts else None) for n in node.inputs]

    def types(self) -> Mapping[str, TensorType]:
        """The type of every value: inputs, constants, nodes."""
        return self._types

    def type(self, name: str) -> TensorType:
        """The type of one value."""
        return self._types[name]

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    def node(self, name: str) -> Node:
        """The node that computes `name`; KeyError for inputs and constants."""
        return self._by_name[name]

    def is_computed(self, name: str) -> bool:
        """Whether a node computes `name` (not an input, not a constant)."""
        return name in self._by_name

    @cached_property
    def _users(self) -> dict[str, tuple[Node, ...]]:
        users: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                users.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in users.items()}

    def users(self, name: str) -> tuple[Node, ...]:
        """The nodes that read `name`, in order."""
        return self._users.get(name, ())

    def data_inputs(self, node: Node) -> tuple[str, ...]:
        """The inputs of `node` that are not constants."""
        return tuple(name for name in node.inputs if name not in self.consts)

    def work(self) -> dict[str, Work]:
        """What each node costs per frame."""
        return {node.name: node.op.work(self.args(node)) for node in self.nodes}

    def digest(self) -> str:
        """SHA-256 of what determines the result: operators, constants, types and meaning; not the origins."""
        from codesign.ir.text import print_graph

        sha = hashlib.sha256(print_graph(self, origins=False, values=False).encode())
        for const in self.consts.values():
            sha.update(const.value.astype("<i8").tobytes())
        return sha.hexdigest()

    # -- golden evaluation ---------------------------------------------------------------------------------------------

    def evaluate(self, *feeds: Feed, progress: Callable[[int], None] | None = None) -> list[IntArray]:
        """The golden evaluation: the integer outputs for integer inputs, each with the batch as its first axis.

        Exact for every graph that verifies. Raises InputError for a wrong shape or a value outside the input's type.
        """
        names = [port.name for port in self.outputs]
        parts = self._in_chunks(self._check_feeds(feeds), names, progress)
        return [np.concatenate([part[name] for part in parts], dtype=np.int64) for name in names]

    def evaluate_all(self, *feeds: Feed, names: Collection[str] | None = None) -> dict[str, IntArray]:
        """Every value of the golden evaluation by name, or those of `names`, for comparing layer by layer."""
        if names is None:
            names = [name for name in self._types if name not in self.consts]
        parts = self._in_chunks(self._check_feeds(feeds), names, None)
        return {name: np.concatenate([part[name] for part in parts], dtype=np.int64) for name in names}

    def _in_chunks(
        self, feeds: tuple[Feed, ...], names: Collection[str], progress: Callable[[int], None] | None
    ) -> list[dict[str, Values]]:
        """The values of `names`, chunk by chunk of the batch."""
        batch = len(feeds[0])
        step = max(1, min(self._chunk(), -(-batch // _WORKERS)))

        def run(start: int) -> dict[str, Values]:
            return self._run([f[start : start + step] for f in feeds], names)

        parts: list[dict[str, Values]] = []
        # One chunk per processor, each with one BLAS thread: BLAS threads of their own gain nothing on matrices this
        # small, and wait for each other at a multiple of the cost when the machine has other work.
        with _blas().limit(limits=1, user_api="blas"), ThreadPoolExecutor(_WORKERS) as pool:
            for part in pool.map(run, range(0, max(batch, 1), step)):
                parts.append(part)
                if progress:
                    progress(min(step, batch - step * (len(parts) - 1)))
        return parts

    def _chunk(self) -> int:
        largest = max(t.size for name, t in self._types.items() if name not in self.consts)
        return max(1, min(1024, _CHUNK_ELEMENTS // largest))

    def _run(self, feeds: list[Feed], names: Collection[str]) -> dict[str, Values]:
        """The values of `names`; all others are forgotten as soon as nothing reads them any more."""
        # Widened here, chunk by chunk: the user's batch may be all the memory there is.
        values: dict[str, Values] = {
            p.name: np.asarray(f, dtype=np.int64) for p, f in zip(self.inputs, feeds, strict=True)
        }
        wanted = set(names)
        last = {name: node for node in self.nodes for name in node.inputs}
        for node in self.nodes:
            args = [values[n] if n in values else self.consts[n].value for n in node.inputs]
            values[node.name] = node.op.evaluate(args, self.args(node))
            for name in set(node.inputs):
                if last[name] is node and name in values and name not in wanted:
                    del values[name]
        return {name: values[name] for name in wanted}

    def _check_feeds(self, feeds: tuple[Feed, ...]) -> tuple[Feed, ...]:
        """The feeds as arrays, each with the batch as its first axis; raises InputError."""
        if len(feeds) != len(self.inputs):
            raise InputError.at("inputs", f"{len(feeds)} arrays", self._input_names())
        arrays = [np.asarray(f) for f in feeds]
        for port, feed in zip(self.inputs, arrays, strict=True):
            type_ = self._types[port.name]
            where = f"input {port.name}"
            if feed.shape[1:] != type_.shape:
                shape = ", ".join(map(str, type_.shape))
                raise InputError.at(where, f"an array of shape {feed.shape}", f"(batch, {shape})")
            if not np.issubdtype(feed.dtype, np.integer):
                hint = "quantise_inputs for real values"
                raise InputError.at(where, f"values of type {feed.dtype}", "integers", hint)
            if not type_.dtype.holds(feed):
                raise InputError.at(where, f"values from {feed.min()} to {feed.max()}", _range(type_.dtype))
        if len({len(f) for f in arrays}) > 1:
            raise InputError.at("inputs", f"batches of {', '.join(str(len(f)) for f in arrays)}", "one batch size")
        return tuple(arrays)

    def _input_names(self) -> str:
        return f"{len(self.inputs)}: {', '.join(p.name for p in self.inputs)}"

    # -- real numbers at the edges -------------------------------------------------------------------------------------

    def quantise_inputs(self, *arrays: NDArray[Any]) -> list[IntArray]:
        """The user's arrays as integer feeds: real values quantised as the model says, integers taken as they are.

        Each array is in the axes of the user's model (NCHW) or in the graph's (NHWC), with or without a batch axis.
        Raises InputError for no frames, a wrong shape, NaN, an integer out of range, or real values without a scale.
        """
        if len(arrays) != len(self.inputs):
            raise InputError.at("inputs", f"{len(arrays)} arrays", self._input_names())
        feeds = [self._quantise(port, np.asarray(array)) for port, array in zip(self.inputs, arrays, strict=True)]
        if any(not len(feed) for feed in feeds):
            raise InputError.at("inputs", "no frames", "1 or more")
        return feeds

    def _quantise(self, port: Port, array: NDArray[Any]) -> IntArray:
        type_ = self._types[port.name]
        source = port.source_shape(type_.shape)
        where = f"input {port.name}"
        if array.shape in (source, type_.shape):
            array = array[None]
        if array.shape[1:] == source and port.source_axes:
            array = array.transpose(0, *(a + 1 for a in port.source_axes))
        elif array.shape[1:] != type_.shape:
            shapes = " or ".join(str(("batch", *s)) for s in dict.fromkeys((source, type_.shape)))
            raise InputError.at(where, f"an array of shape {array.shape}", shapes.replace("'", ""))
        if np.issubdtype(array.dtype, np.integer):
            values = np.ascontiguousarray(array, dtype=np.int64)
            if not type_.dtype.holds(values):
                found = f"integers from {values.min()} to {values.max()}"
                raise InputError.at(where, found, _range(type_.dtype), "pass real values as float")
            return values
        if not np.issubdtype(array.dtype, np.floating):
            raise InputError.at(where, f"values of type {array.dtype}", "integers or floating point")
        if not np.isfinite(array).all():
            raise InputError.at(where, "NaN or infinite values", "finite values")
        if type_.quant is None:
            hint = f"integers of {_range(type_.dtype)}"
            raise InputError.at(where, "real values for an input without a scale", "integers", hint)
        return type_.quant.quantise(array.astype(np.float64), type_.dtype)

    def dequantise_outputs(self, raw: list[IntArray]) -> list[RealArray]:
        """The integer outputs as real numbers, in the axes of the user's model; those without a scale unchanged."""
        result = []
        for port, q in zip(self.outputs, raw, strict=True):
            quant = self._types[port.name].quant
            real = quant.dequantise(q) if quant is not None else q.astype(np.float64)
            if port.source_axes:
                real = real.transpose(0, *(a + 1 for a in np.argsort(port.source_axes)))
            result.append(real)
        return result

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _range(dtype: IntType) -> str:
    return f"{dtype}: {dtype.lo} {'or' if dtype.bipolar else 'to'} {dtype.hi}"
