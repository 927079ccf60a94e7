"""A design made of blocks by hand: what the generator writes, the cycle model predicts and the simulator runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from codesign.backends.rtl import emit
from codesign.backends.rtl.actors import network
from codesign.backends.rtl.backend import LIBRARY, library_files
from codesign.backends.rtl.blocks.base import Block
from codesign.backends.rtl.blocks.engines import Skid
from codesign.backends.rtl.design import Design, Layer, Stream
from codesign.backends.rtl.packing import pack, unpack
from codesign.backends.rtl.simulator import Simulator, build
from codesign.backends.rtl.timing import CycleModel
from codesign.ir.types import IntArray, IntType, TensorType
from codesign.schedule import MemStyle


@dataclass
class Chain:
    """Layers from an input of `beats` beats of `lanes` elements; `add` appends one and returns its streams' names."""

    dtype: IntType
    lanes: int
    beats: int
    layers: list[Layer] = field(default_factory=list)

    def __post_init__(self) -> None:
        stream = Stream("x", self.dtype, self.lanes, self.beats, 2)
        self.layers.append(Layer("x", "", "x", "input", Skid(stream.width), (), (), (stream,)))

    def add(
        self, engine: Block, pipes: Sequence[Block], dtype: IntType, lanes: int, beats: int, *,
        inputs: Sequence[str] = (), depths: Sequence[int] = (4,), style: MemStyle = "auto",
    ) -> list[str]:  # fmt: skip
        """A layer behind the streams `inputs` (the last layer's first one when there are none), a FIFO per depth."""
        name = f"l{len(self.layers)}"
        names = [name] if len(depths) == 1 else [f"{name}_{i}" for i in range(len(depths))]
        outputs = tuple(Stream(n, dtype, lanes, beats, d, style) for n, d in zip(names, depths, strict=True))
        taken = tuple(inputs) or (self.layers[-1].outputs[0].name,)
        self.layers.append(Layer(name, "", name, engine.module, engine, tuple(pipes), taken, outputs))
        return names

    def design(self) -> Design:
        """The layers so far; the last one's stream is the output."""
        last = self.layers[-1].outputs[0]
        shapes = ((s.beats * s.lanes,) for s in (self.layers[0].outputs[0], last))
        types = [TensorType(shape, dtype) for shape, dtype in zip(shapes, (self.dtype, last.dtype), strict=True)]
        return Design(tuple(self.layers), "x", last.name, types[0], types[1])


def compile_design(design: Design, directory: Path) -> Simulator:
    """Write and compile it, with a monitor on every stream."""
    emit.write_design(design, directory, "a test")
    sources = [LIBRARY / f"{name}.sv" for name in library_files(emit.modules(design))]
    return build([*sources, directory / "top.sv", directory / "monitors.sv"], "top", directory=directory)


def check(design: Design, directory: Path, x: IntArray, golden: IntArray) -> None:
    """Every bit as `golden`, every frame in the predicted cycle; then every bit again under stalls."""
    simulator = compile_design(design, directory)
    first, last = design.streams[design.input], design.streams[design.output]
    beats = pack(x, first.dtype, first.lanes)
    for stall in (0.0, 0.45):
        run = simulator.run(beats, last.beats, stall=stall, seed=9)
        seen = unpack(run.outputs, last.dtype, last.lanes, design.output_type.shape)
        assert (seen == golden.reshape(seen.shape)).all()
        if not stall:
            predicted = CycleModel(network(design)).simulate(len(x)).completions
            assert (run.completed - run.first_in_cycle == predicted).all()


def random_values(seed: int, dtype: IntType, shape: tuple[int, ...]) -> IntArray:
    """Values of the type."""
    return dtype.lo + dtype.step * np.random.default_rng(seed).integers(0, dtype.count, shape)
