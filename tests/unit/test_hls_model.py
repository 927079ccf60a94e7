"""The HLS cost model: processes against a loop that steps through time, constants against brute force and hls4ml."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign.backends.base import Requirement
from codesign.backends.hls.backend import HlsBackend
from codesign.backends.hls.cost import MAX_UNROLLED, Process, simulate, stream_depths, unrolled, window_ends
from codesign.backends.hls.layers import Flatten, Network, weight_word
from codesign.backends.hls.lower import identifiers, lower
from codesign.backends.hls.resources import digits, resources
from codesign.backends.hls.search import legal_loops, reuse_factors
from codesign.backends.rtl.fabrics import fabric
from codesign.ir.types import BIPOLAR, IntType
from codesign.schedule import HlsSchedule, Loop
from codesign.target import load_target
from codesign.testing.cases import CASES
from codesign.testing.conformance import quiet
from tests.hw.networks import I2, U2, U8, Build

PYNQ = load_target("pynq-z2")


@st.composite
def processes(draw: st.DrawFn) -> tuple[Process, list[int]]:
    """A random loop and times at which its inputs arrive."""
    count = draw(st.integers(1, 12))
    durations = draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    reads = sorted(draw(st.sets(st.integers(0, count - 1), min_size=1)))
    writes = sorted(draw(st.sets(st.integers(0, count - 1), min_size=1)))
    arrivals = sorted(draw(st.lists(st.integers(0, 30), min_size=len(reads), max_size=len(reads))))
    made = Process(np.array(durations), np.array(reads), np.array(writes), draw(st.integers(0, 5)))
    return made, arrivals


@given(processes())
def test_a_process_runs_as_a_loop_does(case: tuple[Process, list[int]]) -> None:
    process, arrivals = case
    time, pixel, read, written = 0, 0, [], []
    for iteration, duration in enumerate(process.durations):
        if iteration in process.reads:
            time = max(time, arrivals[pixel])
            read.append(time)
            pixel += 1
        if iteration in process.writes:
            written.append(time + process.depth)
        time += int(duration)
    found_read, found_written = process.run(np.array(arrivals))
    assert found_read.tolist() == read
    assert found_written.tolist() == written


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_windows_end_at_their_last_pixel(height: int, width: int, kernel: int, sy: int, sx: int) -> None:
    if kernel > min(height, width):
        return
    out = ((height - kernel) // sy + 1, (width - kernel) // sx + 1)
    ends = [
        (r * sy + kernel - 1) * width + c * sx + kernel - 1 for r in range(out[0]) for c in range(out[1])
    ]  # fmt: skip
    assert window_ends((height, width, 1), (kernel, kernel), (sy, sx), out).tolist() == ends


@given(st.integers(-(1 << 31), 1 << 31))
def test_digits_of_a_constant_are_the_fewest(value: int) -> None:
    """Canonical signed digits: strip the lowest, which is +1 or -1, and halve."""
    count, rest = 0, abs(value)
    while rest:
        if rest & 1:
            rest -= 2 - (rest & 3)
            count += 1
        rest >>= 1
    assert int(digits(np.array([value]))[0]) == count


@pytest.mark.parametrize(("terms", "outputs"), [(12, 5), (64, 10), (49, 16), (1, 8), (18, 6)])
def test_reuse_factors_are_those_of_hls4ml(terms: int, outputs: int) -> None:
    from hls4ml.backends import get_backend

    assert reuse_factors(terms, outputs) == get_backend("Vitis").get_valid_reuse_factors(terms, outputs)


def test_names_are_identifiers_without_regard_to_case() -> None:
    found = identifiers(["net.Act", "net.act", "input", "7", "層"])
    assert list(found.values()) == ["net_act", "net_act_2", "input_2", "l_7", "layer"]


def test_words_of_weights_avoid_what_hls4ml_takes_for_something_else() -> None:
    i2, u1, i1 = IntType(2, True), IntType(1, False), IntType(1, True)
    small, full = np.array([-1, 0, 1]), np.array([-2, 1])
    assert weight_word(small, i2, U8, True)[0].bits == 2
    assert weight_word(full, i2, U8, True)[0].bits == 3  # -2 as int<2> would be taken for +1
    assert weight_word(np.array([0, 1]), u1, u1, True)[0].bits == 2  # two uint<1> would be taken for -1 and +1
    assert weight_word(np.array([-1, 0]), i1, U8, True)[0].bits == 2
    assert weight_word(np.array([-1, 1]), BIPOLAR, BIPOLAR, True)[1] == "xnor"
    assert weight_word(np.array([-1, 1]), BIPOLAR, BIPOLAR, False)[1] == "sign of input"  # a bias would be doubled
    assert weight_word(np.array([-1, 1]), BIPOLAR, u1, True)[1] == "ternary"
    assert weight_word(np.array([-1, 1]), BIPOLAR, U8, True)[1] == "sign of weight"


def mlp(width: int = 300, hidden: int = 24) -> Network:
    return lower(mlp_graph(width, hidden), "io_parallel")


def mlp_graph(width: int = 300, hidden: int = 24):  # type: ignore[no-untyped-def]
    b = Build((width,), U8)
    b.dense("fc0", hidden, I2)
    b.threshold("act0", U2)
    b.dense("fc1", 10, I2)
    return b.graph()


def test_more_reuse_is_slower_and_smaller() -> None:
    network, made = mlp(), fabric("xc7")
    layer = network.layers[0]
    loops = [loop for loop in legal_loops(layer, "io_parallel") if loop.strategy == "resource"]
    designs = [HlsSchedule("io_parallel", {layer.name: loop}) for loop in loops]
    intervals = [simulate(network, schedule).interval for schedule in designs]
    luts = [resources(network, schedule, made).lut for schedule in designs]
    assert intervals == sorted(intervals)
    assert luts[0] > 3 * luts[-1]


def test_nothing_is_unrolled_beyond_the_limit() -> None:
    layer = mlp().layers[0]  # 7,200 products
    assert unrolled(layer, Loop(), "io_parallel") == 7200
    assert Loop() not in legal_loops(layer, "io_parallel")
    assert all(unrolled(layer, loop, "io_parallel") <= MAX_UNROLLED for loop in legal_loops(layer, "io_parallel"))


def test_the_search_meets_what_is_required_with_the_least() -> None:
    graph, backend = mlp_graph(), HlsBackend()
    small = backend.schedule(graph, PYNQ, "area", (), quiet)
    fast = backend.schedule(graph, PYNQ, None, [Requirement("interval_cycles", "<=", 60)], quiet)
    fastest = backend.schedule(graph, PYNQ, "throughput", (), quiet)

    def figures(schedule: HlsSchedule) -> tuple[float, float]:
        network = lower(graph, schedule.io)
        return simulate(network, schedule).interval, resources(network, schedule, fabric("xc7")).lut

    assert figures(fast)[0] <= 60
    assert figures(small)[1] <= figures(fast)[1] <= figures(fastest)[1]
    assert figures(fastest)[0] <= figures(fast)[0] <= figures(small)[0]


@pytest.mark.parametrize("case", ["residual", "concat", "add_unequal", "conv_padded_strided"])
def test_streams_of_these_depths_do_not_deadlock(case: str) -> None:
    """Three frames through processes that wait for room: every frame comes out."""
    network = lower(CASES[case](), "io_stream")
    schedule = HlsSchedule("io_stream")
    depths = stream_depths(network, simulate(network, schedule))
    assert run_bounded(network, depths, frames=3) == 3 * network.layers[-1].beats
    forks = {name for name in depths if len(network.readers(name)) > 1}
    for name in forks:  # one pixel of room behind a fork is a deadlock: the test would see one
        tight = {**depths, **dict.fromkeys(depths, 1)}
        if case == "residual":
            assert run_bounded(network, tight, frames=3) < 3 * network.layers[-1].beats, name


def run_bounded(network: Network, depths: dict[str, int], frames: int) -> int:
    """Pixels that leave when every process moves one iteration at a time, as soon as it has input and room."""
    from codesign.backends.hls.cost import process

    layers = [layer for layer in network.layers if not isinstance(layer, Flatten)]
    level: dict[tuple[str, str], int] = {(s, la.name): 0 for la in layers for s in la.inputs}
    done = {layer.name: 0 for layer in layers}
    loops = {layer.name: process(layer, Loop(), "io_stream") for layer in layers}
    fed, out = 0, 0
    pixels = frames * network.input_type.size // network.input_type.channels
    moved = True
    while moved:
        moved = False
        entry = [key for key in level if key[0] == network.input]
        if fed < pixels and all(level[key] < depths.get(network.input, 1) for key in entry):
            fed, moved = fed + 1, True
            for key in entry:
                level[key] += 1
        for layer in layers:
            loop = loops[layer.name]
            count = len(loop.durations)
            if done[layer.name] == frames * count:
                continue
            step = done[layer.name] % count
            takes = step in loop.reads
            gives = list(loop.writes).count(step)
            targets = [key for key in level if key[0] == layer.name]
            if takes and any(level[s, layer.name] == 0 for s in layer.inputs):
                continue
            if gives and any(level[key] + gives > depths[layer.name] for key in targets):
                continue
            for source in layer.inputs if takes else ():
                level[source, layer.name] -= 1
            for key in targets:
                level[key] += gives
            out += gives if not targets else 0
            done[layer.name] += 1
            moved = True
    return out
