"""Words to commands: name and parameter of each, without meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from codesign.backends.ethosu.stream.errors import StreamError
from codesign.backends.ethosu.stream.payload import Payload
from codesign.backends.ethosu.stream.registers import FIELDS, OPERATIONS, PARAMETERS, REGISTERS, WIDE, mask

_NUMBER, _FORM, _PARAMETER = 0x3FFF, 0xC000, 16
"""Bits 10 to 13 mean nothing: taken for part of the number, they make one that no command has."""


@dataclass(frozen=True)
class Command:
    """One command.

    offset   in bytes from the first command, as Vela's database counts
    starts   whether it starts an operation; else it sets a register
    name     without NPU_OP_ or NPU_SET_
    value    16 bits, or 48 of a command with a word behind it
    """

    offset: int
    starts: bool
    name: str
    value: int


def commands(payload: Payload) -> Iterator[Command]:
    """The commands of a payload in order. Raises StreamError for a number that the device does not have."""
    family = payload.device.family
    registers = REGISTERS[family]
    words = payload.words.tolist()
    place = 0
    while place < len(words):
        word, offset = words[place], 4 * place
        number, form = word & _NUMBER, word & _FORM
        if form == WIDE:
            number |= WIDE
            name = registers.get(number)
            if name is None or place + 1 == len(words):
                raise StreamError.at(at(offset), f"the word {word:#010x}", f"a command of {family}")
            yield _checked(Command(offset, False, name, (word >> _PARAMETER) << 32 | words[place + 1]), number, family)
            place += 2
            continue
        starts = number < 0x100
        name = (OPERATIONS if starts else registers).get(number)
        if name is None or form:
            raise StreamError.at(at(offset), f"the word {word:#010x}", f"a command of {family}")
        yield _checked(Command(offset, starts, name, word >> _PARAMETER), number, family)
        place += 1


def _checked(command: Command, number: int, family: str) -> Command:
    """The command; StreamError for one with bits that mean nothing."""
    if command.starts:
        allowed = (1 << PARAMETERS[command.name]) - 1
        if command.name == "CONV" and family == "ethos-u85":
            allowed = 1
    else:
        allowed = mask(family, command.name, number)
    if command.value & ~allowed:
        raise StreamError.at(at(command.offset), f"{command.name} {command.value:#x}", f"bits of {allowed:#x}")
    return command


def at(offset: int) -> str:
    """How messages call a place in the stream."""
    return f"command stream, byte {offset:#x}"


class Registers:
    """The registers while a stream is walked: what each was last set to."""

    def __init__(self, family: str) -> None:
        self._fields = FIELDS[family]
        self._names = frozenset(REGISTERS[family].values())
        self._values: dict[str, int] = {}

    def set(self, command: Command) -> None:
        self._values[command.name] = command.value

    def get(self, name: str, bits: int = 0) -> int:
        """The value of a register; with `bits` as a signed number of so many. Raises KeyError for one never set."""
        value = self._values[name]
        return _signed(value & ((1 << bits) - 1), bits) if bits else value

    def has(self, name: str) -> bool:
        """Whether the device has the register."""
        return name in self._names

    def field(self, name: str, field: str) -> int:
        """One field of a register. Raises KeyError for a register never set."""
        low, bits = self._fields[name][field]
        return self._values[name] >> low & ((1 << bits) - 1)

    def fields(self, name: str) -> Mapping[str, int]:
        """All fields of a register."""
        return {field: self.field(name, field) for field in self._fields[name]}


def _signed(value: int, bits: int) -> int:
    return value - (value >> (bits - 1) << bits)
