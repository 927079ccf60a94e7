"""What becomes one kernel: sums of branches, and which values go through memory between kernels."""

from __future__ import annotations

import numpy as np

from codesign.backends.tvm.task import fuse
from codesign.ir.ops import Add
from codesign.ir.types import IntType
from codesign.testing.build import GraphBuilder
from codesign.testing.networks import resnet8

I4, INT8, WIDE = IntType(4, True), IntType(8, True), IntType(20, True)


def test_a_widening_by_channels_moves_to_the_sum() -> None:
    """Two convolutions that are added after a rescaling to 20 bits: what the first one writes has 8 bits."""
    b, rng = GraphBuilder(), np.random.default_rng(1)
    x = b.input((4, 4, 4), INT8)
    sides = []
    for _ in range(2):
        narrow = b.requant(b.conv(x, rng.integers(-5, 6, (4, 1, 1, 4)), I4), [3, 4, 5, 6], [6], INT8)
        sides.append(b.requant(narrow, [1000, 1001, 1002, 1003], [0], WIDE))
    graph = b.graph(b.requant(b.node(Add(), *sides), [3], [12], INT8))
    first, second = fuse(graph)
    assert graph.type(first.output).dtype == INT8
    assert first.output in second.inputs
    assert len(first.nodes) + len(second.nodes) == len(graph.nodes)


def test_a_residual_block_is_two_kernels() -> None:
    """Each sum belongs to the convolution before it; nothing between kernels has more than 8 bits."""
    graph = resnet8()
    tasks = fuse(graph)
    assert {graph.type(task.output).dtype.bits for task in tasks} == {8}
    sums = [task for task in tasks if any(isinstance(node.op, Add) for node in task.nodes)]
    assert len(sums) == 3
    assert all(task.macs() for task in sums)
