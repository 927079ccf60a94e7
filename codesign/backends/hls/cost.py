"""The cost model: what the loops of a schedule come to in cycles and in hardware, without a vendor's tool.

Every layer is a process: a loop whose iterations take a number of cycles each (its initiation interval), some of which
read a pixel and some of which write one, `depth` pipeline stages later. That follows from the loops in hls4ml's headers
and in firmware/*.h under the pragmas that the schedule sets; docs/guide/hls.md goes through them. `simulate` lets the
processes run over the pixels of a frame. Operators cost what codesign/backends/rtl/blocks predicts for the same sums.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from codesign.backends.hls.layers import Flatten, Integer, Layer, Linear, Network
from codesign.ir.types import IntArray
from codesign.schedule import HlsSchedule, Loop

MAX_UNROLLED = 4096
"""Copies of a loop body, and elements of an array in registers, that Vivado HLS and Vitis HLS are asked for at most.

Beyond, Vivado HLS stops with XFORM 203-504, or runs for hours (fastmachinelearning/hls4ml issues 904, 1013, 427); it is
also the `maximum_size` of array partitioning in hls4ml's project.tcl.
"""

PIXEL_CONTROL = 3  # cycles around a pixel in a loop that is not pipelined: read, shift, test (hls4ml's conv, resource)
CHAIN_DEPTH = 32  # a stream this deep is one shift-register LUT a bit


@dataclass(frozen=True, eq=False)
class Process:
    """A layer while it handles a frame.

    durations  cycles from the start of each iteration to the start of the next
    reads      the iteration that reads each pixel of the input
    writes     the iteration that writes each pixel of the output
    depth      pipeline stages of an iteration
    steps      of an inner loop that an iteration which writes runs through before, but for one
    """

    durations: IntArray
    reads: IntArray
    writes: IntArray
    depth: int
    steps: int = 0

    @property
    def busy(self) -> int:
        """Cycles a frame keeps the process from the next: frames do not overlap in a process."""
        return int(self.durations.sum()) + self.depth

    def run(self, arrivals: IntArray) -> tuple[IntArray, IntArray]:
        """When each pixel is read, and when each result is there, for inputs that arrive at these times.

        An iteration starts when the one before it is over and its pixel has arrived: s[k] = max(s[k-1] + d[k-1], a[k]).
        With S the sums of d, s[k] - S[k] is the running maximum of a[k] - S[k].
        """
        offset = np.concatenate([[0], np.cumsum(self.durations)[:-1]])
        earliest = np.zeros(len(self.durations), dtype=np.int64)
        earliest[self.reads] = arrivals
        starts = np.maximum.accumulate(earliest - offset) + offset
        return starts[self.reads], starts[self.writes] + self.steps + self.depth


def tree_depth(terms: int, adder_levels: int) -> int:
    """Cycles of an adder tree with a register behind every `adder_levels` levels."""
    return math.ceil(max(0, (terms - 1).bit_length()) / adder_levels)


def process(layer: Layer, loop: Loop, io: str, adder_levels: int = 3) -> Process:
    """The loop of a layer; see docs/guide/hls.md for the pragmas behind each case."""
    match layer:
        case Linear():
            return _linear(layer, loop, io, adder_levels)
        case Integer():
            return _integer(layer, loop, io, adder_levels)
    raise AssertionError(layer)  # a Flatten is no process


def _uniform(iterations: int, duration: int) -> IntArray:
    return np.full(iterations, duration, dtype=np.int64)


def _linear(layer: Linear, loop: Loop, io: str, adder_levels: int) -> Process:
    side = max(1, layer.terms // loop.reuse) if loop.strategy == "resource" else layer.terms
    depth = 3 + tree_depth(side, adder_levels)
    if not layer.is_conv:
        if io == "io_parallel":
            return _whole(loop.reuse, depth)
        reads = np.arange(layer.in_beats)
        # The vector is gathered, multiplied in `reuse` steps, then written: three loops one after the other.
        durations = np.append(_uniform(layer.in_beats - 1, 1), 1 + loop.reuse)
        return Process(durations, reads, reads[-1:], depth, loop.reuse - 1)
    height, width = layer.type.shape[:2]
    if io == "io_parallel":
        return _whole(height * width * loop.reuse, depth)
    writes = window_ends(layer.input.shape, layer.weight.shape[:2], layer.stride, (height, width))
    if loop.strategy == "latency":
        return Process(_uniform(layer.in_beats, loop.reuse), np.arange(layer.in_beats), writes, depth)
    durations = _uniform(layer.in_beats, PIXEL_CONTROL)
    durations[writes] += loop.reuse + depth
    return Process(durations, np.arange(layer.in_beats), writes, depth, loop.reuse - 1)


def _whole(steps: int, depth: int) -> Process:
    """A frame at once, in so many steps."""
    once = np.zeros(1, dtype=np.int64)
    return Process(_uniform(1, steps), once, once, depth, steps - 1)


def window_ends(
    shape: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, int], out: tuple[int, int]
) -> IntArray:
    """The pixel with which each window is complete, row by row."""
    rows = kernel[0] - 1 + stride[0] * np.arange(out[0])
    columns = kernel[1] - 1 + stride[1] * np.arange(out[1])
    ends: IntArray = (rows[:, None] * shape[1] + columns).reshape(-1)
    return ends


def _integer(layer: Integer, loop: Loop, io: str, adder_levels: int) -> Process:
    constants = layer.constants
    taps = window_taps(layer)
    terms = max(taps, int(constants.get("n_levels", 1)), layer.input.channels if "argmax" in layer.function else 1)
    # Multipliers one after the other, or a divider.
    extra = {"requantise": 3, "depthwise": 3, "mean_of_window": layer.type.dtype.bits, "softmax_channels": 30}
    depth = 2 + tree_depth(terms, adder_levels) + extra.get(layer.function, 0)
    if io == "io_parallel":
        return _whole(loop.reuse, depth)
    reads, beats = np.arange(layer.in_beats), np.arange(layer.beats)
    if "kernel_h" in constants:
        kernel = int(constants["kernel_h"]), int(constants["kernel_w"])
        stride = int(constants["stride_h"]), int(constants["stride_w"])
        writes = window_ends(layer.input.shape, kernel, stride, (layer.type.shape[0], layer.type.shape[1]))
        return Process(_uniform(layer.in_beats, loop.reuse), reads, writes, depth)
    if layer.function == "pad_image":
        rows = int(constants["top"]) + np.arange(layer.input.shape[0])
        columns = int(constants["left"]) + np.arange(layer.input.shape[1])
        inside = (rows[:, None] * layer.type.shape[1] + columns).reshape(-1)
        return Process(_uniform(layer.beats, loop.reuse), inside, beats, depth)
    if layer.function in ("gather", "repack"):
        return Process(_uniform(layer.in_beats + layer.beats, loop.reuse), reads, layer.in_beats + beats, depth)
    return Process(_uniform(layer.in_beats, loop.reuse), reads, beats, depth)


def window_taps(layer: Integer) -> int:
    """Pixels of a window that are looked at side by side; of a block, one after the other."""
    if "block" in layer.function:
        return 1
    return int(layer.constants.get("kernel_h", 1)) * int(layer.constants.get("kernel_w", 1))


def unrolled(layer: Layer, loop: Loop, io: str) -> int:
    """Copies of the body of the largest loop that is unrolled, or elements of the largest array in registers."""
    match layer:
        case Linear():
            products = layer.terms * layer.outputs
            body = products if loop.strategy == "latency" else -(-products // loop.reuse)
            arrays = max(layer.terms, layer.outputs)
            return max(body, arrays, layer.input.size, layer.type.size) if io == "io_parallel" else max(body, arrays)
        case Integer():
            per_element = max(int(layer.constants.get("n_levels", 1)), 1)
            taps = window_taps(layer)
            pixels = layer.beats if io == "io_parallel" else 1
            whole = layer.input.size if layer.function == "repack" else 0
            return max(pixels * max(layer.type.channels, layer.input.channels) * per_element * taps, whole)
    return 0


def too_much(layer: Layer, size: int) -> str:
    """Why a loop of `size` unrolled operations is refused."""
    levels = int(layer.constants.get("n_levels", 1)) if isinstance(layer, Integer) else 1
    why = f" ({levels:,} levels for each of {layer.type.channels:,} channels)" if levels > 1 else ""
    text = f"unrolls {size:,} operations or registers in one loop{why}, where Vivado HLS stops"
    return f"{text}: it takes {MAX_UNROLLED:,}"


def is_pipelined(network: Network, schedule: HlsSchedule) -> bool:
    """Whether the network is one pipeline over whole frames; otherwise its layers are processes (DATAFLOW)."""
    if schedule.io == "io_stream":
        return False
    linear = [layer for layer in network.layers if isinstance(layer, Linear)]
    # hls4ml runs over the pixels of an image one after the other, so a frame takes more than one step of the pipeline.
    return all(schedule.loop(la.name).strategy == "latency" and (not la.is_conv or la.beats == 1) for la in linear)


def pipeline_interval(network: Network, schedule: HlsSchedule) -> int:
    """Cycles between frames of a pipeline: the largest reuse."""
    return max(schedule.loop(layer.name).reuse for layer in network.layers)


@dataclass(frozen=True)
class Timing:
    """What `simulate` found, in cycles; `busy` by layer, `depths` the pixels that wait behind a layer at most."""

    interval: int
    latency: int
    busy: Mapping[str, int]
    depths: Mapping[str, int] = field(default_factory=dict)

    @property
    def slowest(self) -> str:
        """The layer that sets the interval."""
        return max(self.busy, key=lambda name: self.busy[name])


def simulate(network: Network, schedule: HlsSchedule, adder_levels: int = 3) -> Timing:
    """One frame through all processes, a pixel of input each cycle, nobody waiting for room in a stream."""
    io = schedule.io
    pixels = 1 if io == "io_parallel" else network.input_type.size // network.input_type.channels
    times: dict[str, IntArray] = {network.input: np.arange(pixels)}
    busy: dict[str, int] = {}
    waiting: dict[str, int] = {}
    for layer in network.layers:
        if isinstance(layer, Flatten):
            times[layer.name] = times[layer.inputs[0]]
            continue
        made = process(layer, schedule.loop(layer.name), io, adder_levels)
        arrivals = np.maximum.reduce([times[name] for name in layer.inputs])
        read, times[layer.name] = made.run(arrivals)
        busy[layer.name] = made.busy
        for name in layer.inputs:
            source = behind_flatten(network, name)
            before = np.searchsorted(read, times[name], side="left")
            most = int((np.arange(1, len(before) + 1) - before).max())
            waiting[source] = max(waiting.get(source, 0), most)
    latency = int(times[network.output][-1]) + 1
    interval = pipeline_interval(network, schedule) if is_pipelined(network, schedule) else max(busy.values())
    return Timing(interval, latency, busy, waiting)


def behind_flatten(network: Network, name: str) -> str:
    """The layer whose stream a Flatten hands on."""
    layers = {layer.name: layer for layer in network.layers}
    while name in layers and isinstance(layers[name], Flatten):
        name = layers[name].inputs[0]
    return name


def stream_depths(network: Network, timing: Timing) -> dict[str, int]:
    """Pixels for every stream between layers, so that none can deadlock.

    A stream on a loop of the network (undirected: a fork and its join) holds a whole frame: then a fork never waits for
    the other branch within a frame. Elsewhere a full stream only makes its writer wait, and the pixels that wait in the
    simulation are room enough; a few, since what is deeper than CHAIN_DEPTH gains no interval.
    """
    sizes, looped = frame_sizes(network), looped_streams(network)
    depths: dict[str, int] = {}
    for source, _ in _links(network):
        if source == network.input and len(network.readers(source)) == 1:
            continue  # the port itself
        depth = sizes[source] if source in looped else min(timing.depths[source], CHAIN_DEPTH)
        depths[source] = max(2, depth)
    return depths


def frame_sizes(network: Network) -> dict[str, int]:
    """Pixels of a frame in the stream behind the input and behind every layer."""
    sizes = {layer.name: layer.beats for layer in network.layers if not isinstance(layer, Flatten)}
    return {network.input: network.input_type.size // network.input_type.channels, **sizes}


def looped_streams(network: Network) -> set[str]:
    """The layers, or the input, with a stream behind them on a loop of the network, whatever its direction."""
    links = _links(network)
    return {
        source
        for index, (source, reader) in enumerate(links)
        if _connected(source, reader, links[:index] + links[index + 1 :])
    }


def _links(network: Network) -> list[tuple[str, str]]:
    """Every stream as (who writes it, who reads it)."""
    layers = [layer for layer in network.layers if not isinstance(layer, Flatten)]
    return [(behind_flatten(network, source), layer.name) for layer in layers for source in layer.inputs]


def _connected(start: str, end: str, links: list[tuple[str, str]]) -> bool:
    """Whether two layers are joined by links, whatever their direction."""
    reached, pending = {start}, [start]
    while pending:
        here = pending.pop()
        for a, b in links:
            for near, far in ((a, b), (b, a)):
                if near == here and far not in reached:
                    reached.add(far)
                    pending.append(far)
    return end in reached
