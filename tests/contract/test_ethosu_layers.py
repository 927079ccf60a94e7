"""The table of layers adds up to what Vela reports, whatever it fuses, splits, cascades or leaves to the CPU."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from ethosu_models import SYSTEMS, cascade, compiled, mlperf, partly_on_the_cpu, two_ends
from tflite_models import Writer

from codesign.backends.ethosu.chart import layer_chart
from codesign.backends.ethosu.layers import LayerTable, layer_table
from codesign.backends.ethosu.vela import Compiled, Options
from codesign.frontend.tflite.schema import read_model
from codesign.report import Basis

MODELS: dict[str, Callable[[], bytes]] = {
    "kws": lambda: mlperf("kws_ref_model").read_bytes(),
    "ad": lambda: mlperf("ad01_int8").read_bytes(),
    "cascade": cascade,
    "cpu": partly_on_the_cpu,
    "two ends": two_ends,
}


def totals_agree(table: LayerTable, made: Compiled) -> None:
    """Every figure that Vela gives for the whole model is the sum over the layers, or the largest of them."""
    whole = made.performance
    assert table.op_cycles == whole["totalCycles"]
    assert table.npu_cycles == whole["npuCycles"]
    assert table.macs == whole["macCount"]
    assert sum(layer.operations for layer in table.layers) == whole["npuOps"]
    assert sum(layer.on_cpu for layer in table.layers) == whole["cpuOps"]
    assert sum(layer.share for layer in table.layers) == pytest.approx(1)
    for name, memory in whole["memories"].items():
        uses = [use for layer in table.layers for use in layer.memories if use.memory == name]
        for figure in ("read", "written"):
            assert sum(getattr(use, figure) for use in uses) == sum(a[figure] for a in memory["accesses"].values())
        assert sum(use.access_cycles for use in uses) == memory["access_cycles"]


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("model", MODELS)
def test_sums_over_layers_are_the_totals_of_vela(model: str, system: str) -> None:
    made, _ = compiled(MODELS[model](), SYSTEMS[system])
    totals_agree(layer_table(made, SYSTEMS[system]), made)


@pytest.mark.parametrize("system", ["u55", "u65", "u85"])
@pytest.mark.parametrize("model", ["kws", "ad"])
def test_the_fullest_layer_needs_the_peak_of_vela(model: str, system: str) -> None:
    made, _ = compiled(MODELS[model](), SYSTEMS[system])
    table = layer_table(made, SYSTEMS[system])
    peak = max(use.live_bytes for layer in table.layers for use in layer.memories if use.memory == "Sram")
    assert peak == made.performance["memories"]["Sram"]["peak_bytes"]


def test_options_change_the_layers_with_the_totals() -> None:
    system = SYSTEMS["u55"]
    fast, _ = compiled(cascade(), system)
    small, _ = compiled(cascade(), system, Options("Size"))
    assert small.performance["cascadedOps"] > fast.performance["cascadedOps"] == 0
    totals_agree(layer_table(small, system), small)


def test_the_layers_of_keyword_spotting() -> None:
    made, _ = compiled(mlperf("kws_ref_model").read_bytes(), SYSTEMS["u55"])
    table = layer_table(made, SYSTEMS["u55"])
    model = read_model(mlperf("kws_ref_model"))
    results = [model.tensors[op.outputs[0]].where for op in model.operators]
    names = [layer.name for layer in table.layers]
    assert [n for n in names if n != "Reshape 10"] == [r for i, r in enumerate(results) if i != 10]
    assert [layer.operators for layer in table.layers[:2]] == ["Conv2D+Relu", "DepthwiseConv2D+Relu"]
    first, reshape, softmax = table.layers[0], table.layers[10], table.layers[12]
    assert first.macs == 25 * 5 * 64 * 10 * 4
    assert first.utilisation == first.macs / (first.op_cycles * 128)
    assert (reshape.operators, reshape.operations, reshape.op_cycles, reshape.bound) == ("", 0, 0, "")
    assert softmax.operations == 28
    assert [layer.name for layer in layer_table(made, SYSTEMS["u55"], results).layers] == results


def test_a_fully_connected_network_waits_for_its_weights() -> None:
    made, _ = compiled(mlperf("ad01_int8").read_bytes(), SYSTEMS["u55"])
    table = layer_table(made, SYSTEMS["u55"])
    assert {layer.bound for layer in table.layers} == {"OffChipFlash"}
    weights = sum(use.read for layer in table.layers for use in layer.memories if use.memory == "OffChipFlash")
    assert weights == made.performance["readOnlyPeakUsage"]


def test_operators_of_one_name_are_one_layer() -> None:
    made, _ = compiled(cascade(), SYSTEMS["u55"])
    apart, together = (layer_table(made, SYSTEMS["u55"], n) for n in (["a", "b", "c"], ["a", "b", "b"]))
    assert [layer.name for layer in together.layers] == ["a", "b"]
    assert together.layers[1].op_cycles == apart.layers[1].op_cycles + apart.layers[2].op_cycles
    totals_agree(together, made)


def test_operations_that_belong_to_no_operator_stay_in_the_sums() -> None:
    made, _ = compiled(cascade(), SYSTEMS["u55"])
    tables = made.result["tables"]
    source = {**tables["source"], "rows": tables["source"]["rows"][:-1]}
    orphaned = replace(made, result={**made.result, "tables": {**tables, "source": source}})
    table = layer_table(orphaned, SYSTEMS["u55"], ["a", "b", "c"])
    assert [layer.name for layer in table.layers] == ["a", "b", "layer2"]
    totals_agree(table, orphaned)


def test_a_layer_on_the_cpu_has_no_figures() -> None:
    made, raw = compiled(partly_on_the_cpu(), SYSTEMS["u55"])
    assert raw is None
    table = layer_table(made, SYSTEMS["u55"])
    assert [(layer.name, layer.operators, layer.on_cpu) for layer in table.layers] == [
        ("first", "Conv2D+Relu", False),
        ("mine", "CPU", True),
        ("last", "Conv2D+Relu", False),
    ]
    assert (table.layers[1].op_cycles, table.layers[1].operations) == (0, 0)


def test_csv_and_json_hold_the_table() -> None:
    made, _ = compiled(two_ends(), SYSTEMS["u65"])
    table = layer_table(made, SYSTEMS["u65"])
    rows = list(csv.DictReader(table.to_csv().splitlines()))
    assert [row["layer"] for row in rows] == ["sum", "product"]
    for row, layer in zip(rows, table.layers, strict=True):
        assert int(row["op_cycles"]) == layer.op_cycles
        for use in layer.memories:
            assert int(row[f"{use.memory}_read_bytes"]) == use.read
            rate = (use.read + use.written) / layer.op_cycles
            assert float(row[f"{use.memory}_bytes_per_cycle"]) == pytest.approx(rate, abs=5e-4)
    data = json.loads(json.dumps(table.to_data()))
    assert data["basis"] == Basis.TOOL.value
    assert data["layers"][0]["memories"][0]["read"] == table.layers[0].memories[0].read


def test_the_chart_has_a_bar_per_layer_as_long_as_its_cycles() -> None:
    w = Writer()
    x, y = w.input((1, 4, 4, 4), name="x"), w.tensor((1, 4, 4, 4), name="a<b & " + "long" * 20)
    w.op("RELU", [x], [y])
    for content, notes in (
        (w.model(y), []),
        (partly_on_the_cpu(), ["on the CPU, not estimated"]),
        (mlperf("kws_ref_model").read_bytes(), ["nothing to compute"]),
    ):
        made, _ = compiled(content, SYSTEMS["u85"])
        table = layer_table(made, SYSTEMS["u85"])
        root = ElementTree.fromstring(layer_chart(table, "Layers"))
        space = "{http://www.w3.org/2000/svg}"
        bars = [bar for bar in root.iter(f"{space}rect") if bar.find(f"{space}title") is not None]
        longest = max(layer.op_cycles for layer in table.layers)
        lengths = [round(float(bar.attrib["width"])) for bar in bars]
        assert lengths == [round(420 * layer.op_cycles / longest) for layer in table.layers]
        texts = [text.text for text in root.iter(f"{space}text")]
        assert f"Layers: {table.op_cycles:,} cycles on ethos-u85-256, estimated by Vela" in texts
        assert all(note in texts for note in notes)
