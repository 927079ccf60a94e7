"""Schedules for a GPU: of all that fit a task, the one that the cost model likes best; then what the network costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from codesign.backends.tvm.mali.cost import Cost, cost, threads_at_once
from codesign.backends.tvm.mali.gpu import Gpu
from codesign.backends.tvm.mali.network import Choices
from codesign.backends.tvm.mali.templates import choices, template_of
from codesign.backends.tvm.plan import Plan, Policy, plan
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.errors import Diagnostic, InputError, raise_all
from codesign.ir.graph import Graph
from codesign.report import Basis, Metric
from codesign.target import Target

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Layer:
    """One kernel of the estimate: the user's layers, its schedule, multiply-accumulates of a frame, and its cost."""

    output: str
    layers: tuple[str, ...]
    choice: Choice
    macs: int
    cost: Cost


def gpu_of(target: Target) -> Gpu:
    """The target's GPU."""
    assert target.gpu is not None, target.name
    return target.gpu


def plan_for(graph: Graph, target: Target) -> Plan:
    """The network over memory as the target's kernels want it."""
    return plan(graph, Policy(gpu_of(target).operand))


def schedule(graph: Graph, target: Target, progress: Progress = lambda *_: None) -> dict[str, Choice]:
    """The best schedule of each task, by the cost model, by the name of the task's output."""
    tasks = plan_for(graph, target).tasks
    best: dict[str, Choice] = {}
    found: dict[str, Choice] = {}
    for i, task in enumerate(tasks):
        progress("choosing kernels", i, len(tasks))
        key = task.key()
        if key not in best:
            best[key] = ranked(task, gpu_of(target), target.clock_hz)[0]
        found[task.output] = best[key]
    progress("choosing kernels", len(tasks), len(tasks))
    return found


def check(planned: Plan, found: Choices, target: Target) -> None:
    """Raise InputError with every kernel of `found`, a schedule from elsewhere, that does not fit its task."""
    problems = []
    for task in planned.tasks:
        choice = dict(found[task.output])
        if choice not in choices(task, gpu_of(target)):
            text = f"the schedule's kernel {choice} does not fit"
            hint = "codesign compile without --schedule makes one"
            problems.append(Diagnostic(task.where, text, f"one of the template {_template(task, target)}", hint))
    raise_all(InputError, problems)


def _template(task: Task, target: Target) -> str:
    return str(choices(task, gpu_of(target))[0]["template"])


def ranked(task: Task, gpu: Gpu, clock_hz: float) -> list[Choice]:
    """Every schedule that fits, the fastest by the model first; of equals the one with fewer registers, fewer loads.

    Groups of more threads than a core's registers hold come last: a driver does not start them.
    """

    def order(choice: Choice) -> tuple[bool, float, int, int]:
        work = template_of(task, choice).work(task, choice)
        too_many = math.prod(work.local) > threads_at_once(work.registers, gpu)
        return too_many, cost(work, gpu, clock_hz).seconds, work.registers, work.input_loads + work.weight_loads

    return sorted(choices(task, gpu), key=order)


def layers(planned: Plan, found: Choices, target: Target) -> tuple[Layer, ...]:
    """What each kernel costs, in the order of computation."""
    result = []
    for task in planned.tasks:
        choice = found[task.output]
        work = template_of(task, choice).work(task, choice)
        names = tuple(dict.fromkeys(node.where for node in task.nodes)) or (task.where,)
        result.append(Layer(task.output, names, choice, task.macs(), cost(work, gpu_of(target), target.clock_hz)))
    return tuple(result)


def estimate(planned: Plan, found: Choices, target: Target) -> tuple[tuple[Metric, ...], tuple[Layer, ...]]:
    """The network's figures, all of basis MODEL, and its kernels."""
    kernels = layers(planned, found, target)
    seconds = sum(layer.cost.seconds for layer in kernels)
    memory = sum(planned.storage[name].bytes for name in set(planned.buffers.values()))
    memory += sum(template_of(t, found[t.output]).work(t, found[t.output]).kernel_bytes for t in planned.tasks)
    metrics = (
        Metric("latency_ns", round(seconds * 1e9), "ns", Basis.MODEL),
        Metric("fps", 1 / seconds, "frame/s", Basis.MODEL),
        Metric("dram_bytes", memory, "byte", Basis.MODEL),
    )
    return metrics, kernels


def table(kernels: Sequence[Layer]) -> list[dict[str, Any]]:
    """The kernels as plain data, one row each: what a report shows."""
    return [
        {
            "layer": " + ".join(layer.layers),
            "template": layer.choice["template"],
            "macs": layer.macs,
            "us": layer.cost.seconds * 1e6,
            "bound": layer.cost.bound,
            "occupancy": layer.cost.occupancy,
        }
        for layer in kernels
    ]
