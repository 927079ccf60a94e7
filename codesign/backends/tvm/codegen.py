"""From scheduled functions to object code without a run-time: plain C functions over pointers.

A kernel's signature is `void name(int32_t begin, int32_t end, void *argument…)`: it runs the steps begin … end - 1 of
its outermost loop, so that who calls it decides what runs in parallel.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tvm
import tvm_ffi
from tvm.ir import PointerType, PrimType
from tvm.s_tir import transform as schedulable
from tvm.target import Target
from tvm.tirx import DeclBuffer, For, PrimFunc, SeqStmt, Var
from tvm.tirx import transform as lowering
from tvm.tirx.stmt import ForKind

from codesign.backends.tvm.cpu import NATIVE, Cpu
from codesign.toolchain import cached, digest

IN_ORDER = "generic"
"""LLVM's core for whose pipeline kernels of in-order cores are scheduled where that saves registers: LLVM moves loads
and products of a Cortex-A53 so far ahead that they do not stay in registers."""
SPILLED = 2  # times as many accesses to the stack make its own pipeline the worse choice
_TRIPLES = {"aarch64": "aarch64-linux-gnu", "x86_64": "x86_64-linux-gnu"}


@dataclass(frozen=True)
class Object:
    """Compiled code of one kernel: its symbol, the steps of its outermost loop, and the object file."""

    symbol: str
    steps: int
    path: Path


def target_of(cpu: Cpu, other: str = "") -> Any:
    """TVM's target for a core; other: scheduled for another core of LLVM's."""
    own = str(tvm.get_global_func("target.llvm_get_system_cpu")()) if cpu.core == NATIVE else cpu.core
    features = [] if cpu.core == NATIVE else [f"+{name}" for name in cpu.features]
    return Target({"kind": "llvm", "mtriple": _TRIPLES[cpu.arch], "mcpu": other or own, "mattr": features})


# TVM's own lowering, without what makes a function of its run-time's.
_PASSES = (
    schedulable.CanonicalizeLoop,
    schedulable.LowerInitBlock,
    schedulable.PlanAndUpdateBufferAllocationLocation,
    schedulable.ConvertBlocksToOpaque,
    schedulable.CompactBufferAllocation,
    schedulable.LowerMatchBuffer,
    schedulable.StmtSimplify,
    schedulable.AnnotateIrregularLoop,
    schedulable.LowerOpaqueBlock,
    lowering.FlattenBuffer,
    lambda: lowering.NarrowDataType(32),
    schedulable.LoopPartition,
    lowering.VectorizeLoop,
    lowering.StorageRewrite,
    schedulable.HoistIfThenElse,
    lowering.UnrollLoop,
    schedulable.RenormalizeSplitPattern,
    lowering.StmtSimplify,
    lowering.RemoveNoOp,
    schedulable.RewriteUnsafeSelect,
    lowering.CommonSubexprElim,
)


@cache
def passes(*left_out: Any) -> Any:
    """From a scheduled function to loops over flat memory, but for the passes `left_out`."""
    return tvm.ir.transform.Sequential([make() for make in _PASSES if make not in left_out])


def lower(func: Any, target: Any, symbol: str) -> tuple[Any, int]:
    """The function as a module that LLVM's code generator takes, and the steps of its outermost loop."""
    named = func.with_attr("global_symbol", symbol)
    module = lowering.BindTarget(target.with_host(target))(tvm.IRModule({symbol: named}))
    lowered = passes()(module)[symbol]
    begin, end = Var("begin", "int32"), Var("end", "int32")
    loops = []

    def ranged(loop: Any) -> Any:
        if loop.kind != ForKind.PARALLEL:
            return loop
        loops.append(int(loop.extent))
        return For(loop.loop_var, begin, end - begin, ForKind.SERIAL, loop.body)

    body = tvm_ffi.structural_map(lowered.body, (For, ranged))
    assert len(loops) <= 1, f"{symbol} has {len(loops)} parallel loops"
    pointers = [Var(f"p{i}", PointerType(PrimType(p.dtype), "global")) for i, p in enumerate(lowered.params)]
    bindings = [DeclBuffer(b, data=p) for b, p in zip(lowered.params, pointers, strict=True)]
    plain = PrimFunc([begin, end, *pointers], SeqStmt([*bindings, body]), attrs=lowered.attrs)
    return lowering.LowerIntrin()(tvm.IRModule({symbol: plain.with_attr("target", target)})), (loops or [1])[0]


def compile_kernel(func: Any, cpu: Cpu) -> Object:
    """Object code of a scheduled function, from the cache where the same function was compiled before."""
    targets = [target_of(cpu), *([target_of(cpu, IN_ORDER)] if cpu.in_order and cpu.arch == "aarch64" else [])]
    key = digest(func.script(), *map(str, targets), tvm.__version__)
    symbol = f"kernel_{key[:16]}"

    def make(directory: Path) -> None:
        built, steps = build(func, targets, symbol)
        (directory / "kernel.o").write_bytes(_object_code(built))
        (directory / "steps").write_text(str(steps))

    entry = cached("tvm-kernels", key, make)
    return Object(symbol, int((entry / "steps").read_text()), entry / "kernel.o")


def build(func: Any, targets: Sequence[Any], symbol: str) -> tuple[Any, int]:
    """LLVM's module for the first target, or for a later one that needs far less of the stack; and `lower`'s steps."""
    best, fewest, steps = None, 0, 1
    for target in targets:
        module, steps = lower(func, target, symbol)
        built = tvm.get_global_func("target.build.llvm")(module, target)
        accesses = built.inspect_source("asm").count("[sp") if len(targets) > 1 else 0
        if best is None or accesses * SPILLED < fewest:
            best, fewest = built, accesses
    return best, steps


def _object_code(built: Any) -> bytes:
    """What LLVM writes, by way of a file in memory: on a full disk LLVM ends the process without a word of ours."""
    with os.fdopen(os.memfd_create("kernel.o"), "rb") as file:
        built.write_to_file(f"/proc/self/fd/{file.fileno()}", "o")
        return file.read()
