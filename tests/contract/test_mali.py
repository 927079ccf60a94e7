"""Mali kernels under OpenCL (PoCL here): every tensor of every network equals the golden evaluation on every bit."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import missing
from mali_networks import merged, random_graph

from codesign import toolchain
from codesign.backends.tvm.mali.deliver import write
from codesign.backends.tvm.mali.run import execute
from codesign.backends.tvm.mali.search import estimate, gpu_of, plan_for, schedule
from codesign.backends.tvm.mali.templates import choices
from codesign.backends.tvm.mali.verify import differing
from codesign.backends.tvm.templates.base import Choice
from codesign.errors import ToolError
from codesign.frontend import import_model
from codesign.ir.graph import Graph
from codesign.ir.ops import AvgPool2d, Concat, MaxPool2d, Reshape
from codesign.ir.types import IntType
from codesign.target import Target, load_target
from codesign.testing.cases import CASES, Case
from codesign.testing.graphs import feeds

U8, I4, I8 = IntType(8, False), IntType(4, True), IntType(8, True)


@pytest.fixture(autouse=True, scope="module")
def opencl() -> None:
    try:
        toolchain.require("opencl")
    except ToolError as error:
        missing(str(error))


def wrong_tensors(graph: Graph, target: Target, found: Mapping[str, Choice], out: Path, frames: int = 3) -> list[str]:
    """Build the network, run it, and name what differs from the golden evaluation; outputs are checked as well."""
    plan, inputs = plan_for(graph, target), feeds(graph, frames, 1)
    write(out, plan, found, target)
    execution = execute(out, inputs, tensors=True)
    for port, value, expected in zip(graph.outputs, execution.outputs, graph.evaluate(*inputs), strict=True):
        np.testing.assert_array_equal(value, expected, err_msg=port.name)
    return differing(execution, plan, inputs)


@pytest.mark.parametrize("name", ["mali-g52", "mali-g76", "mali-t860"])
def test_every_case_is_exact(name: str, tmp_path: Path) -> None:
    graph = merged({case: make() for case, make in CASES.items()})
    target = load_target(name)
    assert wrong_tensors(graph, target, schedule(graph, target), tmp_path, frames=4) == []


@pytest.mark.parametrize(("name", "seed"), [("mali-g52", 0), ("mali-t860", 1)])
def test_random_schedules_of_random_graphs_are_exact(name: str, seed: int, tmp_path: Path) -> None:
    """Not the best schedules but any: what a search may meet."""
    more = int(os.environ.get("CODESIGN_RANDOM_DESIGNS", "16"))
    graph = merged({f"g{i}": random_graph(1000 * seed + i) for i in range(more)})
    target = load_target(name)
    rng = np.random.default_rng(seed)
    found = {}
    for task in plan_for(graph, target).tasks:
        possible = choices(task, gpu_of(target))
        found[task.output] = possible[int(rng.integers(len(possible)))]
    assert wrong_tensors(graph, target, found, tmp_path) == []


def cnn() -> Graph:
    """The demo's kind of network: convolutions of 4 bits, thresholds, pooling, a classifier; a depthwise branch."""
    c = Case(U8, (16, 16, 3))
    x = c.conv(c.x, c.weights(I8, 16, 3, 3, 3), I8, padding=(1, 1, 1, 1), pad_value=7)
    x = c.threshold(x, c.levels(x, IntType(4, False)), IntType(4, False))
    x = c.node(MaxPool2d((2, 2), (2, 2)), x)
    y = c.conv(x, c.weights(I4, 16, 3, 3, 1), I4, padding=(1, 1, 1, 1), groups=16)
    y = c.requant(y, [1 << 20] * 16, [23] * 16, IntType(4, False))
    x = c.node(Concat(), x, y)
    x = c.conv(x, c.weights(I4, 32, 3, 3, 32), I4, stride=(2, 2), padding=(0, 0, 1, 1))
    x = c.requant(x, [1 << 20] * 32, [25] * 32, U8)
    x = c.node(AvgPool2d((4, 4), (1, 1), mean=True), x)
    return c.graph(c.dense(c.node(Reshape((32,)), x), c.weights(I8, 10, 32), I8, c.rng.integers(-99, 99, 10)))


def test_the_demo_kind_of_network(tmp_path: Path) -> None:
    graph = cnn()
    for name in ("mali-g52", "mali-g72", "mali-g610"):
        target = load_target(name)
        assert wrong_tensors(graph, target, schedule(graph, target), tmp_path / name) == []


def odd_layers() -> Graph:
    """Layers whose pixels are no whole words of four bytes, and what can go wrong with their rows."""

    def conv(
        shape: tuple[int, int, int], outputs: int, kernel: tuple[int, int], dtype: IntType, **options: Any
    ) -> Graph:
        c = Case(dtype, shape)
        x = c.conv(c.x, c.weights(I8, outputs, *kernel, shape[2]), I8, **options)
        return c.graph(c.requant(x, [1 << 20] * outputs, [26] * outputs, U8))

    dense = Case(U8, (3,))
    return merged(
        {
            "padded": conv((9, 7, 3), 8, (3, 3), U8, padding=(1, 1, 1, 1), pad_value=9),
            "strided": conv((9, 7, 1), 6, (4, 3), U8, stride=(2, 2)),
            "pointwise": conv((8, 8, 6), 5, (1, 1), I8),
            "dilated": conv((9, 9, 5), 4, (3, 2), I8, dilation=(2, 2)),
            "rows_dilated": conv((9, 9, 3), 4, (2, 3), I8, dilation=(2, 1)),
            "uneven": conv((9, 9, 3), 4, (2, 3), U8, dilation=(1, 3), padding=(2, 1, 1, 2), pad_value=200),
            "dense": dense.graph(dense.dense(dense.x, dense.weights(I8, 7, 3), I8)),
        }
    )


