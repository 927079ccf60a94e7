"""Two factors that make simulated cycles those of a board, fitted to its measurements.

    measured cycles = pipeline * pipeline_cycles + stall * stall_cycles

by least squares of the relative errors, reweighted so that outliers count less (Huber's weights; Huber, Robust
Estimation of a Location Parameter, 1964). Both factors are fitted when there are at least ROWS_FOR_TWO rows and stalls
are seen in them; else one for both. A calibration belongs to a target and is kept among the user's settings.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from codesign.errors import Diagnostic, InputError, ToolError, raise_all

COLUMNS = ("layer", "pipeline_cycles", "stall_cycles", "measured_ms")
ROWS_FOR_TWO = 6
_HUBER = 1.345  # of the errors' scale: 95 % efficiency for normal errors
_ROUNDS = 30
_LOW, _HIGH = 0.1, 10.0  # a factor beyond these is a wrong clock, unit or target, not a board's character


@dataclass(frozen=True)
class Row:
    """One measurement: a layer or a network, what was simulated for it and what a board took."""

    layer: str
    pipeline_cycles: float
    stall_cycles: float
    measured_cycles: float


@dataclass(frozen=True)
class Calibration:
    """The factors, from how many rows, and the median relative error with them. As made: none."""

    pipeline: float = 1.0
    stall: float = 1.0
    rows: int = 0
    error: float = 0.0

    @property
    def note(self) -> str:
        if not self.rows:
            return "cycles are simulated, uncalibrated: no measurement of this board has been read (codesign calibrate)"
        return f"cycles are calibrated with {self.rows} measurements, median error {self.error:.0%}"

    def predict(self, row: Row) -> float:
        return self.pipeline * row.pipeline_cycles + self.stall * row.stall_cycles


def fit(rows: Sequence[Row]) -> Calibration:
    """The calibration of the rows, at least one."""
    two = len(rows) >= ROWS_FOR_TWO and any(row.stall_cycles > 0.02 * row.pipeline_cycles for row in rows)
    weights = [1.0] * len(rows)
    pipeline = stall = 1.0
    for _ in range(_ROUNDS):
        pipeline, stall = _solve(rows, weights, two)
        errors = [(pipeline * row.pipeline_cycles + stall * row.stall_cycles) / row.measured_cycles - 1 for row in rows]
        scale = max(1.4826 * _median([abs(e) for e in errors]), 1e-9)  # of a normal distribution's median deviation
        weights = [min(1.0, _HUBER * scale / max(abs(e), 1e-12)) for e in errors]
    return Calibration(pipeline, stall, len(rows), median_error(rows, Calibration(pipeline, stall)))


def median_error(rows: Sequence[Row], calibration: Calibration) -> float:
    """Median of |predicted / measured - 1|."""
    return _median([abs(calibration.predict(row) / row.measured_cycles - 1) for row in rows])


def _solve(rows: Sequence[Row], weights: Sequence[float], two: bool) -> tuple[float, float]:
    """Weighted least squares of a x + b y = 1, x and y over the measured cycles; one factor where two make no sense."""
    points = [(row.pipeline_cycles / row.measured_cycles, row.stall_cycles / row.measured_cycles) for row in rows]
    weighted = list(zip(weights, points, strict=True))
    if two:
        xx, xy, yy = (sum(w * p[i] * p[j] for w, p in weighted) for i, j in ((0, 0), (0, 1), (1, 1)))
        x, y = (sum(w * p[i] for w, p in weighted) for i in (0, 1))
        determinant = xx * yy - xy * xy
        if determinant > 1e-9 * xx * yy:
            a, b = (x * yy - y * xy) / determinant, (y * xx - x * xy) / determinant
            if a > 0 and b > 0:
                return a, b
    factor = sum(w * sum(p) for w, p in weighted) / sum(w * sum(p) ** 2 for w, p in weighted)
    return factor, factor


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def read_measurements(path: Path, clock_hz: float) -> list[Row]:
    """The rows of a CSV file with the COLUMNS. InputError: everything that is wrong in it."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            table = [(reader.line_num, entry) for entry in reader]
            present = reader.fieldnames or []
    except OSError as error:
        raise InputError.at(str(path), f"cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError.at(str(path), f"not a CSV file: {error}") from error
    missing = [name for name in COLUMNS if name not in present]
    if missing:
        hint = "layers.csv of a build has all but measured_ms"
        raise InputError.at(
            str(path), f"no column {', '.join(missing)}", f"{', '.join(COLUMNS)}, others are ignored", hint
        )
    rows, problems = [], []
    for line, entry in table:
        if not (entry["measured_ms"] or "").strip():
            continue  # a layer that was not measured
        numbers = {}
        for name in COLUMNS[1:]:
            try:
                numbers[name] = float(entry[name] or "")
            except ValueError:
                numbers[name] = math.nan
            low = 0.0 if name == "stall_cycles" else math.ulp(0.0)
            if not low <= numbers[name] < math.inf:
                allowed = "a number, 0 or more" if name == "stall_cycles" else "a number above 0"
                problems.append(Diagnostic(f"{path}, line {line}", f"{name} is {entry[name]!r}", allowed))
        measured = numbers["measured_ms"] * 1e-3 * clock_hz
        rows.append(Row(entry["layer"] or "", numbers["pipeline_cycles"], numbers["stall_cycles"], measured))
    raise_all(InputError, problems)
    if not rows:
        raise InputError.at(str(path), "holds no measurement", "a row with measured_ms for each layer measured")
    return rows


def check(calibration: Calibration, where: str) -> None:
    """Raises InputError for factors that no board has."""
    if not all(_LOW <= factor <= _HIGH for factor in (calibration.pipeline, calibration.stall)):
        found = f"measured / simulated is {calibration.pipeline:.3g} and {calibration.stall:.3g} for stalls"
        hint = "the target's clock_hz, the unit (ms of one inference, one thread), and that the rows are of this target"
        raise InputError.at(where, found, f"{_LOW:g} to {_HIGH:g}", hint)


def calibration_path(target: str) -> Path:
    """Where a target's calibration is kept: below $CODESIGN_CONFIG, else $XDG_CONFIG_HOME or ~/.config, codesign."""
    chosen = os.environ.get("CODESIGN_CONFIG", "")
    base = os.environ.get("XDG_CONFIG_HOME", "") or str(Path.home() / ".config")
    return (Path(chosen) if chosen else Path(base) / "codesign") / "calibration" / f"{target}.json"


def save(calibration: Calibration, target: str) -> Path:
    """Keep it for later simulations of the target. ToolError: it cannot be written."""
    path = calibration_path(target)
    aside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(asdict(calibration), indent=1) + "\n", encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        hint = "set CODESIGN_CONFIG to a directory that can be written"
        raise ToolError.at(str(path), f"cannot be written: {error.strerror}", hint=hint) from error
    return path


def load(target: str) -> Calibration:
    """The target's calibration; one without effect when there is none. InputError: the file is damaged."""
    path = calibration_path(target)
    if not path.is_file():
        return Calibration()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = Calibration(float(data["pipeline"]), float(data["stall"]), int(data["rows"]), float(data["error"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "codesign calibrate again, or remove the file"
        raise InputError.at(str(path), f"is no calibration: {error}", hint=hint) from error
    check(found, str(path))
    return found
