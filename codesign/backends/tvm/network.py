"""A network as compiled kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codesign.backends.base import Progress
from codesign.backends.tvm import templates
from codesign.backends.tvm.codegen import compile_kernel
from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.deliver import program
from codesign.backends.tvm.plan import Plan, Policy
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice


@dataclass(frozen=True, eq=False)
class Kernel(program.Kernel):
    """One task and how it is scheduled, with its code."""

    task: Task
    choice: Choice


def policy_of(cpu: Cpu) -> Policy:
    """How the kernels for a core want their tensors: as the bytes that its fastest products take."""
    if cpu.arch == "aarch64":
        return Policy("int8")
    return Policy("uint8" if "avx2" in cpu.extensions() else "")


def compile_kernels(plan: Plan, cpu: Cpu, choices: Mapping[str, Choice], progress: Progress) -> Sequence[Kernel]:
    """Every task of the plan, scheduled as `choices` says, by its output. Raises InputError for a wrong choice."""
    kernels = []
    for i, task in enumerate(plan.tasks):
        progress("compiling kernels", i, len(plan.tasks))
        definition = templates.make(task, cpu, choices[task.output])
        kernels.append(Kernel(definition, compile_kernel(definition.func, cpu), task, choices[task.output]))
    progress("compiling kernels", len(plan.tasks), len(plan.tasks))
    return kernels
