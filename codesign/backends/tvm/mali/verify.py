"""Chosen kernels against the golden evaluation, tensor by tensor; one that differs gives way to the next best."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from codesign.backends.tvm.mali.deliver import write
from codesign.backends.tvm.mali.network import Choices
from codesign.backends.tvm.mali.run import Execution, execute
from codesign.backends.tvm.mali.search import Progress, gpu_of, plan_for, ranked
from codesign.backends.tvm.plan import Plan
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.errors import MismatchError
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray
from codesign.target import Target

ROUNDS = 4  # of replacing what differs


def proved(
    graph: Graph, target: Target, choices: Choices, feeds: Sequence[IntArray], progress: Progress = lambda *_: None
) -> dict[str, Choice]:
    """The choices, those replaced whose kernels differ from the golden evaluation on `feeds` on this machine's OpenCL.

    Raises MismatchError where no schedule of a kernel is exact within a few tries, ToolError without OpenCL.
    """
    plan, found = plan_for(graph, target), dict(choices)
    for turn in range(ROUNDS):
        progress("running kernels", turn, ROUNDS)
        with tempfile.TemporaryDirectory(prefix="codesign-mali-") as name:
            write(Path(name), plan, found, target)
            wrong = _causes(plan, differing(execute(Path(name), feeds, tensors=True), plan, feeds))
        if not wrong:
            progress("running kernels", ROUNDS, ROUNDS)
            return found
        for task in wrong:
            order = ranked(task, gpu_of(target), target.clock_hz)
            place = order.index(found[task.output])
            if turn + 1 == ROUNDS or place + 1 == len(order):
                tried = f"the kernel {dict(found[task.output])} differs from the golden evaluation"
                raise MismatchError.at(task.where, tried, hint="another OpenCL driver; please report it with the model")
            found[task.output] = order[place + 1]
    raise AssertionError("the last round returns or raises")


def replaced(plan: Plan, before: Choices, after: Choices) -> list[str]:
    """A sentence for every kernel that gave way to another."""
    return [
        f"{task.where}: the kernel {dict(before[task.output])} differs from the golden evaluation on this machine's "
        f"OpenCL; {dict(after[task.output])} took its place"
        for task in plan.tasks
        if dict(before[task.output]) != dict(after[task.output])
    ]


def differing(execution: Execution, plan: Plan, feeds: Sequence[IntArray]) -> list[str]:
    """The tensors, in the order of computation, that are not what the golden evaluation gives."""
    assert execution.tensors is not None
    golden = plan.graph.evaluate_all(*feeds)
    wrong = []
    for task in plan.tasks:
        storage = task.storage[task.output]
        expected = golden[task.output if task.nodes else task.inputs[0]]
        memory = execution.tensors[plan.buffers[task.output]]
        frames = [storage.load(np.ascontiguousarray(frame).view(storage.dtype)) for frame in memory]
        if not np.array_equal(np.stack(frames), expected):
            wrong.append(task.output)
    return wrong


def _causes(plan: Plan, wrong: Sequence[str]) -> list[Task]:
    """The tasks that make a wrong tensor from right ones."""
    memory = {plan.buffers[name] for name in wrong}
    return [
        task
        for task in plan.tasks
        if task.output in wrong and not any(plan.buffers[name] in memory for name in task.inputs)
    ]
