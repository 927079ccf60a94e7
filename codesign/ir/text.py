"""The text form of the integer graph: `parse_graph(print_graph(g))` is the same graph.

    graph 1
    input x: u8[28,28,1] scale=[0.00392] source_axes=(2,0,1)
    const w1: i4[16,3,3,1] = base64 …            # or decimal, when short
    conv1 = Conv2d(stride=(1, 1), …)(x, w1): i12[26,26,16] origin='features.0'
    output conv1

The type after a node is what `infer` gave; parsing checks it again.
"""

from __future__ import annotations

import ast
import base64
import dataclasses
import re
import zlib
from typing import Any

import numpy as np

from codesign.errors import CodesignError, InputError
from codesign.ir.graph import Const, Graph, Node, Port
from codesign.ir.ops import OPERATORS, Op, Rounding
from codesign.ir.types import IntArray, IntType, Quant, TensorType

VERSION = 1
_SHORT = 16
_NAME = r"[A-Za-z_][\w.\-/:]*"


def print_graph(graph: Graph, origins: bool = True) -> str:
    """The text form; without origins it is what the digest is taken of."""
    lines = [f"graph {VERSION}"]
    for port in graph.inputs:
        lines.append(f"input {port.name}: {_type(graph.type(port.name))}{_axes(port)}")
    for name, const in graph.consts.items():
        lines.append(f"const {name}: {_type(const.type)} = {_values(const.value)}")
    for node in graph.nodes:
        line = f"{node.name} = {_op(node.op)}({', '.join(node.inputs)}): {_type(graph.type(node.name))}"
        lines.append(line + (f" origin={node.origin!r}" if origins and node.origin else ""))
    for port in graph.outputs:
        lines.append(f"output {port.name}{_axes(port)}")
    return "\n".join(lines) + "\n"


def _axes(port: Port) -> str:
    return f" source_axes={port.source_axes!r}" if port.source_axes else ""


def _type(type_: TensorType) -> str:
    text = str(type_)
    if type_.quant is not None:
        text += f" scale={list(type_.quant.scale)!r} zero={list(type_.quant.zero_point)!r} axis={type_.quant.axis!r}"
    return text


def _values(value: IntArray) -> str:
    if value.size <= _SHORT:
        return str(value.reshape(-1).tolist())
    low, high = int(value.min()), int(value.max())
    width = next(w for w in (1, 2, 4, 8) if -(1 << (8 * w - 1)) <= low and high < 1 << (8 * w - 1))
    packed = zlib.compress(value.astype(f"<i{width}").tobytes(), 9)
    return f"base64 {width} {base64.b64encode(packed).decode()}"


def _op(op: Op) -> str:
    fields = []
    for f in dataclasses.fields(op):
        value = getattr(op, f.name)
        text = str(value) if isinstance(value, IntType) else value.value if isinstance(value, Rounding) else repr(value)
        fields.append(f"{f.name}={text}")
    return f"{type(op).__name__}({', '.join(fields)})"


def parse_graph(text: str) -> Graph:
    """The graph of a text form. Raises InputError with the line that cannot be read, GraphError for a broken rule."""
    inputs: list[Port] = []
    outputs: list[Port] = []
    consts: dict[str, Const] = {}
    nodes: list[Node] = []
    lines = text.splitlines()
    if not lines or lines[0].strip() != f"graph {VERSION}":
        raise InputError.at("line 1", repr(lines[0][:60]) if lines else "an empty file", f"'graph {VERSION}'")
    types: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        try:
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            if line.startswith("input "):
                name, rest = _split(line[6:])
                type_, attributes = _parse_type(rest)
                inputs.append(Port(name, type_, tuple(attributes.get("source_axes", ()))))
            elif line.startswith("const "):
                name, rest = _split(line[6:])
                head, _, values = rest.partition(" = ")
                type_, _ = _parse_type(head)
                consts[name] = Const(type_, _parse_values(values, type_.shape))
            elif line.startswith("output "):
                name, _, rest = line[7:].strip().partition(" ")
                outputs.append(Port(name, None, tuple(_attributes(rest).get("source_axes", ()))))
            else:
                node, declared = _parse_node(line)
                nodes.append(node)
                types[node.name] = declared
        except CodesignError:
            raise
        except (ValueError, SyntaxError, KeyError, TypeError, zlib.error) as error:
            raise InputError.at(f"line {number}", f"cannot be read: {error}", "the text form of a graph") from error
    graph = Graph(tuple(inputs), consts, tuple(nodes), tuple(outputs))
    for name, declared in types.items():
        if declared != str(graph.type(name)):
            raise InputError.at(name, f"declared as {declared}", f"{graph.type(name)}, which its operator gives")
    return graph


def _split(text: str) -> tuple[str, str]:
    match = re.match(rf"({_NAME}): (.*)$", text)
    if match is None:
        raise ValueError(f"no 'name: type' in {text[:60]!r}")
    return match[1], match[2]


def _attributes(text: str) -> dict[str, Any]:
    """`a=1 b=[2, 3]` as a dictionary; the values are Python literals."""
    if not text.strip():
        return {}
    call = ast.parse("f(" + re.sub(r"(?<=[\])'\"\w]) (?=\w+=)", ", ", text.strip()) + ")", mode="eval").body
    assert isinstance(call, ast.Call)
    return {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}


def _parse_type(text: str) -> tuple[TensorType, dict[str, Any]]:
    match = re.match(r"(\w+)\[([\d,]+)\](.*)$", text)
    if match is None:
        raise ValueError(f"not a tensor type: {text[:60]!r}")
    attributes = _attributes(match[3])
    quant = None
    if "scale" in attributes:
        quant = Quant(tuple(attributes["scale"]), tuple(attributes["zero"]), attributes["axis"])
    shape = tuple(int(n) for n in match[2].split(","))
    return TensorType(shape, IntType.parse(match[1]), quant), attributes


def _parse_values(text: str, shape: tuple[int, ...]) -> IntArray:
    if text.startswith("base64 "):
        _, width, data = text.split(" ")
        values = np.frombuffer(zlib.decompress(base64.b64decode(data)), dtype=f"<i{int(width)}").astype(np.int64)
    else:
        values = np.array(ast.literal_eval(text), dtype=np.int64)
    values = values.reshape(shape)
    values.flags.writeable = False
    return values


def _parse_node(line: str) -> tuple[Node, str]:
    match = re.match(rf"({_NAME}) = (\w+)\((.*?)\)\(([^()]*)\): (.*)$", line)
    if match is None:
        raise ValueError(f"no 'name = Operator(…)(inputs): type' in {line[:60]!r}")
    name, kind, fields, inputs, rest = match.groups()
    if kind not in OPERATORS:
        raise ValueError(f"unknown operator {kind}; there are {', '.join(OPERATORS)}")
    type_, attributes = _parse_type(rest)
    op = _parse_op(OPERATORS[kind], fields)
    names = tuple(n.strip() for n in inputs.split(",") if n.strip())
    return Node(name, op, names, attributes.get("origin", ""), type_.quant), str(type_)


def _parse_op(kind: type[Op], text: str) -> Op:
    call = ast.parse(f"f({text})", mode="eval").body
    assert isinstance(call, ast.Call)
    given = {str(k.arg): k.value for k in call.keywords}
    values: dict[str, Any] = {}
    for f in dataclasses.fields(kind):
        source = ast.unparse(given[f.name])
        if f.type == "IntType":
            values[f.name] = IntType.parse(source)
        elif f.type == "Rounding":
            values[f.name] = Rounding(source)
        else:
            values[f.name] = ast.literal_eval(source)
    return kind(**values)
