"""The source model of a `.tflite` file: LiteRT's reference kernels, where they are installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np

from codesign.errors import InputError
from codesign.frontend.context import Probe
from codesign.frontend.tflite.params import params_of
from codesign.frontend.tflite.schema import Model, Tensor
from codesign.ir.graph import Graph
from codesign.ir.types import RealArray

EXACT = "1.2.0"
"""The LiteRT whose reference kernels the import is exact to; FULLY_CONNECTED of 1.4.0 and later rescales in float."""

INSTALL = "pip install 'codesign[ethosu]'"


def reference_kernels(model: Model, graph: Graph) -> tuple[LiteRtSource | None, tuple[str, ...]]:
    """The kernels to compare with and what to say about them; None where LiteRT is not installed."""
    found = litert_version()
    if not found:
        return None, (f"not compared with LiteRT's reference kernels, which are not installed; {INSTALL}",)
    notes = (
        () if found == EXACT else (f"LiteRT {found} rescales FULLY_CONNECTED in float; {EXACT} is exact: {INSTALL}",)
    )
    return LiteRtSource(model, graph), notes


def interpreter(content: bytes) -> Any:
    """LiteRT's reference kernels for a file, every tensor kept. Raises InputError for a file that they do not run."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    try:
        made = Interpreter(
            model_content=content,
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
        )
        made.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        text = str(error).strip().splitlines()[-1:] or [""]
        raise InputError.at("LiteRT", f"refuses the model: {text[0]}", "a model that LiteRT runs") from error
    return made


def litert_version() -> str:
    """The version of the LiteRT that is installed; empty: none is."""
    try:
        return version("ai-edge-litert") if find_spec("ai_edge_litert") else ""
    except PackageNotFoundError:
        return ""


class LiteRtSource:
    """A `.tflite` file run frame by frame by LiteRT's reference kernels (OpResolverType.BUILTIN_REF).

    Real inputs are quantised as the graph's are, so that both sides start from the same integers.
    """

    name = "litert"

    def __init__(self, model: Model, graph: Graph) -> None:
        self._model, self._graph = model, graph

    @cached_property
    def _interpreter(self) -> Any:
        return interpreter(self._model.content)

    def evaluate(self, *inputs: Any) -> list[RealArray]:
        """Real outputs, each (N, …), for real inputs in the model's axes."""
        return self.trace((), *inputs)[0]

    def trace(self, probes: Sequence[Probe], *inputs: Any) -> tuple[list[RealArray], Mapping[int, RealArray]]:
        """The outputs, and the tensor of each probe by its position, as real numbers (q - zero_point) * scale."""
        run = self._interpreter
        ports = zip(self._model.inputs, self._graph.inputs, inputs, strict=True)
        feeds = [self._feed(index, port.name, array) for index, port, array in ports]
        wanted = [*self._model.outputs, *(int(probe.tensor) for probe in probes)]
        found: list[list[Any]] = [[] for _ in wanted]
        for frame in range(len(feeds[0])):
            for index, feed in zip(self._model.inputs, feeds, strict=True):
                run.set_tensor(index, feed[frame].reshape(self._model.tensors[index].shape))
            run.invoke()
            for column, index in zip(found, wanted, strict=True):
                column.append(run.get_tensor(index)[None])
        reals = [_real(self._model.tensors[i], np.concatenate(c)) for i, c in zip(wanted, found, strict=True)]
        count = len(self._model.outputs)
        return reals[:count], dict(enumerate(reals[count:]))

    def _feed(self, index: int, name: str, array: Any) -> Any:
        """Real frames in the model's axes as LiteRT takes them."""
        tensor, type_ = self._model.tensors[index], self._graph.type(name)
        quant = type_.quant
        assert quant is not None
        integers = quant.quantise(np.asarray(array, dtype=np.float64), type_.dtype)
        if tensor.kind == "float32":
            return quant.dequantise(integers).astype(np.float32)
        return integers.astype(tensor.kind)


def _real(tensor: Tensor, values: Any) -> RealArray:
    """The real numbers behind LiteRT's integers; (N, …) without the model's batch of one."""
    batchless: RealArray = values[:, 0] if len(tensor.shape) > 1 and tensor.shape[0] == 1 else values
    if tensor.kind in ("float32", "int32", "int64"):  # real, or an index
        return batchless.astype(np.float64)
    params = params_of(tensor)
    return (batchless.astype(np.float64) - params.zero_point) * params.scale
