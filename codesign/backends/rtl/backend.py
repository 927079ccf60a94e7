"""The streaming RTL backend: graph and schedule in, SystemVerilog out, simulated cycle by cycle."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from codesign.backends.base import Objective, Progress, Requirement, Run, RunOptions, Verdict, ignore_progress
from codesign.backends.rtl import emit
from codesign.backends.rtl.actors import buffer_name, network
from codesign.backends.rtl.blocks.base import Resources
from codesign.backends.rtl.design import Design
from codesign.backends.rtl.fabrics import fabric
from codesign.backends.rtl.lower import check, lower
from codesign.backends.rtl.packing import pack, unpack
from codesign.backends.rtl.plan import least_depths, plan
from codesign.backends.rtl.simulator import Trace, build, check_readable, trace_frame
from codesign.backends.rtl.timing import CycleModel
from codesign.backends.rtl.units import cut
from codesign.errors import (
    Diagnostic,
    InputError,
    MismatchError,
    RequirementError,
    ToolError,
    UnsupportedError,
    raise_all,
)
from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Reshape
from codesign.ir.types import IntArray
from codesign.passes import run_passes
from codesign.report import Basis, Metric, Report
from codesign.resources import resource_dir
from codesign.schedule import RtlSchedule
from codesign.target import Target

LIBRARY = resource_dir("hw") / "rtl"


class RtlBackend:
    """Implements `codesign.backends.base.Backend` with `RtlSchedule`."""

    name = "rtl"

    def check(self, node: Node, graph: Graph, target: Target) -> Verdict:
        """Whether the node can be built, after the passes that bring it into the form of the hardware."""
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            found = f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs in all"
            last = node is graph.nodes[-1]  # said once, not of every layer
            return Verdict(not last, f"{found}; a streaming design has one of each")
        prepared = prepare(graph)
        if _is_empty(prepared):
            return Verdict(False, _EMPTY)
        for made in prepared.nodes:
            if made.where == node.where:
                verdict = check(made, prepared)
                if not verdict.ok:
                    return verdict
        return Verdict(True)

    def schedule(
        self, graph: Graph, target: Target, objective: Objective | None, requirements: Sequence[Requirement],
        progress: Progress,
    ) -> RtlSchedule:  # fmt: skip
        """Folds and depths that meet the requirements; see plan.py. Raises RequirementError, UnsupportedError."""
        return plan(self._supported(graph, target), target, objective, requirements, progress).schedule

    def schedule_data(self, schedule: RtlSchedule) -> dict[str, Any]:
        return schedule.to_data()

    def read_schedule(self, data: Mapping[str, Any], graph: Graph) -> RtlSchedule:
        """A schedule from plain data, checked against the graph; raises InputError with everything that is wrong."""
        schedule = RtlSchedule.from_data(data)
        prepared = prepare(graph)
        units = {unit.name: unit for unit in cut(prepared)}
        found: list[Diagnostic] = []
        for key in ("folds", "multiply", "memory"):
            for name in getattr(schedule, key):
                if name not in units:
                    found.append(Diagnostic(f"schedule, {key} of {name}", "there is no such layer", ", ".join(units)))
        for name, unit in units.items():
            fold = schedule.folds.get(name)
            if fold is None:
                found.append(Diagnostic("schedule", f"no fold for {name} ({unit.where})"))
            elif fold not in unit.legal_folds():
                allowed = "; ".join(
                    f"{part} of {sorted({getattr(f, part) for f in unit.legal_folds()})}"
                    for part in ("pe", "simd", "taps")
                )
                where = f"schedule, folds of {name} ({unit.where})"
                found.append(Diagnostic(where, f"pe {fold.pe}, simd {fold.simd}, taps {fold.taps}", allowed))
        raise_all(InputError, found)
        least = least_depths(lower(prepared, schedule))
        for name, depth in schedule.depths.items():
            if name not in least:
                found.append(Diagnostic(f"schedule, depths of {name}", "there is no such buffer", ", ".join(least)))
            elif depth < least[name]:
                found.append(Diagnostic(f"schedule, depths of {name}", str(depth), f"{least[name]} or more"))
        raise_all(InputError, found)
        return schedule

    def estimate(self, graph: Graph, schedule: RtlSchedule, target: Target) -> Report:
        """Cycles, exactly, and resources, from the model."""
        design = lower(prepare(graph), schedule)
        model = network(design)
        run = CycleModel(model).steady()
        assert run.interval is not None
        interval = int(run.interval) if run.interval.denominator == 1 else float(run.interval)
        metrics = _cycle_metrics(run.latency_cycles, interval, target.clock_hz, Basis.MODEL)
        use = design.resources(fabric(target.fabric))
        metrics += [
            Metric(name, round(float(value), 1), unit, Basis.MODEL)
            for (name, value), unit in zip(asdict(use).items(), ("LUT", "FF", "block", "block"), strict=True)
        ]
        notes = [_bottleneck(design, {actor.name: actor.steps for actor in model.actors})]
        if run.interval > model.ideal_interval:
            held = {name: waits[0] for name, waits in run.waits.items() if waits and waits[0].cause == "room"}
            worst = max(held, key=lambda name: held[name].cycles, default=None)
            link = f": {held[worst].link} is full for {held[worst].cycles:,} cycles a frame" if worst else ""
            notes.append(f"the depths cost {float(run.interval) - model.ideal_interval:,.6g} cycles a frame{link}")
        if not run.settled:
            notes.append("the interval is an average: the model found no steady state")
        return Report(target.name, metrics, schedule=schedule.to_data(), notes=notes)

    def build(
        self, graph: Graph, schedule: RtlSchedule, target: Target, out: Path, progress: Progress = ignore_progress
    ) -> Report:
        """Write the design into `out`: top.sv, mem/, rtl/, files.f, monitors.sv and design.json for other tools.

        Raises RequirementError when the device is too small for it, which a schedule that is replayed may be.
        """
        design = lower(prepare(graph), schedule)
        _require_fit(design.resources(fabric(target.fabric)), target)
        emit.write_design(design, out, f"codesign {graph.digest()[:12]} for {target.name}")
        (out / "rtl").mkdir()
        names = library_files(emit.modules(design))
        for name in names:
            shutil.copyfile(LIBRARY / f"{name}.sv", out / "rtl" / f"{name}.sv")
        (out / "files.f").write_text("".join(f"rtl/{name}.sv\n" for name in names) + "top.sv\n")
        (out / "design.json").write_text(json.dumps(_design_data(design, schedule, target), indent=1) + "\n")
        return Report(target.name, ())

    def run(
        self, directory: Path, graph: Graph, feeds: Sequence[IntArray], options: RunOptions, progress: Progress
    ) -> Run:
        """Simulate the design in `directory` on integer feeds; the outputs are those of the RTL, every cycle counted.

        The `details` hold the stamps of every frame, those that the model predicts (without stalls), and what every
        stream did. When a frame is wrong or does not come out, the run is repeated with the signals recorded around
        it, in mismatch.fst beside the artifact. Raises MismatchError for a deadlock or an unstable stream, with the
        streams that are blocked.
        """
        data = _read_design(directory)
        design = lower(prepare(graph), RtlSchedule.from_data(data["schedule"]))
        first, last = design.streams[design.input], design.streams[design.output]
        frames = options.frames or len(feeds[0])
        values = np.resize(feeds[0], (frames, *feeds[0].shape[1:]))
        beats = pack(values, first.dtype, first.lanes)
        check_readable(directory / "files.f")
        mismatch_file = directory.parent / "mismatch.fst"
        with contextlib.suppress(OSError):  # where nothing can be removed, nothing can be reported either
            mismatch_file.unlink()  # of an earlier run
        sources = [directory / line for line in (directory / "files.f").read_text().split()]
        sources.append(directory / "monitors.sv")
        whole = options.trace is not None and options.trace_frame is None
        trace = Trace(options.trace) if options.trace is not None and whole else None
        simulator = build(sources, "top", directory=directory, trace=whole, progress=progress)
        model = network(design)
        result = simulator.run(
            beats, last.beats, stall=options.stall, seed=options.seed, trace=trace, progress=progress,
            idle_limit=10_000 + 2 * model.ideal_interval, check=False,
        )  # fmt: skip
        outputs = unpack(result.outputs, last.dtype, last.lanes, design.output_type.shape)
        wrong = _first_wrong(outputs, graph.evaluate(values)[0])
        frame = wrong if options.trace_frame is None else options.trace_frame
        if frame is not None and trace is None:
            file = options.trace or mismatch_file
            # Without the headers for traces, a mismatch is still a mismatch; a trace that was asked for is an error.
            with contextlib.suppress(*(() if options.trace else (ToolError,))):
                trace = trace_frame(
                    sources, "top", beats, last.beats, frame=frame, seen=result, file=file, directory=directory,
                    stall=options.stall, seed=options.seed, progress=progress,
                )  # fmt: skip
        if result.failure is not None:
            hint = f"{result.failure.hint}; signals in {trace.file}" if trace else result.failure.hint
            raise MismatchError(replace(result.failure, hint=hint))
        details: dict[str, Any] = {
            "completed": (result.completed - result.first_in_cycle).tolist(),
            "cycles_per_second": result.cycles_per_second,
            "streams": [asdict(stream) for stream in result.streams],
        }
        if trace is not None:
            cycles = [trace.first, min(trace.last, result.cycles)]
            details["trace"] = {"file": str(trace.file), "frame": frame, "cycles": cycles}
        metrics: list[Metric] = []
        if not options.stall:
            timed = CycleModel(model)
            details["predicted"] = timed.simulate(frames).completions.tolist()
            interval = _measured_interval(result.completed, details["predicted"], timed.steady().interval)
            metrics = _cycle_metrics(result.latency_cycles, interval, data["clock_hz"], Basis.RTL_SIM)
        return Run([outputs], Report(data["target"], metrics), details)

    def _supported(self, graph: Graph, target: Target) -> Graph:
        verdicts = [(node, self.check(node, graph, target)) for node in graph.nodes]
        raise_all(UnsupportedError, [Diagnostic(n.where, v.reason) for n, v in verdicts if not v.ok])
        if _is_empty(graph):
            raise UnsupportedError.at("graph", _EMPTY)
        return prepare(graph)


def library_files(modules: Iterable[str]) -> list[str]:
    """The modules and all that they instantiate, those that are needed first."""
    found: dict[str, None] = {}

    def visit(name: str) -> None:
        source = (LIBRARY / f"{name}.sv").read_text()
        for used in dict.fromkeys(re.findall(r"^\s*(cs_\w+) #\(", source, re.MULTILINE)):
            if used != name and used not in found:
                visit(used)
        found[name] = None

    for module in modules:
        if module not in found:
            visit(module)
    return list(found)


def _first_wrong(outputs: IntArray, golden: IntArray) -> int | None:
    """The first frame that differs from the golden one, or did not come out; None when all are right."""
    axes = tuple(range(1, golden.ndim))
    differs = (outputs != golden[: len(outputs)]).any(axis=axes)
    if differs.any():
        return int(differs.argmax())
    return len(outputs) if len(outputs) < len(golden) else None


def _require_fit(use: Resources, target: Target) -> None:
    """Refuse a design that needs more than the device has."""
    over = [f"{v:,.0f} {name} of {target.limits[name]:,}" for name, v in asdict(use).items() if v > target.limits[name]]
    if over:
        raise RequirementError.at(
            target.name, f"the design does not fit: {', '.join(over)}", "", "smaller folds or depths"
        )


_EMPTY = "nothing is computed between the input and the output; a design needs an operator"


def _is_empty(graph: Graph) -> bool:
    return all(isinstance(node.op, Reshape) for node in graph.nodes)


@lru_cache(maxsize=8)
def prepare(graph: Graph) -> Graph:
    """The graph in the form of the hardware: the RTL passes, each exact."""
    return run_passes(graph)


def _measured_interval(completed: IntArray, predicted: Sequence[int], steady: Fraction | None) -> float | None:
    """The mean distance of the last frames of a run, over as many as the steady state repeats after.

    None when the run was too short to reach the steady state that the model knows of.
    """
    for frames in range(1, len(predicted)):
        if steady is not None and predicted[-1] - predicted[-1 - frames] == steady * frames:
            mean = Fraction(int(completed[-1] - completed[-1 - frames]), frames)
            return mean.numerator if mean.denominator == 1 else float(mean)
    return None


def _cycle_metrics(latency: int, interval: float | None, clock_hz: float, basis: Basis) -> list[Metric]:
    """The figures of time; the interval needs two frames."""
    metrics = [
        Metric("latency_cycles", latency, "cycle", basis),
        Metric("latency_ns", latency * 1e9 / clock_hz, "ns", basis),
    ]
    if interval is not None:
        metrics.append(Metric("interval_cycles", interval, "cycle", basis))
        metrics.append(Metric("fps", clock_hz / interval, "frame/s", basis))
    return metrics


def _bottleneck(design: Design, steps: Mapping[str, int]) -> str:
    """The layer that sets the interval."""
    most = max(steps.values())
    slow = [layer for layer in design.layers if most in (steps[layer.name], steps.get(buffer_name(layer.name)))]
    layer = next((layer for layer in slow if layer.pipes), slow[0])  # rather the layer than a converter before it
    return f"bottleneck: {layer.where or layer.name} ({layer.what})"


def _design_data(design: Design, schedule: RtlSchedule, target: Target) -> dict[str, Any]:
    """design.json: what other tools need to know of the design."""
    first, last = design.streams[design.input], design.streams[design.output]
    part = fabric(target.fabric)
    layers = [
        {
            "name": layer.name,
            "origin": layer.where,
            "what": layer.what,
            "inputs": list(layer.inputs),
            "latency": layer.latency,
            "resources": asdict(layer.resources(part)),
            "instances": {key: {"module": b.module, **b.parameters()} for key, b in layer.blocks().items()},
        }
        for layer in design.layers
    ]
    streams = {
        s.name: {"type": str(s.dtype), "lanes": s.lanes, "beats": s.beats, "depth": s.depth}
        for s in design.streams.values()
    }
    return {
        "top": "top",
        "target": target.name,
        "clock_hz": target.clock_hz,
        "input": {"stream": first.name, "shape": list(design.input_type.shape), **streams[first.name]},
        "output": {"stream": last.name, "shape": list(design.output_type.shape), **streams[last.name]},
        "schedule": schedule.to_data(),
        "layers": layers,
        "streams": streams,
    }


def _read_design(directory: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads((directory / "design.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError.at(str(directory), f"no RTL design: {error}", "the artifact directory of a compile") from error
    return data
