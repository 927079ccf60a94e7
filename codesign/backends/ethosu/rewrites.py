"""Graph rewrites that an NPU may run faster and that change no bit: which there are, and where they are worth a try."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from codesign.errors import Diagnostic, InputError, raise_all
from codesign.ir.graph import Graph
from codesign.passes.buffer_input import buffer_input, reads_input
from codesign.passes.depthwise_to_dense import depthwise, depthwise_to_dense
from codesign.passes.flatten_pointwise import flatten_pointwise, pointwise
from codesign.passes.fold_columns import fold_columns, foldable
from codesign.passes.gather_windows import gather_windows, gatherable
from codesign.passes.order_channels import order_channels, orderable

FACTORS = (2, 3, 4, 5, 6, 8, 10, 16)
"""The numbers of columns that are folded into one."""

# Where more was tried, nothing was gained: see docs/guide/ethosu-scheduling.md.
_FEW_CHANNELS = 4
_MOST_FOLDED = 32
_MOST_GATHERED = 64
_MOST_DEPTHWISE = 16


@dataclass(frozen=True)
class Rewrite:
    """A rewrite as a schedule names it.

    apply       (graph, layers) -> graph
    applicable  the layers of a graph that it can change
    promising   those where it is worth a try
    excludes    whether a layer that it changes is out of reach for the others that say so, too
    """

    name: str
    summary: str
    apply: Callable[[Graph, Collection[str]], Graph]
    applicable: Callable[[Graph], tuple[str, ...]]
    promising: Callable[[Graph], tuple[str, ...]]
    excludes: bool = False


def _fold(factor: int) -> Rewrite:
    def apply(graph: Graph, layers: Collection[str]) -> Graph:
        return fold_columns(graph, layers, factor)

    def promising(graph: Graph) -> tuple[str, ...]:
        return tuple(name for name in foldable(graph, factor) if _is_narrow(graph, name, factor))

    summary = f"{factor} columns of an image with few channels become one"
    return Rewrite(
        f"fold_columns_by_{factor}", summary, apply, partial(foldable, factor=factor), promising, excludes=True
    )


def _is_narrow(graph: Graph, name: str, factor: int) -> bool:
    channels = graph.type(graph.node(name).inputs[0]).channels
    return channels <= _FEW_CHANNELS and factor * channels <= _MOST_FOLDED


def _short_rows(graph: Graph) -> tuple[str, ...]:
    inputs = {name: graph.type(graph.node(name).inputs[0]) for name in gatherable(graph)}
    return tuple(n for n, x in inputs.items() if x.channels <= _FEW_CHANNELS and x.size // x.shape[0] <= _MOST_GATHERED)


_ALL_CHANNELS = 1 << 30

# In the order in which they are applied: each leaves the layers that come later their names and operators.
_TABLE = (
    Rewrite(
        "order_channels", "channels sorted by the size of their weights, which then compress better",
        order_channels, orderable, orderable,
    ),
    Rewrite(
        "buffer_input", "an input that windows read more than once is copied into the memory of results",
        buffer_input, reads_input, reads_input,
    ),
    Rewrite(
        "depthwise_to_dense", "a depthwise convolution of few channels becomes an ordinary one",
        depthwise_to_dense, partial(depthwise, most_channels=_ALL_CHANNELS),
        partial(depthwise, most_channels=_MOST_DEPTHWISE), excludes=True,
    ),
    Rewrite(
        "gather_windows", "the columns of each window of a narrow image are gathered as channels first",
        gather_windows, gatherable, _short_rows, excludes=True,
    ),
    *map(_fold, FACTORS),
    Rewrite(
        "flatten_pointwise", "a 1x1 convolution sees its image as one row",
        flatten_pointwise, pointwise, pointwise, excludes=True,
    ),
)  # fmt: skip

REWRITES = {rewrite.name: rewrite for rewrite in _TABLE}


def apply_rewrites(graph: Graph, rewrites: Sequence[tuple[str, Sequence[str]]]) -> Graph:
    """The graph after each (rewrite, layers) in order: the `rewrites` of an EthosuSchedule.

    Raises InputError for a name that is no rewrite, and for layers that it cannot change.
    """
    for name, layers in rewrites:
        if name not in REWRITES:
            raise InputError.at("schedule, rewrites", f"there is no rewrite {name!r}", ", ".join(REWRITES))
        rewrite = REWRITES[name]
        applicable = rewrite.applicable(graph)
        where, allowed = f"schedule, rewrite {name}", ", ".join(applicable) or "no layer of this model"
        raise_all(
            InputError,
            [Diagnostic(where, f"cannot change {layer!r}", allowed) for layer in layers if layer not in applicable],
        )
        graph = rewrite.apply(graph, layers)
    return graph
