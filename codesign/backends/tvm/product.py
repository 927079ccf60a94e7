"""What a build of either kind of target is made of: a directory from the cache, its figures, a table of its layers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codesign.backends.tvm.backend import FIGURES
from codesign.errors import Diagnostic, InputError, raise_all
from codesign.ir.graph import Graph
from codesign.report import Basis, Metric
from codesign.schedule import TvmSchedule
from codesign.target import Target
from codesign.toolchain import cached, digest

LAYERS = "layers.csv"
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Product:
    """A deliverable: where it lies, its figures, and what a user has to know."""

    directory: Path
    metrics: Sequence[Metric]
    notes: Sequence[str]


@dataclass(frozen=True)
class Figures:
    """What was found out while a deliverable was made; layers: a row for each kernel, all with the same columns."""

    metrics: Sequence[Metric]
    notes: Sequence[str]
    layers: Rows


def product_of(
    graph: Graph, schedule: TvmSchedule, target: Target, key: Sequence[str], make: Callable[[Path], Figures]
) -> Product:
    """What `make` writes for a schedule, from the cache if it was made before; key: what else it depends on."""
    parts = [json.dumps(data, sort_keys=True) for data in (schedule.to_data(), target.to_data())]

    def whole(out: Path) -> None:
        figures = make(out)
        rows = [[m.name, m.value, m.unit, m.basis.value] for m in figures.metrics]
        told = {"target": target.name, "data": target.to_data(), "metrics": rows, "notes": list(figures.notes)}
        (out / FIGURES).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        with (out / LAYERS).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(figures.layers[0]) if figures.layers else ["layer"])
            writer.writeheader()
            writer.writerows(figures.layers)

    directory = cached("tvm-networks", digest(graph.digest(), *parts, *key, _sources()), whole)
    told = json.loads((directory / FIGURES).read_text(encoding="utf-8"))
    metrics = [Metric(name, value, unit, Basis(basis)) for name, value, unit, basis in told["metrics"]]
    return Product(directory, metrics, told["notes"])


def expect_outputs(schedule: TvmSchedule, outputs: Sequence[str]) -> None:
    """Raise InputError unless the schedule has an entry for every kernel, and no other."""
    hint = "codesign compile without --schedule makes one"
    missing = [name for name in outputs if name not in schedule.kernels]
    found = [Diagnostic(f"schedule of {name}", "missing", hint=hint) for name in missing]
    unknown = sorted(set(schedule.kernels) - set(outputs))
    found += [Diagnostic(f"schedule of {name}", "no kernel writes this tensor", hint=hint) for name in unknown]
    raise_all(InputError, found)


def _sources() -> str:
    """A digest of the code that a deliverable depends on."""
    here = Path(__file__).parent
    kinds = (".py", ".c", ".h", ".S", ".cl")
    return digest(*sorted(path for path in here.rglob("*") if path.suffix in kinds))
