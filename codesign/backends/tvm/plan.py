"""The network as kernels and memory: what is computed in which order, how every tensor lies, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from codesign.backends.tvm.storage import NO_BORDER, Storage, plain
from codesign.backends.tvm.task import MOST_POINTERS, Task, fuse, stored
from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Concat, Conv2d, Dense, Reshape, Transpose
from codesign.ir.ops.base import Padding
from codesign.ir.types import IntType
from codesign.passes.rewrite import Edit, rewrite

TAIL_BYTES = 64  # what a kernel may read behind the last element: the widest vector
ALIGNMENT = 64
WORD_BYTES = 16  # of the widest word that products read activations in


@dataclass(frozen=True)
class Policy:
    """How a device wants the tensors between kernels.

    operand  the element type that its dot products take activations in: `int8`, `uint8`; empty where any will do
    borders  whether convolutions read their padding from memory
    """

    operand: str = ""
    borders: bool = True


@dataclass(frozen=True)
class Plan:
    """A network as tasks over memory.

    graph    the graph that is computed: the user's, with copies of inputs where kernels want another storage
    tasks    in the order of computation, with the storage of their tensors
    outputs  the tensor that each output of the graph is written to
    storage  of every tensor in memory
    buffers  of every tensor (views included): the tensor whose memory it is
    offsets  of every tensor that is neither input nor output of the graph: bytes from the beginning of the arena
    arena_bytes  what all of them need
    """

    graph: Graph
    tasks: tuple[Task, ...]
    outputs: tuple[str, ...]
    storage: Mapping[str, Storage]
    buffers: Mapping[str, str]
    offsets: Mapping[str, int]
    arena_bytes: int


def plan(graph: Graph, policy: Policy) -> Plan:
    """The tasks of `graph`, and a place for every tensor. Outputs are exact: no value changes, only where it lies."""
    graph = _with_copies(_narrow_concats(graph), policy)
    tasks = fuse(graph)
    buffers = _buffers(graph)
    storage = {name: _storage(graph, buffers, policy, name) for name in buffers}
    outputs: list[str] = []
    for i, port in enumerate(graph.outputs):
        name = port.name
        if name in outputs or any(p.name == name for p in graph.inputs):  # the same values in memory of their own
            name = f"{port.name}.output{i}"
            type_ = graph.type(port.name)
            tasks.append(Task((), (port.name,), {port.name: type_, name: type_}, {}, target=name))
            storage[name], buffers[name] = storage[port.name], name
        outputs.append(name)
    placed = tuple(stored(task, storage) for task in tasks)
    offsets, arena_bytes = _arena(graph, placed, storage, buffers)
    return Plan(graph, placed, tuple(outputs), storage, buffers, offsets, arena_bytes)


def _narrow_concats(graph: Graph) -> Graph:
    """Concats of more tensors than a kernel takes pointers, as Concats of Concats."""
    most = MOST_POINTERS - 1

    def rule(node: Node, edit: Edit) -> Node | None:
        if not isinstance(node.op, Concat) or len(node.inputs) <= most:
            return None
        names = list(node.inputs)
        while len(names) > most:
            parts = [names[i : i + most] for i in range(0, len(names), most)]
            names = [edit.before(node, "part", Concat(), *part) if len(part) > 1 else part[0] for part in parts]
        return replace(node, inputs=tuple(names))

    return rewrite(graph, rule)


def _with_copies(graph: Graph, policy: Policy) -> Graph:
    """A copy (an identical Transpose) of inputs and outputs that products read in another storage than the user's."""
    ports = {port.name for port in (*graph.inputs, *graph.outputs)}
    copies: dict[str, str] = {}

    def rule(node: Node, edit: Edit) -> Node | None:
        if not isinstance(node.op, Conv2d | Dense):
            return None
        name = node.inputs[0]
        type_ = graph.type(name)
        if _root(graph, name) not in ports or _wanted(graph, node, policy) == plain(type_.shape, type_.dtype):
            return None
        if name not in copies:
            copies[name] = edit.before(node, "input", Transpose(tuple(range(len(type_.shape)))), name)
        return replace(node, inputs=(copies[name], *node.inputs[1:]))

    return rewrite(graph, rule)


def _root(graph: Graph, name: str) -> str:
    """The tensor whose memory `name` is a view of. A Reshape that is an output of the graph has memory of its own."""
    outputs = {port.name for port in graph.outputs}
    while graph.is_computed(name) and isinstance(graph.node(name).op, Reshape) and name not in outputs:
        name = graph.node(name).inputs[0]
    return name


