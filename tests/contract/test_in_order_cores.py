"""Code for in-order cores: scheduled for another core's pipeline where their own would not stay in registers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from codesign.backends.tvm.codegen import IN_ORDER, SPILLED, build, compile_kernel, target_of
from codesign.backends.tvm.plan import Policy, plan
from codesign.backends.tvm.templates import choices, make
from codesign.target import load_target
from codesign.testing.networks import resnet8

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
