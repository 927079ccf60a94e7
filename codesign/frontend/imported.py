"""What an import gives: the graph, the source model to compare with, and what the user should know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from codesign.frontend.context import Probe
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray, RealArray


class SourceModel(Protocol):
    """The user's model in its own framework.

    name      the framework, as reports call it
    evaluate  real inputs, each (N, …) in the model's axes -> real outputs
    trace     the same, and the real tensor behind every probe, by its position in `probes`
    """

    name: str

    def evaluate(self, *inputs: Any) -> list[RealArray]: ...

    def trace(self, probes: Sequence[Probe], *inputs: Any) -> tuple[list[RealArray], Mapping[int, RealArray]]: ...


@dataclass(frozen=True, eq=False)
class Imported:
    """graph: the integer graph; source: the model it came from (None for a graph file); notes: sentences for the user.

    probes   the quantisers, where the golden evaluation can be compared with the source
    layouts  for outputs by name: where the elements of the user's tensor are in the graph's, row-major, as an index
    """

    graph: Graph
    source: SourceModel | None = None
    notes: tuple[str, ...] = ()
    probes: tuple[Probe, ...] = ()
    layouts: Mapping[str, IntArray] = field(default_factory=dict)
