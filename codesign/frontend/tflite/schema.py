"""What a `.tflite` file holds, as far as the importer needs it: TensorFlow Lite's schema, version 3.

Read with a reader of our own: the generated classes of LiteRT are 18,000 lines behind a binary package that exists for
few platforms, while the import needs six tables. Fields are numbered as in tensorflow/lite/schema/schema.fbs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.errors import InputError
from codesign.frontend.tflite.flatbuffer import Damaged, Scalar, Table

Array = NDArray[Any]

# TensorType: the name that messages use, and NumPy's type; None where the importer takes no data of it.
KINDS: Mapping[int, tuple[str, str | None]] = {
    0: ("float32", "f4"), 1: ("float16", "f2"), 2: ("int32", "i4"), 3: ("uint8", "u1"), 4: ("int64", "i8"),
    5: ("string", None), 6: ("bool", "?"), 7: ("int16", "i2"), 8: ("complex64", None), 9: ("int8", "i1"),
    10: ("float64", "f8"), 15: ("uint32", "u4"), 16: ("uint16", "u2"), 17: ("int4", None), 18: ("bfloat16", None),
}  # fmt: skip

# BuiltinOperator -> (name, options as (field, kind, default) in the schema's order).
_POOL = tuple((name, "i", 0) for name in ("stride_w", "stride_h", "filter_width", "filter_height"))
_ACTIVATION = ("activation", "b", 0)
_SUM = (_ACTIVATION, ("pot_scale_int16", "?", True))
_MASKS = tuple((f"{name}_mask", "i", 0) for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis"))
_DILATION = (("dilation_w", "i", 1), ("dilation_h", "i", 1))
_ALIGNMENT = (("align_corners", "?", False), ("half_pixel_centers", "?", False))
_STRIDES = (("padding", "b", 0), ("stride_w", "i", 0), ("stride_h", "i", 0))
BUILTINS: Mapping[int, tuple[str, tuple[tuple[str, str, Scalar], ...]]] = {
    0: ("ADD", _SUM),
    1: ("AVERAGE_POOL_2D", (("padding", "b", 0), *_POOL, _ACTIVATION)),
    2: ("CONCATENATION", (("axis", "i", 0), _ACTIVATION)),
    3: ("CONV_2D", (*_STRIDES, _ACTIVATION, *_DILATION)),
    4: ("DEPTHWISE_CONV_2D", (*_STRIDES, ("depth_multiplier", "i", 0), _ACTIVATION, *_DILATION)),
    6: ("DEQUANTIZE", ()),
    9: ("FULLY_CONNECTED", (_ACTIVATION, ("weights_format", "b", 0), ("keep_num_dims", "?", False))),
    14: ("LOGISTIC", ()),
    17: ("MAX_POOL_2D", (("padding", "b", 0), *_POOL, _ACTIVATION)),
    18: ("MUL", (_ACTIVATION,)),
    19: ("RELU", ()),
    20: ("RELU_N1_TO_1", ()),
    21: ("RELU6", ()),
    22: ("RESHAPE", ()),
    23: ("RESIZE_BILINEAR", (("new_height", "i", 0), ("new_width", "i", 0), *_ALIGNMENT)),
    25: ("SOFTMAX", (("beta", "f", 0.0),)),
    28: ("TANH", ()),
    34: ("PAD", ()),
    39: ("TRANSPOSE", ()),
    40: ("MEAN", (("keep_dims", "?", False),)),
    41: ("SUB", _SUM),
    43: ("SQUEEZE", ()),
    45: ("STRIDED_SLICE", (*_MASKS, ("offset", "?", False))),
    49: ("SPLIT", (("num_splits", "i", 0),)),
    53: ("CAST", (("in_data_type", "b", 0), ("out_data_type", "b", 0))),
    56: ("ARG_MAX", (("output_type", "b", 0),)),
    60: ("PADV2", ()),
    65: ("SLICE", ()),
    70: ("EXPAND_DIMS", ()),
    97: ("RESIZE_NEAREST_NEIGHBOR", _ALIGNMENT),
    102: ("SPLIT_V", (("num_splits", "i", 0),)),
    114: ("QUANTIZE", ()),
    117: ("HARD_SWISH", ()),
}
_CUSTOM = 32

# Names of operators that are only refused, so that a refusal names them too.
_OTHERS: Mapping[int, str] = {
    5: "DEPTH_TO_SPACE", 7: "EMBEDDING_LOOKUP", 8: "FLOOR", 11: "L2_NORMALIZATION",
    13: "LOCAL_RESPONSE_NORMALIZATION", 16: "LSTM", 24: "RNN", 26: "SPACE_TO_DEPTH",
    27: "SVDF", 36: "GATHER", 37: "BATCH_TO_SPACE_ND", 38: "SPACE_TO_BATCH_ND", 42: "DIV",
    44: "UNIDIRECTIONAL_SEQUENCE_LSTM", 47: "EXP", 48: "TOPK_V2", 50: "LOG_SOFTMAX", 54: "PRELU",
    55: "MAXIMUM", 57: "MINIMUM", 58: "LESS", 59: "NEG", 61: "GREATER", 64: "SELECT", 66: "SIN",
    67: "TRANSPOSE_CONV", 69: "TILE", 73: "LOG", 74: "SUM", 75: "SQRT", 76: "RSQRT", 77: "SHAPE", 78: "POW",
    79: "ARG_MIN", 81: "REDUCE_PROD", 82: "REDUCE_MAX", 83: "PACK", 86: "LOGICAL_AND", 88: "UNPACK",
    89: "REDUCE_MIN", 92: "SQUARE", 94: "FILL", 98: "LEAKY_RELU", 99: "SQUARED_DIFFERENCE", 100: "MIRROR_PAD",
    101: "ABS", 104: "CEIL", 105: "REVERSE_V2", 106: "ADD_N", 107: "GATHER_ND", 108: "COS", 111: "ELU", 118: "IF",
    119: "WHILE", 126: "BATCH_MATMUL", 129: "CALL_ONCE", 130: "BROADCAST_TO", 131: "RFFT2D", 132: "CONV_3D",
    142: "VAR_HANDLE", 143: "READ_VARIABLE", 144: "ASSIGN_VARIABLE", 150: "GELU",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor.

    shape      with the batch, as the file has it; signature: the same with -1 where the shape may change
    kind       `int8`, `float32`, …; data: the constant's array in `shape`, None for a computed tensor
    scale      empty: not quantised; zero_point as many; axis: that they run along
    """

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    kind: str
    scale: Array
    zero_point: Array
    axis: int
    data: Array | None

    @property
    def where(self) -> str:
        """What messages call it: the converter joins the names of all fused layers by semicolons, the first counts."""
        return self.name.partition(";")[0] or self.name


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator: built-in name (`CUSTOM name` for others), indices of tensors (-1: none), options by name."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Model:
    """The only subgraph of a file, with the file's own bytes for the reference kernels."""

    tensors: Sequence[Tensor]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: Sequence[Operator]
    content: bytes


