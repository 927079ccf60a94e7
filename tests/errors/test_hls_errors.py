"""What a user of the HLS backends reads when something cannot be built, does not fit, or differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codesign.backends.base import Requirement, RunOptions
from codesign.backends.hls import backend as module
from codesign.backends.hls import extension
from codesign.backends.hls.backend import HlsBackend
from codesign.backends.hls.emulate import RESULTS, _results
from codesign.backends.hls.flows import FLOWS
from codesign.backends.hls.lower import lower
from codesign.build import compile_graph
from codesign.errors import (
    CodesignError,
    InputError,
    MismatchError,
    RequirementError,
    ToolError,
    UnsupportedError,
    UsageError,
)
from codesign.ir.graph import Graph
from codesign.ir.ops import Concat
from codesign.ir.types import IntType
from codesign.schedule import HlsSchedule, Loop
from codesign.target import load_target
from codesign.testing.build import GraphBuilder
from codesign.testing.cases import CASES
from codesign.testing.conformance import quiet
from tests.hw.networks import I2, I8, U2, U8, Build

PYNQ = load_target("pynq-z2")


def mlp() -> Graph:
    b = Build((300,), U8)
    b.dense("fc0", 24, I2)
    b.threshold("act0", U2)
    return b.graph()


def said(caught: pytest.ExceptionInfo[CodesignError]) -> list[str]:
    return [str(d) for d in caught.value.diagnostics]


def test_a_loop_that_cannot_be_unrolled() -> None:
    with pytest.raises(InputError) as caught:
        HlsBackend().read_schedule(HlsSchedule("io_parallel").to_data(), mlp())
    (text,) = said(caught)
    assert text.startswith(
        "schedule, loop of fc0 (net.fc0): latency with reuse 1 unrolls 7,200 operations or registers in one loop, "
        "where Vivado HLS stops: it takes 4,096; allowed: resource with reuse 2; resource with reuse 3; "
    )


def test_everything_wrong_in_a_schedule_is_said_at_once() -> None:
    data = HlsSchedule("io_stream", {"fc0": Loop(7, "resource"), "gone": Loop()}, {"gone": 4}).to_data()
    with pytest.raises(InputError) as caught:
        HlsBackend().read_schedule(data, mlp())
    found = said(caught)
    assert found[0] == "schedule, loop of gone: there is no such layer; allowed: fc0, act0"
    assert found[1].startswith("schedule, loop of fc0 (net.fc0): resource with reuse 7; allowed: resource with ")
    assert found[2] == "schedule, depth of gone: there is no such layer; allowed: fc0, act0"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, "schedule: io None, or no table of loops or depths; allowed: {"),
        ({"io": "io_stream", "loops": []}, "schedule: io 'io_stream', or no table of loops or depths"),
        ({"io": "io_stream", "loops": {"a": {"reuse": 0}}}, "schedule, loop of a: {'reuse': 0}; allowed: {"),
        (
            {"io": "io_stream", "loops": {"a": {"reuse": 1, "fold": 2}}},
            "schedule, loop of a: {'reuse': 1, 'fold': 2}",
        ),
        ({"io": "io_stream", "depth": {"a": 2}}, "schedule: unknown 'depth'; allowed: io, loops, depths"),
        ({"io": "io_stream", "depths": {"a": -1}}, "schedule, depth of a: -1; allowed: a whole number, 1 or more"),
    ],
)
def test_no_schedule(data: dict[str, object], text: str) -> None:
    with pytest.raises(InputError) as caught:
        HlsSchedule.from_data(data)
    assert said(caught)[0].startswith(text)


def test_depths_that_deadlock() -> None:
    graph = CASES["residual"]()
    schedule = HlsBackend("Vitis", ("io_stream",)).schedule(graph, PYNQ, None, (), quiet)
    tight = replace(schedule, depths=dict.fromkeys(schedule.depths, 1))
    with pytest.raises(InputError) as caught:
        HlsBackend().read_schedule(tight.to_data(), graph)
    text = said(caught)[0]
    assert text.startswith("schedule, depth of ")
    assert ": 1 deadlocks: the stream is full before the branch beside it has given a result; allowed: " in text
    with pytest.raises(InputError, match="deadlocks"):
        HlsBackend().estimate(graph, tight, PYNQ)


def test_depths_that_may_make_a_layer_wait() -> None:
    """Not a deadlock in a chain; the prediction says that it does not see them."""
    b = Build((8, 8, 2), U8)
    b.conv("conv0", 2, 1, I2)
    b.threshold("act0", U2)
    b.conv("conv1", 2, 3, I2)
    graph = b.graph()
    loose = HlsSchedule("io_stream", {"conv1": Loop(18, "resource")}, {"act0": 32})
    tight = replace(loose, depths={"act0": 1})
    says = "fewer pixels than wait there in the simulation: the design may be slower than predicted"
    assert any(says in note for note in HlsBackend().estimate(graph, tight, PYNQ).notes)
    assert not any(says in note for note in HlsBackend().estimate(graph, loose, PYNQ).notes)


def test_depths_without_streams() -> None:
    with pytest.raises(InputError) as caught:
        HlsBackend().read_schedule({"io": "io_parallel", "depths": {"act0": 8}}, mlp())
    assert said(caught)[-1] == "schedule, depth of act0: 8; allowed: none: io_parallel has no streams"


def test_an_io_type_that_a_backend_does_not_take() -> None:
    with pytest.raises(InputError) as caught:
        HlsBackend("Vitis", ("io_stream",)).read_schedule({"io": "io_parallel"}, mlp())
    assert said(caught) == ["schedule: io_parallel; allowed: io_stream with Vitis"]


def test_a_layer_too_wide_for_any_loop() -> None:
    b = GraphBuilder()
    x = b.input((5000,), U8)
    graph = b.graph(b.threshold(x, np.array([[10]]), IntType(1, False)))
    with pytest.raises(UnsupportedError) as caught:
        HlsBackend().schedule(graph, PYNQ, None, (), quiet)
    assert said(caught) == [
        "threshold1: unrolls 5,000 operations or registers in one loop, where Vivado HLS stops: it takes 4,096"
    ]


def test_more_levels_than_can_be_compared_with() -> None:
    b = GraphBuilder()
    x = b.input((2,), IntType(17, False))
    graph = b.graph(b.threshold(x, np.arange(1, 65536)[None], IntType(16, False)))
    with pytest.raises(UnsupportedError) as caught:
        HlsBackend().schedule(graph, PYNQ, None, (), quiet)
    assert said(caught) == [
        "threshold1: unrolls 131,070 operations or registers in one loop (65,535 levels for each of 2 channels), where "
        "Vivado HLS stops: it takes 4,096"
    ]


def test_files_of_a_project_that_are_damaged(tmp_path: Path) -> None:
    backend, graph = HlsBackend(), mlp()
    backend.build(graph, HlsSchedule("io_stream", {"fc0": Loop(300, "resource")}), PYNQ, tmp_path)
    vectors, design = tmp_path / "tb_data" / "tb_output_predictions.dat", tmp_path / "design.json"
    text = vectors.read_text()
    damage = [
        (vectors, text + "1 2\n", f"{vectors}: a frame is missing or incomplete; allowed: 24 words a line"),
        (vectors, text.replace("1", "x"), f"{vectors}: holds something else than whole numbers"),
        (vectors, None, f"{vectors}: cannot be read: No such file or directory"),
        (design, "{}", f"{design}: not of the graph that was compiled"),
    ]
    for path, content, says in damage:
        path.unlink() if content is None else path.write_text(content)
        with pytest.raises(InputError) as caught:
            backend.run(tmp_path, graph, [np.zeros((1, 300), dtype=np.int64)], RunOptions(), quiet)
        assert said(caught) == [f"{says}; try: codesign compile"]


@pytest.mark.parametrize("clock_hz", [1e6, 600e6])
def test_a_clock_out_of_range(clock_hz: float) -> None:
    with pytest.raises(InputError) as caught:
        HlsBackend().schedule(mlp(), replace(PYNQ, clock_hz=clock_hz), None, (), quiet)
    assert said(caught) == [f"pynq-z2: clock_hz is {clock_hz:,.0f}; allowed: 10,000,000 to 464,000,000 on xc7"]


def test_a_device_that_the_tools_do_not_know() -> None:
    with pytest.raises(UnsupportedError) as caught:
        HlsBackend().schedule(mlp(), load_target("ulx3s-85f"), None, (), quiet)
    assert said(caught) == [
        "ulx3s-85f: Vitis cannot build for fabric 'ecp5', part ''; allowed: fabric xc7 or xcup, and the part's name as "
        "the tools have it"
    ]
    with pytest.raises(UnsupportedError) as caught:
        HlsBackend("VivadoAccelerator").schedule(mlp(), load_target("arty-a7-100"), None, (), quiet)
    assert said(caught) == [
        "arty-a7-100: VivadoAccelerator makes no bitstream for xc7a100tcsg324-1; allowed: xc7z020clg400-1"
    ]


def test_words_that_float_does_not_hold() -> None:
    b = GraphBuilder()
    x = b.input((4,), IntType(26, True))
    graph = b.graph(b.threshold(x, np.array([[0]]), IntType(1, False)))
    with pytest.raises(UnsupportedError) as caught:
        HlsBackend("VivadoAccelerator").schedule(graph, PYNQ, None, (), quiet)
    assert said(caught) == ["threshold1: x of more than 24 bits, which the float words of a stream hold"]


def test_two_outputs() -> None:
    b = GraphBuilder()
    x = b.input((4,), U8)
    first = b.threshold(x, np.array([[9]]), IntType(1, False))
    graph = b.graph(first, b.threshold(x, np.array([[99]]), IntType(1, False)))
    with pytest.raises(UnsupportedError) as caught:
        HlsBackend().schedule(graph, PYNQ, None, (), quiet)
    assert said(caught) == ["threshold2: 1 inputs and 2 outputs in all; a design has one of each"]


def test_a_requirement_out_of_reach() -> None:
    with pytest.raises(RequirementError) as caught:
        HlsBackend().schedule(mlp(), PYNQ, None, [Requirement("fps", ">=", 1e9)], quiet)
    (text,) = said(caught)
    assert text.startswith("pynq-z2: no schedule meets all requirements; the closest has fps ")
    assert "where >= 1,000,000,000 is asked; try: the slowest layer is fc0;" in text


def test_a_device_that_is_too_small() -> None:
    small = replace(PYNQ, limits={**PYNQ.limits, "lut": 100})
    with pytest.raises(RequirementError) as caught:
        HlsBackend().schedule(mlp(), small, None, (), quiet)
    (text,) = said(caught)
    assert text.startswith("pynq-z2: no schedule meets all requirements; the closest has lut ")
    assert ", where <= 70 may be filled; try: most lut are in fc0; a larger device" in text


def test_a_replayed_schedule_that_does_not_fit(tmp_path: Path) -> None:
    schedule = HlsSchedule("io_stream", {"fc0": Loop(2, "resource")})
    small = replace(PYNQ, limits={**PYNQ.limits, "lut": 1000})
    with pytest.raises(RequirementError, match=r"^pynq-z2: the design does not fit: [\d,]+ lut of 1,000; try: more"):
        HlsBackend().build(mlp(), schedule, small, tmp_path)


def test_a_project_that_differs_is_not_handed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The gate: one wrong bit, and nothing stays on disk."""

    def wrong(_project: object, _flow: object, _feed: object, golden: np.ndarray, *_rest: object) -> np.ndarray:
        found = golden.copy()
        found[3, 5] ^= 1
        return found

    monkeypatch.setattr(module, "emulate", wrong)
    with pytest.raises(MismatchError) as caught:
        compile_graph(mlp(), PYNQ, tmp_path / "out", quiet, backend_name="hls")
    assert said(caught) == [
        "C simulation: 1 of 384 output elements differ from the golden evaluation, first in frame 3; "
        "try: report it; the project is not handed over"
    ]
    assert not (tmp_path / "out").exists()


