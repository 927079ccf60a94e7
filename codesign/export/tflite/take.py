"""Take as STRIDED_SLICE and RESIZE_NEAREST_NEIGHBOR: choices of elements along one axis or several."""

from __future__ import annotations

from collections.abc import Sequence

from codesign.export.tflite.context import Export
from codesign.export.tflite.cover import Kernel
from codesign.export.tflite.spatial import cut
from codesign.export.tflite.storage import Storage
from codesign.frontend.problems import Refusal
from codesign.frontend.tflite.params import NONE
from codesign.frontend.tflite.spatial import nearest
from codesign.ir.graph import Node
from codesign.ir.ops import Take

_MOST_PIECES = 64
_MODES = ((False, False), (False, True), (True, False))  # (align_corners, half_pixel_centers)


def take(export: Export, kernel: Kernel) -> None:
    """The Takes of a kernel at once as one RESIZE_NEAREST_NEIGHBOR or STRIDED_SLICE, else one after the other."""
    assert kernel.base is not None
    (name,) = kernel.tensors
    storage, x = export.storage(name), export.declare(name)
    nodes = (*kernel.inner, kernel.base)
    output = export.result(kernel, export.graph.type(kernel.base.name).shape)
    takes = [node.op for node in nodes if isinstance(node.op, Take)]
    slices = [_progressions(op.indices) for op in takes]
    mode = _common_mode(export.graph.type(name).shape, takes)
    sliced = len({op.axis for op in takes}) == len(takes) and all(len(pieces) == 1 for pieces in slices)
    if mode is not None and not (sliced and kernel.chain):
        _resize(export, kernel, x, output, mode)
    elif sliced:
        _slice(export, kernel, x, output, {op.axis: pieces[0] for op, pieces in zip(takes, slices, strict=True)})
    else:
        chosen(export, kernel, x, storage, nodes, output)
    export.finish(kernel, output)


def chosen(
    export: Export, kernel: Kernel, x: int, storage: Storage, nodes: Sequence[Node], output: int | None = None
) -> int:
    """The tensor x behind one Take after the other; the last one makes `output`, or a tensor of its own."""
    for number, node in enumerate(nodes):
        made = output
        if made is None or number + 1 < len(nodes):
            made = export.helper(node.name, export.graph.type(node.name).shape, storage)
        assert isinstance(node.op, Take)
        _along(export, kernel, x, made, node.op, storage)
        x = made
    return x


def _along(export: Export, kernel: Kernel, x: int, output: int, op: Take, storage: Storage) -> None:
    """One STRIDED_SLICE for equally spaced indices, RESIZE_NEAREST_NEIGHBOR for its repetitions, else joined slices."""
    shape = export.file.shape(output)[1:]
    size = export.file.shape(x)[1:]
    pieces = _progressions(op.indices)
    if len(pieces) == 1:
        _slice(export, kernel, x, output, {op.axis: pieces[0]})
        return
    mode = next((m for m in _MODES if nearest(size[op.axis], len(op.indices), *m) == op.indices), None)
    if mode is not None:  # seen as the height of an image; the other side keeps its size, which every mode leaves alone
        before, inner, after = cut(size, (op.axis, op.axis + 1))
        image = export.reshaped(kernel, x, (before, inner, after), storage, "image")
        resized = (before, len(op.indices), after)
        made = output if shape == resized else export.helper(f"{kernel.node.name}.resized", resized, storage)
        _resize(export, kernel, image, made, mode)
        if made != output:
            export.reshape(kernel, made, output)
        return
    if len(pieces) > _MOST_PIECES:
        raise Refusal(f"a choice of elements in {len(pieces)} pieces", f"at most {_MOST_PIECES} equally spaced ones")
    parts = []
    for number, piece in enumerate(pieces):
        part = (*shape[: op.axis], len(piece), *shape[op.axis + 1 :])
        parts.append(export.helper(f"{kernel.node.name}.part{number + 1}", part, storage))
        _slice(export, kernel, x, parts[-1], {op.axis: piece})
    export.emit(kernel, "CONCATENATION", parts, output, axis=op.axis + 1, activation=NONE)


def _progressions(indices: tuple[int, ...]) -> list[range]:
    """The indices as the fewest runs of one step that a greedy walk finds; a step is never 0."""
    runs: list[range] = []
    start = 0
    while start < len(indices):
        end = start + 1
        step = indices[end] - indices[start] if end < len(indices) and indices[end] != indices[start] else 1
        while end < len(indices) and indices[end] - indices[end - 1] == step:
            end += 1
        runs.append(range(indices[start], indices[end - 1] + (1 if step > 0 else -1), step))
        start = end
    return runs


def _slice(export: Export, kernel: Kernel, x: int, output: int, pieces: dict[int, range]) -> None:
    """STRIDED_SLICE by axis; the end of a falling range that includes 0 is what the mask for it means."""
    size = export.file.shape(x)
    begin, end, step = [0] * len(size), list(size), [1] * len(size)
    end_mask = (1 << len(size)) - 1
    for axis, piece in pieces.items():
        begin[axis + 1], end[axis + 1], step[axis + 1] = piece.start, max(piece.stop, 0), piece.step
        if piece.stop >= 0:
            end_mask &= ~(1 << (axis + 1))
    name = export.file.name(output)
    numbers = [
        export.file.integers(f"{name}.{what}", v) for what, v in (("begin", begin), ("end", end), ("step", step))
    ]
    masks = {f"{m}_mask": 0 for m in ("begin", "ellipsis", "new_axis", "shrink_axis")}
    export.emit(kernel, "STRIDED_SLICE", [x, *numbers], output, end_mask=end_mask, **masks)


def _common_mode(shape: tuple[int, ...], takes: Sequence[Take]) -> tuple[bool, bool] | None:
    """The mode in which RESIZE_NEAREST_NEIGHBOR takes rows and columns of an image; None for any other choice."""
    if len(shape) != 3 or [op.axis for op in takes] != [0, 1]:
        return None
    for mode in _MODES:
        if all(nearest(shape[op.axis], len(op.indices), *mode) == op.indices for op in takes):
            return mode
    return None


def _resize(export: Export, kernel: Kernel, x: int, output: int, mode: tuple[bool, bool]) -> None:
    """RESIZE_NEAREST_NEIGHBOR to the height and width of the output."""
    sizes = export.file.integers(f"{kernel.node.name}.size", export.file.shape(output)[1:3])
    options = {"align_corners": mode[0], "half_pixel_centers": mode[1]}
    export.emit(kernel, "RESIZE_NEAREST_NEIGHBOR", [x, sizes], output, **options)
