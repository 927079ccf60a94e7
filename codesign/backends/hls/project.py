"""The deliverable: hls4ml's project with our testbench, golden vectors, constraints, scripts and a README."""

from __future__ import annotations

import json
import re
import shutil
import string
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from codesign.backends.hls import extension
from codesign.backends.hls.emulate import GOLDEN, INPUTS, write_vectors
from codesign.backends.hls.extension import PROJECT
from codesign.backends.hls.flows import FRAMES, Flow
from codesign.backends.hls.layers import Integer, Linear, Network
from codesign.builddir import read_json
from codesign.errors import InputError
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray, TensorType
from codesign.schedule import HlsSchedule
from codesign.target import Target

HERE = Path(__file__).parent


def write(
    network: Network, schedule: HlsSchedule, flow: Flow, target: Target, graph: Graph, out: Path, feed: IntArray,
    golden: IntArray,
) -> None:  # fmt: skip
    """Everything of a project into the existing directory `out`; `feed` and `golden` become the testbench's vectors."""
    options = {"part": target.part, "clock_period": clock_period_ns(target)}
    options |= {"board": flow.boards[target.part]} if flow.boards else {}
    model = extension.model_graph(network, schedule, flow, options)
    model.config.config["OutputDir"] = str(out)
    with extension.quiet():
        model.write()
    config = out / "hls4ml_config.yml"
    config.write_text(config.read_text(encoding="utf-8").replace(str(out), "."), encoding="utf-8")  # it may be moved
    test = out / flow.test
    test.parent.mkdir(exist_ok=True)
    if flow.name == "Catapult":
        _declare_weights(test, out / "network_weights.h")
    if flow.name == "oneAPI":
        _name_pipes(out / flow.root / "firmware" / f"{PROJECT}.h", test.with_name("network_ports.h"))
    shutil.copyfile(HERE / "testbench" / flow.testbench, test)
    shutil.copyfile(HERE / "testbench" / "compare.h", test.with_name("compare.h"))
    types = [graph.type(graph.inputs[0].name), graph.type(graph.outputs[0].name)]
    write_vectors(out / "tb_data", feed, golden, types)
    ports = {"input": _port(types[0]), "output": _port(types[1])}
    data = {
        "flow": flow.name, "target": target.name, "digest": graph.digest(), "ports": ports,
        "schedule": schedule.to_data(),
    }  # fmt: skip
    (out / "design.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    if flow.boards:
        shutil.copyfile(HERE / "templates" / "host.py", out / "host.py")
    if flow.tool:
        shutil.copyfile(HERE / "tcl" / "implement.tcl", out / "implement.tcl")
        _fill(HERE / "tcl" / "constraints.xdc", out / "constraints.xdc", {"period": f"{clock_period_ns(target):g}"})
    facts = _facts(network, schedule, flow, target, graph.digest(), len(feed))
    _fill(HERE / "templates" / "README.md", out / "README.md", facts)


def check_data(project: Path, digest: str, types: Sequence[TensorType]) -> None:
    """InputError when what programs read of a project is damaged or of another graph: design.json and tb_data."""
    where, hint = project / "design.json", "codesign compile"
    data = read_json(where)
    if not isinstance(data, dict) or data.get("digest") != digest:
        raise InputError.at(str(where), "not of the graph that was compiled", hint=hint)
    for name, type_ in zip((INPUTS, GOLDEN), types, strict=True):
        path = project / "tb_data" / name
        try:
            rows = [[int(word) for word in line.split()] for line in path.read_text(encoding="ascii").splitlines()]
        except OSError as error:
            raise InputError.at(str(path), f"cannot be read: {error.strerror}", hint=hint) from error
        except ValueError as error:
            raise InputError.at(str(path), "holds something else than whole numbers", hint=hint) from error
        if not rows or any(len(row) != type_.size for row in rows):
            raise InputError.at(str(path), "a frame is missing or incomplete", f"{type_.size} words a line", hint)


def clock_period_ns(target: Target) -> float:
    """The period in nanoseconds, to picoseconds."""
    return round(1e9 / target.clock_hz, 3)


def _declare_weights(test: Path, header: Path) -> None:
    """Keep what hls4ml's testbench for Catapult defines: the arrays that the design reads its constants into."""
    _, _, rest = test.read_text(encoding="utf-8").partition("insert declare weights\n")
    declared, _, _ = rest.partition("namespace nnet")
    comment = "// The constants of the network, filled from firmware/weights/*.txt in C simulation.\n"
    header.write_text(f"{comment}{declared.rstrip()}\n", encoding="utf-8")


def _name_pipes(network: Path, header: Path) -> None:
    """The kernel's pipes, first in, last out, under names that do not depend on the network."""
    names = re.findall(r"^using (\w+Pipe) =", network.read_text(encoding="utf-8"), re.MULTILINE)
    text = f"using InputPipe = {names[0]};\nusing OutputPipe = {names[-1]};\n"
    header.write_text(f"// The pipes of the kernel in firmware/network.h.\n{text}", encoding="utf-8")


def _port(type_: TensorType) -> dict[str, object]:
    """A port for programs that use the network: shape, range, meaning."""
    quant = None if type_.quant is None else asdict(type_.quant)
    dtype = type_.dtype
    return {"shape": type_.shape, "lo": dtype.lo, "hi": dtype.hi, "bipolar": dtype.bipolar, "quant": quant}


def _fill(source: Path, destination: Path, values: dict[str, str]) -> None:
    """A file of the package with its $names replaced."""
    text = string.Template(source.read_text(encoding="utf-8")).substitute(values)
    destination.write_text(text, encoding="utf-8")


def _facts(
    network: Network, schedule: HlsSchedule, flow: Flow, target: Target, digest: str, frames: int
) -> dict[str, str]:
    """What the README of a project says."""
    compared = f"{frames} frames ({FRAMES}; `tb_data`) through the testbench, compiled with g++: "
    return {
        "target": f"{target.name} ({target.part}, {target.clock_hz / 1e6:g} MHz)",
        "flow": flow.name,
        "io": schedule.io,
        "digest": digest[:12],
        "verified": f"{compared}{flow.verified}.",
        "interface": _interface(network, schedule),
        "layers": _layers(network, schedule),
        "firmware": str(PurePosixPath(flow.root) / "firmware"),
        "test": flow.test,
        "files": "\n".join(f"| {names} | {what} |" for names, what in flow.files),
        "commands": "".join(f"    {line}\n" for line in flow.commands).rstrip("\n"),
    }


def _interface(network: Network, schedule: HlsSchedule) -> str:
    lines = []
    for what, type_ in (("input", network.input_type), ("output", network.output_type)):
        word = "one bit for each of -1 and +1 (0, 1)" if type_.dtype.bipolar else f"{type_.dtype}, the integer itself"
        pixels = type_.size // type_.channels
        beat = f"; {pixels} beats of {type_.channels}" if schedule.io == "io_stream" else ""
        lines.append(f"- {what} {list(type_.shape)}, channels last{beat}; each word: {word}")
    return "\n".join(lines)


def _layers(network: Network, schedule: HlsSchedule) -> str:
    rows = ["| layer | computed by | result | schedule |", "|---|---|---|---|"]
    for layer in network.layers:
        loop = schedule.loop(layer.name)
        match layer:
            case Linear():
                by, how = f"hls4ml, product: {layer.product}", f"{loop.strategy}, reuse {loop.reuse}"
            case Integer():
                by, how = f"codesign, `{layer.function}`", ""
            case _:
                by, how = "hls4ml, no operation", ""
        rows.append(f"| {layer.where} | {by} | {layer.type} | {how} |")
    return "\n".join(rows)
