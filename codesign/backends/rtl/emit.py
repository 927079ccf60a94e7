"""A design as SystemVerilog that a person can read: instances, wires and memory files, no logic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from codesign.backends.rtl.blocks.base import Block
from codesign.backends.rtl.blocks.engines import Pad
from codesign.backends.rtl.blocks.window_parallel import WindowParallel
from codesign.backends.rtl.design import Design, Layer, Stream

Ports = list[tuple[str, str]]

_INDENT = "    "


def write_design(design: Design, out: Path, title: str) -> None:
    """Write top.sv, monitors.sv and mem/*.mem into `out`, a directory that is there."""
    (out / "mem").mkdir(exist_ok=True)
    for layer in design.layers:
        for suffix, block in layer.blocks().items():
            for parameter, words in block.memories().items():
                path = out / memory_path(layer, suffix, parameter)
                path.write_text("\n".join(words) + "\n")
    (out / "top.sv").write_text(top(design, title))
    (out / "monitors.sv").write_text(monitors(design))


def modules(design: Design) -> list[str]:
    """Names of the library modules that the design instantiates, sorted."""
    return sorted({b.module for layer in design.layers for b in layer.blocks().values()} | {"cs_frame_end"})


def memory_path(layer: Layer, suffix: str, parameter: str) -> str:
    """Where an instance finds a memory file, relative to the directory of top.sv."""
    return f"mem/{layer.name}_{suffix}_{parameter}.mem"


def axis_bits(width: int) -> int:
    """The width of an AXI4-Stream tdata that carries `width` bits: the next multiple of 8."""
    return -(-width // 8) * 8


def top(design: Design, title: str) -> str:
    """The text of top.sv."""
    first, last = design.streams[design.input], design.streams[design.output]
    lines = [
        f"// {title}",
        "//",
        f"// s_axis: {first.beats} beats a frame, {first.lanes} x {first.dtype} a beat, element i in bits"
        f" [{first.dtype.bits}*i +: {first.dtype.bits}]; {design.input_type} in (height, width, channel) order",
        f"// m_axis: {last.beats} beats a frame, {last.lanes} x {last.dtype} a beat; {design.output_type}",
        "// in (height, width, channel) order; m_axis_tlast is high in the last beat of a frame",
        "module top (",
        "  input  logic aclk,",
        "  input  logic aresetn,",
        f"  input  logic [{axis_bits(first.width) - 1}:0] s_axis_tdata,",
        "  input  logic s_axis_tvalid,",
        "  output logic s_axis_tready,",
        f"  output logic [{axis_bits(last.width) - 1}:0] m_axis_tdata,",
        "  output logic m_axis_tvalid,",
        "  input  logic m_axis_tready,",
        "  output logic m_axis_tlast",
        ");",
    ]
    for layer in design.layers:
        lines += ["", *_layer(layer, design)]
    lines += ["", f"  assign {last.name}_ready = m_axis_tready;", f"  assign m_axis_tvalid = {last.name}_valid;"]
    padding = axis_bits(last.width) - last.width
    data = f"{last.name}_data" if not padding else f"{{{padding}'b0, {last.name}_data}}"
    lines += [f"  assign m_axis_tdata = {data};"]
    end: Ports = [("clk_i", "aclk"), ("rst_ni", "aresetn"), ("valid_i", "m_axis_tvalid"), ("ready_i", "m_axis_tready")]
    lines += instance("cs_frame_end", "u_frame_end", {"Beats": last.beats}, [*end, ("last_o", "m_axis_tlast")])
    return "\n".join([*lines, "endmodule", ""])


def monitors(design: Design) -> str:
    """The text of monitors.sv: a stream monitor bound to every stream, for simulation only."""
    lines = ["// Simulation only: checks the stability of every stream and counts its beats."]
    for stream in design.streams.values():
        ports: Ports = [("clk_i", "aclk"), ("rst_ni", "aresetn"), ("valid_i", f"{stream.name}_valid")]
        ports += [("ready_i", f"{stream.name}_ready"), ("data_i", f"{stream.name}_data")]
        parameters: dict[str, int | str] = {"Name": stream.name, "Width": stream.width}
        lines += ["", "bind top", *instance("cs_stream_monitor", f"u_monitor_{stream.name}", parameters, ports)]
    return "\n".join([*lines, ""])


def _layer(layer: Layer, design: Design) -> list[str]:
    lines = [f"  // {layer.name}: {layer.what}" + (f" ({layer.where})" if layer.where else "")]
    for stream in layer.outputs:
        lines += [
            f"  logic {stream.name}_valid, {stream.name}_ready;",
            f"  logic [{stream.width - 1}:0] {stream.name}_data;",
        ]
    if layer.engine.module == "cs_skid":
        return lines + _edge(layer, layer.outputs[0])
    return lines + _engine(layer, design) + _pipes(layer) + _fifos(layer)


def _edge(layer: Layer, stream: Stream) -> list[str]:
    """The input edge: a skid buffer, which is a FIFO of two of its own."""
    data = "s_axis_tdata" if axis_bits(stream.width) == stream.width else f"s_axis_tdata[{stream.width - 1}:0]"
    ports = [*_clock(), ("valid_i", "s_axis_tvalid"), ("ready_o", "s_axis_tready"), ("data_i", data)]
    return instance("cs_skid", f"u_{layer.name}_skid", layer.engine.parameters(), [*ports, *_stream_out(stream.name)])


def _clock() -> Ports:
    return [("clk_i", "aclk"), ("rst_ni", "aresetn")]


def _stream_out(name: str) -> Ports:
    return [("valid_o", f"{name}_valid"), ("ready_i", f"{name}_ready"), ("data_o", f"{name}_data")]


def _engine(layer: Layer, design: Design) -> list[str]:
    """The engine's instance with the wires of its step: {name}__take and what goes into the first pipe."""
    name, module, count = layer.name, layer.engine.module, len(layer.outputs)
    vector = f"[{count - 1}:0] " if module == "cs_fork" else ""
    widths = [design.streams[s].width for s in layer.inputs]
    lines = [f"  logic {vector}{name}__credit, {name}__take, {name}__step;"]
    ports = _clock()
    if module == "cs_join":
        for letter, stream in zip("ab", layer.inputs, strict=True):
            ports += [(f"valid_{letter}_i", f"{stream}_valid"), (f"ready_{letter}_o", f"{stream}_ready")]
            ports.append((f"data_{letter}_i", f"{stream}_data"))
    elif module == "cs_concat":
        for port, wire in (("valid_i", "valid"), ("ready_o", "ready"), ("data_i", "data")):
            ports.append((port, _joined(f"{s}_{wire}" for s in layer.inputs)))
    else:
        stream = layer.inputs[0]
        ports += [("valid_i", f"{stream}_valid"), ("ready_o", f"{stream}_ready"), ("data_i", f"{stream}_data")]
    ports += [("credit_i", f"{name}__credit"), ("take_o", f"{name}__take"), ("valid_o", f"{name}__step")]
    if module.startswith("cs_window"):
        lines.append(f"  logic {name}__first, {name}__last;")
        ports += [("first_o", f"{name}__first"), ("last_o", f"{name}__last")]
    if module == "cs_join":
        for letter, width in zip("ab", widths, strict=True):
            lines.append(f"  logic [{width - 1}:0] {name}__step_data_{letter};")
            ports.append((f"data_{letter}_o", f"{name}__step_data_{letter}"))
    else:
        width = layer.outputs[0].width if not layer.pipes else _engine_width(layer, design)
        lines.append(f"  logic [{width - 1}:0] {name}__step_data;")
        ports.append(("data_o", f"{name}__step_data"))
    suffix = module.removeprefix("cs_")
    return lines + instance(module, f"u_{name}_{suffix}", _parameters(layer, suffix, layer.engine), ports)


def _engine_width(layer: Layer, design: Design) -> int:
    """The width of what the engine hands to its first pipe: its input's, a whole window, or what padding widened."""
    if isinstance(layer.engine, WindowParallel):
        return layer.engine.out_bits
    if isinstance(layer.engine, Pad):
        return layer.engine.lanes * layer.engine.out_type.bits
    return design.streams[layer.inputs[0]].width


def _joined(wires: Iterable[str]) -> str:
    """A concatenation with the first wire in the lowest bits."""
    return "{" + ", ".join(reversed(list(wires))) + "}"


def _pipes(layer: Layer) -> list[str]:
    """The pipes, each between the wires of the one before and {name}_{suffix}."""
    lines: list[str] = []
    before = f"{layer.name}__step"
    for index, (suffix, block) in enumerate(list(layer.blocks().items())[1 : 1 + len(layer.pipes)]):
        wire = f"{layer.name}__{suffix}"
        width = pipe_width(block)
        lines += [f"  logic {wire};", f"  logic [{width - 1}:0] {wire}_data;"]
        ports = [*_clock(), ("valid_i", before)]
        if index == 0 and layer.engine.module.startswith("cs_window"):
            ports += [("first_i", f"{layer.name}__first"), ("last_i", f"{layer.name}__last")]
        if block.module == "cs_add":
            ports += [("data_a_i", f"{before}_data_a"), ("data_b_i", f"{before}_data_b")]
        else:
            ports.append(("data_i", f"{before}_data"))
        ports += [("valid_o", wire), ("data_o", f"{wire}_data")]
        lines += instance(block.module, f"u_{wire}", _parameters(layer, suffix, block), ports)
        before = wire
    return lines


def pipe_width(block: Block) -> int:
    """Bits of a pipe's data_o."""
    width = getattr(block, "out_width", None)
    assert isinstance(width, int), f"{block.module} has no out_width"
    return width


def _fifos(layer: Layer) -> list[str]:
    lines: list[str] = []
    push = f"{layer.name}__step"
    if layer.pipes:
        push = f"{layer.name}__{list(layer.blocks())[len(layer.pipes)]}"
    for index, stream in enumerate(layer.outputs):
        pick = f"[{index}]" if layer.engine.module == "cs_fork" else ""
        ports = [*_clock(), ("take_i", f"{layer.name}__take{pick}"), ("credit_o", f"{layer.name}__credit{pick}")]
        ports += [("push_i", f"{push}{pick}"), ("data_i", f"{push}_data"), *_stream_out(stream.name)]
        lines += instance("cs_fifo", f"u_{stream.name}_fifo", stream.fifo.parameters(), ports)
    return lines


def _parameters(layer: Layer, suffix: str, block: Block) -> dict[str, int | str]:
    """The block's parameters, with the paths of its memory files."""
    files = {p: memory_path(layer, suffix, p) for p in block.memories()}
    return {**block.parameters(), **files}


def instance(module: str, name: str, parameters: Mapping[str, int | str], ports: Ports) -> list[str]:
    """An instance with named parameters, several to a line, and named ports, likewise."""
    values = [f".{key}({_literal(value)})" for key, value in parameters.items()]
    connections = [f".{port}({wire})" for port, wire in ports]
    head = f"  {module} #(" if values else f"  {module} {name} ("
    lines = [head]
    if values:
        lines += [*_wrapped(values), f"  ) {name} ("]
    return [*lines, *_wrapped(connections), "  );"]


def _literal(value: int | str) -> str:
    """A parameter's value: a string in quotes unless it is already a sized literal."""
    if isinstance(value, int):
        return str(value)
    return value if value[:1].isdigit() and "'" in value else f'"{value}"'


def _wrapped(items: list[str], width: int = 118) -> list[str]:
    lines, line = [], _INDENT
    for index, item in enumerate(items):
        piece = item + ("," if index < len(items) - 1 else "")
        if len(line) + len(piece) > width and line.strip():
            lines.append(line.rstrip())
            line = _INDENT
        line += piece + " "
    return [*lines, line.rstrip()]
