"""The audit of compiled command streams: third-party models and models of one operator, whole and damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from audit_models import MODELS
from ethosu_streams import ACCELERATORS, case, compile_all

from codesign.backends.ethosu.audit import Audit, Row, Verdict, audit
from codesign.backends.ethosu.stream import StreamError, read_payload
from codesign.backends.ethosu.stream.commands import Command, commands
from codesign.backends.ethosu.stream.weights import decode_weights
from codesign.backends.ethosu.vela import Compiled
from codesign.frontend.imported import Imported
from codesign.frontend.tflite import import_tflite
from codesign.frontend.tflite.flatbuffer import Table
from codesign.frontend.tflite.schema import Model, parse_model, read_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@cache
def golden(path: Path) -> tuple[Model, Imported]:
    return read_model(path), import_tflite(path)


def audited(path: Path, *accelerators: str) -> list[Audit]:
    compiled = compile_all(*((path.read_bytes(), accelerator) for accelerator in accelerators))
    return [audit(made, *golden(path)) for made in compiled]


def written(folder: Path, name: str) -> Path:
    path = folder / f"{name}.tflite"
    if not path.exists():
        path.write_bytes(MODELS[name]())
    return path


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
}
_OPEN_ON_U85 = {"average": {"AVERAGE_POOL_2D"}, "resnet": {"SOFTMAX"}, "resize": {"RESIZE_NEAREST_NEIGHBOR"}}


# One with micro-blocks of 4 outputs, one with two cores, one with four weight decoders, and the usual ones.
_SOME = ("ethos-u55-32", "ethos-u55-128", "ethos-u65-512", "ethos-u85-256", "ethos-u85-1024")


@pytest.mark.parametrize("name", MODELS)
def test_every_constant_of_models_of_every_kind(name: str, folder: Path) -> None:
    path = written(folder, name)
    for accelerator, found in zip(_SOME, audited(path, *_SOME), strict=True):
        assert not found.differs, (accelerator, found.differences)
        rewritten = name == "depthwise_multiplier"  # in operations of other kinds, which is said
        assert found.constants_proved == (0 if rewritten else found.constants), (accelerator, found.summary())
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


# -- damage ----------------------------------------------------------------------------------------------------------


class Damage:
    """A compiled model whose constants and commands, of one of its streams, can be changed."""

    def __init__(self, path: Path, accelerator: str = "ethos-u55-128", which: int = 0) -> None:
        self.path = path
        (self.compiled,) = compile_all((path.read_bytes(), accelerator))
        model = parse_model(self.compiled.model)
        program = [op for op in model.operators if op.name == "CUSTOM ethos-u"][which]
        stream, constants = (model.tensors[i].data for i in program.inputs[:2])
        assert stream is not None
        payload = read_payload(stream)
        self.commands: list[Command] = list(commands(payload))
        self._words = self.compiled.model.index(stream.tobytes()) + len(stream.tobytes()) - 4 * len(payload.words)
        self._constants = 0 if constants is None else self.compiled.model.index(constants.tobytes())

    def command(self, name: str, bit: int, which: int = 0) -> Audit:
        """The audit with one bit of the value of a command flipped."""
        found = [c for c in self.commands if c.name == name][which]
        narrow = found.value < 1 << 16 and not self._is_wide(found)
        place = bit + 16 if narrow else bit + 32 if bit < 32 else bit - 16
        return self._audit(self._words + found.offset + place // 8, place % 8)

    def reserved(self, name: str, bit: int) -> Audit:
        """The audit with one bit of the lower half of a command's word flipped."""
        found = next(c for c in self.commands if c.name == name)
        return self._audit(self._words + found.offset + bit // 8, bit % 8)

    def _is_wide(self, command: Command) -> bool:
        return bool(self.compiled.model[self._words + command.offset + 1] & 0x40)

    def constant(self, place: int, bit: int = 0) -> Audit:
        """The audit with one bit of a constant flipped."""
        return self._audit(self._constants + place, bit)

    def decoded(self, start: int, length: int, place: int = 0, bit: int | None = None) -> list[int] | None:
        """The weights of a stream among the constants, with one bit flipped; None for a stream that is none."""
        content = bytearray(self.compiled.model[self._constants + start : self._constants + start + length])
        if bit is not None:
            content[place] ^= 1 << bit
        try:
            return [int(w) for w in decode_weights(bytes(content))]
        except StreamError:
            return None

    def register(self, name: str) -> int:
        return next(c.value for c in self.commands if c.name == name)

    def _audit(self, place: int, bit: int) -> Audit:
        content = bytearray(self.compiled.model)
        content[place] ^= 1 << bit
        damaged: Compiled = replace(self.compiled, model=bytes(content))
        return audit(damaged, *golden(self.path))


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
    ("maximum", "IFM_PAD_LEFT", 0, "columns 0 of its input are no start of a window"),
    ("maximum", "POOL", 0, "a pooling of the kind average for MaxPool2d"),
    ("maximum", "IFM_UPSCALE", 0, "upscaling 1 instead of 0"),
    ("concat", "OFM_BASE0", 2, ""),
    ("split", "IFM_BASE0", 3, "what it reads is no box of its input"),
    ("pad", "OFM_BASE0", 1, ""),
    ("mean", "OFM_SCALE", 32, "of all sums that there can be"),
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
    found = damage.command(name, bit, last if model == "mean" else 0)
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
