"""When a search stops, where it stands, and what it found: plain data, without TVM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Choice = Mapping[str, Any]


@dataclass(frozen=True)
class Budget:
    """When to stop: after so much time, or so many trials; None: no limit of that kind."""

    seconds: float | None = None
    trials: int | None = None


@dataclass(frozen=True)
class State:
    """Where a search stands; costs in `unit`, of the whole network, kernels that were never measured left out."""

    seconds: float
    trials: int
    rejected: int
    total: float
    untuned: float
    scalar: float
    unit: str

    def __str__(self) -> str:
        text = f"{self.seconds:.0f} s, {self.trials} trials ({self.rejected} rejected): {self.total:,.0f} {self.unit}"
        return f"{text}, {self.untuned / self.total:.1f} times faster than untuned" if self.total else text


@dataclass(frozen=True)
class Tuned:
    """The result: the best choice for every task, by its output; how it was found; what was rejected, by reason."""

    choices: Mapping[str, Choice]
    state: State
    rejected: Mapping[str, int]

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self.state), "rejected": dict(self.rejected)}
