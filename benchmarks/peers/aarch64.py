"""The same int8 networks in codesign, LiteRT (XNNPACK) and onnxruntime on simulated ARM cores: cycles of one frame.

    python -m benchmarks.peers.aarch64 [resnet8 ds_cnn autoencoder FILE.tflite …] [-t cortex-a76 …] [--json FILE]
    python -m benchmarks.peers.aarch64 resnet8 resnet8:4 resnet8:2 --alone          (codesign, weights of fewer bits)

One thread, warm caches, the same QEMU plugin and model of the core for all; one run each, since a simulation repeats.
codesign: the build of `codesign compile` without records (the templates' first guesses), and with `--records` what is
on record. The peers' aarch64 wheels run in the root of aarch64_root.py: LiteRT the `.tflite` file with its default
delegate, onnxruntime the fastest of `--forms` (onnx_model.py: two forms, two types of activations).

What is counted: of codesign all kernels and the function that calls them; of the peers everything between two
inferences, the call from Python included. What that call costs is `call`, measured with a network of one product of an
8x8 matrix; what a library does for each further operator is its own. Both ratios are told: of all that is counted, and
of the peer's cycles less the call.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.aarch64_peer import simulate_peer
from benchmarks.peers.host import CODESIGN, LITERT, ORT, network
from benchmarks.peers.onnx_model import FORMS, onnx_model
from codesign.backends.base import ignore_progress
from codesign.errors import CodesignError, UsageError
from codesign.export.tflite import export_tflite
from codesign.frontend.tflite.schema import parse_model
from codesign.ir.graph import Graph
from codesign.schedule import TvmSchedule
from codesign.target import Target, load_target
from codesign.testing.networks import NETWORKS, Network

CORES = ("cortex-a53", "cortex-a72", "cortex-a76")
TUNED = "codesign, tuned"
OWN = (CODESIGN, TUNED)
FORM_NAMES = {f"{form}-{activation}": (form, activation) for form, activation in FORMS}
TRIED = ("qoperator-int8", "qoperator-uint8")  # QDQ is fused into the same kernels: 0.2 % apart on DS-CNN, cortex-a76


@dataclass(frozen=True)
class Cost:
    """Of one frame, on one core."""

    cycles: float
    instructions: float


@dataclass(frozen=True)
class Row:
    """One network on one core in all peers; calls: what one call costs each peer; details: what ran."""

    network: str
    target: str
    costs: Mapping[str, Cost]
    calls: Mapping[str, Cost] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)

    def ratio(self, peer: str, own: str = CODESIGN) -> float:
        """codesign's cycles over the peer's."""
        return self.costs[own].cycles / self.costs[peer].cycles

    def ratio_less_call(self, peer: str, own: str = CODESIGN) -> float:
        """The same without what the call costs the peer. inf: the peer took no longer than its call."""
        cycles = self.costs[peer].cycles - self.calls[peer].cycles
        return self.costs[own].cycles / cycles if cycles > 0 else float("inf")

    def to_data(self) -> dict[str, Any]:
        peers = [peer for peer in self.costs if peer not in OWN]
        ratios = {
            own: {peer: {"all": self.ratio(peer, own), "less_call": self.ratio_less_call(peer, own)} for peer in peers}
            for own in OWN
            if own in self.costs
        }
        return {**asdict(self), "ratios": ratios}


def own_cost(graph: Graph, target: Target, records: bool = False) -> Cost:
    """codesign's build: with the first guesses of the templates, or with the best schedules on record."""
    from codesign.backends.tvm import processor
    from codesign.backends.tvm.network import policy_of
    from codesign.backends.tvm.plan import plan
    from codesign.backends.tvm.templates import TEMPLATES
    from codesign.backends.tvm.tune.measure import choices_of

    assert target.cpu is not None, "an ARM core"
    if records:
        choices = processor.recorded_choices(graph, target, ignore_progress)
    else:
        tasks = plan(graph, policy_of(target.cpu)).tasks
        choices = {task.output: choices_of(task, target.cpu, TEMPLATES)[0] for task in tasks}
    schedule = TvmSchedule(choices)
    metrics = {metric.name: float(metric.value) for metric in processor.product(graph, schedule, target).metrics}
    return Cost(metrics["latency_cycles"], metrics["instructions"])


