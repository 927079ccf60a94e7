"""The toy design of toy_top.sv: its sources, its configuration file, its inputs and what must come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).parent
SOURCES = [HERE / "toy_top.sv", HERE / "toy_monitors.sv"]
TOP = "toy_top"
BEATS = 16
FAULT_DEADLOCK, FAULT_DATA, FAULT_LAST, FAULT_VALID, FAULT_FINISH, FAULT_RESET = 1, 2, 3, 4, 5, 6

Bytes = npt.NDArray[np.uint8]


def configure(directory: Path, add: int = 7, fault: int = 0) -> Path:
    (directory / "config.mem").write_text(f"{BEATS:x}\n{add:x}\n{fault:x}\n")
    return directory


def inputs(frames: int, seed: int = 0) -> Bytes:
    """(frames, BEATS, 3) random bytes."""
    return np.random.default_rng(seed).integers(0, 256, (frames, BEATS, 3)).astype(np.uint8)


def expected(data: Bytes, add: int = 7) -> Bytes:
    """(frames, BEATS, 5): every 24-bit word plus `add`, in 40 bits."""
    words = (data.astype(np.int64) << np.array([0, 8, 16])).sum(axis=-1) + add
    result: Bytes = (words[..., np.newaxis] >> np.arange(0, 40, 8) & 255).astype(np.uint8)
    return result
