"""The data of a deliverable: borders, constants, tables and frames, against independent computations."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign.backends.tvm.deliver.ports import Port, frames_from_bytes, frames_to_bytes, meaning
from codesign.backends.tvm.deliver.program import _Constants, fill_of
from codesign.backends.tvm.deliver.tables import ports_header, quoted
from codesign.backends.tvm.deliver.write import _renamed
from codesign.backends.tvm.storage import Storage
from codesign.ir.types import BIPOLAR, IntType, Quant, TensorType

SIDES = st.integers(0, 3)


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4)),
    st.tuples(SIDES, SIDES, SIDES, SIDES).filter(any),
    st.sampled_from(["int8", "uint8", "int16", "int32"]),
)
def test_a_fill_covers_the_border_and_nothing_else(
    shape: tuple[int, int, int], border: tuple[int, int, int, int], dtype: str
) -> None:
    storage = Storage(shape, dtype, offset=-3, border=border, border_value=2)
    fill = fill_of(storage, 64)
    memory = np.full(storage.bytes // storage.itemsize, 99, dtype=dtype)
    at = fill.before
    memory[:at] = fill.value
    for y in range(fill.rows):
        at += fill.row
        length = fill.between if y + 1 < fill.rows else fill.after
        memory[at : at + length] = fill.value
        at += length
    assert (fill.offset, fill.itemsize, at) == (64, storage.itemsize, len(memory))
    np.testing.assert_array_equal(memory, storage.store(np.full(shape, 99 - 3)))


def test_equal_constants_are_stored_once_and_aligned() -> None:
    constants = _Constants()
    first, second = np.arange(5, dtype=np.int8), np.arange(3, dtype=np.int32)
    assert [constants.offset(a) for a in (first, second, first.copy(), second[:2])] == [0, 64, 0, 128]
    assert len(constants.content) == 192
    assert bytes(constants.content[64:76]) == second.tobytes()


PORTS = [
    Port("image", TensorType((2, 3), IntType(4, False), Quant((0.5,), (7.0,)))),
    Port("sign", TensorType((2,), BIPOLAR)),
    Port("sum", TensorType((3,), IntType(20, True))),
]


def test_frames_lie_one_after_the_other() -> None:
    rng = np.random.default_rng(1)
    feeds = [rng.integers(0, 16, (4, 2, 3)), rng.choice([-1, 1], (4, 2)), rng.integers(-(1 << 19), 1 << 19, (4, 3))]
    data = frames_to_bytes(PORTS, feeds)
    size = 6 + 2 + 12
    assert len(data) == 4 * size
    frame = data[2 * size : 3 * size]
    assert frame[:6] == bytes(feeds[0][2].reshape(-1).tolist())
    assert np.frombuffer(frame[6:8], np.int8).tolist() == feeds[1][2].tolist()
    assert np.frombuffer(frame[8:], np.int32).tolist() == feeds[2][2].tolist()
    for found, expected in zip(frames_from_bytes(PORTS, data), feeds, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_what_integers_mean() -> None:
    assert meaning(PORTS[0].type.quant) == "real = (q - 7) * 0.5"
    assert meaning(Quant((0.5, 1.0), (0.0,), 1)) == "real = (q - zero point) * scale, one of each per index of axis 1"
    assert meaning(Quant((2.0,), (-128.0,))) == "real = (q + 128) * 2.0"
    assert meaning(None) == ""


def test_the_header_is_c_whatever_tensors_are_called(tmp_path: Path, cxx: str) -> None:
    from codesign.backends.tvm.deliver.program import Program

    ports = [Port('in */ put "1"\n/*', PORTS[0].type)]
    (tmp_path / "a.h").write_text(ports_header("net", ports, PORTS, Program((), b"", 640)))
    (tmp_path / "a.cpp").write_text(
        '#include "a.h"\nconst int sizes[] = {NET_OUTPUT_ITEMSIZES};\n'
        "static_assert(NET_ARENA_BYTES == 640 && NET_INPUT0_BYTES == 6 && NET_OUTPUTS == 3 && sizeof sizes == 12);\n"
    )
    subprocess.run([cxx, "-std=c++17", "-Wall", "-Werror", "-fsyntax-only", "a.cpp"], cwd=tmp_path, check=True)
    text = (tmp_path / "a.h").read_text()
    assert ' * inputs[0]: in _ put "1"__: uint8_t[2][3], 6 bytes, values 0 to 15\n' in text
    assert " *     real = (q - 7) * 0.5\n" in text
    assert " * outputs[1]: sign: int8_t[2], 2 bytes, values -1 or 1\n" in text


@pytest.mark.parametrize("text", ['a"b\\c', "??=", "schön\n1", "\x007"])
def test_a_c_string_holds_every_byte(text: str, tmp_path: Path, cxx: str) -> None:
    source = f"#include <cstdio>\nint main() {{ std::fwrite({quoted(text)}, 1, {len(text.encode())}, stdout); }}\n"
    (tmp_path / "a.cpp").write_text(source, encoding="ascii")
    subprocess.run([cxx, "-trigraphs", "a.cpp", "-o", "a"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "a"], capture_output=True).stdout == text.encode()


def test_names_change_but_not_prose() -> None:
    text = '#include "network.h" network_run NETWORK_LAYERS the network. my_network_x NETWORK'
    assert _renamed(text, "kws") == '#include "kws.h" kws_run KWS_LAYERS the network. my_network_x NETWORK'