def test_a_c_simulation_has_no_cycles(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        HlsBackend().run(tmp_path, mlp(), [], RunOptions(stall=0.5, trace=Path("t.fst")), quiet)
    assert said(caught) == [
        "--stall: 0.5; allowed: 0: a C simulation has no cycles to stall",
        "--trace: t.fst; allowed: none: a C simulation has no signals",
    ]


def test_more_readers_than_a_stream_has_copies() -> None:
    b = GraphBuilder()
    x = b.conv(b.input((2, 2, 1), U8), np.full((1, 1, 1, 1), 3), I8, name="x1")
    graph = b.graph(b.node(Concat(), *[b.threshold(x, np.array([[9 * i]]), IntType(1, False)) for i in range(1, 9)]))
    with pytest.raises(UnsupportedError) as caught:
        HlsBackend("Vitis", ("io_stream",)).schedule(graph, PYNQ, None, (), quiet)
    assert said(caught) == ["x1: 8 layers read it; hls4ml copies a stream 7 times"]


def test_a_conversion_that_is_not_what_was_asked_for() -> None:
    from hls4ml.model.types import IntegerPrecisionType

    network, schedule = lower(mlp(), "io_stream"), HlsSchedule("io_stream", {"fc0": Loop(2, "resource")})
    model = extension.model_graph(network, schedule, FLOWS["Vitis"], {})
    model.graph["fc0"].set_attr("reuse_factor", 4)
    model.graph["act0"].get_output_variable().type.precision = IntegerPrecisionType(5, True)
    with pytest.raises(ToolError) as caught:
        extension._compare(model, network, schedule)
    assert said(caught) == ["hls4ml: would compute net.fc0 with reuse 4; net.act0 as int<5>, not uint<2>"]


def test_a_c_simulation_that_aborts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An assertion in a header ends the program, not codesign; its log stays."""
    program = tmp_path / "csim"
    program.write_text("#!/bin/sh\necho \"Assertion 'n_in > 0' failed.\"\nkill -ABRT $$\n")
    program.chmod(0o755)
    (tmp_path / "firmware").mkdir()
    monkeypatch.setenv("CODESIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("codesign.backends.hls.emulate.compile_project", lambda *_: program)
    with pytest.raises(ToolError) as caught:
        HlsBackend().run(tmp_path, mlp(), [np.zeros((1, 300), dtype=np.int64)], RunOptions(), quiet)
    (log,) = (tmp_path / "cache" / "logs").glob("csim-*.log")
    assert said(caught) == [f"C simulation: killed by signal 6 (SIGABRT), log {log}\n  | Assertion 'n_in > 0' failed."]


def test_a_testbench_that_ends_early(tmp_path: Path) -> None:
    (tmp_path / RESULTS).write_text("1 2 3\n")
    with pytest.raises(ToolError) as caught:
        _results(tmp_path / RESULTS, 2, mlp().type("act0"), Path("a.log"))
    assert said(caught) == ["C simulation: 3 words of 48 came out, log a.log"]


def test_a_testbench_that_writes_no_results(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        _results(tmp_path / RESULTS, 2, mlp().type("act0"), Path("a.log"))
    assert said(caught) == ["C simulation: ended without results, log a.log"]
    (tmp_path / RESULTS).write_text("1 x\n")
    with pytest.raises(ToolError) as caught:
        _results(tmp_path / RESULTS, 2, mlp().type("act0"), Path("a.log"))
    assert said(caught) == ["C simulation: wrote results that are no whole numbers, log a.log"]


def test_constants_that_synthesis_would_read_otherwise(tmp_path: Path) -> None:
    backend, graph = HlsBackend(), mlp()
    backend.build(graph, HlsSchedule("io_stream", {"fc0": Loop(300, "resource")}), PYNQ, tmp_path)
    header = next((tmp_path / "firmware" / "weights").glob("w*.h"))
    text = header.read_text()
    table = text.rindex("{")
    header.write_text(text[: table + 1] + "7, " + text[table + 1 :])
    feed = np.zeros((1, 300), dtype=np.int64)
    with pytest.raises(MismatchError) as caught:
        backend.run(tmp_path, graph, [feed], RunOptions(), quiet)
    says = f"holds other constants for synthesis than {header.stem}.txt, which the C simulation reads"
    assert said(caught) == [f"{header}: {says}; try: codesign compile"]
    header.write_text("")
    with pytest.raises(MismatchError) as caught:
        backend.run(tmp_path, graph, [feed], RunOptions(), quiet)
    assert said(caught) == [f"{header}: holds no constants; allowed: those of {header.stem}.txt"]


def test_a_folder_without_a_project(tmp_path: Path) -> None:
    graph = mlp()
    feed = np.zeros((1, 300), dtype=np.int64)
    with pytest.raises(InputError) as caught:
        HlsBackend().run(tmp_path, graph, [feed], RunOptions(), quiet)
    assert said(caught) == [f"{tmp_path}: no HLS project; allowed: what 'codesign compile' wrote"]
