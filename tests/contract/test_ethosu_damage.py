"""The audit of compiled command streams finds damage of every kind, and says where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ethosu_damage import Damage, golden, written

from codesign.backends.ethosu.audit import Verdict, audit
from codesign.backends.ethosu.vela import Compiled
from codesign.frontend.tflite.flatbuffer import Table
from codesign.frontend.tflite.schema import parse_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def convolution(folder: Path) -> Damage:
    return Damage(written(folder, "convolution"))


def test_the_model_to_damage_is_proved(convolution: Damage) -> None:
    assert not audit(convolution.compiled, *golden(convolution.path)).differs


_CONVOLUTION_DAMAGE = [
    ("KERNEL_STRIDE", 1, "stride (1, 2) instead of (2, 2)"),
    ("KERNEL_HEIGHT_M1", 0, "what it reads is no box of its input"),
    ("KERNEL_STRIDE", 2, "weights differ"),
    ("IFM_PAD_TOP", 0, "rows 0 of its input are no start of a window"),
    ("IFM_ZERO_POINT", 1, "input zero point -5 instead of -7"),
    ("OFM_ZERO_POINT", 0, "output zero point"),
    ("OFM_PRECISION", 15, "rounding natural instead of double"),
    ("OFM_PRECISION", 8, "computed weights, one scale for all channels"),
    ("ACTIVATION_MAX", 1, "limits of the result"),
    ("IFM_BASE0", 6, "what it reads is no box of its input"),
    ("IFM_STRIDE_Y", 4, "what it reads is no box of its input"),
    ("IFM_PRECISION", 0, "input type u8 instead of i8"),
    ("OFM_BASE0", 4, "elements of the output are not where the model has it"),
    ("OFM_STRIDE_Y", 0, "elements of the output are not where the model has it"),
    ("OFM_HEIGHT0_M1", 0, "elements of the output are not where the model has it"),
    ("OFM_DEPTH_M1", 0, ""),
    ("WEIGHT_BASE", 4, ""),
    ("SCALE_BASE", 4, ""),
    ("CONV", 3, "command stream, byte"),
    ("ACTIVATION", 2, ""),
]


@pytest.mark.parametrize(("name", "bit", "text"), _CONVOLUTION_DAMAGE)
def test_damaged_registers_of_a_convolution(convolution: Damage, name: str, bit: int, text: str) -> None:
    found = convolution.command(name, bit)
    assert found.differs
    assert any(text in difference and difference.startswith("answer") for difference in found.differences), (
        found.differences
    )


@pytest.mark.parametrize("bit", [10, 11, 12, 13])
@pytest.mark.parametrize("name", ["KERNEL_STRIDE", "IFM_BASE0", "CONV"])
def test_bits_of_a_command_that_mean_nothing(convolution: Damage, name: str, bit: int) -> None:
    (difference,) = convolution.reserved(name, bit).differences
    assert "the word 0x" in difference
    assert difference.endswith("a command of ethos-u55")


@pytest.mark.parametrize(("place", "text"), [(0, "biases differ"), (5, "multipliers differ"), (9, "shifts differ")])
def test_damaged_records(convolution: Damage, place: int, text: str) -> None:
    start = convolution.register("SCALE_BASE")
    found = convolution.constant(start + 10 * 7 + place)
    (row,) = found.rows
    assert (row.verdict, row.differing) == (Verdict.DIFFERS, 1)
    assert f"1 of 24 {text}" in str(row)
    assert found.constants_differing == 1


@pytest.mark.parametrize("accelerator", ["ethos-u55-128", "ethos-u65-512", "ethos-u85-256"])
@pytest.mark.parametrize("model", ["convolution", "dilated_by_3", "dilated_by_4"])
def test_damaged_weights(folder: Path, model: str, accelerator: str) -> None:
    damage = Damage(written(folder, model), accelerator)
    (copy,) = [c for c in damage.commands if c.name == "DMA0_DST"][:1] or [None]
    start = damage.register("WEIGHT_BASE") - (copy.value if copy else 0)
    length = damage.register("WEIGHT_LENGTH")
    detected = 0
    for place in np.linspace(0, length - 1, 24, dtype=int).tolist():
        found = damage.constant(start + place, place % 8)
        # Some bits of a stream mean nothing: they fill up its last chunk, and the block of 16 bytes behind it.
        same = damage.decoded(start, length) == damage.decoded(start, length, place, place % 8)
        assert found.differs == (not same), place
        detected += found.differs
        assert not found.differs or "weight" in found.differences[0]
    assert detected > 18


def test_damaged_table(folder: Path) -> None:
    damage = Damage(written(folder, "fused_logistic"))
    found = damage.constant(damage.register("DMA0_SRC") + 100)
    assert "1 of 256 entries of the look-up table differ" in found.differences[0]
    assert "leave" not in found.summary()


_OTHER_DAMAGE: list[tuple[str, str, int, str]] = [
    ("add", "OPA_SCALE", 29, "of 65536 results differ"),
    ("add", "OFM_SCALE", 33, "of 65536 results differ"),
    ("add", "IFM2_ZERO_POINT", 0, "of 65536 results differ"),
    ("add", "IFM2_BROADCAST", 2, "what it reads is not its input"),
    ("add", "ELEMENTWISE", 1, "neither adds, subtracts nor multiplies"),
    ("multiply", "OFM_SCALE", 25, "of 65536 results differ"),
    ("average", "OFM_SCALE", 29, "sums that a window can have"),
    ("average", "KERNEL_WIDTH_M1", 0, ""),
    ("average_relu", "ACTIVATION_MAX", 0, "of 256 values are limited in another way"),
    ("average_relu", "ACTIVATION_MIN", 5, "of 256 values are limited in another way"),
    ("average_relu", "IFM_BASE0", 3, "what it reads is not what its convolution or pooling computed"),
    ("maximum", "IFM_PAD_LEFT", 0, "columns 0 of its input are no start of a window"),
    ("maximum", "POOL", 0, "a pooling of the kind average for MaxPool2d"),
    ("maximum", "IFM_UPSCALE", 0, "upscaling 1 instead of 0"),
    ("concat", "OFM_BASE0", 2, ""),
    ("split", "IFM_BASE0", 3, "what it reads is no box of its input"),
    ("pad", "OFM_BASE0", 1, ""),
    ("mean", "OFM_SCALE", 32, "of all sums that there can be"),
    ("padded_mean", "IFM_PAD_LEFT", 0, "what it reads is not the image whose mean it is"),
    ("padded_mean", "IFM_ZERO_POINT", 1, "what it reads is not the image whose mean it is"),
    ("depthwise", "IFM_PAD_LEFT", 0, "what it reads is no box of its input"),
    ("dilated", "KERNEL_HEIGHT_M1", 0, "a kernel of 6x5, dilated; allowed: one of odd size"),
    ("dilated_by_3", "KERNEL_STRIDE", 3, "dilation"),
    ("dilated_by_3", "KERNEL_WIDTH_M1", 1, "kernel (7, 5) instead of (7, 7)"),
    ("dilated_by_4", "KERNEL_STRIDE", 4, "of 72 weights differ"),
]


@pytest.mark.parametrize(("model", "name", "bit", "text"), _OTHER_DAMAGE)
def test_damage_of_other_operations(folder: Path, model: str, name: str, bit: int, text: str) -> None:
    damage = Damage(written(folder, model))
    last = sum(c.name == name for c in damage.commands) - 1
    found = damage.command(name, bit, last if model in ("mean", "average_relu") else 0)
    assert found.differs
    assert any(text in difference for difference in found.differences), found.differences


_PARTS_DAMAGE = [
    ("across_the_cpu", "IFM_BASE0", 3, 4, "what it reads is no tap of its window that is left"),
    ("across_the_cpu", "ACC_FORMAT", 6, 1, "its result is written nowhere"),
    ("across_the_cpu", "ACC_FORMAT", 4, 1, "it adds to sums that no operation before it left"),
    ("across_the_cpu", "ACC_FORMAT", 4, 2, "it drops the sums that the operation before it left"),
    ("across_the_cpu", "ACC_FORMAT", 0, 2, "bits of a sum 48 instead of 32"),
    ("across_the_cpu", "WEIGHT_BASE", 4, 4, "weights"),
    ("across_the_cpu", "IFM_ZERO_POINT", 0, 1, "input zero point -127 instead of -128"),
    ("across_the_cpu", "OFM_BASE0", 3, 2, "t13: elementwise operation"),
    ("padded_large_stride", "IFM_PAD_TOP", 0, 0, "what it reads is no tap of its window that is left"),
    ("padded_large_stride", "IFM_ZERO_POINT", 1, 0, "what it reads is no tap of its window that is left"),
    ("large_pool", "POOL", 0, 3, "a part of another kind than its pooling"),
    ("large_pool", "POOL", 0, 24, "a part of another kind than its pooling"),
    ("large_pool", "IFM_PAD_TOP", 0, 1, "what it reads is no tap of its window that is left"),
    ("large_pool", "OFM_HEIGHT_M1", 0, 1, "a box of (4, 2, 8) that leaves its tensor"),
    ("large_pool", "ACC_FORMAT", 6, 2, "23 taps of the window are in no part"),
]


@pytest.mark.parametrize(("model", "name", "bit", "which", "text"), _PARTS_DAMAGE)
def test_damage_of_windows_in_parts(folder: Path, model: str, name: str, bit: int, which: int, text: str) -> None:
    found = Damage(written(folder, model), "ethos-u85-256").command(name, bit, which)
    assert any(text in difference for difference in found.differences), found.differences


def test_a_part_that_is_written_is_not_established(folder: Path) -> None:
    found = Damage(written(folder, "large_pool"), "ethos-u85-256").command("OFM_PRECISION", 14, 1)
    assert not found.differs
    assert found.reasons == (
        ("a part of a window behind one that is not established", 24),
        ("a part of a window that is written, too", 1),
    )


def test_tiles_of_3x1_are_not_established(folder: Path) -> None:
    found = Damage(written(folder, "convolution"), "ethos-u85-256").command("IFM_PRECISION", 14)
    assert found.reasons == (("tiles of 3x1, whose order is not known", 1),)


def test_sums_that_stay_inside_at_the_end(folder: Path) -> None:
    damage = Damage(written(folder, "large_pool"), "ethos-u85-256")
    last = sum(c.name == "ACC_FORMAT" for c in damage.commands) - 1
    differences = damage.command("ACC_FORMAT", 6, last).differences
    assert "t4: sums stay inside the NPU when its command stream ends" in differences


_KEPT = "t13: elementwise operation at 0x14c differs: what it reads is not its input"


@pytest.mark.parametrize(
    ("stream", "name", "bit", "which", "text"),
    [
        (0, "OFM_BASE0", 4, 0, _KEPT),
        (1, "IFM2_BASE0", 3, 0, _KEPT),
        (1, "IFM_BASE0", 3, 0, _KEPT),
        (0, "OFM_BASE0", 2, 1, "t6: 960 of 960 elements of the output are not where the model has it"),
        (1, "OFM_BASE0", 3, 0, "t13: 72 of 72 elements of the output are not where the model has it"),
    ],
)
def test_damage_of_memory_across_the_cpu(folder: Path, stream: int, name: str, bit: int, which: int, text: str) -> None:
    damage = Damage(written(folder, "across_the_cpu"), "ethos-u55-128", stream)
    assert not audit(damage.compiled, *golden(damage.path)).differs
    assert any(difference.startswith(text) for difference in damage.command(name, bit, which).differences)


def test_what_the_cpu_overwrites(folder: Path) -> None:
    """The CPU's result put in the place of what waits there, or in none."""
    damage = Damage(written(folder, "across_the_cpu"))
    model = parse_model(damage.compiled.model)
    (result,) = next(op for op in model.operators if op.name == "DEPTHWISE_CONV_2D").outputs
    places = _places(damage.compiled.model)
    for address, text, reasons in (
        (int(places[3 + result]) - 480, _KEPT, ()),
        (-1, "", (("what reads a result that is not established", 1),)),
    ):
        moved = places.copy()
        moved[3 + result] = address
        content = damage.compiled.model.replace(places.tobytes(), moved.tobytes())
        found = audit(replace(damage.compiled, model=content), *golden(damage.path))
        assert found.reasons == reasons
        assert found.differs == bool(text)
        assert any(text in difference for difference in found.differences) or not text


def _places(content: bytes) -> np.ndarray:
    """The metadata that says where tensors are: three numbers, then an offset for each."""
    root = Table.root(content)
    (entry,) = (e for e in root.tables(6) if e.text(0) == "OfflineMemoryAllocation")
    return root.tables(4)[entry.scalar(1, "I")].array(0, "u1").view("<i4")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: replace(c, model=c.model[:2000]), "compiled model: damaged"),
        (
            lambda c: replace(c, model=c.model.replace(b"ethos-u\0", b"ethos-x\0")),
            "compiled model: no operator ethos-u",
        ),
        (lambda c: replace(c, model=c.model.replace(b"COP1", b"COP2")), "driver payload: the mark 0x32504f43"),
    ],
)
def test_what_is_no_compiled_model(convolution: Damage, change: Callable[[Compiled], Compiled], text: str) -> None:
    found = audit(change(convolution.compiled), *golden(convolution.path))
    assert found.differs
    assert found.differences[0].startswith(text)


def test_any_damage_is_audited_without_a_traceback(convolution: Damage) -> None:
    rng = np.random.default_rng(1)
    for command in rng.choice(len(convolution.commands), 60):
        name, bit = convolution.commands[command].name, int(rng.integers(0, 16))
        convolution.command(name, bit)
