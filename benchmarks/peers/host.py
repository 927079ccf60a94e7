"""The same int8 networks in codesign, onnxruntime and LiteRT (XNNPACK) on this machine: time of one frame, one thread.

    python -m benchmarks.peers.host [resnet8 ds_cnn autoencoder FILE.tflite …] [--json FILE] [--rounds 60]

All run in one process, in turns of a few milliseconds, so that every peer meets the same machine; medians and minima
of the turns. Each gets the model in the form that suits it: onnxruntime the fastest of four (two forms, two types of
activations), LiteRT the `.tflite` file with its default delegate, inputs already in place. Outputs are compared with
the golden evaluation: onnxruntime and XNNPACK round in single precision, codesign does not differ at all.

The call from Python counts: 0.3 us for codesign, 0.4 for LiteRT, 2.4 for onnxruntime (networks of one small operator).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.onnx_model import FORMS, onnx_model
from codesign.backends.base import ignore_progress
from codesign.errors import CodesignError, UsageError
from codesign.export.tflite import export_tflite
from codesign.frontend.tflite.schema import parse_model
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray
from codesign.target import load_target
from codesign.testing.networks import NETWORKS

FRAMES = 16  # that outputs are compared on
TURN_S = 0.002  # of one peer, before the next one's
CHOICE_ROUNDS = 15  # to find onnxruntime's fastest form
CODESIGN, ORT, LITERT = "codesign", "onnxruntime", "litert"


@dataclass(eq=False)
class Peer:
    """A network ready to run: one frame in, one inference, one frame out. All integers are those of the graph."""

    name: str
    feed: Callable[[IntArray], None]
    invoke: Callable[[], object]
    result: Callable[[], IntArray]
    details: str = ""
    turns: list[float] = field(default_factory=list)
    kept: object = None  # memory that `invoke` writes

    def turn(self, seconds: float = TURN_S) -> None:
        """Run for about `seconds`; keeps the mean time of an inference."""
        count, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds or not count:
            for _ in range(8):
                self.invoke()
            count += 8
        self.turns.append(spent / count)

    def median_us(self) -> float:
        return statistics.median(self.turns) * 1e6

    def least_us(self) -> float:
        return min(self.turns) * 1e6


def codesign_peer(graph: Graph) -> Peer:
    """The shared library of codesign's deliverable for `host-x86`, by the best schedules on record."""
    from codesign.backends.tvm import processor
    from codesign.backends.tvm.backend import TvmBackend

    target = load_target("host-x86")
    schedule = TvmBackend().schedule(graph, target, None, (), ignore_progress)
    directory = processor.product(graph, schedule, target).directory
    data = json.loads((directory / "network.json").read_text(encoding="utf-8"))
    library = ctypes.CDLL(str(directory / "lib" / f"lib{data['name']}.so"))
    library[f"{data['name']}_set_threads"](1)
    run, alignment = library[f"{data['name']}_run"], data["arena_alignment"]
    run.argtypes = [ctypes.c_void_p] * 3
    x, y = (np.zeros(port["shape"], port["dtype"]) for port in (data["inputs"][0], data["outputs"][0]))
    memory = np.zeros(data["arena_bytes"] + alignment, np.uint8)
    arena = int(memory.ctypes.data) + -int(memory.ctypes.data) % alignment
    ends = [(ctypes.c_void_p * 1)(array.ctypes.data) for array in (x, y)]

    def feed(frame: IntArray) -> None:
        x[...] = frame

    def invoke() -> int:
        return int(run(*ends, arena))

    kept = memory  # as long as the peer lives
    return Peer(CODESIGN, feed, invoke, lambda: y.astype(np.int64), f"{len(schedule.kernels)} kernels", [], kept)


def onnxruntime_peer(content: bytes, form: str, activation: str) -> Peer:
    """onnxruntime on one form of the `.tflite` file, all optimisations, input and output bound once."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    model = onnx_model(parse_model(content), form, activation)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    offset, dtype = (128 if activation == "uint8" else 0), np.dtype(activation)
    ends = session.get_inputs()[0], session.get_outputs()[0]
    x, y = (onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(end.shape, dtype)) for end in ends)
    binding = session.io_binding()
    binding.bind_ortvalue_input(ends[0].name, x)
    binding.bind_ortvalue_output(ends[1].name, y)

    def feed(frame: IntArray) -> None:
        x.update_inplace(np.ascontiguousarray((frame + offset).astype(dtype).reshape(ends[0].shape)))

    def result() -> IntArray:
        return np.asarray(y.numpy().astype(np.int64) - offset)

    details = f"{onnxruntime.__version__}, {form}, {activation}"
    return Peer(ORT, feed, lambda: session.run_with_iobinding(binding), result, details)


def fastest_onnxruntime(content: bytes, frame: IntArray) -> Peer:
    """The form that onnxruntime runs fastest."""
    peers = [onnxruntime_peer(content, *form) for form in FORMS]
    for peer in peers:
        peer.feed(frame)
    for _ in range(CHOICE_ROUNDS):
        for peer in peers:
            peer.turn()
    best = min(peers, key=Peer.least_us)
    others = ", ".join(f"{p.details.partition(', ')[2]} {p.least_us():.1f}" for p in peers if p is not best)
    return Peer(best.name, best.feed, best.invoke, best.result, f"{best.details} (others in us: {others})")


def litert_peer(content: bytes) -> Peer:
    """LiteRT with its default delegate, XNNPACK; `details` say which operators are left to its own kernels."""
    from ai_edge_litert.interpreter import Interpreter

    from codesign.frontend.tflite.source import litert_version

    run = Interpreter(model_content=content, num_threads=1)
    run.allocate_tensors()
    x, y = run.get_input_details()[0], run.get_output_details()[0]

    def feed(frame: IntArray) -> None:
        run.set_tensor(x["index"], frame.reshape(x["shape"]).astype(x["dtype"]))

    def result() -> IntArray:
        return np.asarray(run.get_tensor(y["index"]).astype(np.int64))

    return Peer(LITERT, feed, run.invoke, result, f"{litert_version()}, {delegated(run)}")


def delegated(run: Any) -> str:
    """In how many parts XNNPACK computes the model, and which operators LiteRT's own kernels do."""
    ops = run._get_ops_details()  # the replaced operators first, then the parts of the delegate
    parts = sum(op["op_name"] == "DELEGATE" for op in ops)
    writer = {int(y): op for op in ops for y in op["outputs"]}  # the delegate's parts overwrite what they replace
    own, wanted, seen = list[str](), [int(y["index"]) for y in run.get_output_details()], set[int]()
    while wanted:
        tensor = wanted.pop()
        if tensor in writer and tensor not in seen:
            op = writer[tensor]
            wanted += [int(x) for x in op["inputs"]]
            own += [op["op_name"]] if op["op_name"] != "DELEGATE" else []
        seen.add(tensor)
    return f"XNNPACK in {parts} parts; LiteRT's own kernels: {', '.join(sorted(own)) or 'none'}"


