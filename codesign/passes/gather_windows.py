"""The columns of every window side by side, as channels, gathered by a convolution of zeros and ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Conv2d, Reshape
from codesign.ir.types import IntArray
from codesign.passes.rewrite import Edit, rewrite


def gather_windows(graph: Graph, layers: Collection[str]) -> Graph:
    """Conv2d KHxKW of stride (s, t) on (H, W, C) -> a gather to (R, OW, s*KW*C), then Conv2d ceil(KH/s)x1 of stride 1.

    layers  Conv2d nodes; one that `gatherable` does not list stays as it is

    The gather is a Conv2d sx1 of stride s on whole rows (H, 1, W*C): result channel (ox, dy, x, c) is pixel
    (r*s + dy - top, ox*t + x - left, c), by a single weight of 1; left and right of the image it is the padding, which
    the bias adds. s rows are taken at once, so that none is gathered twice; whole groups of padding rows are left to
    the second convolution.

    It pays for narrow images of few channels: the multiplications stay the same, but fill an array that is wide across
    channels; the gather itself takes W times as many as it moves values.
    """

    def rule(node: Node, edit: Edit) -> Node | None:
        gather = _gather(graph, node) if node.name in layers else None
        if gather is None:
            return None
        height, width, channels = edit.type(node.inputs[0]).shape
        out, quant = graph.type(node.name), edit.type(node.inputs[0]).quant
        values, bias = gather.weights(width, channels, out.shape[1])
        picked = [edit.const(f"{node.name}.picked", values), edit.const(f"{node.name}.outside", bias)]
        kernel = gather.kernel(edit.value(node.inputs[1]))
        weight = edit.const(f"{node.name}.weight", kernel, edit.type(node.inputs[1]).dtype)
        rows = edit.before(node, "rows", Reshape((height, 1, width * channels)), node.inputs[0], quant=quant)
        gathered = edit.before(node, "gathered", gather.op, rows, *picked, quant=quant)
        shape = Reshape((edit.type(gathered).shape[0], out.shape[1], kernel.shape[3]))
        windows = edit.before(node, "windows", shape, gathered, quant=quant)
        return replace(node, op=gather.sums, inputs=(windows, weight, *node.inputs[2:]))

    return rewrite(graph, rule)


def gatherable(graph: Graph) -> tuple[str, ...]:
    """The layers that `gather_windows` changes: windows of several columns, without dilation or groups."""
    return tuple(node.name for node in graph.nodes if _gather(graph, node) is not None)


@dataclass(frozen=True)
class _Gather:
    """The convolution that gathers, the one that sums up, the original and the size of its kernel."""

    op: Conv2d
    sums: Conv2d
    original: Conv2d
    size: tuple[int, int]

    def weights(self, width: int, channels: int, outputs: int) -> tuple[IntArray, IntArray]:
        """Weights (OW*s*KW*C, s, 1, W*C) and bias of the gather."""
        (rows, stride), columns = self.original.stride, self.size[1]
        full = np.zeros((outputs, rows, columns, channels, rows, width, channels), dtype=np.int64)
        outside = np.zeros(full.shape[:4], dtype=np.int64)
        for ox in range(outputs):
            for x in range(columns):
                column = ox * stride + x - self.original.padding[1]
                if not 0 <= column < width:
                    outside[ox, :, x] = self.original.pad_value
                    continue
                for dy in range(rows):
                    full[ox, dy, x, range(channels), dy, column, range(channels)] = 1
        return full.reshape(outside.size, rows, 1, width * channels), outside.reshape(-1)

    def kernel(self, weight: IntArray) -> IntArray:
        """(O, KH, KW, C) -> (O, ceil(KH/s), 1, s*KW*C)."""
        outputs, height, width, channels = weight.shape
        rows = self.original.stride[0]
        full = np.zeros((outputs, -(-height // rows) * rows, width, channels), dtype=np.int64)
        full[:, :height] = weight
        return full.reshape(outputs, -1, 1, rows * width * channels)


def _gather(graph: Graph, node: Node) -> _Gather | None:
    op = node.op
    if not isinstance(op, Conv2d) or op.groups > 1 or op.dilation != (1, 1):
        return None
    (height, width, _), x = graph.type(node.inputs[0]).shape, graph.type(node.inputs[0]).dtype
    size = graph.type(node.inputs[1]).shape[1:3]
    if size[1] == 1 or x.bipolar or not x.holds(np.array([op.pad_value])):
        return None
    starts = range(-op.padding[1], width, op.stride[1])[: graph.type(node.name).shape[1]]
    if not any(start + size[1] > 0 for start in starts):  # nothing but padding
        return None
    rows, top = op.stride[0], op.padding[0]
    groups = graph.type(node.name).shape[0] + -(-size[0] // rows) - 1  # of rows, those of nothing but padding included
    first, last = top // rows, min(groups, -(-(top + height) // rows))  # that hold rows of the image
    below = last * rows - top - height  # rows of padding; below 0: rows that no window reaches
    if last <= first or below <= -rows:
        return None
    op_rows = Conv2d((rows, 1), (top % rows, 0, max(0, below), 0), pad_value=op.pad_value)
    sums = Conv2d(padding=(first, 0, groups - last, 0), pad_value=op.pad_value)
    return _Gather(op_rows, sums, op, (size[0], size[1]))
