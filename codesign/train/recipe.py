"""Recipes: what to train, on what, and how well it must do; one TOML file each.

data = "fashion-mnist"      seed = 1
[model]     kind = "mlp"    hidden = [64, 64, 64]    weight_bits = 2    activation_bits = 2
[training]  epochs = 20     batch = 500    learning_rate = 0.01    label_smoothing = 0.1
[goal]      accuracy = 0.84
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

from codesign.errors import Diagnostic, InputError, raise_all


@dataclass(frozen=True)
class Mlp:
    """Dense layers of `hidden` neurons, each with batch normalisation and a quantised activation; 1 bit is bipolar."""

    hidden: tuple[int, ...] = (64, 64, 64)
    weight_bits: int = 2
    activation_bits: int = 2


@dataclass(frozen=True)
class Cnn:
    """Convolutions 3x3 without padding, each with batch normalisation, activation, 2x2 max pooling; then one dense."""

    channels: tuple[int, ...] = (16, 32)
    weight_bits: int = 4
    activation_bits: int = 4


@dataclass(frozen=True)
class Training:
    """Adam with a one-cycle learning rate; the largest rate is `learning_rate`."""

    epochs: int = 20
    batch: int = 500
    learning_rate: float = 0.01
    label_smoothing: float = 0.1
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """A whole training; `accuracy` is the share of test images that must be classified rightly."""

    data: str
    seed: int
    model: Mlp | Cnn
    training: Training
    accuracy: float

    def digest(self) -> str:
        """SHA-256 of everything that determines the result: a checkpoint of another recipe is not resumed."""
        kind = type(self.model).__name__
        return hashlib.sha256(json.dumps([kind, asdict(self)], sort_keys=True).encode()).hexdigest()


DATA_SETS = ("fashion-mnist", "digits")
_MODELS: Mapping[str, type[Mlp] | type[Cnn]] = {"mlp": Mlp, "cnn": Cnn}


def _whole(least: int, most: int) -> tuple[str, Callable[[Any], bool]]:
    return f"a whole number from {least} to {most}", lambda v: type(v) is int and least <= v <= most


def _real(above: float, most: float) -> tuple[str, Callable[[Any], bool]]:
    return f"a number from {above:g} to {most:g}", lambda v: type(v) in (int, float) and above <= v <= most


def _sizes(most: int) -> tuple[str, Callable[[Any], bool]]:
    def ok(value: Any) -> bool:
        return (
            isinstance(value, list)
            and 1 <= len(value) <= most
            and all(type(n) is int and 1 <= n <= 4096 for n in value)
        )

    return f"a list of 1 to {most} whole numbers from 1 to 4096", ok


_RULES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "hidden": _sizes(16),
    "channels": _sizes(3),
    "weight_bits": _whole(1, 8),
    "activation_bits": _whole(1, 8),
    "epochs": _whole(1, 10_000),
    "batch": _whole(2, 60_000),
    "learning_rate": _real(1e-6, 1.0),
    "label_smoothing": _real(0.0, 0.5),
    "weight_decay": _real(0.0, 1.0),
    "accuracy": _real(0.0, 1.0),
    "seed": _whole(0, (1 << 31) - 1),
}


def read_recipe(path: Path) -> Recipe:
    """The recipe in `path`. Raises InputError with everything that is wrong in it."""
    where = str(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError.at(where, f"cannot be read: {error.strerror}", hint="examples/fashion_mlp.toml") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError.at(where, f"not a TOML file: {error}", hint="examples/fashion_mlp.toml") from error
    found: list[Diagnostic] = []
    top = ("data", "seed", "model", "training", "goal")
    found += [Diagnostic(where, f"unknown key {key!r}", ", ".join(top)) for key in data if key not in top]
    if data.get("data") not in DATA_SETS:
        found.append(Diagnostic(where, f"data is {data.get('data')!r}", " or ".join(map(repr, DATA_SETS))))
    tables = {name: data.get(name, {}) for name in ("model", "training", "goal")}
    for name, table in tables.items():
        if not isinstance(table, dict):
            found.append(Diagnostic(where, f"{name} is {table!r}", f"a table [{name}]"))
    raise_all(InputError, found)
    model = dict(tables["model"])
    kind = model.pop("kind", None)
    if kind not in _MODELS:
        found.append(Diagnostic(where, f"model.kind is {kind!r}", " or ".join(map(repr, _MODELS))))
    else:
        _check(where, "model", model, _names(_MODELS[kind]), found)
    _check(where, "training", tables["training"], _names(Training), found)
    _check(where, "goal", tables["goal"], ("accuracy",), found)
    _check(where, "", {"seed": data.get("seed", 1)}, ("seed",), found)
    raise_all(InputError, found)
    options: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in model.items()}
    return Recipe(
        cast(str, data["data"]),
        data.get("seed", 1),
        _MODELS[cast(str, kind)](**options),
        Training(**tables["training"]),
        float(tables["goal"].get("accuracy", 0.0)),
    )


def _names(kind: type[Mlp] | type[Cnn] | type[Training]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))


def _check(where: str, table: str, data: Mapping[str, Any], keys: tuple[str, ...], found: list[Diagnostic]) -> None:
    for key, value in data.items():
        name = f"{table}.{key}" if table else key
        if key not in keys:
            found.append(Diagnostic(where, f"unknown key {name!r}", ", ".join(keys)))
        elif not _RULES[key][1](value):
            found.append(Diagnostic(where, f"{name} is {value!r}", _RULES[key][0]))
