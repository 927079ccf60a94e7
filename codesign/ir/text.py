"""The text form of the integer graph: `parse_graph(print_graph(g))` is the same graph.

    graph 1
    input x: u8[28,28,1] scale=[0.00392] zero=[0.0] axis=None source_axes=(1, 2, 0)
    const w1: i4[16,3,3,1] = base64 …            # or decimal, when short
    conv1 = Conv2d(stride=(1, 1), …)(x, w1): i12[26,26,16] origin='features.0'
    output conv1

The type after a node is what `infer` gave; parsing checks it again. Empty lines and lines of # are skipped.
"""

from __future__ import annotations

import ast
import base64
import dataclasses
import re
import zlib
from typing import Any

import numpy as np

from codesign.errors import CodesignError, GraphError, InputError
from codesign.ir.graph import NAME, Const, Graph, Node, Port
from codesign.ir.ops import OPERATORS, Op, Rounding
from codesign.ir.types import IntArray, IntType, Quant, TensorType

VERSION = 1
_SHORT = 16
# name=value; the value a list, a tuple, a quoted string or a word, in Python's notation.
_ATTRIBUTE = re.compile(
    r"""\s*(\w+)=(\[[^\]]*\]|\([^)]*\)|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s,\[('"]+)(?:,|(?=\s|$))"""
)


def print_graph(graph: Graph, origins: bool = True, values: bool = True) -> str:
    """The text form. Without origins and values it is, with the constants' bytes, what the digest is taken of."""
    lines = [f"graph {VERSION}"]
    for port in graph.inputs:
        lines.append(f"input {port.name}: {_type(graph.type(port.name))}{_axes(port)}")
    for name, const in graph.consts.items():
        lines.append(f"const {name}: {_type(const.type)}" + (f" = {_values(const.value)}" if values else ""))
    for node in graph.nodes:
        line = f"{node.name} = {_op(node.op)}({', '.join(node.inputs)}): {_type(graph.type(node.name))}"
        lines.append(line + (f" origin={node.origin!r}" if origins and node.origin else ""))
    for port in graph.outputs:
        lines.append(f"output {port.name}{_axes(port)}")
    return "\n".join(lines) + "\n"


def _axes(port: Port) -> str:
    return f" source_axes={_plain(port.source_axes)!r}" if port.source_axes else ""


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
        fields.append(f"{f.name}={_plain(value)}")
    return f"{type(op).__name__}({', '.join(fields)})"


def _plain(value: Any) -> Any:
    """What prints as the text form has it: names of types and roundings, and Python integers for NumPy's."""
    if isinstance(value, Rounding):
        return value.value
    if isinstance(value, IntType):
        return str(value)
    if isinstance(value, tuple):
        return tuple(_plain(v) for v in value)
    return bool(value) if isinstance(value, (bool, np.bool_)) else int(value)


def parse_graph(text: str) -> Graph:
    """The graph of a text form. Raises InputError with the line that cannot be read, GraphError for a broken rule."""
    inputs: list[Port] = []
    outputs: list[Port] = []
    consts: dict[str, Const] = {}
    nodes: list[Node] = []
    lines = text.split("\n")
    if lines[0].strip() != f"graph {VERSION}":
        raise InputError.at("line 1", repr(lines[0][:60]) if text else "an empty file", f"'graph {VERSION}'")
    declared: dict[str, str] = {}
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
                if name in consts:
                    raise ValueError(f"a second constant {name!r}")
                head, _, values = rest.partition(" = ")
                type_, _ = _parse_type(head)
                consts[name] = Const(type_, _parse_values(values, type_.shape))
            elif line.startswith("output "):
                name, _, rest = line[7:].strip().partition(" ")
                outputs.append(Port(name, None, tuple(_attributes(rest).get("source_axes", ()))))
            else:
                node, declared_type = _parse_node(line)
                nodes.append(node)
                declared[node.name] = declared_type
        except CodesignError:
            raise
        except (ValueError, SyntaxError, TypeError, zlib.error) as error:
            raise InputError.at(f"line {number}", f"cannot be read: {error}", "the text form of a graph") from error
    graph = Graph(tuple(inputs), consts, tuple(nodes), tuple(outputs))
    for name, text_type in declared.items():
        if text_type != str(graph.type(name)):
            raise GraphError.at(name, f"declared as {text_type}", f"{graph.type(name)}, which its operator gives")
    return graph


