"""`codesign targets`: the devices there are."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from codesign.backends.tvm.cpu import FIGURES
from codesign.backends.tvm.mali.gpu import FIGURES as GPU_FIGURES
from codesign.commands.common import Parser, print_json, print_table
from codesign.target import Target, load_target, target_names

EXAMPLE = "codesign targets pynq-z2"
_LIMITS = ("lut", "ff", "bram", "dsp")
_MEMORIES = ("sram_bytes", "flash_bytes", "dram_bytes")


def arguments(parser: Parser) -> None:
    parser.add_argument("name", nargs="?", metavar="T", help="one target, with the source of every figure")
    parser.add_json()


def run(args: argparse.Namespace) -> int:
    targets = [load_target(name) for name in ([args.name] if args.name else target_names())]
    if args.json:
        print_json([{"name": t.name, **t.to_data()} for t in targets])
    elif args.name:
        _print_one(targets[0])
    else:
        _print_fpgas([t for t in targets if t.fabric])
        print()
        _print_npus([t for t in targets if t.npu is not None])
        print()
        _print_cpus([t for t in targets if t.cpu is not None])
        print()
        _print_gpus([t for t in targets if t.gpu is not None])
    return 0


def _print_fpgas(targets: list[Target]) -> None:
    rows = [
        [t.name, t.fabric, ", ".join(t.backends), f"{t.clock_hz / 1e6:g}"]
        + [f"{t.limits[k]:,}" if k in t.limits else "" for k in _LIMITS]
        + [f"{t.limits.get('bram', 0) * t.limits.get('bram_bits', 0) // 1024:,}", t.description]
        for t in targets
    ]
    columns = ["target", "fabric", "backends", "MHz", *_LIMITS, "bram kbit", "device"]
    print_table(columns, rows, right=["MHz", *_LIMITS, "bram kbit"])


def _print_npus(targets: list[Target]) -> None:
    rows = [
        [t.name, ", ".join(t.backends), f"{t.clock_hz / 1e6:g}"]
        + [f"{t.limits[k] // 1024:,}" if k in t.limits else "" for k in _MEMORIES]
        + [t.npu.memory_mode, t.description]
        for t in sorted(targets, key=lambda t: (t.npu.family, t.npu.macs) if t.npu else ("", 0))
        if t.npu is not None
    ]
    memories = [f"{name.removesuffix('_bytes')} KiB" for name in _MEMORIES]
    print_table(["target", "backends", "MHz", *memories, "memory mode", "device"], rows, right=["MHz", *memories])


def _print_cpus(targets: list[Target]) -> None:
    rows = [
        [t.name, ", ".join(t.backends), f"{t.clock_hz / 1e6:g}", str(t.cpu.cores), t.cpu.core]
        + [f"{size // 1024:,}" if size else "" for size in (t.cpu.l1d_bytes, t.cpu.l2_bytes, t.cpu.l3_bytes)]
        + [", ".join(t.cpu.features), t.description]
        for t in targets
        if t.cpu is not None
    ]
    caches = ["L1D KiB", "L2 KiB", "L3 KiB"]
    columns = ["target", "backends", "MHz", "cores", "core", *caches, "features", "device"]
    print_table(columns, rows, right=["MHz", "cores", *caches])


def _print_gpus(targets: list[Target]) -> None:
    rows = []
    for t in targets:
        assert t.gpu is not None
        sizes = [str(t.gpu.warp), f"{t.gpu.l2_bytes // 1024:,}", "yes" if t.gpu.dot8_macs else ""]
        clock = f"{t.clock_hz / 1e6:g}"
        rows.append([t.name, ", ".join(t.backends), clock, str(t.gpu.cores), t.gpu.architecture, *sizes, t.description])
    columns = ["target", "backends", "MHz", "cores", "architecture", "warp", "L2 KiB", "dot product", "device"]
    print_table(columns, rows, right=["MHz", "cores", "warp", "L2 KiB"])


def _print_one(target: Target) -> None:
    figures = {"clock_hz": int(target.clock_hz), **target.limits}
    if target.cpu is not None:
        figures |= {name: getattr(target.cpu, name) for name in FIGURES}
    if target.gpu is not None:
        figures |= {name: getattr(target.gpu, name) for name in GPU_FIGURES}
    rows = [[name, f"{value:,}", target.sources[name]] for name, value in figures.items()]
    print_table(["figure", "value", "source"], rows, title=f"{target.name}: {target.description}", right=["value"])
    if target.npu is not None:
        print()
        ini = f"{len(target.npu.ini.splitlines())} lines of the user's own" if target.npu.ini else "the one of Vela"
        settings = {**asdict(target.npu), "ini": ini}
        print_table(["of Vela", "setting"], [[name, value] for name, value in settings.items()])
    if target.cpu is not None:
        print()
        settings = {k: ", ".join(v) if isinstance(v, list) else str(v) for k, v in target.cpu.to_data().items()}
        rows = [[name, value] for name, value in settings.items() if name not in FIGURES]
        print_table(["of the core", "setting"], rows)
