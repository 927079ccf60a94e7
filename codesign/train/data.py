"""Images to train on: Fashion-MNIST as Debian packages it, or scikit-learn's digits where apt is not to be had."""

from __future__ import annotations

import gzip
import importlib.util
import os
import struct
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codesign.errors import InputError, ToolError

FASHION_DIRS = ("/usr/share/datasets/fashion-mnist", "/usr/share/dataset-fashion-mnist")
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Images:
    """Grey images (N, 28, 28) and their classes (N,), for training and for testing.

    name    the data set that this really is
    source  where it was read
    note    why it is not the one that was asked for; empty when it is
    repeat  how often an epoch goes through them: a small set needs as many steps as a large one
    """

    name: str
    source: str
    train: Bytes
    train_labels: Bytes
    test: Bytes
    test_labels: Bytes
    note: str = ""
    repeat: int = 1


def fashion_dir() -> Path | None:
    """The folder of Fashion-MNIST's `.gz` files: $CODESIGN_FASHION_MNIST, else where Debian's package puts them."""
    chosen = os.environ.get("CODESIGN_FASHION_MNIST", "")
    folders = map(Path, [chosen] if chosen else FASHION_DIRS)
    return next((folder for folder in folders if (folder / "train-images-idx3-ubyte.gz").is_file()), None)


def available(name: str) -> str:
    """Which data set `load_images(name)` reads: the digits in place of a Fashion-MNIST that is not installed."""
    return "digits" if name == "digits" or fashion_dir() is None else name


def load_images(name: str) -> Images:
    """The data set `name`; in place of a Fashion-MNIST that is not installed, the digits, with a note that says so.

    Raises InputError for a damaged file, ToolError when neither data set is there.
    """
    if name == "digits":
        return _digits()
    folder = fashion_dir()
    if folder is not None:
        train, test = (
            (_idx(folder / f"{part}-images-idx3-ubyte.gz"), _idx(folder / f"{part}-labels-idx1-ubyte.gz"))
            for part in ("train", "t10k")
        )
        return Images("fashion-mnist", str(folder), *train, *test)
    hint = "apt install dataset-fashion-mnist, or CODESIGN_FASHION_MNIST=folder"
    if importlib.util.find_spec("sklearn") is None:
        looked = os.environ.get("CODESIGN_FASHION_MNIST", "") or FASHION_DIRS[0]
        raise ToolError.at("fashion-mnist", f"not found in {looked}", hint=f"{hint}, or pip install 'codesign[digits]'")
    note = f"Fashion-MNIST is not installed ({hint}): trained on scikit-learn's digits instead"
    return replace(_digits(), note=note)


def _idx(path: Path) -> Bytes:
    """An IDX file of unsigned bytes: magic 0x0000 08 rank, then the extents, big-endian, then the values."""
    try:
        with gzip.open(path) as file:
            data = file.read()
        zero, kind, rank = struct.unpack(">HBB", data[:4])
        shape = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
        if (zero, kind) != (0, 8):
            raise ValueError("not an IDX file of unsigned bytes")
        return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, struct.error, ValueError) as error:
        raise InputError.at(str(path), f"cannot be read: {error}", "a gzip-compressed IDX file") from error


def _digits() -> Images:
    """scikit-learn's 1,797 digits of 8x8, enlarged to 28x28 (three times, and a border of two); 500 are for testing."""
    if importlib.util.find_spec("sklearn") is None:
        raise ToolError.at("digits", "scikit-learn is not installed", hint="pip install 'codesign[digits]'")
    from sklearn.datasets import load_digits

    digits = load_digits()
    small = np.rint(np.asarray(digits.images) * (255 / 16)).astype(np.uint8)
    images = np.pad(small.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))
    labels = np.asarray(digits.target).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[500:], order[:500]
    return Images("digits", "scikit-learn", images[train], labels[train], images[test], labels[test], repeat=40)
