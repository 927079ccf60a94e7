"""Run the network's shared library from Python, with NumPy and nothing else.

from network import Network
network = Network()                      # finds ../lib beside this file
outputs = network.run(image)             # one integer array per input, of the input's shape; a list of outputs

python network.py --threads 2 X.npy -o Y.npy         # one file per input and output; their first axis are frames
python network.py --inputs A.bin --outputs B.bin     # frames as bytes: all inputs, or all outputs, one after the other
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent.parent
Array = np.ndarray[Any, Any]
Port = dict[str, Any]


class Network:
    """One network with memory of its own. Not to be used by two threads at once.

    inputs, outputs  what network.json says of them: name, shape, dtype (of the array), lo and hi (the values' range)
    """

    def __init__(self, threads: int = 1, directory: Path = HERE) -> None:
        data = json.loads((directory / "network.json").read_text(encoding="utf-8"))
        name = data["name"]
        self.inputs: list[Port] = data["inputs"]
        self.outputs: list[Port] = data["outputs"]
        self._library = ctypes.CDLL(str(directory / "lib" / f"lib{name}.so"))
        self._run = self._library[f"{name}_run"]
        self._run.argtypes = [ctypes.c_void_p] * 3
        alignment = data["arena_alignment"]
        self._memory = np.empty(data["arena_bytes"] + alignment, dtype=np.uint8)
        self._arena = self._memory.ctypes.data + -self._memory.ctypes.data % alignment
        self._set_threads = self._library[f"{name}_set_threads"]
        self.threads = int(self._set_threads(threads))

    def run(self, *inputs: Array) -> list[Array]:
        """The outputs of one frame, as a list of integer arrays. Raises ValueError for inputs that do not fit."""
        if len(inputs) != len(self.inputs):
            raise ValueError(f"{len(inputs)} inputs, but the network has {len(self.inputs)}")
        given = [_checked(array, port) for array, port in zip(inputs, self.inputs, strict=True)]
        made = [np.empty(port["shape"], dtype=port["dtype"]) for port in self.outputs]
        status = self._run(_pointers(given), _pointers(made), self._arena)
        if status:
            raise RuntimeError(f"the network returned {status}")
        return made

    def close(self) -> None:
        """End the threads."""
        self._set_threads(1)


def _checked(array: Array, port: Port) -> Array:
    array = np.asarray(array)
    if array.dtype.kind not in "iu":
        raise ValueError(f"input {port['name']}: {array.dtype} is no integer type")
    if list(array.shape) != port["shape"]:
        raise ValueError(f"input {port['name']}: shape {list(array.shape)}, but the network takes {port['shape']}")
    if array.size and not port["lo"] <= int(array.min()) <= int(array.max()) <= port["hi"]:
        raise ValueError(f"input {port['name']}: values outside {port['lo']} to {port['hi']}")
    return np.ascontiguousarray(array, dtype=port["dtype"])


def _pointers(arrays: Sequence[Array]) -> Any:
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def _split(data: bytes, ports: Sequence[Port]) -> list[Array]:
    arrays: list[Array] = []
    at = 0
    for port in ports:
        count = int(np.prod(port["shape"]))
        array = np.frombuffer(data, port["dtype"], count, at)
        arrays.append(array.reshape(port["shape"]))
        at += array.nbytes
    return arrays


def _run_bytes(network: Network, source: str, target: str) -> None:
    size = sum(port["bytes"] for port in network.inputs)
    said = time.monotonic()
    with open(source, "rb") as frames, open(target, "wb") as results:
        for number, data in enumerate(iter(lambda: frames.read(size), b""), 1):
            if len(data) != size:
                raise ValueError(f"{source}: ends within frame {number}: {len(data)} of its {size} bytes")
            results.write(b"".join(array.tobytes() for array in network.run(*_split(data, network.inputs))))
            if time.monotonic() - said > 0.5:
                said = time.monotonic()
                print("frame", number, flush=True)


def _run_arrays(network: Network, files: Sequence[str], output: str) -> None:
    if len(files) != len(network.inputs):
        raise ValueError(f"{len(files)} files, but the network has {len(network.inputs)} inputs: one file for each")
    batches = [_loaded(file) for file in files]
    counts = [len(batch) for batch in batches]
    if len(set(counts)) > 1 or not counts[0]:
        raise ValueError(f"files of {', '.join(map(str, counts))} frames; as many in each, and one or more")
    frames = [network.run(*arrays) for arrays in zip(*batches, strict=True)]
    for i, arrays in enumerate(zip(*frames, strict=True)):
        path = Path(output)
        np.save(path if i == 0 else path.with_name(f"{path.stem}{i}{path.suffix}"), np.stack(arrays))


def _loaded(file: str) -> Array:
    try:
        batch = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file}: not a whole .npy file") from error
    if not isinstance(batch, np.ndarray) or batch.ndim == 0:
        raise ValueError(f"{file}: no array whose first axis are frames")
    return batch


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the network on integer inputs.")
    parser.add_argument("arrays", nargs="*", metavar="X.npy", help="one file per input, frames first")
    parser.add_argument("-o", "--output", metavar="Y.npy", default="outputs.npy")
    parser.add_argument("--inputs", metavar="A.bin", help="frames as bytes; together with --outputs")
    parser.add_argument("--outputs", metavar="B.bin")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if (args.inputs is None) != (args.outputs is None) or (args.inputs is None) == (not args.arrays):
        parser.error("either X.npy for each input, or --inputs A.bin together with --outputs B.bin")
    if args.threads < 1:
        parser.error(f"--threads {args.threads}: 1 or more")
    try:
        network = Network(args.threads)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        print(f"the network in {HERE} cannot be loaded: {error}", file=sys.stderr)
        return 2
    try:
        if args.inputs:
            _run_bytes(network, args.inputs, args.outputs)
        else:
            _run_arrays(network, args.arrays, args.output)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        network.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
