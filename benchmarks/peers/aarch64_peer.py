"""LiteRT's, onnxruntime's or ncnn's aarch64 library on a simulated core: cycles of one inference, as JSON.

    python benchmarks/peers/aarch64_peer.py MODEL.tflite -t cortex-a76 [-n 2]        (.onnx: onnxruntime)

One thread. The libraries have no symbols, so everything between two inferences counts, the call from Python included
(some thousand instructions). Caches are warm.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from aarch64_root import make_root

from codesign.backends.tvm.sim import trace
from codesign.backends.tvm.sim.calibrate import load
from codesign.backends.tvm.sim.model import cost_of
from codesign.errors import CodesignError, InputError, UsageError
from codesign.target import Target, load_target

RUNTIMES = {".tflite": "litert", ".onnx": "onnxruntime", ".param": "ncnn"}
GUEST = Path(__file__).resolve().parent / "aarch64_guest.py"


def simulate_peer(model: Path, target: Target, inferences: int = 2) -> dict[str, object]:
    """Mean cost of one inference after one that warmed the caches."""
    if target.cpu is None or target.cpu.arch != "aarch64":
        raise UsageError.at("target", f"{target.name} is no ARM core", "cortex-a53, cortex-a72, rpi5 and the like")
    if model.suffix not in RUNTIMES:
        raise UsageError.at(str(model), "no library for this kind of file", ", ".join(RUNTIMES))
    if not model.is_file():
        raise InputError.at(str(model), "there is no such file")
    root = make_root(target.cpu)
    recording = trace.record(
        root / "usr" / "bin" / "python3.11",
        target.cpu,
        ["-B", str(GUEST), str(model.resolve()), str(inferences)],
        start=trace.OFF,
        root=root,
        environment=["PYTHONPATH=/opt/python", "OPENBLAS_NUM_THREADS=1", "PYTHONNOUSERSITE=1"],
    )
    profile = cost_of(recording, target.cpu, target.clock_hz, calibration=load(target.name))
    one = profile.total.share(1 / inferences)
    return {
        "model": str(model),
        "runtime": RUNTIMES[model.suffix],
        "target": target.name,
        "inferences": inferences,
        "milliseconds": one.cycles / target.clock_hz * 1e3,
        **one.to_data(),
        "coverage": profile.coverage,
        "notes": list(profile.notes),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("-t", "--target", required=True)
    parser.add_argument("-n", "--inferences", type=int, default=2)
    args = parser.parse_args()
    try:
        print(json.dumps(simulate_peer(args.model, load_target(args.target), args.inferences), indent=1))
    except CodesignError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
