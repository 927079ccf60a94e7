"""A streaming design as data: layers joined by streams. The generator writes it, the cycle model times it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from codesign.backends.rtl.blocks.base import Block, Fabric, Resources
from codesign.backends.rtl.blocks.cost import counter
from codesign.backends.rtl.blocks.fifo import Fifo
from codesign.ir.types import IntType, TensorType
from codesign.schedule import MemStyle


@dataclass(frozen=True)
class Stream:
    """A valid/ready stream of `lanes` elements of `dtype` per beat, `beats` a frame, behind a FIFO of `depth`."""

    name: str
    dtype: IntType
    lanes: int
    beats: int
    depth: int
    style: MemStyle = "auto"

    @property
    def width(self) -> int:
        """Bits of a beat."""
        return self.lanes * self.dtype.bits

    @property
    def fifo(self) -> Fifo:
        """The FIFO that the stream comes out of."""
        return Fifo(width=self.width, depth=self.depth, style=self.style)


@dataclass(frozen=True)
class Layer:
    """engine -> pipes -> one FIFO per output stream.

    name    an identifier of SystemVerilog; the prefix of every instance and wire of the layer
    where   the user's name of the layer
    unit    the unit that it was made for (a converter serves the unit that reads it)
    what    a phrase for comments and tables
    inputs  names of the streams that the engine takes, in order
    """

    name: str
    where: str
    unit: str
    what: str
    engine: Block
    pipes: tuple[Block, ...]
    inputs: tuple[str, ...]
    outputs: tuple[Stream, ...]

    @property
    def latency(self) -> int:
        """Cycles from the engine's step to the push into the FIFO."""
        return self.engine.latency + sum(pipe.latency for pipe in self.pipes)

    def blocks(self) -> dict[str, Block]:
        """Every instance of the layer by its suffix: engine and pipes by module name, FIFOs by stream."""
        found: dict[str, Block] = {}
        for block in (self.engine, *self.pipes):
            suffix = block.module.removeprefix("cs_")
            while suffix in found:
                suffix += "_b"
            found[suffix] = block
        for stream in self.outputs:
            found["fifo" if len(self.outputs) == 1 else f"fifo_{stream.name}"] = stream.fifo
        return found

    def resources(self, fabric: Fabric) -> Resources:
        """Predicted use of the layer; the input edge is a skid buffer, which is its own FIFO."""
        if self.engine.module == "cs_skid":
            return self.engine.resources(fabric)
        return sum((block.resources(fabric) for block in self.blocks().values()), Resources())


@dataclass(frozen=True)
class Design:
    """All layers in order, from the input edge to the output.

    input, output            the names of the first and last stream
    input_type, output_type  the tensors at the edges
    """

    layers: tuple[Layer, ...]
    input: str
    output: str
    input_type: TensorType
    output_type: TensorType

    @cached_property
    def streams(self) -> Mapping[str, Stream]:
        """Every stream by name."""
        return {s.name: s for layer in self.layers for s in layer.outputs}

    def reader(self, stream: str) -> Layer | None:
        """The layer that takes `stream`; None for the output."""
        return self._readers.get(stream)

    @cached_property
    def _readers(self) -> dict[str, Layer]:
        return {name: layer for layer in self.layers for name in layer.inputs}

    def resources(self, fabric: Fabric) -> Resources:
        """Predicted use of the whole design, with the counter of cs_frame_end."""
        return sum((layer.resources(fabric) for layer in self.layers), counter(self.streams[self.output].beats))
