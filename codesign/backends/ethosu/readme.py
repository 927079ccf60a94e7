"""README.md of a deliverable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from codesign.backends.ethosu.cdata import CPort
from codesign.backends.ethosu.layers import LayerCost, LayerTable
from codesign.backends.ethosu.regions import Region, driver_defines, stream_port
from codesign.backends.ethosu.vela import Compiled, System

_HERE = Path(__file__).parent


def cpu_layers(table: LayerTable) -> str:
    """The layers that the NPU does not run, by name."""
    return ", ".join(layer.name for layer in table.layers if layer.on_cpu)


def readme(
    compiled: Compiled,
    raw: Compiled | None,
    system: System,
    table: LayerTable,
    model_ports: tuple[list[CPort], list[CPort]],
    regions: Sequence[Region],
    sizes: Mapping[str, int],
    platform: str,
    compiler: str,
) -> str:
    """The text of README.md: templates beside this file, with the numbers of one model."""
    checked = f"Every C file compiles without a warning: {compiler}, `-Wall -Wextra -Werror -Wconversion`."
    values = {
        "title": f"A model for {system.accelerator}",
        "accelerator": system.accelerator,
        "system_config": system.system_config,
        "memory_mode": system.memory_mode,
        "vectors": str(sizes["GOLDEN_VECTORS"]),
        "compiled": checked if compiler else "The C files were not compiled: no arm-none-eabi-gcc was found.",
        "platform": platform,
        "ports": "\n".join(_port_row(port) for ends in model_ports for port in ends),
        "layers": _layer_rows(table),
    }
    if raw is None:
        arena = sum(memory["peak_bytes"] for memory in compiled.performance["memories"].values())
        values |= {
            "cpu_layers": cpu_layers(table),
            "arena": f"{arena - compiled.performance['readOnlyPeakUsage']:,}",
        }
        return Template((_HERE / "readme_cpu.md").read_text(encoding="utf-8")).substitute(values)
    axi = stream_port(regions)
    stream = f"| command stream | {len(raw.command_stream):,} | | {axi} | `.npu_axi{axi}_stream` |"
    memory = [f"| {r.name} | {r.bytes:,} | {r.number} | {r.axi} | `.npu_axi{r.axi}_{r.name}` |" for r in regions]
    values |= {
        "command_stream": f"{len(raw.command_stream):,}",
        "constants": f"{len(raw.read_only):,}",
        "memory": "\n".join([stream, *memory]),
        "driver_defines": driver_defines(regions),
    }
    return Template((_HERE / "readme.md").read_text(encoding="utf-8")).substitute(values)


def _port_row(port: CPort) -> str:
    place = "" if port.address is None else f" {port.address} |"
    shape = " x ".join(map(str, port.shape))
    real = f"(q {-port.zero_point:+}) * {port.scale:.9g}" if port.scale else "q"
    return f"| {port.name} |{place} {port.bytes:,} | {port.kind} | {shape} | {real} |"


def _layer_rows(table: LayerTable) -> str:
    head = "| layer | operators | cycles | share | utilisation | limit |\n|---|---|---|---|---|---|\n"
    return head + "\n".join([*map(_layer_row, table.layers), f"| all | | {table.op_cycles:,} | | | |"])


def _layer_row(layer: LayerCost) -> str:
    start = f"| {layer.name.replace('|', chr(92) + '|')} | {layer.operators}"
    if layer.on_cpu:
        return f"{start} | not estimated | | | |"
    return f"{start} | {layer.op_cycles:,} | {layer.share:.1%} | {layer.utilisation:.1%} | {layer.bound} |"
