"""Which choices are likely to be fast: log cost as a sum of one effect for each value, learned by ridge regression.

    log2 cost(choice) ~ mean + sum over keys of effect[template, key, value]

Choices of different templates share nothing. With few measurements the effects are small, and the order of the template
itself, the best guess first, decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from codesign.backends.tvm.templates.base import Choice
from codesign.ir.types import RealArray

RIDGE = 0.3  # of an effect's square, against the square of an error
ORDER = 0.05  # log2 of cost from the first to the last of a template's guesses


def predict(choices: Sequence[Choice], known: Sequence[tuple[int, float]]) -> RealArray:
    """log2 of the cost of every choice, given (index, cost) of those that were measured."""
    prior = ORDER * np.arange(len(choices)) / max(len(choices), 1)
    if not known:
        return np.asarray(prior)
    columns: dict[str, int] = {}
    rows = [[columns.setdefault(f, len(columns)) for f in features(choice)] for choice in choices]
    matrix = np.zeros((len(choices), len(columns)))
    for i, row in enumerate(rows):
        matrix[i, row] = 1.0
    index = np.array([i for i, _ in known])
    cost = np.log2([cost for _, cost in known])
    measured, mean = matrix[index], cost.mean()
    system = measured.T @ measured + RIDGE * np.eye(len(columns))
    effects = np.linalg.solve(system, measured.T @ (cost - mean))
    return np.asarray(mean + matrix @ effects + prior)


def features(choice: Choice) -> list[str]:
    """A choice as a set of names: its template, and each of its values."""
    name = choice["template"]
    return [f"{name}", *(f"{name} {key}={choice[key]}" for key in sorted(choice) if key != "template")]


def distance(a: Choice, b: Choice) -> float:
    """How far two choices are apart: numbers by the logarithm of their ratio, whatever else differs counts as 2."""
    return sum(_apart(a.get(key), b.get(key)) for key in {*a, *b})


def _apart(x: object, y: object) -> float:
    if x == y:
        return 0.0
    if isinstance(x, int) and isinstance(y, int) and min(x, y) >= 0:
        return abs(math.log2((x + 1) / (y + 1)))
    return 2.0
