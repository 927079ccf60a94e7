"""The time of a kernel on a Mali GPU, from the figures of its target: a model, not a measurement.

    time = max(arithmetic, load/store, cache, memory, latency) + launch

    arithmetic  products and other instructions over the core's rates; groups are dealt to the cores whole
    load/store  a warp's load costs a cycle, or as many as its distinct bytes need: neighbours along x share inputs,
                neighbours along y share weights
    cache       what a group reads, each byte once, over the way from the shared cache to a core
    memory      constants, and tensors that the shared cache does not hold, over the chip's memory bandwidth
    latency     every step of the inner loop waits for its loads; the threads that fit the registers hide it
    launch      from one kernel of a queue to the next

Sources: the architecture from Arm 101574 (Mali Bifrost and Valhall OpenCL developer guide: warps, 64 registers, 8-bit
operands in vectors of four), Arm 100614 (Mali Midgard OpenCL developer guide: arithmetic and load/store pipelines), the
Arm Mali GPU Datasheet 2021 (rates, threads, caches), Arm Mali GPU Best Practices (registers against threads). The
latencies below and the figures that a target's file calls "assumed" are not published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codesign.backends.tvm.mali.gpu import Gpu
from codesign.backends.tvm.mali.templates.base import Work

LOAD_LATENCY_CYCLES = 32  # assumed: a load that hits the core's cache, to its use
HELD = 0.5  # of the shared cache: what a kernel may find there of the one before


@dataclass(frozen=True)
class Cost:
    """The time of a kernel.

    parts      seconds of each term alone, the launch among them
    occupancy  threads that a core runs at once, of those that it could with few registers
    """

    seconds: float
    parts: Mapping[str, float]
    occupancy: float

    @property
    def bound(self) -> str:
        """The term that decides."""
        return max(self.parts, key=lambda name: self.parts[name])


def cost(work: Work, gpu: Gpu, clock_hz: float) -> Cost:
    """The time of one kernel."""
    lx, ly, lz = work.local
    group = lx * ly * lz
    groups = 1
    for items, local in zip(work.grid, work.local, strict=True):
        groups *= -(-items // local)
    per_core = -(-groups // gpu.cores)  # of the core that has most
    warps = per_core * -(-group // gpu.warp)
    threads = warps * gpu.warp
    spilled = max(0, work.registers - gpu.registers)

    rate = gpu.dot8_macs if work.dot else gpu.int_macs
    arithmetic = threads * (work.macs / rate + (work.others + 2 * spilled * work.rounds) / gpu.fp32_fmas)

    beside = min(lx, gpu.warp)  # threads of a warp along x, and those along y and z
    behind = gpu.warp // beside
    loads = work.input_loads + work.weight_loads + work.stores + 2 * spilled * work.rounds
    moved = work.input_bytes * behind + work.weight_bytes * beside
    load_store = warps * max(loads, moved / gpu.load_bytes)

    cache = per_core * work.group_bytes / gpu.l2_bytes_per_cycle
    fits = threads_at_once(work.registers, gpu)
    resident = min(threads, fits)
    latency = -(-threads // resident) * work.rounds * (LOAD_LATENCY_CYCLES + 4 * spilled)

    outside = work.kernel_bytes
    if work.kernel_tensor_bytes > HELD * gpu.l2_bytes:
        outside += work.kernel_tensor_bytes
    parts = {
        "arithmetic": arithmetic / clock_hz,
        "load_store": load_store / clock_hz,
        "cache": cache / clock_hz,
        "memory": outside / gpu.dram_bytes_per_s,
        "latency": latency / clock_hz,
    }
    launch = gpu.launch_ns * 1e-9
    return Cost(max(parts.values()) + launch, {**parts, "launch": launch}, fits / gpu.threads)


def threads_at_once(registers: int, gpu: Gpu) -> int:
    """Threads of a core whose registers fit: all of them, a half, a quarter."""
    if registers <= gpu.full_registers:
        return gpu.threads
    return gpu.threads // (2 if registers <= 2 * gpu.full_registers else 4)
