"""The audit of compiled command streams: third-party models and models of one operator, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from audit_models import MODELS
from ethosu_damage import Damage, golden, written
from ethosu_streams import ACCELERATORS, case, compile_all

from codesign.backends.ethosu.audit import Audit, Row, Verdict, audit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def audited(path: Path, *accelerators: str) -> list[Audit]:
    compiled = compile_all(*((path.read_bytes(), accelerator) for accelerator in accelerators))
    return [audit(made, *golden(path)) for made in compiled]


@pytest.mark.parametrize(
    ("name", "constants", "moved"), [("kws_ref_model.tflite", 23_758, 1), ("ad01_int8.tflite", 265_884, 0)]
)
def test_every_constant_of_third_party_models(name: str, constants: int, moved: int) -> None:
    for accelerator, found in zip(ACCELERATORS, audited(case(name), *ACCELERATORS), strict=True):
        assert not found.differs, (accelerator, found.differences)
        assert (found.constants, found.constants_proved) == (constants, constants), accelerator
        assert sum(layer.operations == 0 and layer.verdict is Verdict.PROVED for layer in found.layers) == moved
        still_open = {row.operator for row in found.rows if row.verdict is Verdict.OPEN}
        assert still_open <= {"SOFTMAX"}, accelerator


# What is not established: U85's averages and resizes, borders of averages, softmax.
_OPEN = {
    "depthwise_multiplier": {"DEPTHWISE_CONV_2D"},
    "resnet": {"SOFTMAX"},
    "mobilenet": {"SOFTMAX"},
    "mobilenet_v2": {"SOFTMAX"},
    "average_same": {"AVERAGE_POOL_2D"},
    "average_relu": {"AVERAGE_POOL_2D"},
}
_OPEN_ON_U85 = {
    "average": {"AVERAGE_POOL_2D"},
    "resnet": {"SOFTMAX"},
    "resize": {"RESIZE_NEAREST_NEIGHBOR"},
}


# One with micro-blocks of 4 outputs, one with two cores, one with four weight decoders, and the usual ones.
_SOME = ("ethos-u55-32", "ethos-u55-128", "ethos-u65-512", "ethos-u85-256", "ethos-u85-1024")


@pytest.mark.parametrize("name", MODELS)
def test_every_constant_of_models_of_every_kind(name: str, folder: Path) -> None:
    path = written(folder, name)
    for accelerator, found in zip(_SOME, audited(path, *_SOME), strict=True):
        assert not found.differs, (accelerator, found.differences)
        # In operations of other kinds, or with limits behind an average at the border, which is said.
        unproved = name in ("depthwise_multiplier", "average_relu")
        assert found.constants_proved == (0 if unproved else found.constants), (accelerator, found.summary())
        still_open = {row.operator for row in found.rows if row.verdict is Verdict.OPEN} - {""}
        expected = _OPEN.get(name, set())
        if "u85" in accelerator:
            expected = expected | _OPEN_ON_U85.get(name, set())
        assert still_open == expected or (name == "resnet" and still_open <= {"SOFTMAX", "AVERAGE_POOL_2D"}), (
            accelerator
        )


def test_the_report_counts_and_says(folder: Path) -> None:
    (found,) = audited(written(folder, "average_same"), "ethos-u55-128")
    (row,) = found.rows
    assert str(row) == (
        "t1: pooling at 0x100 not established: how the NPU divides an average at the border, whose pixels it counts "
        "itself"
    )
    assert found.summary() == (
        "0 of 0 constants and 0 of 1 operations equal the golden graph; 1 not established: "
        "how the NPU divides an average at the border, whose pixels it counts itself (1)"
    )
    (whole,) = audited(written(folder, "convolution"), "ethos-u65-512")
    assert whole.summary() == "5,256 of 5,256 constants and 1 of 1 operations equal the golden graph"
    assert whole.rows[0].findings == (
        "weights, biases, multipliers and shifts of channels 0 to 23, rounding, zero points, limits, window, padding, "
        "elements read and written",
    )


def test_the_summary_names_the_three_commonest_reasons() -> None:
    def row(text: str, verdict: Verdict = Verdict.OPEN) -> Row:
        return Row("layer", "MEAN", "pooling", 0, verdict, (text,))

    found = Audit((*map(row, "abbcccdd"), row("e", Verdict.PROVED)), ())
    assert found.summary() == (
        "0 of 0 constants and 1 of 9 operations equal the golden graph; "
        "8 not established: c (3), b (2), d (2); for others see artifact/audit.json"
    )
    assert Audit((row("a"),), ()).summary().endswith("; 1 not established: a (1)")


def test_layers_without_an_operation_are_listed(folder: Path) -> None:
    (found,) = audited(written(folder, "concat"), "ethos-u55-128")
    (layer,) = [layer for layer in found.layers if layer.operator == "CONCATENATION"]
    assert (layer.operations, layer.verdict) == (0, Verdict.PROVED)
    assert layer.findings == ("needs no operation: what reads it was compared with where its values are",)
    (found,) = audited(written(folder, "left_to_the_cpu"), "ethos-u55-128")
    (layer,) = [layer for layer in found.layers if layer.operations == 0]
    assert (layer.verdict, layer.findings) == (Verdict.OPEN, ("left to the CPU",))
    assert not found.differs


def test_a_relu_of_its_own_limits_what_its_convolution_computed(folder: Path) -> None:
    path = written(folder, "large_stride")
    (found,) = audited(path, "ethos-u55-128")
    assert (
        str(found.rows[-1]) == "t3: pooling at 0x1e8 proved: the limits for all 256 values, elements read and written"
    )
    damage = Damage(path)
    last = sum(c.name == "ACTIVATION_MIN" for c in damage.commands) - 1
    assert "32 of 256 values are limited in another way" in str(damage.command("ACTIVATION_MIN", 5, last).differences)


def test_a_quantize_that_is_fused_limits_as_it_says(folder: Path) -> None:
    damage = Damage(written(folder, "narrowed"))
    (found,) = audited(written(folder, "narrowed"), "ethos-u55-128")
    (row,) = found.rows
    assert (row.operator, row.verdict) == ("DEPTHWISE_CONV_2D + QUANTIZE", Verdict.PROVED)
    text = "results are not what the QUANTIZE behind makes of them"
    assert text in str(damage.command("OFM_ZERO_POINT", 1).differences)
    assert damage.command("ACTIVATION_MAX", 5).differs


def test_padding_stands_for_a_pad_of_the_zero_point_alone(folder: Path) -> None:
    damage = Damage(written(folder, "pad_in_window"))
    (found,) = audited(written(folder, "pad_in_window"), "ethos-u55-128")
    assert not found.differs
    for command in ("IFM_PAD_TOP", "IFM_PAD_LEFT", "IFM_PAD_RIGHT", "IFM_PAD_BOTTOM", "IFM_ZERO_POINT"):
        assert damage.command(command, 0).differs, command
