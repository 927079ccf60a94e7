"""The writer of `.tflite` files against the importer's reader and LiteRT's schema."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tflite_models import schema

from codesign.export.tflite.file import ModelFile
from codesign.frontend.tflite.schema import read_model


def convolution() -> ModelFile:
    file = ModelFile()
    x = file.tensor("x", (1, 4, 4, 2), "int8", 0.5, -3)
    w = file.tensor("w", (3, 2, 2, 2), "int8", [0.25, 0.5, 1.0], 0, 0, np.arange(24).reshape(3, 2, 2, 2).astype("i1"))
    b = file.tensor("b", (3,), "int32", [0.125, 0.25, 0.5], data=np.array([1, -2, 3], dtype="i4"))
    y = file.tensor("x", (1, 3, 3, 3), "int8", 0.75, 5)
    file.operator("CONV_2D", [x, w, b], y, padding=1, stride_h=1, stride_w=1, dilation_h=1, dilation_w=1, activation=1)
    file.inputs, file.outputs = [x], [y]
    return file


def test_the_reader_reads_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(convolution().content())
    model = read_model(path)
    assert [t.name for t in model.tensors] == ["x", "w", "b", "x_2"]
    assert [t.shape for t in model.tensors] == [(1, 4, 4, 2), (3, 2, 2, 2), (3,), (1, 3, 3, 3)]
    assert [t.scale.tolist() for t in model.tensors] == [[0.5], [0.25, 0.5, 1.0], [0.125, 0.25, 0.5], [0.75]]
    assert [t.zero_point.tolist() for t in model.tensors] == [[-3], [0, 0, 0], [0, 0, 0], [5]]
    weight, bias = model.tensors[1].data, model.tensors[2].data
    assert weight is not None
    assert bias is not None
    np.testing.assert_array_equal(weight.reshape(-1), np.arange(24))
    assert bias.tolist() == [1, -2, 3]
    (op,) = model.operators
    assert (op.name, op.inputs, op.outputs) == ("CONV_2D", (0, 1, 2), (3,))
    assert op.options == {
        "padding": 1, "stride_w": 1, "stride_h": 1, "activation": 1, "dilation_w": 1, "dilation_h": 1,
    }  # fmt: skip
    assert (model.inputs, model.outputs) == ((0,), (3,))


def test_litert_s_schema_agrees() -> None:
    content = convolution().content()
    assert content[4:8] == b"TFL3"
    model = schema().Model.GetRootAs(content, 0)
    assert model.Version() == 3
    code = model.OperatorCodes(0)
    assert (code.BuiltinCode(), code.DeprecatedBuiltinCode(), code.Version()) == (3, 3, 3)
    options = schema().Conv2DOptions()
    table = model.Subgraphs(0).Operators(0).BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    assert (options.Padding(), options.StrideH(), options.FusedActivationFunction()) == (1, 1, 1)


def test_constants_are_aligned_to_16_bytes() -> None:
    file = ModelFile()
    x = file.tensor("x", (1, 3), "int8", 1.0)
    for size in (1, 3, 7, 16, 33):
        file.tensor(f"c{size}", (size,), "int8", 1.0, data=np.full(size, size, dtype="i1"))
    y = file.tensor("y", (1, 3), "int8", 1.0)
    file.operator("RELU", [x], y)
    content = file.content()
    model = schema().Model.GetRootAs(content, 0)
    for number in range(1, model.BuffersLength()):
        data = model.Buffers(number).DataAsNumpy()
        assert content.find(data.tobytes() + b"") >= 0
        start = model.Buffers(number)._tab.Vector(model.Buffers(number)._tab.Offset(4))
        assert start % 16 == 0
        assert (data == len(data)).all()
