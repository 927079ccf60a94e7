"""A network untuned, and tuned from an empty store: as a whole, and as the sum of its kernels.

    python benchmarks/bench_tuning.py -t cortex-a76 --network resnet8 --minutes 15

Untuned is the template `loops`: its first choice (the last axis in vectors), and one element after the other. This is
the table of docs/guide/tuning.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from codesign.backends.tvm.network import policy_of
from codesign.backends.tvm.plan import plan
from codesign.backends.tvm.processor import product
from codesign.backends.tvm.templates import TEMPLATES
from codesign.backends.tvm.templates.loops import Loops
from codesign.backends.tvm.tune.budget import Budget
from codesign.backends.tvm.tune.search import Search
from codesign.backends.tvm.tune.store import Store
from codesign.schedule import TvmSchedule
from codesign.target import load_target
from codesign.testing import networks


def main() -> None:
    """Tune, then print one row per schedule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-t", "--target", default="cortex-a76")
    parser.add_argument("--network", default="resnet8", choices=("resnet8", "ds_cnn", "autoencoder"))
    parser.add_argument("--minutes", type=float, default=15.0)
    args = parser.parse_args()
    target, graph = load_target(args.target), getattr(networks, args.network)()
    cpu = target.cpu
    assert cpu is not None
    tasks = plan(graph, policy_of(cpu)).tasks
    with tempfile.TemporaryDirectory() as folder:
        search = Search(
            tasks, target, Store(cpu, Path(folder)), TEMPLATES, say=lambda state: print(state, file=sys.stderr)
        )
        tuned = search.run(Budget(seconds=60 * args.minutes))
    loops = {task.output: Loops().choices(task, cpu) for task in tasks}
    rows = [
        ("vectors", {name: choices[0] for name, choices in loops.items()}, tuned.state.untuned),
        ("one by one", {name: choices[-1] for name, choices in loops.items()}, tuned.state.scalar),
        ("tuned", tuned.choices, tuned.state.total),
    ]
    print(f"{args.network} on {args.target}, {tuned.state.trials} trials in {tuned.state.seconds:.0f} s")
    print(f"{'schedule':<12}{'sum of kernels':>18}{'x':>7}{'network, ns':>16}{'x':>7}")
    latency = {}
    for name, choices, _ in rows:
        figures = {metric.name: metric.value for metric in product(graph, TvmSchedule(choices), target).metrics}
        latency[name] = figures["latency_ns"]
    for name, _, total in rows:
        ratios = total / tuned.state.total, latency[name] / latency["tuned"]
        print(f"{name:<12}{total:>18,.0f}{ratios[0]:>7.1f}{latency[name]:>16,.0f}{ratios[1]:>7.1f}")


if __name__ == "__main__":
    main()
