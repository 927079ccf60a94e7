"""The cost model and the search for Mali kernels, without OpenCL."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codesign.backends.tvm.mali import verify
from codesign.backends.tvm.mali.cost import cost, threads_at_once
from codesign.backends.tvm.mali.gpu import Gpu
from codesign.backends.tvm.mali.network import network_of
from codesign.backends.tvm.mali.search import check, estimate, gpu_of, plan_for, ranked, schedule, table
from codesign.backends.tvm.mali.templates import choices, template_of
from codesign.backends.tvm.mali.templates.base import Work
from codesign.errors import InputError, MismatchError
from codesign.ir.graph import Graph
from codesign.ir.types import IntType
from codesign.report import Basis
from codesign.target import load_target
from codesign.testing.build import GraphBuilder
from codesign.testing.graphs import feeds

I8 = IntType(8, True)
G52, T860, G76 = (load_target(f"mali-{name}") for name in ("g52", "t860", "g76"))


def layer(channels: int = 32, size: int = 14, kernel: int = 3, groups: int = 1) -> Graph:
    """A convolution with its rescaling."""
    b, rng = GraphBuilder(), np.random.default_rng(1)
    x = b.input((size, size, channels), I8)
    weights = rng.integers(-127, 128, (channels, kernel, kernel, channels // groups))
    y = b.conv(x, weights, I8, groups=groups, padding=(kernel // 2,) * 4, name="layer")
    return b.graph(b.requant(y, [1 << 29] * channels, [40] * channels, I8))


def work(**changed: Any) -> Work:
    """A kernel of 4,096 work-items of which each multiplies 1,000 times."""
    plain = Work(
        grid=(16, 16, 16), local=(8, 8, 1), rounds=100, macs=1000, dot=False, others=100, input_loads=10,
        weight_loads=10, input_bytes=100, weight_bytes=100, stores=1, registers=20, group_bytes=1000, kernel_bytes=1000,
        kernel_tensor_bytes=1000,
    )  # fmt: skip
    return replace(plain, **changed)


def gpu(**changed: int) -> Gpu:
    return replace(gpu_of(G52), **changed)


def test_arithmetic_by_hand() -> None:
    """64 groups on 2 cores: 32 groups of 64 threads, of 1000 / 24 cycles and 100 / 24 cycles each."""
    found = cost(work(), gpu(), 1e9)
    assert found.parts["arithmetic"] == pytest.approx(32 * 64 * (1000 / 24 + 100 / 24) * 1e-9)
    assert found.bound == "arithmetic"
    assert found.seconds == pytest.approx(found.parts["arithmetic"] + 20e-6)
    assert cost(work(dot=True), gpu(), 1e9).parts["arithmetic"] == pytest.approx(
        32 * 64 * (1000 / 96 + 100 / 24) * 1e-9
    )


def test_loads_by_hand() -> None:
    """256 warps of a core (8 threads along x): 20 loads and a store, or 100 + 8 * 100 bytes at 16 a cycle."""
    assert cost(work(), gpu(), 1e9).parts["load_store"] == pytest.approx(256 * 900 / 16 * 1e-9)
    few = work(input_bytes=0, weight_bytes=0)
    assert cost(few, gpu(), 1e9).parts["load_store"] == pytest.approx(256 * 21 * 1e-9)
    along_y = work(local=(1, 8, 8))  # 8 different inputs, the same weights
    assert cost(along_y, gpu(), 1e9).parts["load_store"] == pytest.approx(256 * 900 / 16 * 1e-9)


def test_threads_that_fit_hide_the_latency() -> None:
    assert [threads_at_once(n, gpu()) for n in (32, 33, 64, 65)] == [768, 384, 384, 192]
    assert [threads_at_once(n, gpu_of(T860)) for n in (16, 17, 32, 33, 64)] == [256, 128, 128, 64, 64]
    fast, slow = (cost(work(registers=n), gpu(), 1e9) for n in (32, 33))
    assert slow.parts["latency"] == 2 * fast.parts["latency"]  # 2,048 threads a core: 3 turns of 768, 6 of 384
    assert (fast.occupancy, slow.occupancy) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        (work(registers=80), work(registers=64)),
        (work(local=(1, 1, 1)), work(local=(8, 1, 1))),
        (work(kernel_bytes=10**9), work()),
        (work(group_bytes=10**6), work()),
    ],
)
def test_what_costs_more(worse: Work, better: Work) -> None:
    assert cost(worse, gpu(), 1e9).seconds > cost(better, gpu(), 1e9).seconds


def test_more_of_anything_is_not_slower() -> None:
    plain = cost(work(), gpu(), 1e9).seconds
    for figure in ("cores", "int_macs", "load_bytes", "threads", "l2_bytes", "l2_bytes_per_cycle", "dram_bytes_per_s"):
        more = gpu(**{figure: 2 * getattr(gpu(), figure)})
        assert cost(work(), more, 1e9).seconds <= plain, figure


def test_dot_products_where_the_gpu_has_them() -> None:
    graph = layer()
    dot = schedule(graph, G52)[graph.outputs[0].name]
    assert (dot["template"], dot["dot"]) == ("products", True)
    task = plan_for(graph, T860).tasks[-1]
    assert {choice["dot"] for choice in choices(task, gpu_of(T860))} == {False}


def test_every_kind_of_layer_has_its_template() -> None:
    def template(graph: Graph) -> str:
        return str(schedule(graph, T860)[graph.outputs[0].name]["template"])

    assert template(layer()) == "products"
    assert template(layer(groups=32)) == "depthwise"
    assert template(layer(groups=4)) == "each"


def test_the_best_kernel_keeps_sums_in_registers() -> None:
    """A tile of several pixels and channels, no more registers than there are, and better than one sum a work-item."""
    task = plan_for(layer(128, 28), G76).tasks[-1]
    order = ranked(task, gpu_of(G76), G76.clock_hz)
    best, single = order[0], next(c for c in order if c["rows"] == c["channels"] == 1)
    times = [cost(template_of(task, c).work(task, c), gpu_of(G76), G76.clock_hz) for c in (best, single)]
    assert best["rows"] * best["channels"] >= 8
    assert template_of(task, best).work(task, best).registers <= 64
    assert times[1].seconds - 20e-6 > 2 * (times[0].seconds - 20e-6)


def test_groups_fit_the_registers() -> None:
    """On a Midgard core 64 threads of up to 64 registers are all there are."""
    task = plan_for(layer(64, 28), T860).tasks[-1]
    best = ranked(task, gpu_of(T860), T860.clock_hz)[0]
    work = template_of(task, best).work(task, best)
    assert np.prod(work.local) <= threads_at_once(work.registers, gpu_of(T860))


def test_estimate() -> None:
    graph = layer()
    plan, found = plan_for(graph, G52), schedule(graph, G52)
    metrics, kernels = estimate(plan, found, G52)
    assert {metric.basis for metric in metrics} == {Basis.MODEL}
    assert metrics[0].value == pytest.approx(1e9 * sum(kernel.cost.seconds for kernel in kernels), abs=1)
    assert [row["macs"] for row in table(kernels)] == [0, 14 * 14 * 9 * 32 * 32]  # the copy with the border, the layer
    assert found == schedule(graph, G52)


def test_equal_layers_share_a_kernel() -> None:
    b, rng = GraphBuilder(), np.random.default_rng(1)
    x = b.input((8, 8, 16), I8)
    for _ in range(3):
        x = b.conv(x, rng.integers(-127, 128, (16, 1, 1, 16)), I8)
        x = b.requant(x, [1 << 29] * 16, [40] * 16, I8)
    graph = b.graph(x)
    network = network_of(plan_for(graph, G52), schedule(graph, G52))
    assert len(network.steps) == 3
    assert len(network.kernels) < 3


def test_a_schedule_from_elsewhere() -> None:
    graph = layer()
    plan, found = plan_for(graph, G52), schedule(graph, G52)
    check(plan, found, G52)
    copy, conv = (task.output for task in plan.tasks)
    with pytest.raises(InputError) as caught:
        check(plan, {copy: {"template": "each", "channels": "many"}, conv: {**found[conv], "rows": 3}}, G52)
    first, second = str(caught.value).splitlines()
    hint = "does not fit; allowed: one of the template {}; try: codesign compile without --schedule makes one"
    kernel = "{'template': 'each', 'channels': 'many'}"
    assert first == f"{plan.tasks[0].where}: the schedule's kernel {kernel} {hint.format('each')}"
    assert second.startswith("layer: the schedule's kernel {'template': 'products', 'dot': True, 'rows': 3, ")
    assert second.endswith(hint.format("products"))
    with pytest.raises(InputError, match=r"a schedule of the template 'magic'; allowed: products, depthwise, each$"):
        network_of(plan, {**found, copy: {"template": "magic"}})


def test_a_kernel_that_differs_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would run is replaced by a table of what is wrong."""
    graph = layer()
    plan, found = plan_for(graph, G52), schedule(graph, G52)
    task = plan.tasks[-1]
    order = ranked(task, gpu_of(G52), G52.clock_hz)
    wrong, used = order[:2], []

    def written(out: Path, _plan: object, choices: Any, _target: object) -> None:
        used.append(choices[task.output])

    monkeypatch.setattr(verify, "write", written)
    monkeypatch.setattr(verify, "execute", lambda *_, **__: None)
    monkeypatch.setattr(verify, "differing", lambda *_: [task.output] if used[-1] in wrong else [])
    assert verify.proved(graph, G52, found, feeds(graph, 1, 1)) == {**found, task.output: order[2]}
    assert used == order[:3]
    wrong = order
    with pytest.raises(MismatchError) as caught:
        verify.proved(graph, G52, found, feeds(graph, 1, 1))
    assert str(caught.value) == (
        f"layer: the kernel {dict(order[3])} differs from the golden evaluation; "
        "try: another OpenCL driver; please report it with the model"
    )
