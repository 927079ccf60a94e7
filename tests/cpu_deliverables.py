"""Deliverables for processors made of graphs with untuned kernels; a visible skip where the tools are missing."""

from __future__ import annotations

import importlib.util
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from conftest import missing

from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.deliver import program
from codesign.backends.tvm.deliver.program import Kernel
from codesign.backends.tvm.deliver.run import execute
from codesign.backends.tvm.deliver.write import Deliverable, write_deliverable
from codesign.backends.tvm.plan import Plan, Policy, plan
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray
from codesign.target import Target, load_target
from codesign.testing.graphs import feeds

HOST = "host-x86"


@dataclass(frozen=True)
class Made:
    """A deliverable with its golden frames."""

    directory: Path
    graph: Graph
    target: Target
    inputs: Sequence[IntArray]
    outputs: Sequence[IntArray]
    written: Deliverable

    @property
    def cpu(self) -> Cpu:
        assert self.target.cpu is not None
        return self.target.cpu

    @property
    def program(self) -> Path:
        """The self-test."""
        (program,) = (self.directory / "bin").iterdir()
        return program


def need_tools(target: str) -> None:
    """Skip where this machine cannot build or run the target's code."""
    if importlib.util.find_spec("tvm") is None:
        missing("apache-tvm")
    if target == HOST and platform.machine() != "x86_64":
        pytest.skip("no x86-64 machine")
    programs = ("gcc", "make") if target == HOST else ("aarch64-linux-gnu-gcc", "make", "qemu-aarch64")
    for name in programs:
        if shutil.which(name) is None:
            missing(name)


def kernels_of(made: Plan, cpu: Cpu) -> list[Kernel]:
    """A kernel per task, by the template that fits everything."""
    from codesign.backends.tvm.codegen import compile_kernel
    from codesign.backends.tvm.templates.loops import Loops

    kernels = []
    for task in made.tasks:
        definition = Loops().make(task, cpu, Loops().choices(task, cpu)[0])
        kernels.append(Kernel(definition, compile_kernel(definition.func, cpu)))
    return kernels


def deliver(
    graph: Graph,
    target: str,
    out: Path,
    frames: int = 3,
    name: str = "network",
    wrong: bool = False,
    stub: Path | None = None,
) -> Made:
    """Build `graph` in `out`. wrong: one golden output is not what it should be; stub: is every kernel's object."""
    need_tools(target)
    device = load_target(target)
    assert device.cpu is not None
    made = plan(graph, Policy("uint8" if device.cpu.arch == "x86_64" else "int8"))
    kernels = kernels_of(made, device.cpu)
    if stub:
        kernels = [replace(kernel, object=replace(kernel.object, path=stub)) for kernel in kernels]
    inputs = feeds(graph, frames, 1)
    outputs = graph.evaluate(*inputs)
    golden = [np.array(output) for output in outputs]
    if wrong:
        golden[0][1].flat[2] ^= 1
    out.mkdir(exist_ok=True)
    written = write_deliverable(out, made, kernels, device, inputs, golden, name)
    return Made(out, graph, device, inputs, outputs, written)


def expect_exact(made: Made, threads: Sequence[int] = (1,)) -> None:
    """Every bit of every output, on every number of threads."""
    found = execute(made.directory, made.graph, made.inputs, made.cpu, threads)
    for port, output, expected in zip(made.graph.outputs, found, made.outputs, strict=True):
        np.testing.assert_array_equal(output, expected, err_msg=f"output {port.name}")


@pytest.fixture
def split_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads share every kernel, however small."""
    monkeypatch.setattr(program, "SPLIT_WORK", 0)
