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
    """Where a search stands; costs in `unit`, of the whole network, kernels that were never measured left out.

    total    of the best known kernels
    guessed  of the templates' best guesses: what `codesign compile` takes where nothing is on record
    scalar   of the definition, one element after the other, as LLVM compiles it
    vectors  of the definition with its last axis in vectors
    """

    seconds: float
    trials: int
    rejected: int
    total: float
    guessed: float
    scalar: float
    vectors: float
    unit: str

    def __str__(self) -> str:
        text = f"{self.seconds:.0f} s, {self.trials} trials ({self.rejected} rejected): {self.total:,.0f} {self.unit}"
        if not self.total:
            return text
        guessed, scalar, vectors = (cost / self.total for cost in (self.guessed, self.scalar, self.vectors))
        gains = f"{guessed:.2f} times faster than untuned, {scalar:.1f} than the definition, {vectors:.1f} in vectors"
        return f"{text}, {gains}"


@dataclass(frozen=True)
class Tuned:
    """The result: the best choice for every task, by its output; how it was found; what was rejected, by reason."""

    choices: Mapping[str, Choice]
    state: State
    rejected: Mapping[str, int]

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self.state), "rejected": dict(self.rejected)}
