"""Brevitas modules: exported to QONNX through TorchScript, then imported; the module itself is the reference."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from codesign.errors import Diagnostic, InputError, ToolError, UnsupportedError, raise_all
from codesign.frontend.context import Probe
from codesign.frontend.imported import Imported
from codesign.frontend.names import layer_name, module_path
from codesign.frontend.onnx import convert
from codesign.ir.types import RealArray

_INSTALL = "pip install 'codesign[brevitas]'"


def import_brevitas(module: Any, example: Any, where: str = "") -> Imported:
    """The integer graph of a Brevitas module.

    example  an input with a batch axis: a tensor, an array, or a tuple of them

    Raises ToolError without torch and brevitas, InputError when the module does not run on the example,
    UnsupportedError for what cannot be exported or imported.
    """
    torch = _torch()
    where = where or type(module).__name__
    if not isinstance(module, torch.nn.Module):
        raise InputError.at(where, f"a {type(module).__name__}", "a torch.nn.Module and an example input")
    examples = _examples(torch, example, where)
    notes = []
    training = module.training
    if training:
        module.eval()
        notes.append(f"{where}: set to eval mode for the import: statistics of BatchNorm and of quantisers are fixed")
    try:
        with _quiet(), torch.no_grad():
            module(*examples)
    except Exception as error:
        raise InputError.at(where, *_does_not_run(error)) from error
    model = _export(torch, module, examples, where)
    modules = dict(module.named_modules(remove_duplicate=False))
    _restore_one_bit(model, modules)
    graph, ctx = convert(model, where, set(modules))
    return Imported(graph, TorchSource(module), (*notes, *ctx.notes), tuple(ctx.probes), ctx.layouts)


def _torch() -> Any:
    try:
        with _quiet():
            import brevitas  # noqa: F401
            import onnxoptimizer  # noqa: F401
            import torch
    except ImportError as error:
        raise ToolError.at(
            "brevitas", f"not installed: {error.name}", "torch, brevitas and onnxoptimizer", _INSTALL
        ) from error
    return torch


def _examples(torch: Any, example: Any, where: str) -> tuple[Any, ...]:
    items = example if isinstance(example, (tuple, list)) else (example,)
    tensors = []
    for item in items:
        if not isinstance(item, (torch.Tensor, np.ndarray)):
            raise InputError.at(where, f"an example input of type {type(item).__name__}", "a tensor or an array")
        tensors.append(torch.as_tensor(item)[:1])
    return tuple(tensors)


def _export(torch: Any, module: Any, examples: tuple[Any, ...], where: str) -> Any:
    """The QONNX ModelProto. TorchScript, since the dynamo export silently loses recurrent layers."""
    names = [p.name for p in inspect.signature(module.forward).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    names = names[: len(examples)] if len(names) >= len(examples) else [f"input{i}" for i in range(len(examples))]
    try:
        with _quiet(), torch.no_grad():
            from brevitas.export import export_qonnx

            return export_qonnx(module, args=examples, dynamo=False, input_names=names)
    except Exception as error:
        raise UnsupportedError.at(
            where,
            f"the QONNX export of Brevitas refuses the module: {_short(error)}",
            "layers that Brevitas exports to QONNX",
            "export_qonnx(module, args=example, dynamo=False) shows the whole error",
        ) from error


def _restore_one_bit(model: Any, modules: Mapping[str, Any]) -> None:
    """BipolarQuant becomes the Quant to 0 and 1 that the module computes.

    Brevitas exports every quantiser of one bit as BipolarQuant (-1 and +1), also those of integers. Raises
    UnsupportedError for signed and narrow ones: QONNX has no quantiser to -1 and 0, or to 0 alone.
    """
    from brevitas.core.quant.int_base import DecoupledIntQuant, IntQuant
    from onnx import helper, numpy_helper

    wrong, constants = [], ("codesign/zero_point", "codesign/one_bit")
    for node in model.graph.node:
        proxy = modules.get(module_path(node.name, modules)) if node.op_type == "BipolarQuant" else None
        if proxy is None or not any(isinstance(part, (IntQuant, DecoupledIntQuant)) for part in proxy.modules()):
            continue
        if proxy.is_signed or proxy.is_narrow_range:
            values = "of which 0 is the only value" if proxy.is_narrow_range else "whose values are -1 and 0"
            wrong.append(
                Diagnostic(
                    layer_name(node.name, node.op_type, node.output[0], modules),
                    f"a 1-bit quantiser of integers, {values}",
                    "one to 0 and 1 (unsigned), one to -1 and +1, or 2 bits",
                    "SignedBinaryWeightPerTensorConst or SignedBinaryActPerTensorConst of brevitas.quant",
                )
            )
            continue
        node.op_type = "Quant"
        node.input.extend(constants)
        attributes = {"signed": 0, "narrow": 0, "rounding_mode": str(proxy.rounding_mode).upper()}
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    raise_all(UnsupportedError, wrong)
    for name, value in zip(constants, (0.0, 1.0), strict=True):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, dtype=np.float32), name))


def _does_not_run(error: Exception) -> tuple[str, str, str]:
    """(found, allowed, hint) for a module that raises in its forward."""
    found = f"the module does not run on the example input: {type(error).__name__}: {_short(error)}"
    if "Scaling factors are different" in str(error):
        # Brevitas adds tensors with scales only when these are equal; plain tensors it adds as any other.
        hint = "return_quant_tensor=False in the layers before the sum: unequal scales are then added"
        return found, "a sum of QuantTensors of one scale, or of plain tensors", hint
    return found, "an example input of the right shape, with a batch axis", ""


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings, which say nothing that the importer does not check itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class TorchSource:
    """A Brevitas module evaluated by torch, in evaluation mode."""

    name = "brevitas"

    def __init__(self, module: Any) -> None:
        self._module = module

    def evaluate(self, *inputs: Any) -> list[RealArray]:
        """Real outputs, each (N, …), for real inputs in the model's axes."""
        return self.trace((), *inputs)[0]

    def trace(self, probes: Sequence[Probe], *inputs: Any) -> tuple[list[RealArray], Mapping[int, RealArray]]:
        """The outputs, and the tensor of each probe by its position; probes of unknown modules are left out."""
        import torch

        seen: dict[str, list[RealArray]] = {}
        modules = dict(self._module.named_modules(remove_duplicate=False))
        hooks = []
        for path in {p.module for p in probes if p.module in modules}:

            def keep(_m: Any, _i: Any, output: Any, path: str = path) -> None:
                seen.setdefault(path, []).append(_array(output))

            hooks.append(modules[path].register_forward_hook(keep))
        try:
            self._module.eval()
            with _quiet(), torch.no_grad():
                outputs = self._module(*(torch.as_tensor(np.asarray(x), dtype=torch.float32) for x in inputs))
        finally:
            for hook in hooks:
                hook.remove()
        many = outputs if isinstance(outputs, (tuple, list)) and not hasattr(outputs, "value") else (outputs,)
        traced = {i: seen[p.module][p.call] for i, p in enumerate(probes) if p.call < len(seen.get(p.module, ()))}
        return [_array(o) for o in many], traced


def _array(output: Any) -> RealArray:
    """The real values of a tensor or a QuantTensor."""
    tensor = output.value if hasattr(output, "value") else output
    array: RealArray = tensor.detach().cpu().numpy().astype(np.float64)
    return array
