"""The driver payload: what the Ethos-U driver is handed, a list of actions around the register commands.

32-bit words, little-endian: the mark COP1, then actions, each (id, length or parameter in the upper half). Action 1
is followed by the configuration and the identity that the stream was made for, action 2 by as many words of
register commands as it says, 24 bits of them: the upper 8 in bits 8 to 15, the lower 16 in bits 16 to 31.
Source: Vela 5.2, ethosu/vela/driver_actions.py and ethos_u55_regs.py (config_r, id_r).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.backends.ethosu.stream.errors import StreamError

Words = NDArray[np.uint32]

_MARK = int.from_bytes(b"COP1", "little")
_CONFIGURE, _COMMANDS, _NOTHING = 1, 2, 5
_PRODUCTS = {0: "ethos-u55", 1: "ethos-u65", 2: "ethos-u85"}


@dataclass(frozen=True)
class Device:
    """What a stream was made for.

    family        ethos-u55, ethos-u65 or ethos-u85
    macs          multiply-accumulates a cycle, all cores together
    cores         weight decoders, each with a stream of weights of its own (ethos-u65-512: two; ethos-u85: up to four)
    shram_kib     shared buffer, of U55 and U65
    architecture  version of the command set: major, minor, patch
    """

    family: str
    macs: int
    cores: int
    shram_kib: int
    architecture: tuple[int, int, int]

    @property
    def tables(self) -> int:
        """Where the memory of the look-up tables is: the last 2 KiB of each core's shared buffer, on U85 at 0."""
        return 0 if self.family == "ethos-u85" else 1024 * self.shram_kib // self.cores - 2048

    @property
    def name(self) -> str:
        """As Vela calls the accelerator."""
        return f"{self.family}-{self.macs}"


@dataclass(frozen=True, eq=False)
class Payload:
    """A decoded driver payload: the device and the words of the register commands."""

    device: Device
    words: Words


def read_payload(data: bytes | NDArray[Any]) -> Payload:
    """The payload in `data`. Raises StreamError for what is none."""
    raw = bytes(data)
    if len(raw) % 4 or len(raw) < 8:
        raise StreamError.at("driver payload", f"{len(raw)} bytes", "whole words of 4 bytes, at least two")
    words = np.frombuffer(raw, dtype="<u4")
    if int(words[0]) != _MARK:
        raise StreamError.at("driver payload", f"the mark {int(words[0]):#010x}", f"COP1, {_MARK:#010x}")
    device: Device | None = None
    place = 1
    while place < len(words):
        word = int(words[place])
        action = word & 0xFF
        if action == _CONFIGURE and place + 2 < len(words):
            device = _device(int(words[place + 1]), int(words[place + 2]))
            place += 3
        elif action == _NOTHING:
            place += 1
        elif action == _COMMANDS and device is not None:
            length = (word & 0xFF00) << 8 | word >> 16
            if place + 1 + length > len(words):
                found = f"{length} words of commands, {len(words) - place - 1} there"
                raise StreamError.at("driver payload", found, "a whole command stream")
            return Payload(device, words[place + 1 : place + 1 + length])
        else:
            raise StreamError.at("driver payload", f"the action {word:#010x} in word {place}", "1, 2 or 5, in order")
    raise StreamError.at("driver payload", "no register commands", "action 2")


def _device(config: int, identity: int) -> Device:
    product = config >> 28
    if product not in _PRODUCTS:
        raise StreamError.at("driver payload", f"product {product}", ", ".join(map(str, _PRODUCTS)))
    macs = 1 << (config & 0xF)
    if product == 2:
        cores, shram = 1 << (config >> 12 & 0x3), 0
    else:
        cores, shram = 2 if macs == 512 else 1, config >> 8 & 0xFF
    version = identity >> 28, identity >> 20 & 0xFF, identity >> 16 & 0xF
    return Device(_PRODUCTS[product], macs, cores, shram, version)
