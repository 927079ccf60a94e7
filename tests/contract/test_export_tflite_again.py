"""Models that came from TFLite and go back: the same operators, the same digest, every tensor equal in LiteRT."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from tflite_models import Writer

from codesign.export.tflite import export_tflite
from codesign.export.tflite.verify import differences
from codesign.frontend.tflite.importer import import_parsed
from codesign.frontend.tflite.schema import parse_model
from codesign.testing.graphs import feeds

IMAGE = (1, 4, 4, 4)
_OPTIONS = {
    "STRIDED_SLICE": ("StridedSliceOptions", ("beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask")),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", ("alignCorners", "halfPixelCenters")),
}


def pair(w: Writer, name: str, a: int, b: int, shape: Sequence[int] = IMAGE, scale: float = 0.3, zero: int = 2) -> int:
    """ADD, SUB or MUL."""
    y = w.tensor(shape, scale, zero)
    w.op(name, [a, b], [y], f"{name.capitalize()}Options", fusedActivationFunction=0)
    return y


def quantize(w: Writer, x: int, scale: float) -> int:
    y = w.tensor(IMAGE, scale, 2)
    w.op("QUANTIZE", [x], [y], "QuantizeOptions")
    return y


def mean(w: Writer, x: int, shape: Sequence[int], axes: Sequence[int], scale: float = 0.02, keep: bool = True) -> int:
    y = w.tensor(shape, scale, 9)
    w.op("MEAN", [x, w.ints(list(axes))], [y], "ReducerOptions", keepDims=keep)
    return y


def moved(w: Writer, name: str, x: int, shape: Sequence[int], *numbers: Sequence[int], **options: bool) -> int:
    """An operator with constants behind its input, at the scale of every input here."""
    y = w.tensor(shape, 0.05, 3)
    table, known = _OPTIONS[name]
    w.op(name, [x, *(w.ints(list(n)) for n in numbers)], [y], table, **(dict.fromkeys(known, False) | options))
    return y


def resized(w: Writer, shape: tuple[int, int], **options: bool) -> list[int]:
    return [moved(w, "RESIZE_NEAREST_NEIGHBOR", w.input(IMAGE, 0.05, 3), (1, *shape, 4), shape, **options)]


def sliced_mean(w: Writer) -> list[int]:
    slices = ([0, 0, 1, 0], [1, 4, 4, 4], [1, 2, 1, 1])
    return [mean(w, moved(w, "STRIDED_SLICE", w.input(IMAGE, 0.05, 3), (1, 2, 3, 4), *slices), (1, 1, 1, 4), (1, 2))]


def shared(w: Writer) -> list[int]:
    x, y, z = (w.input(IMAGE, 0.05, 3) for _ in range(3))
    return [pair(w, "MUL", x, y), pair(w, "MUL", x, z, scale=0.2), quantize(w, x, 0.02), quantize(w, x, 0.3)]


def two_means(w: Writer) -> list[int]:
    x = w.input((1, 4, 6, 4), 0.05, 3)
    return [
        mean(w, x, (1, 1, 1, 4), (1, 2)),
        mean(w, x, (1, 4), (1, 2), 0.03, keep=False),
        mean(w, x, (1, 1, 6, 4), [1]),
    ]


def one_meaning_of_two(w: Writer) -> list[int]:
    """RELU and QUANTIZE to one scale: the same integers before the limit, but only one of them is a tensor."""
    x = w.input(IMAGE, 0.05, 3)
    limited, plain = w.tensor(IMAGE, 0.07, 12), w.tensor(IMAGE, 0.07, 12)
    w.op("RELU", [x], [limited])
    w.op("QUANTIZE", [x], [plain], "QuantizeOptions")
    return [limited, pair(w, "MUL", plain, x)]


def reshaped_factor(w: Writer) -> list[int]:
    x = w.input(IMAGE, 0.05, -128)
    rows = w.tensor((1, 2, 8, 4), 0.05, -128)
    w.op("RESHAPE", [x, w.ints([1, 2, 8, 4])], [rows], "ReshapeOptions", newShape=[1, 2, 8, 4])
    return [pair(w, "MUL", rows, rows, (1, 2, 8, 4)), pair(w, "MUL", x, x)]


def broadcast(name: str, first: Sequence[int], second: Sequence[int]) -> Callable[[Writer], list[int]]:
    def make(w: Writer) -> list[int]:
        return [pair(w, name, w.input(first, 0.05, 3), w.input(second, 0.02, -9), (1, 5, 6, 4))]

    return make


MODELS: dict[str, tuple[Callable[[Writer], list[int]], list[str]]] = {
    "shared": (shared, ["MUL", "MUL", "QUANTIZE", "QUANTIZE"]),
    "one_meaning_of_two": (one_meaning_of_two, ["RELU", "QUANTIZE", "MUL"]),
    "reshaped_factor": (reshaped_factor, ["RESHAPE", "MUL", "MUL"]),
    "sliced_mean": (sliced_mean, ["STRIDED_SLICE", "MEAN"]),
    "two_means": (two_means, ["MEAN", "MEAN", "MEAN"]),
    "twice": (lambda w: resized(w, (8, 8)), ["RESIZE_NEAREST_NEIGHBOR"]),
    "wider": (lambda w: resized(w, (4, 12), halfPixelCenters=True), ["RESIZE_NEAREST_NEIGHBOR"]),
    "corners": (lambda w: resized(w, (7, 10), alignCorners=True), ["RESIZE_NEAREST_NEIGHBOR"]),
    "smaller": (lambda w: resized(w, (2, 2)), ["RESIZE_NEAREST_NEIGHBOR"]),
    **{f"{n}_by_channel".lower(): (broadcast(n, (1, 5, 6, 4), (1, 1, 1, 4)), [n]) for n in ("ADD", "SUB", "MUL")},
    "add_of_a_vector": (broadcast("ADD", (1, 4), (1, 5, 6, 4)), ["ADD"]),
    "mul_of_row_and_column": (broadcast("MUL", (1, 1, 6, 4), (1, 5, 1, 4)), ["MUL"]),
    "sub_of_a_pixel": (broadcast("SUB", (1, 5, 6, 4), (1, 5, 6, 1)), ["SUB"]),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_as_it_was(name: str) -> None:
    make, operators = MODELS[name]
    w = Writer()
    graph = import_parsed(parse_model(w.model(*make(w))), "model").graph
    exported = export_tflite(graph)
    again = parse_model(exported.content)
    assert sorted(op.name for op in again.operators) == sorted(operators)
    assert [row for row in differences(exported, graph, feeds(graph, 6, 0)) if row.mismatches] == []
    assert import_parsed(again, "again").graph.digest() == graph.digest()


@pytest.mark.parametrize("seed", range(25))
def test_readers_of_one_tensor_never_disturb_each_other(seed: int) -> None:
    """Random operators on random tensors that exist already."""
    rng = np.random.default_rng(seed)
    w = Writer()
    made = [(w.input((1, 3, 4, 4), 0.05, int(zero)), (1, 3, 4, 4)) for zero in rng.choice([0, 3, -128], 2)]
    results = []
    for kind in rng.choice(["ADD", "SUB", "MUL", "QUANTIZE", "MEAN", "RELU"], 6):
        x, shape = made[rng.integers(len(made))]
        other, other_shape = made[rng.integers(len(made))]
        out = np.broadcast_shapes(shape, other_shape) if kind in ("ADD", "SUB", "MUL") else shape
        out = (1, 1, 1, 4) if kind == "MEAN" else out
        y = w.tensor(out, float(rng.choice([0.03, 0.05, 0.11])), int(rng.choice([0, 3, -128])))
        if kind in ("ADD", "SUB", "MUL"):
            activation = int(rng.choice([0, 1, 3]))
            w.op(kind, [x, other], [y], f"{kind.capitalize()}Options", fusedActivationFunction=activation)
        elif kind == "MEAN":
            w.op(kind, [x, w.ints([1, 2])], [y], "ReducerOptions", keepDims=True)
        else:
            w.op(kind, [x], [y])
        made.append((y, out))
        results.append(y)
    graph = import_parsed(parse_model(w.model(*results)), "model").graph
    exported = export_tflite(graph)
    assert [row for row in differences(exported, graph, feeds(graph, 4, seed)) if row.mismatches] == []
    assert import_parsed(parse_model(exported.content), "again").graph.digest() == graph.digest()
