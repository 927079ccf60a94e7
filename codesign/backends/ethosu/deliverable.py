"""What a firmware engineer gets of a compiled model: binaries, a self-test in C, the layers' table.

The C files of app/ are copied as they are; only numbers are made (cdata.py). Nothing here runs on an NPU.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codesign.backends.ethosu.cdata import CPort, byte_rows, defines, ports, vectors, words
from codesign.backends.ethosu.chart import layer_chart
from codesign.backends.ethosu.layers import LayerTable, layer_table
from codesign.backends.ethosu.readme import cpu_layers, readme
from codesign.backends.ethosu.regions import Region, driver_defines, regions_of
from codesign.backends.ethosu.vela import Compiled, System
from codesign.errors import ToolError
from codesign.frontend.tflite.schema import read_model
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray
from codesign.toolchain import cache_dir, cached, digest, require, run

GOLDEN_VECTORS = 4
"""Frames of the self-test; an image each would fill the memory with more."""

_HERE = Path(__file__).parent
_DATA_ONLY = ("flatbuffer.c", "flatbuffer.h", "golden.c", "golden.h")
_INTERPRETER_FILES = ("flatbuffer.c", "flatbuffer.h")
# The systems of targets/: Cortex-M55 with U55, Cortex-M85 with U65 and U85.
_PLATFORMS = {"ethos-u55": "corstone300", "ethos-u65": "corstone310", "ethos-u85": "corstone320"}
_COMPILE_SECONDS = 120.0


@dataclass(frozen=True)
class Deliverable:
    """What was written.

    files     below the directory, sorted
    layers    Vela's estimate per layer
    compiler  that compiled every C file without a warning; empty: none was found
    notes     what a user has to know
    """

    files: tuple[str, ...]
    layers: LayerTable
    compiler: str
    notes: tuple[str, ...]


def write_deliverable(
    out: Path,
    compiled: Compiled,
    raw: Compiled | None,
    system: System,
    graph: Graph,
    feeds: Sequence[IntArray],
    outputs: Sequence[IntArray],
    names: Sequence[str] = (),
) -> Deliverable:
    """Write everything into the directory `out`, which exists and is the caller's to throw away when this raises.

    compiled  the model for an interpreter; raw: the same for the driver alone, None when layers stay on the CPU
    feeds, outputs  (frames, …) of every input and output: the golden evaluation in the integers that the NPU's tensors
              hold; the first GOLDEN_VECTORS are taken
    names     of the layers, see layer_table

    Raises UnsupportedError for inputs and outputs that are no plain integers, ToolError when the C compiler that is
    there refuses the files.
    """
    table = layer_table(compiled, system, names)
    (out / "model.tflite").write_bytes(compiled.model)
    (out / "layers.csv").write_text(table.to_csv(), encoding="utf-8")
    (out / "layers.svg").write_text(layer_chart(table, "Layers"), encoding="utf-8")
    addresses = None if raw is None else [p["address"] for p in (*raw.result["inputs"], *raw.result["outputs"])]
    model_ports = ports(read_model(out / "model.tflite"), graph, addresses)
    app = out / "app"
    (app / "data").mkdir(parents=True)
    _write_golden(app, model_ports, feeds, outputs)
    sizes = {
        "GOLDEN_VECTORS": min(len(feeds[0]), GOLDEN_VECTORS),
        "MODEL_INPUT_BYTES": sum(port.bytes for port in model_ports[0]),
        "MODEL_OUTPUT_BYTES": sum(port.bytes for port in model_ports[1]),
    }
    regions: list[Region] = []
    if raw is None:
        sizes["MODEL_FLATBUFFER_BYTES"] = len(compiled.model)
        (app / "data" / "flatbuffer.inc").write_text(words(compiled.model), encoding="ascii")
    else:
        regions = regions_of(raw, system)
        sizes |= _write_stream(out, raw, model_ports, regions)
        (app / "data" / "config.mk").write_text(_config(system, regions), encoding="ascii")
    (app / "data" / "model_sizes.h").write_text(defines(sizes), encoding="ascii")
    for source in sorted((_HERE / "app").iterdir()):
        if (source.name in _DATA_ONLY) if raw is None else (source.name not in _INTERPRETER_FILES):
            (app / source.name).write_bytes(source.read_bytes())
    compiler = check_application(app, system)
    platform = _PLATFORMS[system.family]
    text = readme(compiled, raw, system, table, model_ports, regions, sizes, platform, compiler)
    (out / "README.md").write_text(text, encoding="utf-8")
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    return Deliverable(tuple(files), table, compiler, _notes(table, raw, compiler))


def check_application(app: Path, system: System) -> str:
    """Compile every C file for Cortex-M, warnings being errors: the compiler's version, empty without a compiler.

    Raises ToolError when it refuses one.
    """
    try:
        tool = require("arm-gcc")
    except ToolError:
        return ""
    sources = sorted(app.glob("*.c"))
    flags = [f"@{_HERE / 'app' / name}" for name in ("target.flags", "compile.flags")]
    define = f"-DPORT_{_PLATFORMS[system.family].upper()}"

    def compile_all(objects: Path) -> None:
        log = cache_dir() / "logs" / f"arm-gcc-{os.getpid()}.log"
        run(tool, [*flags, define, "-c", *sources], cwd=objects, log=log, time_limit_s=_COMPILE_SECONDS)

    # The same files, compiler and flags compile again: only a change is worth the half second.
    read = [path for path in sorted(app.rglob("*")) if path.is_file()]
    names = [str(path.relative_to(app)) for path in read]
    own = [_HERE / "app" / name for name in ("target.flags", "compile.flags")]
    cached("arm-gcc", digest(tool.version, define, *names, *read, *own), compile_all)
    return tool.version


def _write_golden(
    app: Path,
    model_ports: tuple[list[CPort], list[CPort]],
    feeds: Sequence[IntArray],
    outputs: Sequence[IntArray],
) -> None:
    ends = ((feeds, "golden_inputs"), (outputs, "golden_outputs"))
    for found, (values, file) in zip(model_ports, ends, strict=True):
        rows = vectors(found, [v[:GOLDEN_VECTORS] for v in values])
        (app / "data" / f"{file}.inc").write_text(byte_rows(rows), encoding="ascii")


def _write_stream(
    out: Path, raw: Compiled, model_ports: tuple[list[CPort], list[CPort]], regions: Sequence[Region]
) -> dict[str, int]:
    """Command stream and constants as binaries and for C; the numbers that describe them."""
    data = out / "app" / "data"
    (out / "command_stream.bin").write_bytes(raw.command_stream)
    (out / "constants.bin").write_bytes(raw.read_only)
    (data / "command_stream.inc").write_text(words(raw.command_stream), encoding="ascii")
    (data / "constants.inc").write_text(words(raw.read_only), encoding="ascii")
    for ends, file in zip(model_ports, ("inputs", "outputs"), strict=True):
        (data / f"{file}.inc").write_text("".join(port.row() for port in ends), encoding="utf-8")
    sizes = {
        "MODEL_COMMAND_STREAM_BYTES": len(raw.command_stream),
        "MODEL_INPUTS": len(model_ports[0]),
        "MODEL_OUTPUTS": len(model_ports[1]),
        "MODEL_REGIONS": 1 + max(region.number for region in regions),
        "MODEL_CACHE_BYTES": 0,
    }
    for region in regions:
        prefix = f"MODEL_{region.name.upper()}"
        sizes |= {f"{prefix}_BYTES": region.bytes, f"{prefix}_REGION": region.number, f"{prefix}_AXI": region.axi}
    return sizes


def _config(system: System, regions: Sequence[Region]) -> str:
    """What the Makefile needs to know of the NPU."""
    generation = system.family.removeprefix("ethos-")
    device = "ethosu_device_u85.c" if generation == "u85" else "ethosu_device_u55_u65.c"
    kind = f"-DETHOSU{generation[1:]} -DETHOSU_ARCH={generation} -DETHOSU_MACS={system.macs}"
    return (
        f"PLATFORM ?= {_PLATFORMS[system.family]}\nDRIVER_DEVICE = {device}\n"
        f"DRIVER_DEFINES = {kind} {driver_defines(regions)}\n"
    )


def _notes(table: LayerTable, raw: Compiled | None, compiler: str) -> tuple[str, ...]:
    notes = []
    if raw is None:
        notes.append(
            f"on the CPU: {cpu_layers(table)}; the driver alone cannot run the model, so app/ holds it with golden "
            "vectors for TensorFlow Lite Micro, and no application"
        )
    if not compiler:
        notes.append("the C files were not compiled: arm-none-eabi-gcc is missing (apt install gcc-arm-none-eabi)")
    return tuple(notes)
