"""Hardware co-design for quantised neural networks: a model in, bit-exact and cycle-exact deliverables out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codesign.ir.graph import Graph

__all__ = ["load"]


def load(path: str | Path) -> Graph:
    """The integer graph of a model: `.onnx`, `file.py:function`, or a graph's text form. See `codesign.frontend`."""
    from codesign.frontend import import_model

    return import_model(path).graph
