"""The network as hls4ml's model graph: built layer by layer, with hls4ml's extension API for the integer layers.

hls4ml is imported here only, and when it is needed. Its front ends are not used: every precision is set, and what the
conversion made of the layers is compared with what was asked for.
"""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codesign.backends.hls.cost import is_pipelined, pipeline_interval
from codesign.backends.hls.flows import Flow
from codesign.backends.hls.layers import Flatten, Integer, Layer, Linear, Network, Word
from codesign.errors import ToolError
from codesign.schedule import HlsSchedule

FIRMWARE = Path(__file__).parent / "firmware"
PROJECT = "network"
HEADERS = ("codesign_layers.h", "codesign_shapes.h", "codesign_softmax.h", "codesign_windows.h")


def model_graph(network: Network, schedule: HlsSchedule, flow: Flow, options: Mapping[str, Any]) -> Any:
    """The hls4ml ModelGraph of the network for a flow; `options` go to its initial configuration."""
    with quiet():
        backend = _backend(flow.name, flow.header)
        from hls4ml.model.graph import ModelGraph

        config = backend.create_initial_config(io_type=schedule.io, **options)
        config |= {"Backend": flow.name, "ProjectName": PROJECT, "HLSConfig": _configuration(network, schedule)}
        layers = [_input(network)] + [_description(layer, schedule) for layer in network.layers]
        model = ModelGraph.from_layer_list(config, layers, [network.input], [network.output])
        model.config.config["HLSConfig"] = _printable(config["HLSConfig"])
        _set_depths(model, network, schedule)
        model.apply_flow(backend.get_default_flow())
        _set_lengths(model)
    _compare(model, network, schedule)
    return model


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """hls4ml prints what it decides; here it decides nothing."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# -- the description of the layers -----------------------------------------------------------------------------------


def _precision(word: Word) -> Any:
    from hls4ml.model.types import IntegerPrecisionType, XnorPrecisionType

    return XnorPrecisionType() if word.xnor else IntegerPrecisionType(word.bits, word.signed)


def _configuration(network: Network, schedule: HlsSchedule) -> dict[str, Any]:
    """HLSConfig: the precision of everything, the reuse factor and strategy of every layer."""
    names: dict[str, Any] = {network.input: {"Precision": {"result": _precision(Word.of(network.input_type.dtype))}}}
    for layer in network.layers:
        precision = {"result": _precision(Word.of(layer.type.dtype))}
        if isinstance(layer, Linear):
            bias = Word.of(_bias_type(layer))
            # Sums are formed in the result's own width: it holds the whole sum, and partial sums may wrap.
            counts = layer.word.xnor and layer.product == "xnor"
            sum_word = Word(layer.terms.bit_length(), False) if counts else Word.of(layer.type.dtype)
            precision |= {"weight": _precision(layer.word), "bias": _precision(bias), "accum": _precision(sum_word)}
        loop = schedule.loop(layer.name)
        names[layer.name] = {"Precision": precision, "ReuseFactor": loop.reuse, "Strategy": loop.strategy.capitalize()}
    model = {"Precision": {"default": "int<32>"}, "ReuseFactor": 1, "Strategy": "Latency", "BitExact": False}
    if is_pipelined(network, schedule):
        model |= {"PipelineStyle": "pipeline", "PipelineInterval": pipeline_interval(network, schedule)}
    else:
        model |= {"PipelineStyle": "dataflow"}
    return {"Model": model, "LayerName": names}


def _bias_type(layer: Linear) -> Any:
    from codesign.ir.types import IntType

    if layer.bias is None:
        return IntType(1, False)
    return IntType.smallest(int(layer.bias.min()), int(layer.bias.max()))


def _printable(data: Any) -> Any:
    """The configuration with precisions as text, for hls4ml_config.yml."""
    if isinstance(data, Mapping):
        return {key: _printable(value) for key, value in data.items()}
    return data if isinstance(data, str | int | float | bool) else str(data)


def _input(network: Network) -> dict[str, Any]:
    return {"class_name": "Input", "name": network.input, "input_shape": list(network.input_type.shape)}


def _description(layer: Layer, schedule: HlsSchedule) -> dict[str, Any]:
    """What ModelGraph.from_layer_list takes for a layer."""
    common = {"name": layer.name, "inputs": list(layer.inputs)}
    match layer:
        case Linear():
            return common | (_conv(layer) if layer.is_conv else _dense(layer))
        case Integer():
            return common | {"class_name": CLASSES[layer.function], "layer": layer}
        case Flatten():
            return common | {"class_name": "Reshape", "target_shape": list(layer.type.shape)}
    raise AssertionError(layer)


def _weights(layer: Linear) -> dict[str, Any]:
    bias = None if layer.bias is None else layer.bias.astype("float64")
    return {"weight_data": layer.weight.astype("float64"), "bias_data": bias}


def _dense(layer: Linear) -> dict[str, Any]:
    return {"class_name": "Dense", "n_in": layer.terms, "n_out": layer.outputs, **_weights(layer)}


def _conv(layer: Linear) -> dict[str, Any]:
    kh, kw, channels, outputs = layer.weight.shape
    return {
        "class_name": "Conv2D", "data_format": "channels_last", **_weights(layer),
        "in_height": layer.input.shape[0], "in_width": layer.input.shape[1], "n_chan": channels,
        "out_height": layer.type.shape[0], "out_width": layer.type.shape[1], "n_filt": outputs,
        "filt_height": kh, "filt_width": kw, "stride_height": layer.stride[0], "stride_width": layer.stride[1],
        "pad_top": 0, "pad_bottom": 0, "pad_left": 0, "pad_right": 0,
    }  # fmt: skip


# -- the integer layers ----------------------------------------------------------------------------------------------

CLASSES = {
    "threshold": "IntegerThreshold",
    "requantise": "IntegerRequant",
    "lookup": "IntegerLookup",
    "integer_add": "IntegerAdd",
    "integer_multiply": "IntegerMultiply",
    "concatenate_channels": "IntegerConcatenate",
    "argmax_channels": "IntegerArgMax",
    "softmax_channels": "IntegerSoftmax",
    "depthwise": "IntegerDepthwiseConv2D",
    "maximum_of_window": "IntegerMaxPooling2D",
    "sum_of_window": "IntegerSumPooling2D",
    "maximum_of_block": "IntegerBlockMaxPooling2D",
    "sum_of_block": "IntegerBlockSumPooling2D",
    "mean_of_window": "IntegerMeanPooling2D",
    "pad_image": "IntegerPadding2D",
    "gather": "IntegerGather",
    "repack": "IntegerRepack",
}
"""The class that hls4ml knows each function of codesign_layers.h by."""


@functools.cache
def _classes() -> tuple[Any, ...]:
    """The layer classes, registered with hls4ml once."""
    from hls4ml.model.layers import Layer as HlsLayer
    from hls4ml.model.layers import register_layer

    class IntegerLayer(HlsLayer):  # type: ignore[misc, unused-ignore]
        """A layer of codesign_layers.h; its attribute `layer` is the Integer that describes it."""

        def initialize(self) -> None:
            layer: Integer = self.get_attr("layer")
            self.add_output_variable(list(layer.type.shape), precision=_precision(Word.of(layer.type.dtype)))
            for table in layer.tables:
                self.add_weights_variable(
                    name=table.name, var_name=table.name + "{index}", type_name=table.name + "{index}_t",
                    data=table.values.astype("float64"), precision=_precision(table.word),
                )  # fmt: skip

    made = tuple(type(name, (IntegerLayer,), {"__doc__": IntegerLayer.__doc__}) for name in CLASSES.values())
    for each in made:
        register_layer(each.__name__, each)
    return made


@functools.cache
def _backend(flow: str, header: str) -> Any:
    """hls4ml's backend with the integer layers registered: their classes, templates and headers."""
    from hls4ml.backends import get_backend

    backend = get_backend(flow)
    _register_templates("Vivado" if flow == "VivadoAccelerator" else flow)  # whose passes that flow runs
    for source in (*(FIRMWARE / name for name in HEADERS), *sorted((FIRMWARE / header).glob("*.h"))):
        backend.register_source(source)
    return backend


