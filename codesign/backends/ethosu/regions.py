"""The regions of a command stream, and the ports of the NPU that their memories are behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codesign.backends.ethosu.vela import Compiled, System
from codesign.errors import InputError


@dataclass(frozen=True)
class Region:
    """One region of the command stream: its bytes, its number, and the NPU port that its memory is behind."""

    name: str
    bytes: int
    number: int
    axi: int


def axi_port(system: System, area: str) -> int:
    """The NPU port of a memory area: const_mem_area, arena_mem_area, cache_mem_area. Raises InputError."""
    parser, section = system.parser(), f"Memory_Mode.{system.memory_mode}"
    while section in parser:
        if area in parser[section]:
            found = parser[section][area]
            if found in ("Axi0", "Axi1"):
                return int(found[-1])
            raise InputError.at("vela.ini", f"{area}={found} in {section}", "Axi0, Axi1")
        section = parser[section].get("inherit", "")
    raise InputError.at("vela.ini", f"no {area} for Memory_Mode.{system.memory_mode}", "Axi0, Axi1")


def regions_of(raw: Compiled, system: System) -> list[Region]:
    """Constants (perhaps of no bytes), arena and, where the arena is not in SRAM, the NPU's cache."""
    kinds = (("constants", "read_only", "const"), ("arena", "scratch", "arena"), ("cache", "scratch_fast", "cache"))
    found = []
    for name, key, area in kinds:
        region = raw.result["regions"][key]
        if region["size"] or name != "cache":
            found.append(Region(name, region["size"], region["region"], axi_port(system, f"{area}_mem_area")))
    return found


def driver_defines(regions: Sequence[Region]) -> str:
    """How Arm's driver reaches each region: 0 and 1 are port 0, 2 and 3 are port 1, on every family.

    Source: ethosu_config_u55.h, ethosu_config_u65.h and ethosu_config_u85.h of the driver, whose defaults fit one
    memory mode (constants behind port 1, all else behind port 0). The command stream is where the constants are.
    """
    choice = {"constants": (0, 3), "arena": (0, 2), "cache": (1, 2)}
    ways = [f"-DNPU_REGIONCFG_{region.number}={choice[region.name][region.axi]}" for region in regions]
    return " ".join([f"-DNPU_QCONFIG={2 * stream_port(regions)}", *ways])


def stream_port(regions: Sequence[Region]) -> int:
    """The port that the command stream's memory is behind: that of the constants."""
    return next(region.axi for region in regions if region.name == "constants")
