"""The whole way on real data: train two networks, compile each for two FPGAs and one for an NPU, compare everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codesign.backends.base import Progress, RunOptions
from codesign.build import compile_graph, simulate
from codesign.errors import Diagnostic
from codesign.interrupts import deferred_interrupt
from codesign.ir.graph import Graph
from codesign.ir.types import IntArray
from codesign.report import Basis, Report
from codesign.requirements import parse_requirements
from codesign.resources import resource_dir
from codesign.target import load_target

if TYPE_CHECKING:
    from codesign.frontend import Imported
    from codesign.train.data import Images

DESIGNS = {
    "fashion_mlp": {"pynq-z2": ["interval_cycles<=64", "lut<=50000"], "ulx3s-85f": ["fps>=500000"]},
    "fashion_cnn": {"pynq-z2": ["fps>=10000"], "ulx3s-85f": ["fps>=10000"]},
}
"""What the demo builds: for each recipe the targets, with what is required of the design."""

PROGRAMMED = {"fashion_cnn": ("ethos-u55-128", "cortex-a76", "mali-g52")}
"""The network that is also compiled for an NPU, a processor and a GPU."""

SIMULATED_CYCLES = 4_000_000  # for each design: a few seconds
PROGRAM_IMAGES = 1_000
TRACKED_FRAMES = 10  # at least so many frames are simulated, however long they take


@dataclass(frozen=True)
class Design:
    """One network on one target; accuracies are shares of `test_images` (RTL: of `simulated_images`)."""

    network: str
    target: str
    clock_mhz: float
    data: str
    test_images: int
    accuracy_brevitas: float
    accuracy_golden: float
    simulated_images: int
    accuracy_golden_same: float
    accuracy_rtl: float
    mismatching_bits: int
    report: Report
    failures: Sequence[Diagnostic]


@dataclass(frozen=True)
class Program:
    """One network on a target that runs programs: what is built, or for an NPU its model, executed on test images."""

    network: str
    target: str
    images: int
    accuracy: float
    mismatching_bits: int
    report: Report
    failures: Sequence[Diagnostic]


def to_data(row: Design | Program) -> dict[str, Any]:
    """Plain data for JSON."""
    data = {k: v for k, v in vars(row).items() if k not in ("report", "failures")}
    return data | {"report": row.report.to_data(), "failures": [str(f) for f in row.failures]}


def run_demo(out: Path, progress: Progress) -> tuple[list[Design], list[Program], list[str]]:
    """Everything, into `out`: training (kept from run to run) and one build directory per design.

    Returns the FPGA designs, the other targets' programs, and notes for the user. Raises what training, import,
    compile and simulate raise.
    """
    with deferred_interrupt():  # PyTorch's import swallows exceptions, or is left unfinished by them
        from codesign.frontend import import_model
        from codesign.train.data import load_images
        from codesign.train.loop import train
        from codesign.train.recipe import read_recipe

    designs: list[Design] = []
    programs: list[Program] = []
    notes: list[str] = []
    for network, required in DESIGNS.items():
        recipe = read_recipe(resource_dir("examples") / f"{network}.toml")

        def step(what: str, done: int, total: int, network: str = network) -> None:
            progress(f"{network}: {what}", done, total)

        metrics = train(recipe, out / "train" / network, step)
        images = load_images(recipe.data)
        notes += metrics["notes"]
        model = out / "train" / network / "model.onnx"
        imported = import_model(model)
        golden = _golden(imported.graph, images, step)
        notes += _ties(network, golden)
        for name, demanded in required.items():

            def on_target(what: str, done: int, total: int, label: str = f"{network} on {name}") -> None:
                progress(f"{label}: {what}", done, total)

            directory = out / f"{network}-{name}"
            target = load_target(name)
            report = compile_graph(
                imported.graph, target, directory, on_target,
                model=str(model), requirements=parse_requirements(demanded), notes=imported.notes,
            )  # fmt: skip
            interval = report.value("interval_cycles", Basis.MODEL) or 1
            count = max(TRACKED_FRAMES, min(len(images.test), int(SIMULATED_CYCLES / interval) // 100 * 100))
            feeds = images.test[:count, :, :, None].astype(np.int64)
            result = simulate(directory, RunOptions(), on_target, [feeds])
            labels, outputs = images.test_labels, result.outputs[0]
            designs.append(
                Design(
                    network=network,
                    target=name,
                    clock_mhz=target.clock_hz / 1e6,
                    data=images.name,
                    test_images=len(labels),
                    accuracy_brevitas=metrics["accuracy"],
                    accuracy_golden=_accuracy(golden, labels),
                    simulated_images=count,
                    accuracy_golden_same=_accuracy(golden[:count], labels[:count]),
                    accuracy_rtl=_accuracy(outputs, labels[:count]),
                    mismatching_bits=_mismatching_bits(imported.graph, golden[:count], outputs),
                    report=result.report,
                    failures=result.failures,
                )
            )
        for name in PROGRAMMED.get(network, ()):
            programs.append(_program(out, (network, name), model, imported, images, golden, step))
    return designs, programs, list(dict.fromkeys(notes))


def _program(
    out: Path, of: tuple[str, str], model: Path, imported: Imported, images: Images, golden: IntArray,
    progress: Progress,
) -> Program:  # fmt: skip
    network, name = of
    directory, target = out / f"{network}-{name}", load_target(name)
    compile_graph(imported.graph, target, directory, progress, model=str(model), notes=imported.notes)
    count = min(len(images.test), PROGRAM_IMAGES)
    feeds = images.test[:count, :, :, None].astype(np.int64)
    result = simulate(directory, RunOptions(), progress, [feeds])
    outputs = result.outputs[0]
    return Program(
        network,
        name,
        count,
        _accuracy(outputs, images.test_labels[:count]),
        _mismatching_bits(imported.graph, golden[:count], outputs),
        result.report,
        result.failures,
    )


def _golden(graph: Graph, images: Images, progress: Progress) -> IntArray:
    """The golden evaluation of all test images."""
    feeds = graph.quantise_inputs(images.test[..., None].astype(np.int64))
    done = 0

    def advance(frames: int) -> None:
        nonlocal done
        done += frames
        progress("golden evaluation", done, len(images.test))

    return graph.evaluate(*feeds, progress=advance)[0]


def _accuracy(scores: IntArray, labels: np.ndarray[Any, Any]) -> float:
    return float((scores.reshape(len(scores), -1).argmax(axis=1) == labels).mean())


def _ties(network: str, scores: IntArray) -> list[str]:
    """Why classes can differ while no integer does: of equal best scores, float rounding picks one in Brevitas."""
    best = np.sort(scores.reshape(len(scores), -1), axis=1)[:, -2:]
    ties = int((best[:, 0] == best[:, 1]).sum())
    if not ties:
        return []
    return [f"{network}: {ties} images have two equal best scores; float rounding decides these in Brevitas"]


def _mismatching_bits(graph: Graph, golden: IntArray, rtl: IntArray) -> int:
    """How many bits of the outputs differ, in the output's own number of bits."""
    dtype = graph.type(graph.outputs[0].name).dtype
    return int(np.bitwise_count(dtype.encode(golden) ^ dtype.encode(rtl)).sum())