@functools.cache
def _register_templates(flow: str) -> None:
    """Teach a backend how the integer layers are configured and called; hls4ml takes a template once."""
    from hls4ml.backends import get_backend
    from hls4ml.backends.template import FunctionCallTemplate, LayerConfigTemplate

    class IntegerConfig(LayerConfigTemplate):  # type: ignore[misc, unused-ignore]
        """The configuration struct: constants, integer types, table types."""

        def __init__(self) -> None:
            super().__init__(_classes())

        def format(self, node: Any) -> str:
            layer: Integer = node.get_attr("layer")
            lines = [f"struct config{node.index} : nnet::{layer.base} {{"]
            constants = {**layer.constants, "reuse_factor": node.get_attr("reuse_factor")}
            for name, value in constants.items():
                kind = "bool" if isinstance(value, bool) else "long long" if name in _SIGNED else "unsigned"
                lines.append(f"    static const {kind} {name} = {str(value).lower()};")
            lines += [f"    typedef nnet::signed_integer<{bits}> {name};" for name, bits in layer.widths.items()]
            lines += [f"    typedef {node.get_weights(t.name).type.name} {t.name}_t;" for t in layer.tables]
            return "\n".join([*lines, "};\n"])

    class IntegerCall(FunctionCallTemplate):  # type: ignore[misc, unused-ignore]
        """The call: one or two inputs, the output, the tables."""

        def __init__(self) -> None:
            super().__init__(_classes(), include_header=[f"nnet_utils/{HEADERS[0]}"])

        def format(self, node: Any) -> str:
            layer: Integer = node.get_attr("layer")
            inputs = [node.get_input_variable(name) for name in node.inputs]
            output = node.get_output_variable()
            types = ", ".join([*(v.type.name for v in inputs), output.type.name, f"config{node.index}"])
            values = ", ".join([v.name for v in (*inputs, output, *(node.get_weights(t.name) for t in layer.tables))])
            return f"nnet::{layer.function}<{types}>({values});"

    for template in (IntegerConfig, IntegerCall):
        get_backend(flow).register_template(template)


