"""The HLS backends: an hls4ml project per flow, whose C simulation has equalled the golden evaluation on every bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from codesign.backends.base import Objective, Progress, Requirement, Run, RunOptions, Verdict, ignore_progress
from codesign.backends.hls import flows, project
from codesign.backends.hls.cost import MAX_UNROLLED, simulate, too_much, unrolled
from codesign.backends.hls.deadlock import too_small
from codesign.backends.hls.emulate import emulate
from codesign.backends.hls.layers import Flatten, Network
from codesign.backends.hls.lower import MAX_READERS, PORT, lower, prepare
from codesign.backends.hls.resources import resources
from codesign.backends.hls.search import Design, describe, legal_loops, search, unrollable
from codesign.backends.rtl.blocks.base import Resources
from codesign.backends.rtl.fabrics import fabric
from codesign.errors import (
    Diagnostic,
    InputError,
    MismatchError,
    RequirementError,
    UnsupportedError,
    UsageError,
    raise_all,
)
from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Reshape
from codesign.ir.types import IntArray
from codesign.report import Basis, Metric, Report
from codesign.schedule import HlsSchedule, IoType
from codesign.target import Target

FLOAT_BITS = 24
"""Integers of so many bits are exact in float32."""

_EMPTY = "nothing is computed between the input and the output; a design needs an operator"


class HlsBackend:
    """Implements `codesign.backends.base.Backend` with `HlsSchedule`, for one flow of hls4ml."""

    def __init__(self, flow: str = "Vitis", io_types: tuple[IoType, ...] = ("io_stream", "io_parallel")) -> None:
        self.flow = flows.FLOWS[flow]
        self.io_types = tuple(io for io in io_types if io in self.flow.io_types)
        self.name = self.flow.backend

    def check(self, node: Node, graph: Graph, target: Target) -> Verdict:
        """Whether the node can be built, in one io type at least, after the passes that bring it into form."""
        flows.check_target(self.flow, target)
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            found = f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs in all"
            last = node is graph.nodes[-1]  # said once, not of every layer
            return Verdict(not last, f"{found}; a design has one of each")
        wide = [p.name for p in (*graph.inputs, *graph.outputs) if graph.type(p.name).dtype.bits > FLOAT_BITS]
        if self.flow.boards and wide and node is graph.nodes[-1]:
            text = f"{' and '.join(wide)} of more than {FLOAT_BITS} bits, which the float words of a stream hold"
            return Verdict(False, text)
        reason = _refused(graph, self.io_types).get(node.where, "")
        return Verdict(not reason, reason)

    def schedule(
        self, graph: Graph, target: Target, objective: Objective | None, requirements: Sequence[Requirement],
        progress: Progress,
    ) -> HlsSchedule:  # fmt: skip
        """Io type, loops and depths that meet the requirements; see search.py."""
        self._expect_supported(graph, target)
        networks = {io: self._lower(graph, io) for io in self.io_types if not _refused(graph, (io,))}
        return search(networks, fabric(target.fabric), target, objective, requirements, progress).schedule

    def schedule_data(self, schedule: HlsSchedule) -> dict[str, Any]:
        return schedule.to_data()

    def read_schedule(self, data: Mapping[str, Any], graph: Graph) -> HlsSchedule:
        """A schedule from plain data, checked against the graph; raises InputError with everything that is wrong."""
        schedule = HlsSchedule.from_data(data)
        if schedule.io not in self.io_types:
            raise InputError.at("schedule", schedule.io, f"{' or '.join(self.io_types)} with {self.flow.name}")
        network = self._lower(graph, schedule.io)
        layers = {layer.name: layer for layer in network.layers}
        found: list[Diagnostic] = []
        for name in schedule.loops:
            if name not in layers:
                found.append(Diagnostic(f"schedule, loop of {name}", "there is no such layer", ", ".join(layers)))
        for name, layer in layers.items():
            loop, where = schedule.loop(name), f"schedule, loop of {name} ({layer.where})"
            legal = legal_loops(layer, schedule.io)
            if isinstance(layer, Flatten) or loop in legal:
                continue
            what, size = f"{loop.strategy} with reuse {loop.reuse}", unrolled(layer, loop, schedule.io)
            if size > MAX_UNROLLED:
                what += f" {too_much(layer, size)}"
            allowed = "; ".join(f"{la.strategy} with reuse {la.reuse}" for la in legal)
            found.append(Diagnostic(where, what, allowed))
        for name, depth in schedule.depths.items():
            if name not in layers and name != PORT:
                found.append(Diagnostic(f"schedule, depth of {name}", "there is no such layer", ", ".join(layers)))
            elif schedule.io == "io_parallel":
                found.append(Diagnostic(f"schedule, depth of {name}", f"{depth}", "none: io_parallel has no streams"))
        raise_all(InputError, found)
        raise_all(InputError, too_small(network, schedule))
        return schedule

    def estimate(self, graph: Graph, schedule: HlsSchedule, target: Target) -> Report:
        """Cycles by the simulated loops, and resources, from the model."""
        network = self._lower(graph, schedule.io)
        design = self._design(network, schedule, target)
        clock = target.clock_hz
        timing = design.timing
        metrics = [
            Metric("latency_cycles", timing.latency, "cycle", Basis.MODEL),
            Metric("latency_ns", timing.latency * 1e9 / clock, "ns", Basis.MODEL),
            Metric("interval_cycles", timing.interval, "cycle", Basis.MODEL),
            Metric("fps", clock / timing.interval, "frame/s", Basis.MODEL),
        ]
        units = ("LUT", "FF", "block", "block")
        metrics += [
            Metric(name, round(float(value), 1), unit, Basis.MODEL)
            for (name, value), unit in zip(asdict(design.use).items(), units, strict=True)
        ]
        notes = [*describe(design, network), self.flow.verified, *([] if self.flow.tool else [flows.OTHER_LOOPS])]
        return Report(target.name, metrics, schedule=schedule.to_data(), notes=notes)

    def build(
        self, graph: Graph, schedule: HlsSchedule, target: Target, out: Path, progress: Progress = ignore_progress
    ) -> Report:
        """Write the project into `out`, and compare its C simulation with the golden evaluation on every bit.

        The report holds the comparison. Raises MismatchError when one bit differs, RequirementError when the device is
        too small for it.
        """
        from codesign.build import compare, example_feeds

        network = self._lower(graph, schedule.io)
        _require_fit(self._design(network, schedule, target).use, target)
        feed = example_feeds(graph)[0]
        golden = graph.evaluate(feed)[0]
        project.write(network, schedule, self.flow, target, graph, out, feed, golden)
        found = emulate(out, self.flow, feed, golden, _types(graph), progress)
        _require_equal(found, golden)
        return Report(target.name, (), verification=compare([golden], [found], "golden"))

    def run(
        self, directory: Path, graph: Graph, feeds: Sequence[IntArray], options: RunOptions, progress: Progress
    ) -> Run:
        """The C simulation of the project in `directory` on integer feeds: outputs, no cycles.

        Raises ToolError, MismatchError for constants, InputError for files of the project that cannot be used.
        """
        found = []
        if options.stall:
            found.append(Diagnostic("--stall", f"{options.stall:g}", "0: a C simulation has no cycles to stall"))
        if options.trace is not None:
            found.append(Diagnostic("--trace", str(options.trace), "none: a C simulation has no signals"))
        raise_all(UsageError, found)
        frames = options.frames or len(feeds[0])
        feed = np.resize(feeds[0], (frames, *feeds[0].shape[1:]))
        outputs = emulate(directory, self.flow, feed, graph.evaluate(feed)[0], _types(graph), progress)
        project.check_data(directory, graph.digest(), _types(graph))
        return Run([outputs], Report("", ()))

    def _lower(self, graph: Graph, io: IoType) -> Network:
        return lower(graph, io, self.flow.xnor)

    def _design(self, network: Network, schedule: HlsSchedule, target: Target) -> Design:
        made = fabric(target.fabric)
        raise_all(InputError, too_small(network, schedule, made.adder_levels))
        return Design(schedule, simulate(network, schedule, made.adder_levels), resources(network, schedule, made))

    def _expect_supported(self, graph: Graph, target: Target) -> None:
        verdicts = [(node, self.check(node, graph, target)) for node in graph.nodes]
        raise_all(UnsupportedError, [Diagnostic(n.where, v.reason) for n, v in verdicts if not v.ok])
        if not graph.nodes:
            raise UnsupportedError.at("graph", _EMPTY)


class VitisBackend(HlsBackend):
    """Vitis HLS."""


class VivadoBackend(HlsBackend):
    """Vivado HLS 2020.1 and older."""

    def __init__(self) -> None:
        super().__init__("Vivado")


class QuartusBackend(HlsBackend):
    """Intel HLS compiler."""

    def __init__(self) -> None:
        super().__init__("Quartus")


class CatapultBackend(HlsBackend):
    """Siemens Catapult."""

    def __init__(self) -> None:
        super().__init__("Catapult")


class OneApiBackend(HlsBackend):
    """Intel oneAPI."""

    def __init__(self) -> None:
        super().__init__("oneAPI")


class PynqBackend(HlsBackend):
    """Vivado HLS with a bitstream and a driver for PYNQ."""

    def __init__(self) -> None:
        super().__init__("VivadoAccelerator")


@lru_cache(maxsize=16)
def _refused(graph: Graph, io_types: tuple[IoType, ...]) -> dict[str, str]:
    """By the user's name of a layer, why none of the io types can build it."""
    if all(isinstance(node.op, Reshape) for node in prepare(graph).nodes):
        return {node.where: _EMPTY for node in graph.nodes}
    reasons: list[dict[str, str]] = []
    for io in io_types:
        network = lower(graph, io)
        where = {layer.node: layer.where for layer in network.layers}
        reasons.append({where[node]: text for node, text in unrollable(network, io).items()})
        if io == "io_stream":
            for layer in network.layers:
                readers = len(network.readers(layer.name))
                if readers > MAX_READERS:
                    reasons[-1][layer.where] = f"{readers} layers read it; hls4ml copies a stream {MAX_READERS} times"
    return {} if not all(reasons) else reasons[0]


def _types(graph: Graph) -> list[Any]:
    return [graph.type(graph.inputs[0].name), graph.type(graph.outputs[0].name)]


def _require_fit(use: Resources, target: Target) -> None:
    """Refuse a design that needs more than the device has."""
    over = [f"{v:,.0f} {name} of {target.limits[name]:,}" for name, v in asdict(use).items() if v > target.limits[name]]
    if over:
        raise RequirementError.at(target.name, f"the design does not fit: {', '.join(over)}", "", "more reuse")


def _require_equal(found: IntArray, golden: IntArray) -> None:
    """Refuse to hand over a project that differs from the golden evaluation in one bit."""
    wrong = int((found != golden).sum())
    if wrong:
        frame = int((found != golden).reshape(len(golden), -1).any(axis=1).argmax())
        raise MismatchError.at(
            "C simulation",
            f"{wrong:,} of {golden.size:,} output elements differ from the golden evaluation, first in frame {frame}",
            hint="report it; the project is not handed over",
        )
