"""The decoder of command streams against the disassembler of Vela's compiler core."""

import re

import pytest
from conftest import missing
from ethosu_streams import ACCELERATORS, case, compile_all, system

from codesign.backends.ethosu.stream import decode, read_payload
from codesign.backends.ethosu.stream.commands import commands
from codesign.backends.ethosu.stream.registers import FIELDS
from codesign.backends.ethosu.vela import Options
from codesign.frontend.tflite.schema import parse_model

_LINE = re.compile(r"0x([0-9a-f]+): +([0-9a-f]{8})? +([0-9a-f]{4}) [0-9a-f]{4} - NPU_(SET|OP)_(\w+) +\d+(?:, (.*))?")
# What the disassembler calls a field -> the name here, and the numbers behind its words.
_FIELDS = {
    "activation_type": ("signed", ("UNSIGNED", "SIGNED")),
    "activation_format": ("brick", ("NHWC", "NHCWB16")),
    "activation_precision": ("precision", ("B8", "B16", "B32", "B64")),
    "activation_storage": ("storage", ("TILE2X2", "TILE3X1", "CHAINED", "NONE")),
    "weight_order": ("part_kernel", ("DEPTH_FIRST", "PART_KERNEL_FIRST")),
    "weight_format": ("fast", ("SWD", "FWD")),
    "weight_sparsity": ("sparse", ("NONE", "SPARSE_2_4")),
    "microblock": ("microblock", ("U1X1", "U1X2", "U1X4", "U2X2", "U2X4", "U4X4")),
    "region_mode": ("internal", ("EXTERNAL", "INTERNAL")),
    "dbl_rnd": ("double_round", None),
    "shift": ("shift", None),
    "scale": ("scale", None),
    "table": ("table", None),
    "region": ("region", None),
}


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_commands_as_vela_disassembles_them(accelerator: str, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        from ethosu import regor
    except ImportError:
        missing("ethos-u-vela")
    model = case("kws_ref_model.tflite").read_bytes()
    (compiled,) = compile_all((model, accelerator))
    of = system(accelerator)
    options = Options().text(of, False).replace("[compiler]", "[compiler]\nverbose_register_command_stream=true")
    capfd.readouterr()
    regor.compile(of.family.title().replace("-", ""), model, "TFLITE", of.description(), options=options, verbose=True)
    lines = [m for m in map(_LINE.match, capfd.readouterr().out.splitlines()) if m]
    tflite = parse_model(compiled.model)
    payload = read_payload(tflite.tensors[tflite.operators[0].inputs[0]].data)
    assert payload.device.name == accelerator
    found = list(commands(payload))
    assert len(found) == len(lines) > 500
    checked = 0
    for line, command in zip(lines, found, strict=True):
        offset, word, parameter, kind, name, fields = line.groups()
        value = int(parameter, 16) if word is None else int(parameter, 16) << 32 | int(word, 16)
        assert (command.offset, command.starts, command.name, command.value) == (
            int(offset, 16),
            kind == "OP",
            name,
            value,
        )
        layout = FIELDS[of.family].get(name, {})
        for key, text in re.findall(r"(\w+) = ([\w-]+)", fields or ""):
            here, words = _FIELDS.get(key, ("", None))
            if here not in layout:
                continue
            low, bits = layout[here]
            expected = int(text) if words is None else next(i for i, w in enumerate(words) if text.endswith(f"_{w}"))
            assert value >> low & ((1 << bits) - 1) == expected, line.group()
            checked += 1
    assert checked > 150
    assert len(decode(payload).operations) == sum(command.starts and command.name in _COMPUTE for command in found)


_COMPUTE = ("CONV", "DEPTHWISE", "POOL", "ELEMENTWISE", "RESIZE")