def read_model(path: Path) -> Model:
    """The model of a file. Raises InputError for what is no whole TFLite file."""
    where, allowed = str(path), "a .tflite file"
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError.at(where, "no such file", allowed) from error
    except OSError as error:
        raise InputError.at(where, f"cannot be read: {error.strerror}", allowed) from error
    if content[4:8] != b"TFL3":
        found = "an empty file" if not content else "not a TensorFlow Lite file: the mark TFL3 is missing"
        raise InputError.at(where, found, allowed)
    try:
        return parse_model(content)
    except Damaged as error:
        raise InputError.at(where, f"truncated or corrupt: {error}", "a complete file", "convert it again") from error


def parse_model(content: bytes) -> Model:
    """The model of a file's bytes. Raises Damaged for what leads out of them."""
    root = Table.root(content)
    if root.scalar(0, "I") != 3:
        raise Damaged(f"schema version {root.scalar(0, 'I')} instead of 3")
    graphs = root.tables(2)
    if len(graphs) != 1:
        raise Damaged(f"{len(graphs)} subgraphs instead of one")
    codes, buffers, graph = root.tables(1), root.tables(4), graphs[0]
    tensors = [_tensor(i, t, buffers, content) for i, t in enumerate(graph.tables(0))]
    operators = [_operator(o, codes, len(tensors)) for o in graph.tables(3)]
    ends = [_indices(graph.array(n, "i4"), len(tensors), False) for n in (1, 2)]
    return Model(tensors, ends[0], ends[1], operators, content)


def _indices(values: Array, count: int, optional: bool) -> tuple[int, ...]:
    found = tuple(int(v) for v in values)
    if any(not (-1 if optional else 0) <= v < count for v in found):
        raise Damaged(f"tensors {found} of {count}")
    return found


def _tensor(index: int, table: Table, buffers: Sequence[Table], content: bytes) -> Tensor:
    shape = tuple(int(n) for n in table.array(0, "i4"))
    signature = tuple(int(n) for n in table.array(7, "i4")) or shape
    name, dtype = KINDS.get(table.scalar(1, "b"), (f"type {table.scalar(1, 'b')}", None))
    scale, zero, axis = np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    quantisation = table.table(4)
    if quantisation is not None:
        scale, zero = quantisation.array(2, "f4"), quantisation.array(3, "i8").astype(np.int64)
        axis = quantisation.scalar(6, "i")
    number = table.scalar(2, "I")
    if number >= len(buffers):
        raise Damaged(f"buffer {number} of {len(buffers)}")
    text = table.text(3) or f"tensor {index}"
    return Tensor(text, shape, signature, name, scale, zero, axis, _data(buffers[number], shape, dtype, content, text))


def _data(buffer: Table, shape: tuple[int, ...], dtype: str | None, content: bytes, name: str) -> Array | None:
    raw = buffer.array(0, "u1")
    start, size = buffer.scalar(1, "Q"), buffer.scalar(2, "Q")
    if start > 1:  # files above 2 GB keep their constants behind the tables
        if start + size > len(content):
            raise Damaged(f"{size} bytes at {start} of {len(content)}")
        raw = np.frombuffer(content, dtype=np.uint8, count=size, offset=start)
    if raw.size == 0 or dtype is None:
        return None
    expected = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
    if raw.size != expected:
        raise Damaged(f"{raw.size} bytes of data for {name!r} instead of {expected}")
    return np.frombuffer(raw.tobytes(), dtype=np.dtype(dtype).newbyteorder("<")).reshape(shape)


def _operator(table: Table, codes: Sequence[Table], count: int) -> Operator:
    number = table.scalar(0, "I")
    if number >= len(codes):
        raise Damaged(f"operator code {number} of {len(codes)}")
    code = max(codes[number].scalar(0, "b"), codes[number].scalar(3, "i"))
    name, fields = BUILTINS.get(code, (_OTHERS.get(code, f"number {code}"), ()))
    if code == _CUSTOM:
        name = f"CUSTOM {codes[number].text(1)}"
    options = table.table(4)
    values = {f: options.scalar(i, kind, d) if options else d for i, (f, kind, d) in enumerate(fields)}
    return Operator(
        name, _indices(table.array(1, "i4"), count, True), _indices(table.array(2, "i4"), count, False), values
    )