@dataclass(frozen=True)
class Row:
    """One network in all peers, times of one frame."""

    network: str
    macs: int
    median_us: Mapping[str, float]
    least_us: Mapping[str, float]
    differ: Mapping[str, float]
    largest: Mapping[str, int]
    details: Mapping[str, str]

    def ratio(self, peer: str) -> float:
        """codesign's time over the peer's, of minima: what other work on the machine adds is in the medians."""
        return self.least_us[CODESIGN] / self.least_us[peer]

    def to_data(self) -> dict[str, Any]:
        return {**vars(self), "ratios": {peer: self.ratio(peer) for peer in self.least_us if peer != CODESIGN}}


def compare(name: str, graph: Graph, rounds: int) -> Row:
    """All peers on one network, in turns."""
    content = export_tflite(graph).content
    frames = random_frames(graph)
    (golden,) = graph.evaluate(frames)
    peers = [codesign_peer(graph), fastest_onnxruntime(content, frames[0]), litert_peer(content)]
    differ, largest = {}, {}
    for peer in peers:
        found = [_answer(peer, frame).reshape(golden[0].shape) for frame in frames]
        apart = np.abs(np.stack(found) - golden)
        differ[peer.name], largest[peer.name] = float((apart > 0).mean()), int(apart.max())
    for peer in peers:
        peer.turn()
        peer.turns.clear()
    for _ in range(rounds):
        for peer in peers:
            peer.turn()
    return Row(
        name,
        sum(work.macs for work in graph.work().values()),
        {peer.name: peer.median_us() for peer in peers},
        {peer.name: peer.least_us() for peer in peers},
        differ,
        largest,
        {peer.name: peer.details for peer in peers},
    )


def random_frames(graph: Graph) -> IntArray:
    """Frames of a normal distribution, quantised as the model says."""
    (port,) = graph.inputs
    assert port.type is not None
    assert port.type.quant is not None
    reals = np.random.default_rng(3).normal(size=(FRAMES, *port.type.shape))
    return port.type.quant.quantise(reals, port.type.dtype)


def _answer(peer: Peer, frame: IntArray) -> IntArray:
    peer.feed(frame)
    peer.invoke()
    return peer.result()


def table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    lines = [f"{'network':16}{'peer':13}{'median us':>10}{'least us':>10}{'codesign/peer':>15}{'differ':>9}{'by':>4}"]
    for row in rows:
        for peer in row.least_us:
            ratio = "" if peer == CODESIGN else f"{row.ratio(peer):.2f}"
            numbers = f"{row.median_us[peer]:10.1f}{row.least_us[peer]:10.1f}{ratio:>15}"
            lines.append(f"{row.network:16}{peer:13}{numbers}{row.differ[peer]:9.2%}{row.largest[peer]:4}")
        lines += [f"{'':16}{peer}: {details}" for peer, details in row.details.items()]
    return "\n".join(lines)


def network(name: str) -> Graph:
    """A network by name, NAME:BITS with weights of 4 or 2 bits (which the peers store in 8), or a `.tflite` file."""
    kind, _, bits = name.partition(":")
    if kind in NETWORKS:
        if bits and bits not in "2345678":
            raise UsageError.at(name, "no number of bits of weights", "2 to 8")
        return NETWORKS[kind](int(bits or 8))
    from codesign.frontend import import_model

    return import_model(Path(name)).graph


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "networks", nargs="*", default=list(NETWORKS), help=f"{', '.join(NETWORKS)}, NAME:BITS, .tflite files"
    )
    parser.add_argument("--rounds", type=int, default=60, help="turns of each peer")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args(arguments)
    try:
        rows = [compare(Path(name).stem, network(name), options.rounds) for name in options.networks]
    except CodesignError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([row.to_data() for row in rows], indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
