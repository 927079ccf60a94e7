"""Passes: Graph -> Graph, one per file, each exact on every input of the graph.

A pass is a function; its name is `__name__`, the first line of its docstring says what becomes of what.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from codesign.ir.graph import Graph
from codesign.passes.dense_to_conv import dense_to_conv
from codesign.passes.double_add import double_add
from codesign.passes.expand_dilation import expand_dilation
from codesign.passes.flatten_early import flatten_early
from codesign.passes.fold_reshapes import fold_reshapes
from codesign.passes.groups_to_dense import groups_to_dense
from codesign.passes.mean_to_sum import mean_to_sum
from codesign.passes.merge_bias_into_threshold import merge_bias_into_threshold
from codesign.passes.merge_equal import merge_equal
from codesign.passes.merge_thresholds import merge_thresholds
from codesign.passes.positive_multipliers import positive_multipliers
from codesign.passes.quantise_before_pooling import quantise_before_pooling
from codesign.passes.remove_dead import remove_dead
from codesign.passes.remove_identity import remove_identity
from codesign.passes.requant_to_threshold import requant_to_threshold
from codesign.passes.split_padding import split_padding
from codesign.passes.strided_rows import strided_rows
from codesign.passes.transpose_to_take import transpose_to_take

Pass = Callable[[Graph], Graph]

# To what a streaming design is made of: Conv2d without padding, dilation or groups (but depthwise), Dense on vectors,
# Threshold, Requant, Add, MaxPool2d and sums without padding, Pad, Reshape, Concat, ArgMax.
PIPELINE: tuple[Pass, ...] = (
    remove_dead,
    dense_to_conv,
    fold_reshapes,
    remove_identity,  # after fold_reshapes: there and back is nothing
    merge_equal,
    expand_dilation,
    groups_to_dense,
    mean_to_sum,  # before split_padding: a mean does not count padding
    split_padding,
    double_add,  # after merge_equal and remove_identity, which show that two values are one
    positive_multipliers,  # before requant_to_threshold, which takes no negative ones
    requant_to_threshold,
    merge_thresholds,
    merge_bias_into_threshold,  # after all thresholds are there
    flatten_early,  # where the Reshape stands directly behind
)

# To what a kernel of TFLite or TOSA is made of: a sum and its rescaling directly behind it.
KERNELS: tuple[Pass, ...] = (remove_dead, merge_equal, quantise_before_pooling)
# To what an HLS project is made of: the same, and Lookup, Mul, Take and Softmax.
HLS_PIPELINE: tuple[Pass, ...] = (transpose_to_take, *PIPELINE, strided_rows)


def run_passes(graph: Graph, passes: Sequence[Pass] = PIPELINE) -> Graph:
    """The graph after every pass in order. Inputs and outputs keep their names, and the outputs every bit."""
    for step in passes:
        graph = step(graph)
    return graph