def _buffers(graph: Graph) -> dict[str, str]:
    names = [*(port.name for port in graph.inputs), *(node.name for node in graph.nodes)]
    return {name: _root(graph, name) for name in names}


def _wanted(graph: Graph, node: Node, policy: Policy) -> Storage:
    """The storage that a product would like its input to have."""
    type_ = graph.type(node.inputs[0])
    result = plain(type_.shape, type_.dtype)
    if policy.operand and type_.dtype.bits <= 8:
        result = replace(result, dtype=policy.operand, offset=_offset(type_.dtype, policy.operand))
    if policy.operand and _read_width(graph, node) % WORD_BYTES:
        result = replace(result, tail=TAIL_BYTES // result.itemsize)
    if policy.borders and isinstance(node.op, Conv2d) and any(node.op.padding):
        result = replace(result, border=node.op.padding, border_value=node.op.pad_value)
    return result


def _read_width(graph: Graph, node: Node) -> int:
    """Elements of a window's row that lie side by side: products read them in whole words."""
    channels = graph.type(node.inputs[0]).channels
    kernel = graph.consts[node.inputs[1]].value.shape[2] if isinstance(node.op, Conv2d) else 1
    return int(kernel) * channels


def _offset(dtype: IntType, operand: str) -> int:
    """What is subtracted from values of `dtype` so that `operand` holds them."""
    if operand == "uint8":
        return min(dtype.lo, 0)
    return 128 if dtype.hi > 127 else 0


def _storage(graph: Graph, buffers: Mapping[str, str], policy: Policy, name: str) -> Storage:
    type_ = graph.type(name)
    result = plain(type_.shape, type_.dtype)
    root = buffers[name]
    ports = {port.name for port in (*graph.inputs, *graph.outputs)}
    if root in ports:
        return result
    views = [view for view, of in buffers.items() if of == root]
    readers = [node for view in views for node in graph.users(view) if isinstance(node.op, Conv2d | Dense)]
    wishes = [_wanted(graph, node, policy) for node in readers]
    result = replace(result, tail=TAIL_BYTES // result.itemsize)
    if wishes:
        result = replace(result, dtype=wishes[0].dtype, offset=wishes[0].offset)
    padded = [wish for wish in wishes if wish.border != NO_BORDER]
    if len(views) == 1 and padded and _holds(result, padded[0].border_value):
        same = [wish.border for wish in padded if wish.border_value == padded[0].border_value]
        result = replace(result, border=_largest(same), border_value=padded[0].border_value)
    return result


def _holds(storage: Storage, value: int) -> bool:
    lo, hi = {"int8": (-128, 127), "uint8": (0, 255)}.get(storage.dtype, (-(1 << 15), (1 << 15) - 1))
    return lo <= value - storage.offset <= hi


def _largest(borders: Sequence[Padding]) -> Padding:
    above, left, below, right = (max(sides) for sides in zip(*borders, strict=True))
    return above, left, below, right


def _arena(
    graph: Graph, tasks: Sequence[Task], storage: Mapping[str, Storage], buffers: Mapping[str, str]
) -> tuple[dict[str, int], int]:
    """Offsets of the tensors between kernels: the largest first, each at the lowest place free while it lives."""
    ports = {port.name for port in (*graph.inputs, *graph.outputs)} | {task.target for task in tasks if task.target}
    lives: dict[str, tuple[int, int]] = {}
    for i, task in enumerate(tasks):
        for name in (*task.inputs, task.output):
            root = buffers[name]
            if root not in ports:
                first, _ = lives.get(root, (i, i))
                lives[root] = (first, i)
    offsets: dict[str, int] = {}
    end = 0
    for name in sorted(lives, key=lambda n: (-storage[n].bytes, lives[n])):
        size, (first, last) = storage[name].bytes, lives[name]
        taken = sorted(
            (offsets[other], offsets[other] + storage[other].bytes)
            for other in offsets
            if lives[other][0] <= last and first <= lives[other][1]
        )
        place = 0
        for start, stop in taken:
            if place + size <= start:
                break
            place = max(place, -(-stop // ALIGNMENT) * ALIGNMENT)
        offsets[name] = place
        end = max(end, place + size)
    return {name: offsets[buffers[name]] for name in buffers if buffers[name] in offsets}, end