_SIGNED = ("lo", "hi", "zero_point", "pad_value", "step", "out_bits", "sum_bits")


# -- what became of it -----------------------------------------------------------------------------------------------


def _set_depths(model: Any, network: Network, schedule: HlsSchedule) -> None:
    """Give every stream the depth of the schedule, and its copies too where several layers read it."""
    if schedule.io == "io_parallel":
        return
    for node in model.get_layers():
        copied = node.class_name == "Clone"
        source = node.inputs[0] if copied else node.name
        for variable in node.get_variables():
            if source in schedule.depths and isinstance(variable.pragma, tuple):
                feeds_clone = not copied and len(network.readers(source)) > 1
                variable.pragma = ("stream", 2 if feeds_clone else schedule.depths[source])


def _set_lengths(model: Any) -> None:
    """Give the type of padded weights their length: hls4ml 1.3 pads for oneAPI after it has made the types."""
    for node in model.get_layers():
        for weights in node.get_weights():
            if hasattr(weights.type, "n_elem"):
                weights.type.n_elem = weights.data_length


def _compare(model: Any, network: Network, schedule: HlsSchedule) -> None:
    """ToolError when hls4ml changed a precision or a reuse factor, or left a layer out."""
    from hls4ml.model.types import XnorPrecisionType

    wrong = []
    for layer in network.layers:
        made = model.graph.get(layer.name)
        if made is None and isinstance(layer, Flatten):
            continue  # a Repack has taken its place, or nothing
        if made is None:
            wrong.append(f"nothing for {layer.where}")
            continue
        found, wanted = made.get_output_variable().type.precision, Word.of(layer.type.dtype)
        kept = (found.width, found.signed) == (wanted.bits, wanted.signed)
        if not kept or isinstance(found, XnorPrecisionType) != wanted.xnor:
            wrong.append(f"{layer.where} as {found}, not {wanted.precision}")
        elif isinstance(layer, Linear | Integer) and made.get_attr("function_cpp") is None:
            wrong.append(f"nothing for {layer.where}")
        elif made.get_attr("reuse_factor") != schedule.loop(layer.name).reuse:
            wrong.append(f"{layer.where} with reuse {made.get_attr('reuse_factor')}")
    if wrong:
        raise ToolError.at("hls4ml", f"would compute {'; '.join(wrong)}")
