"""The directory for the board: kernels, constants, what runs in which order, and a host program with its Makefile.

kernels.cl      the kernels, each once
constants.bin   weights and tables, in the layouts that the kernels read
network.txt     buffers, steps, inputs and outputs: what the host program reads
manifest.json   the same for other programs, with shapes and the user's layers
host.c, network.c, host.h, Makefile, README.md
golden_inputs.bin, golden_outputs.bin   frames for `make check`, where there are any
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codesign.backends.tvm.mali.network import Choices, Network, network_of
from codesign.backends.tvm.plan import Plan
from codesign.ir.types import IntArray
from codesign.target import Target

SCHEMA = 1
HOST = Path(__file__).parent / "host"
SOURCES = ("host.c", "network.c", "host.h", "Makefile")


def write(
    out: Path, plan: Plan, choices: Choices, target: Target, golden: Sequence[Sequence[IntArray]] = ()
) -> Network:
    """Write the directory `out`, which is made; returns what was written.

    golden  inputs and outputs, each of all ports with the batch as first axis
    """
    network = network_of(plan, choices)
    out.mkdir(parents=True, exist_ok=True)
    (out / "kernels.cl").write_text(kernels_text(network, target.name), encoding="utf-8")
    (out / "constants.bin").write_bytes(network.constants())
    (out / "network.txt").write_text(network_text(network), encoding="utf-8")
    manifest = json.dumps(manifest_data(network, plan, target), indent=1)
    (out / "manifest.json").write_text(manifest + "\n", encoding="utf-8")
    for name in SOURCES:
        shutil.copyfile(HOST / name, out / name)
    readme = (HOST / "README.md").read_text(encoding="utf-8")
    (out / "README.md").write_text(readme.replace("TARGET", target.name), encoding="utf-8")
    if golden:
        for name, ports, values in zip(("inputs", "outputs"), (network.inputs, network.outputs), golden, strict=True):
            dtypes = [network.buffers[i].dtype for i in ports]
            (out / f"golden_{name}.bin").write_bytes(frames_bytes(values, dtypes))
    return network


def frames_bytes(values: Sequence[IntArray], dtypes: Sequence[str]) -> bytes:
    """Frame after frame, port after port: what the host program reads and writes."""
    rows = [
        np.asarray(v).astype(dtype).reshape(len(v), -1).view(np.uint8) for v, dtype in zip(values, dtypes, strict=True)
    ]
    return np.concatenate(rows, axis=1).tobytes()


def kernels_text(network: Network, target: str) -> str:
    """kernels.cl: each kernel once, under a comment that names its layers."""
    used: dict[str, list[str]] = {}
    for step in network.steps:
        used.setdefault(step.kernel, []).append(" + ".join(step.layers))
    parts = [f"/* Kernels for {target}: OpenCL C 1.2. How they are started: network.txt, manifest.json. */\n"]
    if any("dot4(" in kernel.text for kernel in network.kernels.values()):
        parts.append((HOST / "dot4.cl").read_text(encoding="utf-8"))
    for name, kernel in network.kernels.items():
        items, local = (" x ".join(map(str, sizes)) for sizes in (kernel.items, kernel.local))
        layers = "\n * ".join(_comment(layer) for layer in used[name])
        parts.append(f"/* {layers}\n * {items} work-items in groups of {local} */\n{kernel.named(name)}")
    return "\n".join(parts)


def _comment(text: str) -> str:
    return text.replace("*/", "* /").replace("\n", " ")


def network_text(network: Network) -> str:
    """network.txt: words and numbers only; in the last line the CRC-32 of all before it."""
    lines = [f"codesign-opencl {SCHEMA}", f"buffers {len(network.buffers)}"]
    for b in network.buffers:
        lines.append(f"{b.name[:200]} {b.kind[0]} {b.bytes} {max(b.offset, 0)} {np.dtype(b.dtype).itemsize} {b.fill}")
    lines.append(f"steps {len(network.steps)}")
    for step in network.steps:
        kernel = network.kernels[step.kernel]
        numbers = (*kernel.items, *kernel.local, len(step.arguments), *step.arguments)
        lines.append(f"{step.kernel} {' '.join(map(str, numbers))}")
    for word, ports in (("inputs", network.inputs), ("outputs", network.outputs)):
        lines.append(" ".join([word, str(len(ports)), *map(str, ports)]))
    text = "\n".join(lines) + "\n"
    return f"{text}checksum {zlib.crc32(text.encode()):08x}\n"


def manifest_data(network: Network, plan: Plan, target: Target) -> dict[str, Any]:
    """manifest.json as data."""
    return {
        "schema": SCHEMA,
        "api": "OpenCL 1.2",
        "target": target.name,
        "buffers": [_buffer(b, plan) for b in network.buffers],
        "kernels": [
            {"name": name, "global": list(kernel.items), "local": list(kernel.local)}
            for name, kernel in network.kernels.items()
        ],
        "steps": [
            {"kernel": step.kernel, "arguments": list(step.arguments), "layers": list(step.layers)}
            for step in network.steps
        ],
        "inputs": [_port(network, plan, i, p.name) for i, p in zip(network.inputs, plan.graph.inputs, strict=True)],
        "outputs": [_port(network, plan, i, p.name) for i, p in zip(network.outputs, plan.graph.outputs, strict=True)],
    }


def _buffer(buffer: Any, plan: Plan) -> Mapping[str, Any]:
    data = {"name": buffer.name, "kind": buffer.kind, "dtype": buffer.dtype, "bytes": buffer.bytes}
    if buffer.values is not None:
        return {**data, "shape": list(buffer.values.shape), "offset": buffer.offset}
    storage = plan.storage[buffer.name]
    return {**data, "shape": list(storage.physical), "border": list(storage.border), "fill": buffer.fill}


def _port(network: Network, plan: Plan, index: int, name: str) -> Mapping[str, Any]:
    return {"name": name, "buffer": index, "shape": list(plan.graph.type(name).shape)}