def _split(text: str) -> tuple[str, str]:
    match = re.match(rf"({NAME}): (.*)$", text)
    if match is None:
        raise ValueError(f"no 'name: type' in {text[:60]!r}")
    return match[1], match[2]


def _attributes(text: str) -> dict[str, Any]:
    """`a=1 b=[2, 3]` as a dictionary of Python values; words that are no literal stay strings. Raises ValueError."""
    found: dict[str, Any] = {}
    position, text = 0, text.rstrip()
    while position < len(text):
        match = _ATTRIBUTE.match(text, position)
        if match is None:
            raise ValueError(f"no 'name=value' in {text[position : position + 60]!r}")
        try:
            found[match[1]] = ast.literal_eval(match[2])
        except ValueError:
            found[match[1]] = match[2]
        position = match.end()
    return found


def _parse_type(text: str) -> tuple[TensorType, dict[str, Any]]:
    match = re.match(r"(\w+)\[([\d,]+)\](.*)$", text)
    if match is None:
        raise ValueError(f"not a tensor type: {text[:60]!r}")
    attributes = _attributes(match[3])
    quant = None
    if "scale" in attributes:
        quant = Quant(tuple(attributes["scale"]), tuple(attributes.get("zero", (0.0,))), attributes.get("axis"))
    shape = tuple(int(n) for n in match[2].split(","))
    return TensorType(shape, IntType.parse(match[1]), quant), attributes


def _parse_values(text: str, shape: tuple[int, ...]) -> IntArray:
    if text.startswith("base64 "):
        _, width, data = text.split(" ")
        values = np.frombuffer(zlib.decompress(base64.b64decode(data)), dtype=f"<i{int(width)}")
    else:
        values = np.array(ast.literal_eval(text))
    if not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"values of type {values.dtype}, not integers")
    return values.astype(np.int64).reshape(shape)


def _parse_node(line: str) -> tuple[Node, str]:
    match = re.match(rf"({NAME}) = (\w+)\((.*?)\)\(([^()]*)\): (.*)$", line)
    if match is None:
        raise ValueError(f"no 'name = Operator(…)(inputs): type' in {line[:60]!r}")
    name, kind, fields, inputs, rest = match.groups()
    if kind not in OPERATORS:
        raise ValueError(f"unknown operator {kind}; there are {', '.join(OPERATORS)}")
    type_, attributes = _parse_type(rest)
    op = _parse_op(OPERATORS[kind], fields)
    names = tuple(n.strip() for n in inputs.split(",") if n.strip())
    return Node(name, op, names, str(attributes.get("origin", "")), type_.quant), str(type_)


_LENGTHS = {"tuple[int, int]": 2, "Padding": 4}


def _parse_op(kind: type[Op], text: str) -> Op:
    given = _attributes(text)
    names = [f.name for f in dataclasses.fields(kind)]
    if set(given) != set(names):
        raise ValueError(f"{kind.__name__} with fields {', '.join(given)} instead of {', '.join(names)}")
    values: dict[str, Any] = {}
    for f in dataclasses.fields(kind):
        value = given[f.name]
        if f.type == "IntType":
            value = IntType.parse(str(value))
        elif f.type == "Rounding":
            value = Rounding(str(value))
        elif f.type in ("int", "bool"):
            if type(value).__name__ != f.type:
                raise ValueError(f"{f.name}={value!r} is no {f.type}")
        elif not (
            isinstance(value, tuple)
            and all(type(v) is int for v in value)
            and len(value) == _LENGTHS.get(str(f.type), len(value))
        ):
            raise ValueError(f"{f.name}={value!r} is no {f.type}")
        values[f.name] = value
    return kind(**values)
