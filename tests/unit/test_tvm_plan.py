"""Networks as tasks over memory: what is fused, how many pointers a kernel takes, where tensors lie."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings

from codesign.backends.tvm import task
from codesign.backends.tvm.backend import TvmBackend
from codesign.backends.tvm.plan import Policy, plan
from codesign.backends.tvm.storage import Storage
from codesign.ir.graph import Graph
from codesign.ir.ops import Add, Concat, Mul
from codesign.ir.types import IntType
from codesign.target import load_target
from codesign.testing.build import GraphBuilder
from codesign.testing.cases import CASES
from codesign.testing.graphs import graphs

I8 = IntType(8, True)
POLICIES = (Policy("uint8"), Policy("int8"), Policy(""), Policy("int8", borders=False))


@settings(max_examples=200)
@given(graphs())
def test_tensors_that_live_at_once_do_not_overlap(graph: Graph) -> None:
    for policy in POLICIES:
        made = plan(graph, policy)
        last = {}
        for i, one in enumerate(made.tasks):
            last |= dict.fromkeys((made.buffers[name] for name in (*one.inputs, one.output)), i)
        alive: set[str] = set()
        for i, one in enumerate(made.tasks):
            alive |= {made.buffers[n] for n in (*one.inputs, one.output) if made.buffers[n] in made.offsets}
            places = sorted((made.offsets[n], made.offsets[n] + made.storage[n].bytes) for n in alive)
            assert all(end <= start for (_, end), (start, _) in pairwise(places))
            assert all(end <= made.arena_bytes for _, end in places)
            alive = {name for name in alive if last[name] > i}


@settings(max_examples=200)
@given(graphs())
def test_every_node_is_computed_once(graph: Graph) -> None:
    made = plan(graph, Policy("int8"))
    computed = [node.name for one in made.tasks for node in one.nodes]
    assert len(computed) == len(set(computed))
    missing = {node.name for node in made.graph.nodes} - set(computed)
    assert all(type(made.graph.node(name).op).__name__ == "Reshape" for name in missing)
    for one in made.tasks:
        assert sum(not isinstance(node.op, task.ELEMENTWISE) for node in one.nodes) <= 1


def test_a_kernel_takes_no_more_pointers_than_it_is_called_with() -> None:
    b = GraphBuilder()
    names = [b.input((3, 2, 4), I8, name=f"x{i}") for i in range(20)]
    total = names[0]
    for name in names[1:]:
        total = b.node(Add(), total, name)
    wide = b.node(Concat(), *names, *names, *names, *names)
    product = b.node(Mul(), names[0], names[1])
    made = plan(b.graph(total, wide, product), Policy("int8"))
    assert max(len(one.inputs) + 1 for one in made.tasks) <= task.MOST_POINTERS
    assert [made.graph.type(port.name).shape for port in made.graph.outputs][1] == (3, 2, 320)


@pytest.mark.parametrize("border", [(0, 0, 0, 0), (1, 2, 0, 3)])
def test_storage_is_read_back(border: tuple[int, int, int, int]) -> None:
    values = np.arange(24).reshape(2, 3, 4) - 12
    storage = Storage((2, 3, 4), "uint8", -128, border, border_value=5, tail=7)
    flat = storage.store(values)
    assert flat.size == storage.bytes == (2 + border[0] + border[2]) * (3 + border[1] + border[3]) * 4 + 7
    assert flat[storage.origin] == values[0, 0, 0] + 128
    assert (storage.load(flat) == values).all()


def test_an_operator_without_a_rule_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = CASES["residual"]()
    node = next(node for node in graph.nodes if isinstance(node.op, Add))
    backend, target = TvmBackend(), load_target("cortex-a72")
    assert backend.check(node, graph, target).ok
    monkeypatch.setattr(task, "OPERATORS", (Mul, Concat))
    assert backend.check(node, graph, target).reason == "Add has no rule for kernels; allowed: Mul, Concat"
