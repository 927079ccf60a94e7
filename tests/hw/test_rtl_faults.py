"""What the RTL backend says when a design is wrong: a mismatch is traced, a deadlock names the blocked streams."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from codesign.backends.base import Requirement, RunOptions
from codesign.backends.rtl.backend import RtlBackend, _measured_interval
from codesign.errors import InputError, MismatchError, RequirementError, UnsupportedError
from codesign.ir.graph import Graph
from codesign.ir.ops import Softmax
from codesign.ir.types import IntType
from codesign.target import load_target
from codesign.testing.build import GraphBuilder
from codesign.testing.graphs import feeds
from tests.hw import networks
from tests.hw.test_rtl_exact import quiet, schedule_of


def build(graph: Graph, out: Path, shallow: bool = False) -> None:
    schedule = schedule_of(graph, 1)
    if shallow:
        depths = {name: 2 if "sum" in name else depth for name, depth in schedule.depths.items()}
        schedule = replace(schedule, depths=depths)
    out.mkdir()
    RtlBackend().build(graph, schedule, load_target("pynq-z2"), out)


def test_a_wrong_weight_is_found_and_traced(tmp_path: Path) -> None:
    graph = networks.mlp(networks.I2, networks.U2)
    build(graph, tmp_path / "artifact")
    weights = tmp_path / "artifact" / "mem" / "fc2_mac_WeightFile.mem"
    flipped = [f"{int(word, 16) ^ 1:x}" for word in weights.read_text().split()]
    weights.write_text("\n".join(flipped) + "\n")
    inputs = feeds(graph, 6, 0)
    run = RtlBackend().run(tmp_path / "artifact", graph, inputs, RunOptions(), quiet)
    differs = (run.outputs[0] != graph.evaluate(*inputs)[0]).any(axis=1)
    assert differs.any()
    assert run.details["trace"]["frame"] == int(np.argmax(differs))
    assert Path(run.details["trace"]["file"]).stat().st_size > 1000


def test_one_frame_is_traced_on_request(tmp_path: Path) -> None:
    graph = networks.mlp(networks.I2, networks.U2)
    build(graph, tmp_path / "artifact")
    options = RunOptions(trace=tmp_path / "two.fst", trace_frame=2)
    run = RtlBackend().run(tmp_path / "artifact", graph, feeds(graph, 4, 0), options, quiet)
    first, last = run.details["trace"]["cycles"]
    assert first < run.details["completed"][2] < last
    assert (tmp_path / "two.fst").stat().st_size > 1000
    assert not (tmp_path / "mismatch.fst").exists()


def test_a_deadlock_names_the_streams_that_are_blocked(tmp_path: Path) -> None:
    graph = networks.residual()
    build(graph, tmp_path / "artifact", shallow=True)
    with pytest.raises(MismatchError) as error:
        RtlBackend().run(tmp_path / "artifact", graph, feeds(graph, 3, 0), RunOptions(), quiet)
    text = str(error.value)
    assert "deadlock after 0 of 3 frames; blocked streams: " in text
    assert "stem__to_sum (valid, not ready" in text
    assert "deeper FIFOs on these streams" in text


def test_an_operator_without_hardware_is_refused_with_a_sentence() -> None:
    b = GraphBuilder()
    x = b.input((4,), IntType(8, True))
    graph = b.graph(b.node(Softmax.of(0.1), x, name="soft", origin="net.softmax"))
    with pytest.raises(UnsupportedError, match=r"net\.softmax: Softmax is not built; leave it to the host"):
        RtlBackend().schedule(graph, load_target("pynq-z2"), None, [], quiet)


def test_a_schedule_of_another_network_is_refused_completely() -> None:
    graph = networks.mlp(networks.I2, networks.U2)
    data = {"folds": {"fc0": {"pe": 5, "simd": 7}, "other": {"pe": 1}}}
    with pytest.raises(InputError) as error:
        RtlBackend().read_schedule(data, graph)
    text = str(error.value)
    assert "folds of other: there is no such layer; allowed: fc0, fc1, fc2" in text
    assert "folds of fc0 (net.fc0): pe 5, simd 7, taps 1; allowed: pe of [1, 2, 4, 8, 16]; simd of [1, 7, 49]" in text
    assert "schedule: no fold for fc1 (net.fc1)" in text


def test_depths_of_no_buffer_or_too_small_are_refused() -> None:
    graph = networks.cnn()
    data = schedule_of(graph, 0).to_data()
    data["depths"] |= {"conv1.window": 3, "nothing": 4, "x": 8}
    with pytest.raises(InputError) as error:
        RtlBackend().read_schedule(data, graph)
    text = str(error.value)
    assert "depths of conv1.window: 3; allowed: 27 or more" in text  # two rows of 12 pixels and three more
    assert "depths of nothing: there is no such buffer; allowed: conv1_pad" in text
    assert "depths of x: there is no such buffer" in text  # the input edge is a skid buffer


def test_a_replayed_schedule_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    graph = networks.mlp(networks.I2, networks.U2)
    schedule = schedule_of(graph, 0)
    huge = replace(schedule, depths=schedule.depths | {"fc1": 10**8})
    with pytest.raises(RequirementError, match=r"pynq-z2: the design does not fit: [\d,]+ bram of 140; try: smaller"):
        RtlBackend().build(graph, huge, load_target("pynq-z2"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_several_outputs_are_refused_once() -> None:
    b = GraphBuilder()
    x = b.input((4,), IntType(8, True))
    one = b.dense(x, np.eye(4, dtype=np.int64), name="one")
    graph = b.graph(one, b.dense(x, np.eye(4, dtype=np.int64), name="two"))
    with pytest.raises(UnsupportedError) as error:
        RtlBackend().schedule(graph, load_target("pynq-z2"), None, [], quiet)
    assert str(error.value) == "two: 1 inputs and 2 outputs in all; a streaming design has one of each"


def test_a_speed_beyond_every_fold_is_refused_with_the_nearest() -> None:
    graph, target = networks.cnn(), load_target("pynq-z2")
    with pytest.raises(RequirementError) as error:
        RtlBackend().schedule(graph, target, None, [Requirement("fps", ">=", 1e30)], quiet)
    text = "less than one cycle a frame is out of reach: with every fold unrolled it takes 144, set by net.conv1"
    assert text in str(error.value)
    assert "allowed: fps<=694444" in str(error.value)


def test_the_interval_is_measured_only_in_the_steady_state() -> None:
    settled, period_two = [10, 24, 34, 44], [9, 13, 19, 23, 29]
    assert _measured_interval(np.array(settled), settled, Fraction(10)) == 10
    assert _measured_interval(np.array(settled) + 1, settled, Fraction(10)) == 10
    assert _measured_interval(np.array(settled[:2]), settled[:2], Fraction(10)) is None
    assert _measured_interval(np.array(period_two), period_two, Fraction(5)) == 5


def test_a_directory_without_a_design(tmp_path: Path) -> None:
    graph = networks.mlp(networks.I2, networks.U2)
    with pytest.raises(InputError, match="no RTL design"):
        RtlBackend().run(tmp_path, graph, feeds(graph, 1, 0), RunOptions(), quiet)
