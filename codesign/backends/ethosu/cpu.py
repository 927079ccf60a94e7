"""What does not compute on the NPU: operators left on the CPU and copies, each counted with its cost.

cycles = (per_mac * MACs + per_value * values + per_byte * bytes written) / 100, rounded up. The values are those that
are written; of operators without MACs those that are read where these are more, as of ARG_MAX.

The CPU is a Cortex-M55 with CMSIS-NN where that has a kernel; cycles are of the CPU's clock, not of the NPU's. They are
a model. Its only measured points are those that ExecuTorch publishes per layer of MobileNetV2 at 224x224 on the
Cortex-M55 of an Alif E8 (github.com/pytorch/executorch issue 17651, 3 March 2026). Two unknowns were fitted: the four
pointwise convolutions are met within 5 %, the first convolution (3 channels) takes 53 % more than the model says, the
three depthwise ones are met within 1 %. Everything else borrows from these, as its `error` says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from codesign.backends.ethosu.constraints import refusals
from codesign.backends.ethosu.rules.base import POOLS
from codesign.backends.ethosu.vela import NPU_OPERATOR, Compiled, Family
from codesign.frontend.tflite.schema import KINDS, Model, Operator, Tensor, parse_model

COPIES = (
    "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "CONCATENATION", "SLICE", "STRIDED_SLICE", "SPLIT", "SPLIT_V",
    "PAD", "PADV2", "PACK", "UNPACK", "GATHER", "TILE",
)  # fmt: skip
"""Operators of TensorFlow Lite that move values and compute nothing."""

NPU_COPIES = ("MemoryCopy", "Transpose")
"""The same in Vela's table of what the NPU does."""

_WHOLE = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")  # copied as one block of memory


@dataclass(frozen=True)
class Rate:
    """Hundredths of a cycle per multiply-accumulate, per value, per byte written; how far off it may be."""

    per_mac: int
    per_value: int
    per_byte: int
    error: str


_CONV = Rate(21, 1675, 0, "fitted to measured layers: up to 53 % more for few channels")
_DEPTHWISE = Rate(194, 1675, 0, "fitted to measured layers of 3x3: within 1 % there")
_POOL = Rate(194, 1675, 0, "taken from depthwise convolutions: not measured")
_VALUE = Rate(0, 907, 0, "taken from a measured quantisation of floats: a factor of 3 either way for other operators")
_FUNCTION = Rate(0, 9070, 0, "ten times a measured quantisation: an order of magnitude, not measured")
_FLOAT = Rate(168, 1675, 0, "eight times the measured int8 rate per MAC: an assumption, not measured")
_BLOCK = Rate(0, 0, 100, "one byte a cycle, as memory allows: not measured")

_FUNCTIONS = (
    "SOFTMAX",
    "LOG_SOFTMAX",
    "LOGISTIC",
    "TANH",
    "EXP",
    "LOG",
    "SIN",
    "COS",
    "ELU",
    "GELU",
    "SQRT",
    "RSQRT",
    "POW",
)


@dataclass(frozen=True)
class CpuOperator:
    """One operator of the compiled model that the CPU runs.

    layer     the user's name of it
    operator  TensorFlow Lite's name
    reasons   why it is not on the NPU
    macs      multiply-accumulates; values: written or read; bytes: of feature maps and constants
    cycles    of a Cortex-M55, a model; error: how far off it may be
    copy      it moves values and computes nothing
    """

    layer: str
    operator: str
    reasons: tuple[str, ...]
    macs: int
    values: int
    bytes_read: int
    bytes_written: int
    cycles: int
    error: str
    copy: bool

    def to_data(self) -> dict[str, Any]:
        return {**asdict(self), "reasons": list(self.reasons)}

    def __str__(self) -> str:
        work = f"{self.macs:,} MACs" if self.macs else f"{self.values:,} values"
        moved = f"{self.bytes_read:,} bytes read, {self.bytes_written:,} written"
        kind = "copies" if self.copy else "runs"
        text = f"{self.operator} {kind} on the CPU: {work}, {moved}, about {self.cycles:,} cycles of a Cortex-M55"
        return f"{self.layer}: {text} ({'; '.join(self.reasons)})"


