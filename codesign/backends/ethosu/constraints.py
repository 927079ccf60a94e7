"""refusals(operator) is empty <=> Vela 5.2 places the operator on the NPU when it stands alone in a model.

Vela prints rules of its own (`regor.tflite_operator_constraints`), but several of them differ from what it does:
strides that need no padding, limits that are off by one, operators at which it stops with an error. The rules here are
what it does; tests compare them with where Vela places models of one operator, at the limits and at random. Operators
in CHECKED are compared; of the others only the name and the tensors are looked at.

    python -m codesign.backends.ethosu.constraints docs/guide/ethosu-operators.md   brings the tables there up to date
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from codesign.backends.ethosu.rules import linear, shape, tensors, windows
from codesign.backends.ethosu.rules.base import FAMILIES, OLDER, Rule, View
from codesign.backends.ethosu.vela import Family
from codesign.frontend.tflite.schema import Model, Operator

BEGIN = "<!-- ethos-u: written by scripts/update-docs -->"
END = "<!-- end of ethos-u -->"

RULES: tuple[Rule, ...] = (*tensors.RULES, *linear.RULES, *windows.RULES, *shape.RULES)

CHECKED = (
    "ADD", "ARG_MAX", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXPAND_DIMS",
    "FULLY_CONNECTED", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL",
    "PAD", "PADV2", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SOFTMAX", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "SUB", "TANH",
    "TRANSPOSE",
)  # fmt: skip
"""Operators whose every rule is compared with Vela's placement."""

_OTHERS = (
    "ABS", "BATCH_MATMUL", "ELU", "EXP", "GELU", "LOG", "MIRROR_PAD", "NEG", "PACK", "PRELU", "REDUCE_MAX",
    "REDUCE_MIN", "RELU_0_TO_1", "REVERSE_V2", "RSQRT", "SQUARED_DIFFERENCE", "SUM", "TILE", "TRANSPOSE_CONV",
    "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNPACK",
)  # fmt: skip
_ONLY_U85 = (
    "ASSIGN_VARIABLE", "CAST", "DIV", "EQUAL", "GATHER", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL",
    "LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "NOT_EQUAL", "READ_VARIABLE", "REDUCE_ALL", "REDUCE_ANY", "SCATTER_ND",
    "SELECT", "SELECT_V2",
)  # fmt: skip


@dataclass(frozen=True)
class Refusal:
    """Why an operator stays on the CPU: what was found, what the NPU takes."""

    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.found}; the NPU takes {self.allowed}" if self.allowed else self.found


def supported(family: Family) -> tuple[str, ...]:
    """The operators that Vela knows for the family, in alphabetical order."""
    return tuple(sorted((*CHECKED, *_OTHERS, *(() if family in OLDER else _ONLY_U85))))


def find_refusals(op: Operator, model: Model, family: Family) -> list[Refusal]:
    """Every reason why Vela does not place the operator on the NPU; none: it does."""
    if op.name not in supported(family):
        others = [other for other in FAMILIES if op.name in supported(other)]
        return [Refusal(f"{op.name} does not run on {family}", f"it on {', '.join(others)}" if others else "")]
    view = View(op, model, family)
    if not view.inputs or not view.outputs:
        return [Refusal(f"{op.name} with {len(op.inputs)} inputs and {len(op.outputs)} outputs", "one of each or more")]
    found = [(rule, rule.predicate(view)) for rule in RULES if rule.covers(op.name, family)]
    return [Refusal(text, rule.allowed) for rule, text in found if text]


def refusals(op: Operator, model: Model, family: Family) -> list[str]:
    """Every reason as a sentence without its full stop."""
    return [str(refusal) for refusal in find_refusals(op, model, family)]


def operator_table() -> str:
    """Markdown: the operators of each family, and every rule with the operators and families that it is for."""
    lines = ["| operator | Ethos-U55, U65 | Ethos-U85 | every limit compared with Vela |", "|---|---|---|---|"]
    for name in supported("ethos-u85"):
        cells = ("yes" if name in supported("ethos-u55") else "no", "yes", "yes" if name in CHECKED else "no")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| the NPU takes | operators | families |", "|---|---|---|"]
    for rule in RULES:
        everyone = f"all but {', '.join(rule.exempt)}" if rule.exempt else "all"
        families = "all" if rule.families == FAMILIES else "U55, U65" if rule.families == OLDER else "U85"
        text = rule.allowed.replace("*", r"\*")
        lines.append(f"| {text} | {', '.join(rule.operators) or everyone} | {families} |")
    return "\n".join(lines)


def update(text: str) -> str:
    """`text` with current tables between its markers. ValueError when it has none."""
    start, end = text.index(BEGIN), text.index(END)
    return f"{text[:start]}{BEGIN}\n{operator_table()}\n{text[end:]}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(update(page.read_text(encoding="utf-8")), encoding="utf-8")
