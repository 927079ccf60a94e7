"""The comparison with the peers on simulated ARM cores: its ratios, its tables, and one run of all three."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import missing

from benchmarks.peers.aarch64 import TUNED, Cost, Row, compare, main, table, weights_table
from codesign import toolchain
from codesign.errors import ToolError

ROW = Row(
    "net",
    "cortex-a76",
    {
        "codesign": Cost(600, 1500),
        TUNED: Cost(300, 700),
        "litert": Cost(1200, 4000),
        "onnxruntime": Cost(90, 200),
    },
    {"litert": Cost(200, 500), "onnxruntime": Cost(90, 200)},
    {"onnxruntime": "qoperator-int8"},
)


@pytest.fixture
def _simulator() -> None:
    for module in ("tvm", "onnx"):
        if find_spec(module) is None:
            missing(module)
    for name in ("qemu-aarch64", "llvm-mca", "aarch64-cc"):
        try:
            toolchain.require(name)
        except ToolError as error:
            missing(str(error))


def test_ratios_are_of_cycles_with_and_without_the_call() -> None:
    assert ROW.ratio("litert") == 0.5
    assert ROW.ratio_less_call("litert") == 0.6
    assert ROW.ratio("litert", TUNED) == 0.25
    assert ROW.ratio_less_call("onnxruntime") == float("inf")
    ratios = ROW.to_data()["ratios"]
    assert ratios["codesign"]["litert"] == {"all": 0.5, "less_call": 0.6}
    assert set(ratios) == {"codesign", TUNED}


def test_the_table_tells_the_call_and_both_ratios() -> None:
    head, own, tuned, litert, ort, details = table([ROW]).splitlines()
    assert head.split()[-3:] == ["codesign/peer", "less", "call"]
    assert own.split() == ["net", "cortex-a76", "codesign", "600", "1,500"]
    assert tuned.split()[-2:] == ["300", "700"]
    assert litert.split() == ["net", "cortex-a76", "litert", "1,200", "4,000", "200", "0.50", "0.60"]
    assert ort.split()[-3:] == ["90", "6.67", "inf"]
    assert details.strip() == "onnxruntime: qoperator-int8"


def test_fewer_bits_are_parts_of_eight() -> None:
    cycles = {("net", "a"): 1000, ("net", "b"): 400, ("net:4", "a"): 1500, ("net:4", "b"): 300, ("other:2", "a"): 7}
    cycles["other:2", "b"] = 8
    rows = [Row(name, core, {"codesign": Cost(value, 0)}) for (name, core), value in cycles.items()]
    lines = [line.split() for line in weights_table(rows).splitlines()]
    assert lines == [
        ["network", "a", "b"],
        ["net", "1,000", "400"],
        ["net:4", "1,500", "1.50", "300", "0.75"],
        ["other:2", "7", "8"],  # nothing of 8 bits to compare with
    ]


def test_bad_arguments_are_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resnet8", "-t", "zcu104"]) == 2
    told = "target: zcu104 is no ARM core; allowed: cortex-a53, cortex-a72, cortex-a76"
    assert capsys.readouterr().err.strip().endswith(told)
    for name in ("resnet8:1", "resnet8:many"):
        assert main([name, "-t", "cortex-a76"]) == 2
        told = f"{name}: no number of bits of weights; allowed: 2 to 8"
        assert capsys.readouterr().err.strip().endswith(told)


@pytest.mark.usefixtures("_simulator")
def test_all_three_on_one_core(tmp_path: Path) -> None:
    """The autoencoder: every peer does more than its call, in the order that its work says, and JSON holds the rows."""
    # Not made in the continuous integration either: hundreds of megabytes that no part of codesign needs.
    if not any(toolchain.cache_dir().glob("aarch64-root/*/cores/cortex-a76")):
        pytest.skip("the peers' arm64 root is missing: python -m benchmarks.peers.aarch64 makes it")
    out = tmp_path / "rows.json"
    assert main(["autoencoder", "-t", "cortex-a76", "--forms", "qoperator-int8", "--json", str(out)]) == 0
    (row,) = json.loads(out.read_text(encoding="utf-8"))
    assert set(row["costs"]) == {"codesign", "litert", "onnxruntime"}
    macs = 640 * 128 * 2 + 128 * 128 * 6 + 128 * 8 * 2
    for peer in ("litert", "onnxruntime"):
        assert row["costs"][peer]["cycles"] > row["calls"][peer]["cycles"] > 1000
        assert row["costs"][peer]["instructions"] > macs / 16  # an sdot is 16 products
        assert row["ratios"]["codesign"][peer]["less_call"] > row["ratios"]["codesign"][peer]["all"] > 0
    assert row["costs"]["codesign"]["instructions"] > macs / 16


@pytest.mark.usefixtures("_simulator")
def test_codesign_alone_needs_no_peer() -> None:
    (row,) = compare(["autoencoder:4"], ["cortex-a72"], False, ())
    assert set(row.costs) == {"codesign"}
    assert row.calls == {}
