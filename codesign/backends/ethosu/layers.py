"""The user's layers on the NPU: cycles, memory traffic and utilisation of each, summed from Vela's estimates.

Vela's database has one row per NPU operation and fused activation; `source_id` leads to the operator of the model that
Vela was given, `ext_key` is the place of that operator in its file. Every figure is the compiler's own (basis TOOL,
never a measurement), and the sums over the layers are the totals that Vela reports.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from codesign.backends.ethosu.vela import Compiled, System
from codesign.report import Basis

_PURPOSES = ("FeatureMap", "Weights", "Scales", "Lut")
_ON_CPU = "Passthrough"  # Vela's operator for what it leaves to the CPU


@dataclass(frozen=True)
class MemoryUse:
    """What a layer does to one memory.

    read, written   bytes that cross the memory's port: feature maps, weights, scales, tables, and copies of them
    access_cycles   NPU cycles that the memory is busy with it
    live_bytes      bytes of feature maps and weight buffers that are occupied while the layer runs, weights fetched
                    early for the next layer included, constants not; of several operations the largest
    """

    memory: str
    read: int
    written: int
    access_cycles: int
    live_bytes: int


@dataclass(frozen=True)
class LayerCost:
    """One layer of the user's model; figures are Vela's estimates.

    operators    Vela's names, fused activations behind a plus: Conv2D+Relu; empty when nothing is left to compute
    operations   NPU operations that the layer became
    on_cpu       left to the CPU: no figure of it is known here
    op_cycles    cycles from the start to the end of its operations, waiting for memories included
    npu_cycles   cycles of computing
    macs         multiply-accumulates as Vela counts them; averaging pools count theirs, too
    utilisation  macs / (op_cycles * macs a cycle of the NPU)
    share        op_cycles / those of all layers
    """

    name: str
    operators: str
    operations: int
    on_cpu: bool
    op_cycles: int
    npu_cycles: int
    macs: int
    utilisation: float
    share: float
    memories: tuple[MemoryUse, ...]

    @property
    def bound(self) -> str:
        """What limits the layer: the memory that is busy longer than the NPU computes, else `compute`; nothing: ''."""
        if not self.op_cycles:
            return ""
        slowest = max(self.memories, key=lambda use: use.access_cycles, default=None)
        return slowest.memory if slowest and slowest.access_cycles > self.npu_cycles else "compute"


@dataclass(frozen=True)
class LayerTable:
    """All layers in the order in which they run; `op_cycles`, `npu_cycles` and `macs` are the sums over them."""

    accelerator: str
    layers: tuple[LayerCost, ...]

    basis = Basis.TOOL

    @property
    def op_cycles(self) -> int:
        return sum(layer.op_cycles for layer in self.layers)

    @property
    def npu_cycles(self) -> int:
        return sum(layer.npu_cycles for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def memories(self) -> tuple[str, ...]:
        """The memories of the system."""
        return tuple(use.memory for use in self.layers[0].memories) if self.layers else ()

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"basis": self.basis.value, **asdict(self)}

    def to_csv(self) -> str:
        """A header and one line per layer, five columns per memory."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = ["layer", "operators", "operations", "on_cpu", "op_cycles", "npu_cycles", "macs"]
        per_memory = ("read_bytes", "written_bytes", "bytes_per_cycle", "access_cycles", "live_bytes")
        traffic = [f"{memory}_{what}" for memory in self.memories for what in per_memory]
        writer.writerow([*columns, "utilisation", "share", "bound", *traffic])
        for layer in self.layers:
            figures = [layer.operations, int(layer.on_cpu), layer.op_cycles, layer.npu_cycles, layer.macs]
            shares = [f"{layer.utilisation:.4f}", f"{layer.share:.4f}", layer.bound]
            uses = [
                cell
                for use in layer.memories
                for cell in (use.read, use.written, _rate(use, layer.op_cycles), use.access_cycles, use.live_bytes)
            ]
            writer.writerow([layer.name, layer.operators, *figures, *shares, *uses])
        return text.getvalue()


def _rate(use: MemoryUse, cycles: int) -> str:
    """Bytes a cycle through the memory's port, both directions."""
    return f"{(use.read + use.written) / cycles:.3f}" if cycles else "0.000"


