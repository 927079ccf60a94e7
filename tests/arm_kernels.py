"""Runs a plan's kernels, each scheduled as asked, under qemu-aarch64: one static program for any number of graphs."""

from __future__ import annotations

import itertools
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codesign.backends.tvm.codegen import Object, compile_kernel
from codesign.backends.tvm.cpu import Cpu
from codesign.backends.tvm.definition import Definition, Tensor
from codesign.backends.tvm.plan import Plan, Policy, plan
from codesign.backends.tvm.storage import NO_BORDER
from codesign.backends.tvm.task import Task
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray

HERE = Path(__file__).parent
GCC, QEMU = "aarch64-linux-gnu-gcc", "qemu-aarch64"
Pick = Callable[[Task], Definition]


def absent() -> str:
    """The first tool that is missing here, or nothing."""
    return next((tool for tool in (GCC, QEMU) if shutil.which(tool) is None), "")


@dataclass(frozen=True)
class Program:
    """A static program, and what it reads."""

    path: Path
    script: bytes
    sizes: tuple[int, ...]


class Job:
    """One graph, its kernels, and the memory that they work on."""

    def __init__(self, graph: Graph, feeds: Sequence[IntArray], pick: Pick, cpu: Cpu, policy: Policy) -> None:
        self.plan: Plan = plan(graph, policy)
        self.feeds = feeds
        self.kernels: list[tuple[Task, Definition, Object]] = []
        for task in self.plan.tasks:
            definition = pick(task)
            self.kernels.append((task, definition, compile_kernel(definition.func, cpu)))


def assemble(jobs: Sequence[Job], directory: Path) -> Program:
    """The program that runs every job on the first frame of its feeds."""
    symbols = list(dict.fromkeys(obj.symbol for job in jobs for _, _, obj in job.kernels))
    paths = dict.fromkeys(str(obj.path) for job in jobs for _, _, obj in job.kernels)
    lines = [f"void {name}(void);" for name in symbols]
    table = directory / "table.c"
    table.write_text("\n".join([*lines, "void (*const kernels[])(void) = {", *(f"  {s}," for s in symbols), "};\n"]))
    program = directory / "program"
    sources = [str(HERE / "arm_kernels.c"), str(table)]
    subprocess.run([GCC, "-O1", "-static", "-o", str(program), *sources, *paths, "-lm"], check=True)
    buffers: list[bytes] = []
    calls: list[tuple[int, ...]] = []
    results: list[int] = []
    for job in jobs:
        _add(job, symbols, buffers, calls, results)
    words = [struct.pack("<I", len(buffers))]
    for content in buffers:
        words += [struct.pack("<I", len(content)), content]
    words += [struct.pack("<I", len(calls)), *(struct.pack(f"<{len(call)}I", *call) for call in calls)]
    words += [struct.pack("<I", len(results)), *(struct.pack("<I", i) for i in results)]
    return Program(program, b"".join(words), tuple(len(buffers[i]) for i in results))


def _add(
    job: Job, symbols: list[str], buffers: list[bytes], calls: list[tuple[int, ...]], results: list[int]
) -> None:  # fmt: skip
    placed = job.plan
    index: dict[str, int] = {}

    def buffer(name: str) -> int:
        root = placed.buffers[name]
        if root not in index:
            storage = placed.storage[root]
            ports = [port.name for port in placed.graph.inputs]
            if root in ports:
                content = storage.store(job.feeds[ports.index(root)][0])
            else:  # whatever was in memory, and the border that is filled once per inference
                content = np.random.default_rng(7).integers(0, 100, storage.bytes // storage.itemsize)
                if storage.border != NO_BORDER:
                    border = storage.store(np.full(storage.shape, 77 + storage.offset))
                    content = border
                content = content.astype(storage.dtype)
            index[root] = len(buffers)
            buffers.append(np.ascontiguousarray(content).tobytes())
        return index[root]

    for _, definition, obj in job.kernels:
        call = [symbols.index(obj.symbol), obj.steps, len(definition.arguments)]
        for argument in definition.arguments:
            if isinstance(argument, Tensor):
                call += [buffer(argument.name), argument.start * placed.storage[argument.name].itemsize]
            else:
                call += [len(buffers), 0]
                buffers.append(argument.tobytes())
        calls.append(tuple(call))
    results += [buffer(name) for name in placed.outputs]


def execute(program: Program, core: str) -> list[bytes]:
    """What the program writes on a core as QEMU names it."""
    done = subprocess.run([QEMU, "-cpu", core, str(program.path)], input=program.script, capture_output=True)
    if done.returncode:
        raise AssertionError(f"exit status {done.returncode} on {core}: {done.stderr.decode()}")
    edges = np.cumsum([0, *program.sizes])
    return [done.stdout[a:b] for a, b in itertools.pairwise(edges)]


def outputs(jobs: Sequence[Job], written: Sequence[bytes]) -> list[list[IntArray]]:
    """The outputs of each job, as values of its graph."""
    result, rest = [], iter(written)
    for job in jobs:
        storages = [job.plan.storage[name] for name in job.plan.outputs]
        result.append([s.load(np.frombuffer(next(rest), dtype=s.dtype)) for s in storages])
    return result