def test_layers_of_odd_depth_use_dot_products(tmp_path: Path) -> None:
    graph, target = odd_layers(), load_target("mali-g52")
    found = schedule(graph, target)
    assert all(found[port.name]["dot"] for port in graph.outputs)
    assert wrong_tensors(graph, target, found, tmp_path) == []


@pytest.fixture(scope="module")
def cases() -> Path:
    folder = os.environ.get("CODESIGN_CASES")
    if not folder or not (Path(folder) / "mlperf_tiny").is_dir():
        missing("the folder of third-party cases (CODESIGN_CASES)")
    return Path(str(folder))


@pytest.mark.parametrize("model", ["kws_ref_model", "ad01_int8"])
@pytest.mark.parametrize("name", ["mali-g52", "mali-g76"])
def test_mlperf_tiny_models(cases: Path, model: str, name: str, tmp_path: Path) -> None:
    graph, target = import_model(cases / "mlperf_tiny" / f"{model}.tflite").graph, load_target(name)
    found = schedule(graph, target)
    assert wrong_tensors(graph, target, found, tmp_path) == []
    kernels = estimate(plan_for(graph, target), found, target)[1]
    by_dot = [layer for layer in kernels if layer.choice.get("dot")]
    assert sum(layer.macs for layer in by_dot) > 0.7 * sum(layer.macs for layer in kernels)


def test_the_board_s_makefile_checks_the_golden_frames(tmp_path: Path) -> None:
    graph, target = cnn(), load_target("mali-g52")
    inputs = feeds(graph, 2, 3)
    outputs = graph.evaluate(*inputs)
    plan = plan_for(graph, target)
    write(tmp_path, plan, schedule(graph, target), target, (inputs, outputs))
    make = replace(toolchain.require("opencl"), command=("make", "check"))
    done = toolchain.run(make, (), cwd=tmp_path, log=tmp_path / "log", time_limit_s=120)
    assert done.lines[-1] == f"0 of {2 * outputs[0][0].size * 4} bytes differ"

    damaged = bytearray((tmp_path / "golden_outputs.bin").read_bytes())
    damaged[0] ^= 1
    (tmp_path / "golden_outputs.bin").write_bytes(damaged)
    with pytest.raises(ToolError, match="bytes differ"):
        toolchain.run(make, (), cwd=tmp_path, log=tmp_path / "log", time_limit_s=120)


def test_groups_of_any_size_give_the_same(tmp_path: Path) -> None:
    """A driver may not take the groups that a kernel is meant for: its registers are the driver's business."""
    graph, target = CASES["residual"](), load_target("mali-g52")
    plan, inputs = plan_for(graph, target), feeds(graph, 2, 1)
    network = write(tmp_path, plan, schedule(graph, target), target)
    assert any(np.prod(kernel.local) > 3 for kernel in network.kernels.values())
    np.testing.assert_array_equal(execute(tmp_path, inputs, group=3).outputs[0], graph.evaluate(*inputs)[0])


def test_times_of_all_kernels(tmp_path: Path) -> None:
    graph, target = CASES["residual"](), load_target("mali-g52")
    plan = plan_for(graph, target)
    write(tmp_path, plan, schedule(graph, target), target)
    found = execute(tmp_path, feeds(graph, 2, 1), repeats=2)
    assert len(found.ns) == len(plan.tasks)
    assert all(ns > 0 for ns in found.ns)


def test_the_manifest_says_what_the_host_program_reads(tmp_path: Path) -> None:
    graph, target = CASES["conv_padded_strided"](), load_target("mali-g52")
    plan = plan_for(graph, target)
    network = write(tmp_path, plan, schedule(graph, target), target)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    lines = (tmp_path / "network.txt").read_text().splitlines()
    assert lines[:2] == ["codesign-opencl 1", f"buffers {len(manifest['buffers'])}"]
    sizes = [int(line.split()[2]) for line in lines[2 : 2 + len(manifest["buffers"])]]
    assert sizes == [buffer["bytes"] for buffer in manifest["buffers"]]
    text = (tmp_path / "kernels.cl").read_text()
    for kernel, step in zip(manifest["kernels"], manifest["steps"], strict=True):
        assert f"__kernel void {kernel['name']}(" in text
        assert all(items % local == 0 for items, local in zip(kernel["global"], kernel["local"], strict=True))
        assert step["kernel"] == kernel["name"]
    bordered = next(buffer for buffer in manifest["buffers"] if any(buffer.get("border", ())))
    assert bordered["border"] == [1, 0, 1, 1]
    assert len(network.constants()) == (tmp_path / "constants.bin").stat().st_size
