"""The network on a PYNQ board: real images in, scores out, and a check of every bit against the golden vectors.

On the board, beside this file: network.bit and network.hwh (of design.tcl), axi_stream_driver.py, design.json, and for
the replay tb_data.

    python3 host.py                 replays tb_data and compares every word; exit status 0: all equal
    from host import Network
    scores = Network().predict(images)

axi_stream_driver.py is hls4ml's driver, as it is. Words travel as float32, which holds each of them exactly.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent


class Network:
    """The accelerator with the ports that design.json describes."""

    def __init__(self, bitfile: Path = HERE / "network.bit") -> None:
        self.ports = json.loads((HERE / "design.json").read_text())["ports"]
        self.bitfile = str(bitfile)
        self._overlay: Any = None

    def words(self, frames: Any) -> Any:
        """The stored words of (frames, ...) inputs: real values quantised as the model says, integers as they are."""
        port = self.ports["input"]
        frames = np.asarray(frames)
        if frames.dtype.kind == "f":
            quant = port["quant"]
            if quant is None:
                raise ValueError("the model gives its input no scale: pass integers")
            exact = frames / _along(quant, "scale", frames.ndim) + _along(quant, "zero_point", frames.ndim)
            frames = np.where(exact >= 0, 1, -1) if port["bipolar"] else np.rint(exact)
            frames = np.clip(frames, port["lo"], port["hi"]).astype(np.int64)
        if frames.min() < port["lo"] or frames.max() > port["hi"]:
            raise ValueError(f"inputs from {frames.min()} to {frames.max()}; allowed: {port['lo']} to {port['hi']}")
        return (frames + 1) // 2 if port["bipolar"] else frames

    def run(self, words: Any) -> Any:
        """The words that the accelerator gives for (frames, elements) words."""
        from axi_stream_driver import NeuralNetworkOverlay  # type: ignore[import-not-found, unused-ignore]

        words = words.reshape(len(words), -1)
        size = int(np.prod(self.ports["output"]["shape"]))
        if self._overlay is None:
            self._overlay = NeuralNetworkOverlay(self.bitfile, words[0].shape, (size,))
        found = [np.array(self._overlay.predict(frame.astype(np.float32))) for frame in words]
        return np.asarray(found).astype(np.int64)

    def predict(self, frames: Any) -> Any:
        """The outputs as real numbers, where the model gives them a scale; else as integers."""
        port = self.ports["output"]
        values = self.run(self.words(frames)).reshape(len(frames), *port["shape"])
        values = 2 * values - 1 if port["bipolar"] else values
        quant = port["quant"]
        if quant is None:
            return values
        return (values - _along(quant, "zero_point", values.ndim)) * _along(quant, "scale", values.ndim)


def _along(quant: dict[str, Any], name: str, rank: int) -> Any:
    """Scales or zero points in a shape that broadcasts along their axis; axis 0 of an array is the batch."""
    values = np.asarray(quant[name], dtype=np.float64)
    if values.size == 1:
        return values.reshape(())
    axis = quant["axis"] % (rank - 1) + 1
    return values.reshape([-1 if i == axis else 1 for i in range(rank)])


def main() -> int:
    """Replay the golden vectors."""
    inputs = np.loadtxt(HERE / "tb_data" / "tb_input_features.dat", dtype=np.int64, ndmin=2)
    golden = np.loadtxt(HERE / "tb_data" / "tb_output_predictions.dat", dtype=np.int64, ndmin=2)
    wrong = int((Network().run(inputs) != golden).sum())
    print(f"{len(golden)} frames, {wrong} words differ from the golden outputs")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
