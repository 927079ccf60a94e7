"""What no output depends on."""

from __future__ import annotations

from codesign.ir.graph import Graph
from codesign.passes.rewrite import live


def remove_dead(graph: Graph) -> Graph:
    """Nodes and constants that no output depends on -> nothing; inputs stay, they are the interface."""
    return live(graph)
