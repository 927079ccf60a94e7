"""Which registers an aarch64 instruction reads and writes, from its assembly as llvm-mc prints it.

    effects("smlal v0.4s, v1.4h, v2.4h") -> Effects(reads={v0, v1, v2}, addresses={}, writes={v0}, …)

The whole register counts, whatever part is used (w3 is x3, s3 and v3.8b are v3); `nzcv` is the flags. Source: Arm DDI
0487, Arm Architecture Reference Manual, chapters C6 and C7.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FLAGS = "nzcv"

_REGISTER = re.compile(r"\b(?:([wx])(\d+)|([vqdshb])(\d+)|(w?sp))\b")
_COMPARES = re.compile(r"(?:cmp|cmn|tst|ccmp|ccmn|fcmp|fcmpe|fccmp|fccmpe)$")
_SET_FLAGS = re.compile(r"(?:adds|subs|ands|bics|negs|adcs|sbcs|ngcs)$")
_READ_FLAGS = re.compile(r"(?:csel|cs?inc|cs?inv|cs?neg|csetm?|fcsel|adcs?|sbcs?|ngcs?|f?ccmpe?|ccmn)$")
_NO_RESULT = re.compile(r"(?:br|blr|ret|cbz|cbnz|tbz|tbnz|prfm|prfum|msr|hint|nop|svc|dmb|dsb|isb|b|bl|brk)$")
_READ_RESULT = re.compile(
    r"(?:[sud]?ml[as]l?2?|[us]ml[as]l2?|sqdml[as]l2?|sqrdml[as]h|[su]dot|usdot|sudot|us?mmla|smmla|fml[as]l?2?"
    r"|[su]adalp|[su]abal?2?|[su]r?sra|movk|bfi|bfxil|bfm|bi[tf]|bsl|s[lr]i|tbx|ins|aes[ed]|.*n2)$"
)
_SIZES = {"b": 1, "h": 2, "s": 4, "d": 8, "q": 16}


@dataclass(frozen=True)
class Effects:
    """Registers by name. `addresses`: those read to form an address; `base`: one that a load or store moves on.

    load_bytes   what a load moves from the cache; 0 for other instructions
    structured   whether it does more than move, as the loads that deal their data out to several registers (ld2 …)
    """

    reads: frozenset[str]
    addresses: frozenset[str]
    writes: frozenset[str]
    base: str = ""
    load_bytes: int = 0
    structured: bool = False


def effects(text: str) -> Effects:
    """The effects of one instruction; none of a text that is none."""
    name, _, rest = text.strip().partition(" ")
    operands = _operands(rest)
    if name.startswith("b."):
        return Effects(frozenset({FLAGS}), frozenset(), frozenset())
    if name.startswith(("ld", "st", "prf")):
        return _memory(name, operands)
    registers = [_registers(operand) for operand in operands]
    everything = frozenset().union(*registers)
    flags = frozenset({FLAGS}) if _READ_FLAGS.match(name) else frozenset()
    if _COMPARES.match(name):
        return Effects(everything | flags, frozenset(), frozenset({FLAGS}))
    if _NO_RESULT.match(name) or not operands:
        return Effects(everything, frozenset(), frozenset())
    reads = frozenset().union(*registers[1:]) | flags
    if _READ_RESULT.match(name) or "[" in operands[0]:
        reads |= registers[0]
    return Effects(reads, frozenset(), registers[0] | (frozenset({FLAGS}) if _SET_FLAGS.match(name) else frozenset()))


def _memory(name: str, operands: list[str]) -> Effects:
    """Loads and stores: data, [address], and an offset behind it where the base moves on after the access."""
    at = next((i for i, operand in enumerate(operands) if operand.startswith("[")), len(operands))
    data = frozenset().union(*(_registers(operand) for operand in operands[:at]))
    address = frozenset().union(*(_registers(operand) for operand in operands[at:]))
    moves = at < len(operands) and (operands[at].endswith("!") or at + 1 < len(operands))
    base = min(_registers(operands[at]), default="") if moves else ""
    if not name.startswith("ld"):
        return Effects(data, address, frozenset(), base)
    lane = any("}[" in operand for operand in operands[:at])
    size = 0 if lane else _bytes(operands[:at])
    return Effects(data if lane else frozenset(), address, data, base, size, name[2].isdigit())


def _bytes(data: list[str]) -> int:
    """What the registers of a load hold, a general one taken as 8 bytes."""
    total = 0
    for operand in data:
        for part in operand.strip("{} ").split(","):
            arrangement = re.search(r"\.(\d+)([bhsd])", part)
            if arrangement:
                total += int(arrangement[1]) * _SIZES[arrangement[2]]
            else:
                total += _SIZES.get(part.strip()[:1], 8)
    return total


def _operands(text: str) -> list[str]:
    """Operands between commas that are in no brackets."""
    found, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not depth:
            found.append("")
        else:
            found[-1] += letter
    return [operand.strip() for operand in found if operand.strip()]


def _registers(operand: str) -> frozenset[str]:
    return frozenset(
        f"x{number}" if general else f"v{vector}" if vector else "sp"
        for general, number, _, vector, _ in _REGISTER.findall(operand)
    )
