"""Tensors in files: NumPy's .npy, read and written so that a bad file or a full disk ends in a sentence."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from codesign.errors import InputError

Array = np.ndarray[Any, np.dtype[Any]]


def read_array(path: Path) -> Array:
    """The array in `path`. Raises InputError for a file that is missing, damaged, or holds Python objects."""
    try:
        with path.open("rb") as file:
            array: Array = np.load(file, allow_pickle=False)
    except OSError as error:
        raise InputError.at(str(path), f"cannot be read: {error.strerror}", "a .npy file") from error
    except (ValueError, EOFError) as error:
        first = str(error).splitlines()[0]
        raise InputError.at(str(path), f"not an array: {first}", "a .npy file", "numpy.save") from error
    if not isinstance(array, np.ndarray):
        raise InputError.at(str(path), "an archive of arrays", "a .npy file", "numpy.save")
    return array


def write_array(path: Path, array: Array) -> None:
    """Write aside and rename: the old file or the whole new one. Raises InputError when that is not possible."""
    _write(path, lambda file: np.save(file, array, allow_pickle=False))


def write_bytes(path: Path, content: bytes) -> None:
    """The same for a file of any kind."""
    _write(path, lambda file: file.write(content))


def _write(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with aside.open("wb") as file:
                fill(file)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise InputError.at(str(path), f"cannot be written: {error.strerror}") from error


def array_paths(folder: Path, name: str, count: int) -> Sequence[Path]:
    """Where `count` arrays are kept: `inputs.npy`, or `inputs_0.npy`, `inputs_1.npy`, … when there are several."""
    if count == 1:
        return [folder / f"{name}.npy"]
    return [folder / f"{name}_{i}.npy" for i in range(count)]
