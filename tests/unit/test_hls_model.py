"""The HLS cost model: processes against a loop that steps through time, constants against brute force and hls4ml."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign.backends.base import Requirement
from codesign.backends.hls.backend import HlsBackend
from codesign.backends.hls.cost import (
    MAX_UNROLLED,
    Process,
    frame_sizes,
    simulate,
    stream_depths,
    unrolled,
    window_ends,
)
from codesign.backends.hls.deadlock import steps, sufficient_depths, too_small
from codesign.backends.hls.layers import Network, weight_word
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
def test_streams_of_the_chosen_depths_do_not_deadlock(case: str) -> None:
    """Not even where the shortcut for whole frames is left out."""
    network = lower(CASES[case](), "io_stream")
    schedule = HlsSchedule("io_stream")
    depths = frame_sizes(network) | stream_depths(network, simulate(network, schedule))
    assert sufficient_depths(network, schedule, depths) == depths


def test_a_stream_that_deadlocks_is_named_with_a_depth_that_is_enough() -> None:
    network = lower(CASES["residual"](), "io_stream")
    ones = HlsSchedule("io_stream", {}, dict.fromkeys(frame_sizes(network), 1))
    found = too_small(network, ones)
    assert found
    forks = {name for name in frame_sizes(network) if len(network.readers(name)) > 1}
    assert {d.where.split()[3] for d in found} & forks
    enough = {d.where.split()[3]: int(d.allowed.split()[0]) for d in found}
    assert too_small(network, HlsSchedule("io_stream", {}, {**ones.depths, **enough})) == []
    tight = {name: depth - 1 for name, depth in enough.items()}
    assert too_small(network, HlsSchedule("io_stream", {}, {**ones.depths, **tight}))


@given(processes())
def test_what_a_process_does_in_a_frame(case: tuple[Process, list[int]]) -> None:
    """All reads and writes; a result that is made by iteration k leaves after its reads, in order."""
    made, _ = case
    done = steps(made)
    assert (done.count(False), done.count(True)) == (len(made.reads), len(made.writes))
    read, written = 0, 0
    for writes in done:
        read, written = read + (not writes), written + writes
        if writes:
            assert read >= (made.reads <= made.writes[written - 1]).sum()