def layer_table(compiled: Compiled, system: System, names: Sequence[str] = ()) -> LayerTable:
    """The layers of a compiled model.

    names  of the layers, one per operator of the model that Vela was given; operators of one name are one layer.
           Without them a layer has the name of its result, of names joined by semicolons the first.
    """
    total = compiled.performance["totalCycles"]
    groups: dict[str, list[int]] = {}
    rows = [{**main, **more} for main, more in zip(compiled.table("perf"), compiled.table("perf_debug"), strict=True)]
    for name, members in _by_operator(compiled, rows, names):
        groups.setdefault(name, []).extend(members)
    memories = [m for m in compiled.performance["memories"] if any(_moved(row, m) for row in rows)]
    residents = {memory: _residents(compiled, memory) for memory in memories}
    fused = {row["id"] for row in compiled.table("group")}
    layers = []
    for name, members in groups.items():
        mine = [rows[i] for i in members]
        op_cycles, macs = _sum(mine, "op_cycles"), _sum(mine, "mac_count")
        kinds = [_kind(row, fused) for row in mine]
        layers.append(
            LayerCost(
                name,
                _operators(mine, kinds),
                kinds.count("npu"),
                "cpu" in kinds,
                op_cycles,
                _sum(mine, "npu_cycles"),
                macs,
                macs / (op_cycles * system.macs) if op_cycles else 0.0,
                op_cycles / total if total else 0.0,
                tuple(_use(mine, memory, residents[memory]) for memory in memories),
            )
        )
    return LayerTable(system.accelerator, tuple(layers))


def _by_operator(
    compiled: Compiled, rows: Sequence[dict[str, str]], names: Sequence[str]
) -> list[tuple[str, list[int]]]:
    """Per operator of the source model, in its order: the layer's name and the numbers of its rows."""
    found: list[tuple[str, list[int]]] = []
    taken: set[int] = set()
    for source in compiled.table("source"):
        mine = [i for i, row in enumerate(rows) if row["source_id"] == source["id"]]
        taken.update(mine)
        place = int(source["ext_key"])
        if place < len(names):
            name = names[place]
        elif mine:
            name = rows[mine[-1]]["name"].partition(";")[0]
        else:
            name = f"{source['operator']} {place}"
        found.append((name, mine))
    # What Vela adds without saying for which operator would be lost from the sums otherwise.
    return found + [(rows[i]["name"].partition(";")[0], [i]) for i in range(len(rows)) if i not in taken]


def _kind(row: dict[str, str], fused: Collection[str]) -> Literal["npu", "fused", "cpu"]:
    """Who computes the row: an NPU operation of its own, the one before it, or the CPU."""
    if row["operator"] == _ON_CPU:
        return "cpu"
    return "fused" if row["id"] in fused else "npu"


def _operators(rows: Sequence[dict[str, str]], kinds: Sequence[str]) -> str:
    """Conv2D+Relu for an operation with what is fused to it; of many operations the different ones in order."""
    texts: list[str] = []
    for row, kind in zip(rows, kinds, strict=True):
        if kind == "fused" and texts:
            texts[-1] += f"+{row['operator']}"
        else:
            texts.append("CPU" if kind == "cpu" else row["operator"])
    return " ".join(dict.fromkeys(texts))


def _use(rows: Sequence[dict[str, str]], memory: str, residents: Sequence[tuple[int, int, int, int]]) -> MemoryUse:
    read, written = (sum(_sum(rows, f"{memory}{p}_{what}") for p in _PURPOSES) for what in ("read", "write"))
    # An operation has an even step; in the odd one behind it the weights of the next are fetched while it still runs.
    steps = {int(row["time_index"]) + i for row in rows for i in (0, 1)}
    live = max((_live(residents, step) for step in steps), default=0)
    return MemoryUse(memory, read, written, _sum(rows, f"{memory}_ac"), live)


def _moved(row: dict[str, str], memory: str) -> int:
    return sum(_int(row.get(f"{memory}{purpose}_{what}", "")) for purpose in _PURPOSES for what in ("read", "write"))


def _residents(compiled: Compiled, memory: str) -> list[tuple[int, int, int, int]]:
    """Of every tensor in the memory: first and last step that it lives, first address, address behind it."""
    return [
        (int(t["start_time"]), int(t["end_time"]), int(t["start_address"], 16), int(t["end_address"], 16))
        for t in compiled.table("tensors")
        if t["memory"] == memory
    ]


def _live(residents: Sequence[tuple[int, int, int, int]], time: int) -> int:
    """The bytes that are occupied at a step; tensors that share their place (computed in place) count once."""
    occupied = end = 0
    for start, stop in sorted((a, b) for first, last, a, b in residents if first <= time <= last):
        occupied += max(0, stop - max(start, end))
        end = max(end, stop)
    return occupied


def _sum(rows: Sequence[dict[str, str]], column: str) -> int:
    return sum(_int(row.get(column, "")) for row in rows)


def _int(text: str) -> int:
    """A cell of the database; empty where the compiler has no figure."""
    return int(text) if text else 0
