"""Many graphs as one network: PoCL takes seconds for each program, however small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from codesign.ir.graph import Graph
from codesign.ir.ops import OpError
from codesign.ir.types import IntType
from codesign.testing.build import GraphBuilder
from codesign.testing.graphs import STEPS, Walk, grow


def merged(graphs: Mapping[str, Graph]) -> Graph:
    """One graph that computes all of them side by side; every name gets its graph's in front."""

    def named(graph: str, name: str) -> str:
        return f"{graph}.{name}"

    inputs, consts, nodes, outputs = [], {}, [], []
    for key, graph in graphs.items():
        inputs += [replace(port, name=named(key, port.name)) for port in graph.inputs]
        consts |= {named(key, name): const for name, const in graph.consts.items()}
        nodes += [
            replace(node, name=named(key, node.name), inputs=tuple(named(key, name) for name in node.inputs))
            for node in graph.nodes
        ]
        outputs += [replace(port, name=named(key, port.name)) for port in graph.outputs]
    return Graph(tuple(inputs), consts, tuple(nodes), tuple(outputs))


def random_graph(seed: int, nodes: int = 6) -> Graph:
    """A random graph of all operators, types up to 12 bits."""
    rng = np.random.default_rng(seed)
    build = GraphBuilder()

    def pick(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    shape = [pick(1, 9), pick(1, 9), pick(1, 9)] if pick(0, 3) else [pick(1, 12)]
    current = build.input(shape, IntType(pick(1, 12), bool(pick(0, 1))))
    try:
        return grow(Walk(pick, rng, build, current), tuple(STEPS), nodes, argmax=True)
    except OpError:
        return random_graph(seed + 1_000_000, nodes)
