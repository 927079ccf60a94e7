"""Sums stay in registers: what LLVM would take to pieces or move too far ahead is given to it in another form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from codesign.backends.tvm.codegen import IN_ORDER, SPILLED, build, compile_kernel, target_of
from codesign.backends.tvm.plan import Policy, plan
from codesign.backends.tvm.templates import choices, make
from codesign.target import load_target
from codesign.testing.networks import Network, resnet8

LARGE = (64, 3, 3, 64)


@pytest.fixture(scope="module")
def kernel() -> Any:
    """A convolution of ResNet-8: 3 x 3, 64 to 64 channels."""
    cpu = load_target("cortex-a53").cpu
    assert cpu is not None
    task = next(
        task for task in plan(resnet8(), Policy("int8")).tasks if LARGE in [c.shape for c in task.consts.values()]
    )
    return make(task, cpu, choices(task, cpu)[0]).func, cpu


def stack_accesses(module: Any) -> int:
    return str(module.inspect_source("asm")).count("[sp")


def test_the_schedule_that_stays_in_registers_is_taken(kernel: Any) -> None:
    func, cpu = kernel
    own, other = target_of(cpu), target_of(cpu, IN_ORDER)
    alone, other_alone = (stack_accesses(build(func, [target], "k")[0]) for target in (own, other))
    assert other_alone * SPILLED < alone  # what LLVM does; otherwise this module has lost its reason
    assert stack_accesses(build(func, [own, other], "k")[0]) == other_alone
    assert stack_accesses(build(func, [other, own], "k")[0]) == other_alone


def test_cores_that_reorder_are_compiled_for_themselves(kernel: Any) -> None:
    func, cpu = kernel
    in_order, alone = compile_kernel(func, cpu), compile_kernel(func, replace(cpu, in_order=False))
    assert in_order.symbol != alone.symbol
    assert in_order.path.read_bytes() != alone.path.read_bytes()


def test_sums_of_a_number_of_channels_that_is_no_power_of_two() -> None:
    """24 channels at once, in two steps of 12 bytes: no lane of a sum goes through a general register."""
    network = Network((6, 6, 24))
    graph = network.graph(network.conv_layer(network.conv_layer(network.x, 24, (1, 1)), 144, (1, 1)))
    cpu = load_target("cortex-a76").cpu
    assert cpu is not None
    task = plan(graph, Policy("int8")).tasks[-1]
    choice = {"template": "lanes", "groups": 3, "rows": 2, "columns": 2, "blocks": 6, "patches": False, "bits": 8}
    module, _ = build(make(task, cpu, choice).func, [target_of(cpu)], "k")
    code = module.inspect_source("asm")
    assert code.count("sdot") in (72, 144)  # whether or not both steps are written out
    assert ".s[1], w" not in code


def test_eight_channels_fill_a_shorter_vector() -> None:
    """Half of a long one would be rescaled channel by channel."""
    network = Network((6, 6, 16))
    graph = network.graph(network.conv_layer(network.conv_layer(network.x, 16, (1, 1)), 8, (1, 1), relu=False))
    cpu = load_target("host-x86").cpu
    assert cpu is not None
    task = plan(graph, Policy("uint8")).tasks[-1]
    first = choices(task, replace(cpu, features=("avx512vnni",)))[0]
    assert (first["template"], first["lanes"]) == ("dot", 8)