def peer_costs(graph: Graph, target: Target, forms: Sequence[str]) -> tuple[dict[str, Cost], dict[str, str]]:
    """LiteRT's and onnxruntime's, and what ran."""
    content = export_tflite(graph).content
    costs, details = {}, {}
    with tempfile.TemporaryDirectory(prefix="codesign-peers-") as folder:
        model = Path(folder) / "model.tflite"
        model.write_bytes(content)
        costs[LITERT] = _simulated(model, target)
        found = {}
        for name in forms:
            model = Path(folder) / f"{name}.onnx"
            model.write_bytes(onnx_model(parse_model(content), *FORM_NAMES[name]))
            found[name] = _simulated(model, target)
    if found:
        best, *others = sorted(found, key=lambda name: found[name].cycles)
        costs[ORT] = found[best]
        rest = ", ".join(f"{name} {found[name].cycles:,.0f}" for name in others)
        details[ORT] = f"{best}{f' (others: {rest})' if rest else ''}"
    return costs, details


def _simulated(model: Path, target: Target) -> Cost:
    data = simulate_peer(model, target)
    return Cost(float(str(data["cycles"])), float(str(data["instructions"])))


def smallest() -> Graph:
    """One product of an 8x8 matrix and a vector: the time of a peer is that of its call."""
    net = Network((8,))
    return net.graph(net.dense_layer(net.x, 8, relu=False))


def table(rows: Sequence[Row]) -> str:
    """The rows as text, a line for each peer."""
    head = f"{'network':16}{'core':14}{'peer':17}{'cycles':>12}{'instructions':>14}{'call':>9}"
    lines = [f"{head}{'codesign/peer':>15}{'less call':>11}"]
    for row in rows:
        for peer, cost in row.costs.items():
            numbers = f"{cost.cycles:12,.0f}{cost.instructions:14,.0f}"
            line = f"{row.network:16}{row.target:14}{peer:17}{numbers}"
            if peer not in OWN:
                less = f"{row.ratio_less_call(peer):11.2f}"
                line += f"{row.calls[peer].cycles:9,.0f}{row.ratio(peer):15.2f}{less}"
            lines.append(line)
        lines += [f"{'':16}{peer}: {details}" for peer, details in row.details.items()]
    return "\n".join(lines)


def weights_table(rows: Sequence[Row]) -> str:
    """codesign alone: cycles of every network on every core, and as a part of the same network's with 8 bits."""
    cores = list(dict.fromkeys(row.target for row in rows))
    cycles = {(row.network, row.target): row.costs[CODESIGN].cycles for row in rows}
    lines = ["".join([f"{'network':16}", *(f"{core:>24}" for core in cores)])]
    for name in dict.fromkeys(row.network for row in rows):
        line = f"{name:16}"
        for core in cores:
            own, full = cycles[name, core], cycles.get((name.partition(":")[0], core))
            part = f"{own / full:.2f}" if full and ":" in name else ""
            line += f"{own:17,.0f}{part:>7}"
        lines.append(line)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "networks", nargs="*", default=list(NETWORKS), help=f"{', '.join(NETWORKS)}, NAME:BITS, .tflite files"
    )
    parser.add_argument("-t", "--target", nargs="+", default=CORES, help=f"ARM cores ({' '.join(CORES)})")
    parser.add_argument("--records", action="store_true", help="also by the best schedules on record")
    parser.add_argument("--alone", action="store_true", help="codesign only")
    parser.add_argument("--forms", nargs="+", choices=FORM_NAMES, default=list(TRIED), help="of onnxruntime")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args(arguments)
    rows: list[Row] = []
    try:
        forms = () if options.alone else options.forms
        for row in compare(options.networks, options.target, options.records, forms):
            rows.append(row)
            if options.json:  # a row takes a minute: what is known so far
                options.json.write_text(json.dumps([r.to_data() for r in rows], indent=1) + "\n", encoding="utf-8")
    except CodesignError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    print(weights_table(rows) if options.alone else table(rows))
    return 0


def compare(networks: Sequence[str], cores: Sequence[str], records: bool, forms: Sequence[str]) -> Iterator[Row]:
    """A row for each network on each core. forms: of onnxruntime; none: codesign alone."""
    targets = [load_target(core) for core in cores]
    for target in targets:
        if target.cpu is None or target.cpu.arch != "aarch64":
            raise UsageError.at("target", f"{target.name} is no ARM core", ", ".join(CORES))
    graphs = {Path(name).stem: network(name) for name in networks}
    for target in targets:
        calls = peer_costs(smallest(), target, forms[:1])[0] if forms else {}
        for name, graph in graphs.items():
            print(f"{name} on {target.name} …", file=sys.stderr, flush=True)
            costs, details = {CODESIGN: own_cost(graph, target)}, dict[str, str]()
            if records:
                costs[TUNED] = own_cost(graph, target, records=True)
            if forms:
                others, details = peer_costs(graph, target, forms)
                costs |= others
            yield Row(name, target.name, costs, calls, details)


if __name__ == "__main__":
    sys.exit(main())
