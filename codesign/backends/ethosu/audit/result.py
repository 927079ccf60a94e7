"""What an audit found: a row for every operation of the NPU, a line for every layer, and the counts."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

_REASONS = 3
"""Why something is not established: as many reasons as a summary names."""


class Verdict(enum.Enum):
    """PROVED: equal to the golden graph for every input. DIFFERS: it is not. OPEN: not established either way."""

    PROVED = "proved"
    DIFFERS = "differs"
    OPEN = "not established"


@dataclass(frozen=True)
class Row:
    """One operation of the NPU.

    layer     the user's name of the layer that it belongs to
    operator  of the model, with all that are fused into the operation: `CONV_2D + LOGISTIC`
    kind      of the operation: `depthwise convolution`
    offset    of its command in the stream, in bytes
    findings  what differs or is not established and why; of a proved one what was compared
    differing constants that differ
    """

    layer: str
    operator: str
    kind: str
    offset: int
    verdict: Verdict
    findings: tuple[str, ...]
    differing: int = 0

    def __str__(self) -> str:
        return f"{self.layer}: {self.kind} at {self.offset:#x} {self.verdict.value}: {'; '.join(self.findings)}"


@dataclass(frozen=True)
class LayerAudit:
    """One operator of the model.

    constants   of the golden graph: weights, biases, multipliers, shifts, tables, and the two limits of a clamp
    differing   of them, in the stream
    operations  of the NPU that compute it; 0: it is left to the CPU, or needs none
    """

    layer: str
    operator: str
    verdict: Verdict
    findings: tuple[str, ...]
    constants: int
    differing: int
    operations: int

    @property
    def proved(self) -> int:
        """Constants that are proved to be the golden graph's."""
        return 0 if self.verdict is Verdict.OPEN else self.constants - self.differing

    def __str__(self) -> str:
        return f"{self.layer}: {self.operator} {self.verdict.value}: {'; '.join(self.findings)}"


@dataclass(frozen=True)
class Audit:
    """rows: operations in the order of the stream; layers: operators in the order of the model.

    program  what differs or is not established of the whole: outputs, damage that ends the audit
    """

    rows: tuple[Row, ...]
    layers: tuple[LayerAudit, ...]
    program: tuple[tuple[Verdict, str], ...] = ()

    @property
    def differs(self) -> bool:
        """Whether the compiled model must not be delivered."""
        verdicts = [row.verdict for row in self.rows] + [layer.verdict for layer in self.layers]
        return Verdict.DIFFERS in verdicts + [verdict for verdict, _ in self.program]

    @property
    def constants(self) -> int:
        """Constants of the golden graph in the layers that the NPU computes."""
        return sum(layer.constants for layer in self.layers if layer.operations)

    @property
    def constants_proved(self) -> int:
        return sum(layer.proved for layer in self.layers if layer.operations)

    @property
    def constants_differing(self) -> int:
        return sum(layer.differing for layer in self.layers)

    def operations(self, verdict: Verdict | None = None) -> int:
        """Operations of the NPU, all or those with a verdict."""
        return sum(verdict in (None, row.verdict) for row in self.rows)

    @property
    def reasons(self) -> tuple[tuple[str, int], ...]:
        """Why operations are not established, and of how many that is said; the commonest first."""
        return tuple(Counter(t for row in self.rows if row.verdict is Verdict.OPEN for t in row.findings).most_common())

    @property
    def differences(self) -> tuple[str, ...]:
        """A sentence for everything that differs, the layer's name first."""
        found = [str(row) for row in self.rows if row.verdict is Verdict.DIFFERS]
        found += [str(layer) for layer in self.layers if layer.verdict is Verdict.DIFFERS and layer.findings]
        return (*found, *(text for verdict, text in self.program if verdict is Verdict.DIFFERS))

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "constants": self.constants,
            "constants_proved": self.constants_proved,
            "constants_differing": self.constants_differing,
            "operations": [{**asdict(row), "verdict": row.verdict.value} for row in self.rows],
            "layers": [{**asdict(layer), "verdict": layer.verdict.value} for layer in self.layers],
            "program": [{"verdict": verdict.value, "finding": text} for verdict, text in self.program],
        }

    def summary(self) -> str:
        """One line: constants and operations proved, of how many; the commonest reasons why others are not."""
        proved, open_ = self.operations(Verdict.PROVED), self.operations(Verdict.OPEN)
        differing = self.operations(Verdict.DIFFERS)
        text = (
            f"{self.constants_proved:,} of {self.constants:,} constants and "
            f"{proved} of {len(self.rows)} operations equal the golden graph"
        )
        text += f"; {differing} operations differ" if differing else ""
        if not open_:
            return text
        reasons = [f"{reason} ({count})" for reason, count in self.reasons]
        more = "; for others see artifact/audit.json" if len(reasons) > _REASONS else ""
        return f"{text}; {open_} not established: {', '.join(reasons[:_REASONS])}{more}"


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """DIFFERS before OPEN before PROVED."""
    for verdict in (Verdict.DIFFERS, Verdict.OPEN):
        if verdict in verdicts:
            return verdict
    return Verdict.PROVED
