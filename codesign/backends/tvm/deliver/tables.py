"""Tables as text that the C files of app/ include: the C itself is there, only data is made here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from codesign.backends.tvm.deliver.ports import Port, meaning, values_of
from codesign.backends.tvm.deliver.program import Fill, Program
from codesign.backends.tvm.plan import ALIGNMENT


def program_tables(program: Program) -> Mapping[str, str]:
    """steps.inc, arguments.inc, fills.inc and layers.inc."""
    fills: list[Fill] = [step.fill for step in program.steps if step.fill]
    steps, first, filled = [], 0, 0
    for step in program.steps:
        fill = filled if step.fill else -1
        steps.append(f"STEP({step.symbol}, {step.steps}, {first}, {len(step.arguments)}, {int(step.split)}, {fill})\n")
        first, filled = first + len(step.arguments), filled + bool(step.fill)
    arguments = [f"{{{a.space}, {a.index}, {a.offset}}},\n" for step in program.steps for a in step.arguments]
    rows = [
        f"{{{f.offset}, {f.itemsize}, {f.value}, {f.before}, {f.row}, {f.between}, {f.after}, {f.rows}}},\n"
        for f in fills
    ]
    layers = [f"LAYER({quoted(step.layer)}, {quoted(step.symbol)})\n" for step in program.steps]
    parts = {"steps": steps, "arguments": arguments, "fills": rows, "layers": layers}
    return {f"{name}.inc": "".join(lines) for name, lines in parts.items()}


def port_table(ports: Sequence[Port]) -> str:
    """Rows of `struct port` in test.c."""
    rows = [f"{{{quoted(p.name)}, {p.bytes}, {p.dtype.itemsize}, {int(p.dtype.kind == 'i')}}},\n" for p in ports]
    return "".join(rows)


def ports_header(name: str, inputs: Sequence[Port], outputs: Sequence[Port], program: Program) -> str:
    """The header that says what the tensors are, and how large everything is."""
    macro = name.upper()
    lines = [f"/* The tensors of {name}: elements in C order, channels last, in the byte order of the processor.", " *"]
    for kind, ports in (("inputs", inputs), ("outputs", outputs)):
        lines += [line for i, port in enumerate(ports) for line in _comment(f"{kind}[{i}]", port)]
    lines += [" */", f"#ifndef {macro}_PORTS_H", f"#define {macro}_PORTS_H", ""]
    for kind, ports in (("INPUT", inputs), ("OUTPUT", outputs)):
        lines.append(f"#define {macro}_{kind}S {len(ports)}")
        lines += [f"#define {macro}_{kind}{i}_BYTES {port.bytes}" for i, port in enumerate(ports)]
        lines.append(f"#define {macro}_{kind}_ITEMSIZES {', '.join(str(port.dtype.itemsize) for port in ports)}")
    lines += [
        f"#define {macro}_ARENA_BYTES {program.arena_bytes}",
        f"#define {macro}_ARENA_ALIGNMENT {ALIGNMENT}",
        f"#define {macro}_LAYERS {len(program.steps)}",
        "",
        "#endif",
    ]
    return "".join(f"{line}\n" for line in lines)


def _comment(place: str, port: Port) -> list[str]:
    size = "".join(f"[{n}]" for n in port.type.shape)
    name = re.sub(r"[^ -~]|[*]/|/[*]", "_", port.name)
    lines = [f" * {place}: {name}: {port.c_type}{size}, {port.bytes} bytes, values {values_of(port.type.dtype)}"]
    real = meaning(port.type.quant)
    return [*lines, f" *     {real}"] if real else lines


def quoted(text: str) -> str:
    """A C string; what is not printable ASCII as octal bytes, which end after three digits."""
    plain = (chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode())
    return f'"{"".join(plain)}"'
