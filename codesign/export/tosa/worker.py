"""The process that TOSA's reference model runs in: `python worker.py FOLDER [frames]`.

The model ends its process when a graph is not valid. FOLDER holds model.tosa and inputs_0.npy, inputs_1.npy, …;
outputs_0.npy, … are written. With `frames` the model has a batch of one and is run once for each frame. Exit status 1:
the model has no result, and the last line says why.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def main(folder: Path, by_frame: bool) -> int:
    """Run the model of FOLDER once, or once for each frame."""
    feeds = [np.load(folder / f"inputs_{i}.npy") for i in range(len(list(folder.glob("inputs_*.npy"))))]
    try:
        content = (folder / "model.tosa").read_bytes()
        runs = [[feed[i : i + 1] for feed in feeds] for i in range(len(feeds[0]))] if by_frame else [feeds]
        columns = zip(*(evaluate(content, run) for run in runs), strict=True)
        outputs = [np.concatenate(column) for column in columns]
    except (RuntimeError, ValueError) as error:
        print(error)
        return 1
    for number, output in enumerate(outputs):
        np.save(folder / f"outputs_{number}.npy", output)
    return 0


def evaluate(content: bytes, feeds: Sequence[NDArray[Any]], level: str = "NONE") -> list[NDArray[Any]]:
    """The outputs of the graph `content`. RuntimeError for a result that the model says is unpredictable.

    level  the limits on sizes that the graph must keep: NONE, or EIGHTK for those of TOSA's level 8K
    """
    import tosa_reference_model

    outputs, status = tosa_reference_model.run(content, list(feeds), tosa_level=level)
    if status != tosa_reference_model.GraphStatus.TOSA_VALID:
        raise RuntimeError(f"the graph is {status.name.removeprefix('TOSA_').lower()} for these inputs")
    return [np.asarray(output) for output in outputs]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:] == ["frames"]))
