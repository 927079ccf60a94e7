"""What passes are made of: walk a graph once, replace nodes, keep the names that the user knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from codesign.ir.graph import Const, Graph, Node
from codesign.ir.ops import Arg, Op, OpError
from codesign.ir.types import IntArray, IntType, Quant, TensorType


class Edit:
    """The new graph while it grows: constants and helper nodes, and the types of everything so far.

    graph  the graph before the pass; a rule reads it to look at users and producers
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.consts: dict[str, Const] = dict(graph.consts)
        self.nodes: list[Node] = []
        self.aliases: dict[str, str] = {}
        self._types: dict[str, TensorType] = {p.name: graph.type(p.name) for p in graph.inputs}
        self._taken = set(graph.types())

    def type(self, name: str) -> TensorType:
        """The type of a value of the new graph."""
        return self.consts[name].type if name in self.consts else self._types[name]

    def value(self, name: str) -> IntArray:
        """The values of a constant."""
        return self.consts[name].value

    def const(self, name: str, value: IntArray, dtype: IntType | None = None) -> str:
        """Add a constant, in `dtype` if that holds it, else in the narrowest type; returns the name it got."""
        name = self._free(name)
        self.consts[name] = Const.of(value, dtype if dtype is not None and dtype.holds(value) else None)
        return name

    def before(self, node: Node, suffix: str, op: Op, *inputs: str, quant: Quant | None = None) -> str:
        """Add a helper node that computes something for `node`; returns the name it got."""
        helper = Node(self._free(f"{node.name}.{suffix}"), op, inputs, node.origin, quant)
        self.append(helper)
        return helper.name

    def append(self, node: Node) -> None:
        """Add a node and its type: that of the graph before for an old node with the same inputs, else inferred."""
        self.nodes.append(node)
        if self._is_old(node) and all(self.type(n) is self.graph.type(n) for n in node.inputs):
            self._types[node.name] = self.graph.type(node.name)
        else:
            self._types[node.name] = replace(node.op.infer(self.args(node)), quant=node.quant)

    def changed(self) -> bool:
        """Whether any node is new or gone."""
        return bool(self.aliases) or not all(self._is_old(node) for node in self.nodes)

    def _is_old(self, node: Node) -> bool:
        return self.graph.is_computed(node.name) and self.graph.node(node.name) is node

    def args(self, node: Node) -> list[Arg]:
        """The inputs of `node` as its operator sees them."""
        return [Arg(self.type(n), self.consts[n].value if n in self.consts else None) for n in node.inputs]

    def _free(self, name: str) -> str:
        free, number = name, 2
        while free in self._taken:
            free, number = f"{name}{number}", number + 1
        self._taken.add(free)
        return free


# None keeps the node; a node replaces it under its name; a name makes every reader read that value instead.
Rule = Callable[[Node, Edit], Node | str | None]


def rewrite(graph: Graph, rule: Rule) -> Graph:
    """The graph with every node seen by `rule` in topological order; what nobody reads any more is dropped.

    The rule gets nodes with their inputs already renamed. It must not give a name for an output of the graph: the
    outputs' names are the user's. When it changes nothing, the result is `graph` itself: building a graph verifies it,
    which takes seconds with millions of weights.
    """
    edit = Edit(graph)
    for node in graph.nodes:
        inputs = tuple(edit.aliases.get(n, n) for n in node.inputs)
        if inputs != node.inputs:
            node = replace(node, inputs=inputs)
        result = rule(node, edit)
        if isinstance(result, str):
            assert not is_output(graph, node.name)
            edit.aliases[node.name] = result
        else:
            edit.append(node if result is None else result)
    if not edit.changed():
        return live(graph)
    return live(replace(graph, consts=edit.consts, nodes=tuple(edit.nodes)))


def live(graph: Graph) -> Graph:
    """The graph without the nodes and constants that no output depends on. Inputs stay: they are the interface."""
    needed = {port.name for port in graph.outputs}
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    nodes = tuple(node for node in graph.nodes if node.name in needed)
    consts: Mapping[str, Const] = {name: const for name, const in graph.consts.items() if name in needed}
    if len(nodes) == len(graph.nodes) and len(consts) == len(graph.consts):
        return graph
    return replace(graph, consts=consts, nodes=nodes)


def accepts(op: Op, args: Sequence[Arg]) -> bool:
    """Whether an operator takes these inputs: a rule asks where a sum may outgrow 32 bits."""
    try:
        op.infer(args)
    except OpError:
        return False
    return True


def is_output(graph: Graph, name: str) -> bool:
    """Whether `name` is an output of the graph."""
    return any(port.name == name for port in graph.outputs)


def only_user(graph: Graph, name: str) -> Node | None:
    """The one node that reads `name`, when nothing else does and it is no output."""
    users = graph.users(name)
    return users[0] if len(users) == 1 and not is_output(graph, name) else None


def producer(graph: Graph, name: str) -> Node | None:
    """The node that computes `name`; None for an input of the graph."""
    return graph.node(name) if graph.is_computed(name) else None
