"""codesign's kernels for this machine as a peer: compiled, linked, and called one after the other from C."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from codesign.backends.base import ignore_progress
from codesign.backends.tvm import templates
from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Tensor
from codesign.backends.tvm.network import Kernel, compile_kernels, policy_of
from codesign.backends.tvm.plan import ALIGNMENT, Plan, plan
from codesign.backends.tvm.storage import NO_BORDER, Storage
from codesign.backends.tvm.task import Task
from codesign.backends.tvm.templates.base import Choice
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray
from codesign.target import Target
from codesign.toolchain import cached, digest, require, run

ARGUMENTS = 24
_STEPS = Path(__file__).with_name("steps.c")

Pick = Callable[[Task, Cpu], Choice]


class _Step(ctypes.Structure):
    _fields_ = (
        ("kernel", ctypes.c_void_p),
        ("begin", ctypes.c_int32),
        ("end", ctypes.c_int32),
        ("sizes", ctypes.c_int32 * 8),
        ("arguments", ctypes.c_void_p * ARGUMENTS),
    )


def untuned(task: Task, cpu: Cpu) -> Choice:
    """The first guess of the templates."""
    return templates.choices(task, cpu)[0]


@dataclass(eq=False)
class Network:
    """A network in memory of this process; `invoke` computes one frame."""

    plan: Plan
    steps: Any
    library: Any
    names: tuple[str, ...]
    memory: dict[str, np.ndarray[Any, Any]]
    kept: list[Any] = field(default_factory=list)

    def feed(self, frame: IntArray) -> None:
        """Write the input."""
        (port,) = self.plan.graph.inputs
        stored = self.plan.storage[port.name].store(frame)
        self.memory[port.name][: len(stored)] = stored

    def invoke(self) -> None:
        self.library.run_steps(self.steps, len(self.steps))

    def result(self) -> IntArray:
        """The output's values."""
        (name,) = self.plan.outputs
        root = self.plan.buffers[name]
        return self.plan.storage[name].load(self.memory[root])

    def step(self, index: int) -> Callable[[], None]:
        """One step alone, for profiles."""
        single = (_Step * 1)(self.steps[index])
        self.kept.append(single)
        return lambda: self.library.run_steps(single, 1)


def codesign_runner(graph: Graph, target: Target, pick: Pick = untuned) -> Network:
    """The network compiled for a CPU target that is this machine. ToolError without a C compiler."""
    assert target.cpu is not None
    planned = plan(graph, policy_of(target.cpu))
    choices = {task.output: pick(task, target.cpu) for task in planned.tasks}
    kernels = compile_kernels(planned, target.cpu, choices, ignore_progress)
    library = ctypes.CDLL(str(_linked(kernels)))
    memory, arena = _memory(planned)
    steps, names, kept = [], [], [arena]

    def address(name: str) -> int:
        root = planned.buffers[name]
        if root in planned.offsets:
            return _aligned(arena) + planned.offsets[root]
        return int(memory[root].ctypes.data)

    for kernel in kernels:
        task, arguments = kernel.task, kernel.definition.arguments
        storage = planned.storage[planned.buffers[task.output]]
        if storage.border != NO_BORDER:
            steps.append(_Step(sizes=_border(storage)))
            steps[-1].arguments[0] = address(task.output)
            names.append(f"border of {task.where}")
        step = _Step(ctypes.cast(getattr(library, kernel.object.symbol), ctypes.c_void_p), 0, kernel.object.steps)
        for i, argument in enumerate(arguments):
            if isinstance(argument, Tensor):
                itemsize = planned.storage[argument.name].itemsize
                step.arguments[i] = address(argument.name) + argument.start * itemsize
            else:
                constant = _copied(argument)
                kept.append(constant)
                step.arguments[i] = _aligned(constant)
        steps.append(step)
        names.append(task.where)
    return Network(planned, (_Step * len(steps))(*steps), library, tuple(names), memory, kept)


def _border(storage: Storage) -> Any:
    height, width, channels = storage.physical
    above, left, below, right = storage.border
    assert storage.itemsize == 1
    value = (storage.border_value - storage.offset) & 255
    return (ctypes.c_int32 * 8)(height, width * channels, above, left * channels, below, right * channels, value, 0)


def _memory(planned: Plan) -> tuple[dict[str, np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    arena = np.zeros(planned.arena_bytes + ALIGNMENT, np.uint8)
    ends = {port.name for port in planned.graph.inputs} | {planned.buffers[name] for name in planned.outputs}
    memory = {}
    for name in ends:
        storage = planned.storage[name]
        memory[name] = np.zeros(storage.bytes // storage.itemsize + ALIGNMENT, storage.dtype)
    return memory, arena


def _copied(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The values behind an aligned address, and as much room behind them as kernels may read."""
    raw = np.zeros(values.nbytes + 3 * ALIGNMENT, np.uint8)
    start = _aligned(raw) - raw.ctypes.data
    raw[start : start + values.nbytes] = np.frombuffer(values.tobytes(), np.uint8)
    return raw


def _aligned(raw: np.ndarray[Any, Any]) -> int:
    return -(-int(raw.ctypes.data) // ALIGNMENT) * ALIGNMENT


def _linked(kernels: Sequence[Kernel]) -> Path:
    compiler = require("c++")
    paths = sorted({kernel.object.path for kernel in kernels})
    key = digest(_STEPS, *(str(path) for path in paths), compiler.version)

    def make(directory: Path) -> None:
        log = directory / "log"
        run(compiler, ["-O2", "-x", "c", "-fPIC", "-c", _STEPS, "-o", "steps.o"], cwd=directory, log=log)
        run(compiler, ["-shared", "-o", "network.so", "steps.o", *paths, "-lm"], cwd=directory, log=log)

    return cached("benchmark-networks", key, make) / "network.so"
