"""What the importer says about TFLite files that it cannot take, word by word."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_models import Writer, schema

from codesign.errors import CodesignError, InputError, UnsupportedError
from codesign.frontend import import_model
from codesign.frontend.tflite.importer import HANDLERS

CONVERT = "try: full-integer quantisation: TFLiteConverter with a representative_dataset"
POOL = {"padding": 1, "strideH": 1, "strideW": 1, "filterHeight": 1, "filterWidth": 1}


def file_error(folder: Path, data: bytes, error: type[CodesignError] = InputError) -> str:
    path = folder / "net.tflite"
    path.write_bytes(data)
    with pytest.raises(CodesignError) as caught:
        import_model(path)
    assert type(caught.value) is error
    return str(caught.value).replace(str(path), "net.tflite")


def small(w: Writer) -> bytes:
    """A convolution behind a ReLU."""
    x, r, y = w.input((1, 4, 4, 2)), w.tensor((1, 4, 4, 2)), w.tensor((1, 4, 4, 3), 0.5)
    weight = w.tensor((3, 1, 1, 2), [0.1, 0.2, 0.3], data=np.arange(6) - 3)
    bias = w.tensor((3,), [0.005, 0.01, 0.015], kind="int32", data=np.array([1, 2, 3]))
    w.op("RELU", [x], [r])
    w.op("CONV_2D", [r, weight, bias], [y], "Conv2DOptions", strideH=1, strideW=1)
    return w.model(y)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    with pytest.raises(InputError) as caught:
        import_model(path)
    assert str(caught.value) == f"{path}: no such file; allowed: a .tflite file"
    path.mkdir()
    with pytest.raises(InputError) as caught:
        import_model(path)
    assert str(caught.value) == f"{path}: cannot be read: Is a directory; allowed: a .tflite file"


def test_not_a_flatbuffer(tmp_path: Path) -> None:
    assert file_error(tmp_path, b"") == "net.tflite: an empty file; allowed: a .tflite file"
    expected = "net.tflite: not a TensorFlow Lite file: the mark TFL3 is missing; allowed: a .tflite file"
    assert file_error(tmp_path, b"this is no TensorFlow Lite file") == expected


def test_truncated(tmp_path: Path) -> None:
    data = small(Writer())
    found = file_error(tmp_path, data[:200])
    assert found.startswith("net.tflite: truncated or corrupt: ")
    assert found.endswith(" of 200 bytes; allowed: a complete file; try: convert it again")


def test_every_truncation_and_change_ends_in_a_message(tmp_path: Path) -> None:
    data, path, rng, accepted = small(Writer()), tmp_path / "net.tflite", random.Random(1), 0
    for length in range(0, len(data), 5):
        path.write_bytes(data[:length])
        with suppress(CodesignError):
            import_model(path)
    for _ in range(1500):
        changed = bytearray(data)
        changed[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(changed)
        with suppress(CodesignError):
            import_model(path)
            accepted += 1
    assert 0 < accepted < 1300


def test_other_versions_and_several_subgraphs(tmp_path: Path) -> None:
    tables = schema()
    from flatbuffers import Builder

    def changed(change: Callable[[Any], None]) -> str:
        model = tables.ModelT.InitFromPackedBuf(small(Writer()), 0)
        change(model)
        builder = Builder(0)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return file_error(tmp_path, bytes(builder.Output()))

    def older(model: Any) -> None:
        model.version = 2

    def doubled(model: Any) -> None:
        model.subgraphs *= 2

    def short(model: Any) -> None:
        model.buffers[1].data = model.buffers[1].data[:4]

    end = "; allowed: a complete file; try: convert it again"
    start = "net.tflite: truncated or corrupt: "
    assert changed(older) == f"{start}schema version 2 instead of 3{end}"
    assert changed(doubled) == f"{start}2 subgraphs instead of one{end}"
    assert changed(short) == f"{start}4 bytes of data for 'const3' instead of 6{end}"


def test_a_float_model(tmp_path: Path) -> None:
    w = Writer()
    x, y = (w.tensor((1, 4), None, kind="float32", is_input=i) for i in (True, False))
    w.op("RELU", [x], [y])
    found = file_error(tmp_path, w.model(y), UnsupportedError)
    expected = "a floating-point model; allowed: int8 or int16 activations and int8 weights"
    assert found == f"net.tflite: {expected}; {CONVERT}"


def test_an_empty_model(tmp_path: Path) -> None:
    w = Writer()
    found = file_error(tmp_path, w.model(w.input((1, 4))))
    assert found == "net.tflite: 1 inputs, 0 operators, 1 outputs; allowed: at least one of each"


def test_hybrid_quantisation(tmp_path: Path) -> None:
    w = Writer()
    x, y = (w.tensor((1, n), None, kind="float32", is_input=n == 4, name=name) for n, name in ((4, "x"), (2, "dense")))
    weight = w.tensor((2, 4), 0.1, data=np.ones((2, 4)), name="kernel")
    w.op("FULLY_CONNECTED", [x, weight], [y], "FullyConnectedOptions")
    assert file_error(tmp_path, w.model(y), UnsupportedError) == (
        f"dense: hybrid quantisation: float32 activations with the int8 weight 'kernel'; "
        f"allowed: int8 or int16 activations; {CONVERT}"
    )


def test_dynamic_shapes(tmp_path: Path) -> None:
    w = Writer()
    x = w.input((1, 1, 1, 3), name="image", signature=(-1, -1, -1, 3))
    y = w.tensor((1, 1, 1, 3), name="pool", signature=(-1, -1, -1, 3))
    w.op("MAX_POOL_2D", [x], [y], "Pool2DOptions", **POOL)
    end = "allowed: fixed shapes and a batch of 1; try: convert with a fixed input shape"
    found = file_error(tmp_path, w.model(y), UnsupportedError)
    shape = "of dynamic shape (-1, -1, -1, 3)"
    assert found == f"input image: the tensor 'image' {shape}; {end}"


def test_a_batch_of_several(tmp_path: Path) -> None:
    w = Writer()
    x, y = w.input((4, 10), name="x"), w.tensor((4, 10))
    w.op("RELU", [x], [y])
    expected = "an input of shape (4, 10); allowed: a batch of 1 as the first axis; try: convert with batch size 1"
    assert file_error(tmp_path, w.model(y), UnsupportedError) == f"input x: {expected}"


def test_all_unsupported_operators_at_once(tmp_path: Path) -> None:
    w = Writer()
    names = ("net/input", "net/up", "net/bias", "net/own", "net/relu;fused")
    x, a, b, c, y = (w.tensor((1, 4, 4, 2), is_input=n == "net/input", name=n) for n in names)
    w.op("RESIZE_BILINEAR", [x], [a])
    w.op("RELU", [a], [b])
    w.custom("Magic", [b], [c])
    w.op("DIV", [c, b], [y])
    allowed = ", ".join(HANDLERS)
    assert file_error(tmp_path, w.model(y), UnsupportedError).splitlines() == [
        f"net/up: the operator RESIZE_BILINEAR; allowed: {allowed}",
        f"net/own: the operator CUSTOM Magic; allowed: {allowed}",
        f"net/relu: the operator DIV; allowed: {allowed}",
    ]