@dataclass(frozen=True)
class NpuCopy:
    """One operation of the NPU that only moves data; cycles are Vela's estimate, of the NPU's clock."""

    layer: str
    operator: str
    bytes_read: int
    bytes_written: int
    cycles: int

    def to_data(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        moved = f"{self.bytes_read:,} bytes read, {self.bytes_written:,} written"
        return f"{self.layer}: {self.operator} copies on the NPU: {moved}, {self.cycles:,} cycles of the NPU (Vela)"


@dataclass(frozen=True)
class OffNpu:
    """Everything that is not computed on the NPU, in the order in which it runs."""

    operators: tuple[CpuOperator, ...]
    copies: tuple[NpuCopy, ...]

    @property
    def cpu_cycles(self) -> int:
        """Of a Cortex-M55, a model."""
        return sum(op.cycles for op in self.operators)

    @property
    def copied_bytes(self) -> int:
        """Bytes written by what only moves data, on the CPU and on the NPU."""
        on_cpu = sum(op.bytes_written for op in self.operators if op.copy)
        return on_cpu + sum(copy.bytes_written for copy in self.copies)

    def to_data(self) -> dict[str, Any]:
        return {
            "cpu_operators": [op.to_data() for op in self.operators],
            "npu_copies": [copy.to_data() for copy in self.copies],
            "cpu_cycles": self.cpu_cycles,
            "copied_bytes": self.copied_bytes,
        }


def off_npu(source: Model, compiled: Compiled, family: Family, layers: Sequence[str] = ()) -> OffNpu:
    """What Vela's `compiled` form of `source` leaves to the CPU, and what the NPU only copies.

    layers  the user's name for each operator of `source`; without them it is the name of the operator's result
    """
    names = layers or [source.tensors[op.outputs[0]].where for op in source.operators]
    made = parse_model(compiled.model)
    left = [op for op in made.operators if op.name != NPU_OPERATOR]
    return OffNpu(tuple(_cpu_operator(op, made, source, names, family) for op in left), _npu_copies(names, compiled))


def _cpu_operator(op: Operator, made: Model, source: Model, names: Sequence[str], family: Family) -> CpuOperator:
    reads = [made.tensors[i] for i in op.inputs if i >= 0]
    writes = [made.tensors[i] for i in op.outputs]
    origin = _origin(op, made, source)
    reasons = refusals(source.operators[origin], source, family) if origin is not None else []
    macs = work(op, made)
    values = sum(math.prod(t.shape) for t in writes)
    if not macs:
        values = max(values, sum(math.prod(t.shape) for t in reads[:1]))
    written = sum(map(_bytes, writes))
    rate = rate_of(op, made)
    cycles = -(-(rate.per_mac * macs + rate.per_value * values + rate.per_byte * written) // 100)
    return CpuOperator(
        names[origin] if origin is not None else writes[0].where if writes else op.name,
        op.name,
        tuple(reasons) or ("the NPU takes it alone, but Vela left it here",),
        macs,
        values,
        sum(map(_bytes, reads)),
        written,
        cycles,
        rate.error,
        op.name in COPIES,
    )


def _origin(op: Operator, made: Model, source: Model) -> int | None:
    """The number of the user's operator that writes the tensor of that name; None for one that Vela made."""
    names = {made.tensors[i].name for i in op.outputs}
    for number, other in enumerate(source.operators):
        if other.name == op.name and {source.tensors[i].name for i in other.outputs} & names:
            return number
    return None


def work(op: Operator, model: Model) -> int:
    """Multiply-accumulates of a convolution or fully connected layer, values in the windows of a pool; 0 for others."""
    out = math.prod(model.tensors[op.outputs[0]].shape)
    if op.name in ("CONV_2D", "FULLY_CONNECTED"):
        return out * math.prod(model.tensors[op.inputs[1]].shape[1:])
    if op.name == "DEPTHWISE_CONV_2D":
        return out * math.prod(model.tensors[op.inputs[1]].shape[1:3])
    if op.name in POOLS:
        return out * int(op.options["filter_height"]) * int(op.options["filter_width"])
    return 0


def rate_of(op: Operator, model: Model) -> Rate:
    """What the operator is taken to cost on a Cortex-M55."""
    if op.name in ("CONV_2D", "FULLY_CONNECTED", "DEPTHWISE_CONV_2D", *POOLS):
        if model.tensors[op.outputs[0]].kind.startswith("float"):
            return _FLOAT
        return _POOL if op.name in POOLS else _DEPTHWISE if op.name == "DEPTHWISE_CONV_2D" else _CONV
    if op.name in _WHOLE:
        return _BLOCK
    return _FUNCTION if op.name in _FUNCTIONS else _VALUE


def _bytes(tensor: Tensor) -> int:
    dtype = next((d for name, d in KINDS.values() if name == tensor.kind), None)
    return math.prod(tensor.shape) * (np.dtype(dtype).itemsize if dtype else 1)


def _npu_copies(names: Sequence[str], compiled: Compiled) -> tuple[NpuCopy, ...]:
    """The rows of Vela's table of operations that only move data; the user's layer by Vela's index of its operator."""
    layers = {row["id"]: int(row["ext_key"] or 0) for row in compiled.table("source") if "ext_key" in row}
    shapes = {row["id"]: row for row in compiled.table("perf_debug")}
    found = []
    for row in compiled.table("perf"):
        if row["operator"] not in NPU_COPIES:
            continue
        number, debug = layers.get(row["source_id"], -1), shapes.get(row["id"], {})
        layer = names[number] if 0 <= number < len(names) else row["name"]
        read, written = (_table_bytes(debug, end) for end in ("ifm", "ofm"))
        found.append(NpuCopy(layer, row["operator"], read, written, int(float(row["npu_cycles"] or 0))))
    return tuple(found)


_VELA_BITS = {"Int8": 8, "UInt8": 8, "Int16": 16, "UInt16": 16, "Int32": 32, "UInt32": 32, "Int64": 64, "Bool8": 8}


def _table_bytes(row: dict[str, str], end: str) -> int:
    axes = [int(row.get(f"{end}_shape_{axis}") or 0) for axis in "nhwc"]
    return math.prod(axes) * _VELA_BITS.get(row.get(f"{end}_dtype", ""), 8) // 8
