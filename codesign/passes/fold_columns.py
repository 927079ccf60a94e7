"""Neighbouring columns of an image as the channels of one."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from codesign.ir.graph import Graph, Node
from codesign.ir.ops import Conv2d, Reshape
from codesign.ir.types import IntArray
from codesign.passes.rewrite import Edit, rewrite


def fold_columns(graph: Graph, layers: Collection[str], factor: int) -> Graph:
    """Conv2d (H, W, C) to (OH, OW, O) -> Conv2d (H, W/f, f*C) to (OH, OW/g, g*O) between two Reshapes.

    layers  Conv2d nodes; one that `foldable` does not list for this factor stays as it is

    With channels last, both Reshapes leave the bytes where they are. The kernel connects every column of an input group
    with every column of an output group, by zeros where the original does not reach: column (X - left')*f + p of the
    image meets w[o, ky, x, c] in output column q when it is column q*s - left + x, counted from the group's first. The
    group g = f*s'/s is the least for which the folded stride s' is whole.

    It pays where a multiplier array is wide across channels that the image does not have, and where short rows are read
    from a memory with long bursts.
    """

    def rule(node: Node, edit: Edit) -> Node | None:
        fold = _fold(graph, node, factor) if node.name in layers else None
        if fold is None:
            return None
        height, width, channels = edit.type(node.inputs[0]).shape
        out = graph.type(node.name)
        kernel = fold.weight(edit.value(node.inputs[1]))
        constants = [edit.const(f"{node.name}.weight", kernel, edit.type(node.inputs[1]).dtype)]
        for bias in node.inputs[2:]:
            constants.append(
                edit.const(f"{node.name}.bias", np.tile(edit.value(bias), fold.group), edit.type(bias).dtype)
            )
        columns = Reshape((height, width // factor, factor * channels))
        image = edit.before(node, "columns", columns, node.inputs[0])
        folded = edit.before(node, "folded", fold.op, image, *constants)
        return replace(node, op=Reshape(out.shape), inputs=(folded,))

    return rewrite(graph, rule)


def foldable(graph: Graph, factor: int) -> tuple[str, ...]:
    """The layers that `fold_columns` folds by `factor`: f divides the columns, and g those of the result."""
    return tuple(node.name for node in graph.nodes if _fold(graph, node, factor) is not None)


@dataclass(frozen=True)
class _Fold:
    """How a convolution is folded.

    op      the convolution of folded columns
    factor  input columns in one; group: output columns in one
    width   of the folded kernel
    left    columns of padding, and stride along the columns, of the original
    """

    op: Conv2d
    factor: int
    group: int
    width: int
    left: int
    stride: int

    def weight(self, weight: IntArray) -> IntArray:
        """(O, KH, KW, C) -> (g*O, KH, KW', f*C)."""
        outputs, height, width, channels = weight.shape
        first = self.op.padding[1] * self.factor - self.left
        full = np.zeros((self.group, outputs, height, self.width, self.factor, channels), dtype=np.int64)
        for q in range(self.group):
            for x in range(width):
                column, p = divmod(first + q * self.stride + x, self.factor)
                full[q, :, :, column, p] = weight[:, :, x]
        return full.reshape(self.group * outputs, height, self.width, self.factor * channels)


def _fold(graph: Graph, node: Node, factor: int) -> _Fold | None:
    op = node.op
    if not isinstance(op, Conv2d) or op.groups > 1 or op.dilation[1] > 1 or factor < 2:
        return None
    columns, outputs = graph.type(node.inputs[0]).shape[1], graph.type(node.name).shape[1]
    kernel, (stride, left) = graph.type(node.inputs[1]).shape[2], (op.stride[1], op.padding[1])
    group = factor // math.gcd(factor, stride)
    if columns % factor or outputs % group:
        return None
    before, by = -(-left // factor), group * stride // factor
    width = before + ((group - 1) * stride - left + kernel - 1) // factor + 1
    # What the last window reaches beyond the image; columns that no window reaches may also be left over.
    after = (outputs // group - 1) * by + width - before - columns // factor
    if after <= -by:
        return None
    folded = replace(op, stride=(op.stride[0], by), padding=(op.padding[0], before, op.padding[2], max(0, after)))
    return _Fold(folded, factor, group, width, left, stride)
