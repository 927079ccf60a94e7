"""The simulator against boards: ncnn's library, simulated, and the times that ncnn publishes of the same networks.

    python benchmarks/peers/bench_boards.py [mobilenet_v1] [resnet50] [--json]

Published: https://github.com/Tencent/ncnn/blob/master/benchmark/README.md, `mobilenet_int8` and `resnet50_int8`, one
thread, on Raspberry Pi 3B+ (1.4 GHz), 4B (1.8 GHz) and 5 (2.4 GHz). The library is the release of January 2024, about
as old as the table. No figure is fitted: the errors are those of the uncalibrated model (docs/guide/cpu-simulation.md).
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from aarch64_peer import simulate_peer
from ncnn_networks import mobilenet_v1, resnet50

from codesign.errors import CodesignError
from codesign.target import load_target

NETWORKS = {"mobilenet_v1": mobilenet_v1, "resnet50": resnet50}
CLOCKS_HZ = {"rpi3": 1.4e9, "rpi4": 1.8e9, "rpi5": 2.4e9}
PUBLISHED_MS = {
    "mobilenet_v1": {"rpi3": 181.0, "rpi4": 85.0, "rpi5": 14.4},
    "resnet50": {"rpi3": 891.0, "rpi4": 424.0, "rpi5": 80.0},
}


def main() -> int:
    words = sys.argv[1:]
    rows = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name in [word for word in words if word in NETWORKS] or list(NETWORKS):
                model = NETWORKS[name](Path(folder) / f"{name}.param")
                for board, clock_hz in CLOCKS_HZ.items():
                    target = replace(load_target(board), clock_hz=clock_hz)
                    simulated = float(str(simulate_peer(model, target, 1)["milliseconds"]))
                    published = PUBLISHED_MS[name][board]
                    rows.append((name, board, simulated, published, simulated / published - 1))
                    print(
                        f"{name:<14}{board:<6}{simulated:8.1f} ms  {published:8.1f} ms  {rows[-1][-1]:+.0%}", flush=True
                    )
    except CodesignError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    if "--json" in words:
        columns = ("network", "board", "simulated_ms", "published_ms", "error")
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
