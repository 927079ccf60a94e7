"""From scheduled functions to OpenCL C: one kernel per function, with its launch sizes.

A kernel's parameters are pointers to the beginning of each tensor's memory; the code itself steps over borders.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import tvm
import tvm_ffi
from tvm.ir import PointerType, PrimType
from tvm.s_tir import transform as schedulable
from tvm.target import Target
from tvm.tirx import NE, AttrStmt, Broadcast, Cast, DeclBuffer, PrimFunc, Select, SeqStmt, Var, const
from tvm.tirx import transform as lowering

from codesign.backends.tvm.definition import Definition, Tensor
from codesign.toolchain import cached, digest

_AXES = {"blockIdx": 0, "threadIdx": 1}


@dataclass(frozen=True)
class Kernel:
    """A kernel's text, under the name `symbol`, and how it is started.

    groups  work-groups along x, y, z
    local   work-items of a group along x, y, z
    """

    symbol: str
    text: str
    groups: tuple[int, int, int]
    local: tuple[int, int, int]

    @property
    def items(self) -> tuple[int, int, int]:
        """Work-items along x, y, z: what OpenCL calls the global work size."""
        x, y, z = (g * n for g, n in zip(self.groups, self.local, strict=True))
        return x, y, z

    def named(self, name: str) -> str:
        """The text with another name."""
        return self.text.replace(self.symbol, name)


@lru_cache(maxsize=1)
def target() -> Any:
    """TVM's target: OpenCL C for Mali, as far as TVM's code generator knows it."""
    return Target({"kind": "opencl", "device": "mali"}, Target("llvm"))


@lru_cache(maxsize=1)
def _passes() -> Any:
    return tvm.ir.transform.Sequential(
        [
            schedulable.CanonicalizeLoop(),
            schedulable.LowerInitBlock(),
            schedulable.PlanAndUpdateBufferAllocationLocation(),
            schedulable.ConvertBlocksToOpaque(),
            schedulable.CompactBufferAllocation(),
            schedulable.LowerMatchBuffer(),
            schedulable.StmtSimplify(),
            schedulable.LowerOpaqueBlock(),
            lowering.FlattenBuffer(),
            lowering.NarrowDataType(32),
            schedulable.LoopPartition(),
            lowering.VectorizeLoop(True),
            schedulable.HoistIfThenElse(),
            lowering.UnrollLoop(),
            schedulable.RenormalizeSplitPattern(),
            lowering.StmtSimplify(),
            lowering.RemoveNoOp(),
            schedulable.RewriteUnsafeSelect(),
        ]
    )


def kernel_of(definition: Definition) -> Kernel:
    """The kernel of a scheduled function, from the cache where the same function was lowered before."""
    starts = [a.start if isinstance(a, Tensor) else 0 for a in definition.arguments]
    key = digest(definition.func.script(), str(starts), str(target()), tvm.__version__, Path(__file__))
    symbol = f"kernel_{key[:16]}"

    def make(directory: Path) -> None:
        text, groups, local = _lower(definition.func, symbol, starts)
        (directory / "kernel.cl").write_text(text)
        (directory / "launch.json").write_text(json.dumps({"groups": groups, "local": local}))

    entry = cached("mali-kernels", key, make)
    launch = json.loads((entry / "launch.json").read_text())
    return Kernel(symbol, (entry / "kernel.cl").read_text(), tuple(launch["groups"]), tuple(launch["local"]))


def _lower(func: Any, symbol: str, starts: list[int]) -> tuple[str, list[int], list[int]]:
    bound = lowering.BindTarget(target())(tvm.IRModule({symbol: func.with_attr("global_symbol", symbol)}))
    lowered = _passes()(bound)[symbol]
    launch = ([1, 1, 1], [1, 1, 1])

    def note(statement: Any) -> Any:
        if statement.attr_key == "thread_extent":
            kind, _, axis = str(statement.node.thread_tag).partition(".")
            launch[_AXES[kind]]["xyz".index(axis)] = int(statement.value)
        return statement

    body = tvm_ffi.structural_map(lowered.body, (AttrStmt, note))
    body = tvm_ffi.structural_map(body, (Broadcast, _compared))
    body = tvm_ffi.structural_map(body, (Cast, _selected))
    pointers = [Var(p.name, PointerType(PrimType(p.dtype), "global")) for p in lowered.params]
    bindings = [DeclBuffer(b, data=p) for b, p in zip(lowered.params, pointers, strict=True)]
    device = PrimFunc(pointers, SeqStmt([*bindings, body]), attrs=lowered.attrs)
    device = device.with_attr("target", target()).with_attr("calling_conv", 2)  # a device's kernel
    module = lowering.LowerIntrin()(tvm.IRModule({symbol: device}))
    text = str(tvm.get_global_func("target.build.opencl")(module, target()).inspect_source())
    lanes = [_lanes(p.dtype) for p in lowered.params]
    return _tidy(text, symbol, [s // n for s, n in zip(starts, lanes, strict=True)], launch[1]), *launch


def _lanes(dtype: Any) -> int:
    return int(str(dtype).rpartition("x")[2]) if "x" in str(dtype) else 1


def _compared(broadcast: Any) -> Any:
    """A vector of conditions from a comparison of vectors: its elements are 0 and -1, as OpenCL's `select` wants."""
    if not str(broadcast.value.ty.dtype).startswith("bool"):
        return broadcast
    zero, one = const(0, "int32"), const(1, "int32")
    chosen = Select(broadcast.value, one, zero)
    return NE(Broadcast(chosen, broadcast.lanes), Broadcast(zero, broadcast.lanes))


def _selected(cast: Any) -> Any:
    """1 where a condition holds: OpenCL's comparisons of vectors give -1 instead."""
    kind = str(cast.value.ty.dtype)
    if not kind.startswith("bool"):
        return cast
    one, zero = (const(n, str(cast.ty.dtype)) for n in (1, 0))
    return Select(cast.value, one, zero)


def _tidy(text: str, symbol: str, starts: list[int], local: list[int]) -> str:
    """The definition alone, its inputs constant, its pointers behind the borders of their tensors.

    Which group and item of it a work-item is follows from its global number: the kernel is right in groups of any size,
    should the device not take those that it is meant for.
    """
    head, body = re.search(rf"__kernel void {symbol}\(([^)]*)\) {{\n(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    *inputs, output = head.split(", ")
    names = [p.rpartition(" ")[2] for p in (*inputs, output)]
    inputs = [p.replace("__global ", "__global const ", 1) for p in inputs]
    body = re.sub(r"(\w+\[\d+\]) = \(\1 \+ dot4\((.*)\)\);", r"\1 = dot4(\2, \1);", body)
    body = body.replace("_local_ptr", "_reg").replace("(__global char *)", "")
    lines = [f"  {name} += {start};" for name, start in zip(names, starts, strict=True) if start]
    for i, axis in enumerate("xyz"):
        group, item = (f"(convert_int(get_{kind}_id({i})))" for kind in ("group", "local"))
        if group in body:
            lines.append(f"  const int group_{axis} = (int)get_global_id({i}) / {local[i]};")
        if item in body:
            lines.append(f"  const int item_{axis} = (int)get_global_id({i}) % {local[i]};")
        body = body.replace(group, f"group_{axis}").replace(item, f"item_{axis}")
    opening = f"__kernel void {symbol}({', '.join([*inputs, output])}) {{"
    return "\n".join([opening, *lines, body.rstrip()]) + "\n"
