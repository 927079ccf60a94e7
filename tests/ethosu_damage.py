"""Compiled models whose commands and constants can be damaged, and their audit."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from audit_models import MODELS
from ethosu_streams import compile_all

from codesign.backends.ethosu.audit import Audit, audit
from codesign.backends.ethosu.stream import StreamError, read_payload
from codesign.backends.ethosu.stream.commands import Command, commands
from codesign.backends.ethosu.stream.weights import decode_weights
from codesign.backends.ethosu.vela import Compiled
from codesign.frontend.imported import Imported
from codesign.frontend.tflite import import_tflite
from codesign.frontend.tflite.schema import Model, parse_model, read_model


@cache
def golden(path: Path) -> tuple[Model, Imported]:
    return read_model(path), import_tflite(path)


def written(folder: Path, name: str) -> Path:
    path = folder / f"{name}.tflite"
    if not path.exists():
        path.write_bytes(MODELS[name]())
    return path


class Damage:
    """A compiled model whose constants and commands, of one of its streams, can be changed."""

    def __init__(self, path: Path, accelerator: str = "ethos-u55-128", which: int = 0) -> None:
        self.path = path
        (self.compiled,) = compile_all((path.read_bytes(), accelerator))
        model = parse_model(self.compiled.model)
        program = [op for op in model.operators if op.name == "CUSTOM ethos-u"][which]
        stream, constants = (model.tensors[i].data for i in program.inputs[:2])
        assert stream is not None
        payload = read_payload(stream)
        self.commands: list[Command] = list(commands(payload))
        self._words = self.compiled.model.index(stream.tobytes()) + len(stream.tobytes()) - 4 * len(payload.words)
        self._constants = 0 if constants is None else self.compiled.model.index(constants.tobytes())

    def command(self, name: str, bit: int, which: int = 0) -> Audit:
        """The audit with one bit of the value of a command flipped."""
        found = [c for c in self.commands if c.name == name][which]
        narrow = found.value < 1 << 16 and not self._is_wide(found)
        place = bit + 16 if narrow else bit + 32 if bit < 32 else bit - 16
        return self._audit(self._words + found.offset + place // 8, place % 8)

    def reserved(self, name: str, bit: int) -> Audit:
        """The audit with one bit of the lower half of a command's word flipped."""
        found = next(c for c in self.commands if c.name == name)
        return self._audit(self._words + found.offset + bit // 8, bit % 8)

    def _is_wide(self, command: Command) -> bool:
        return bool(self.compiled.model[self._words + command.offset + 1] & 0x40)

    def constant(self, place: int, bit: int = 0) -> Audit:
        """The audit with one bit of a constant flipped."""
        return self._audit(self._constants + place, bit)

    def decoded(self, start: int, length: int, place: int = 0, bit: int | None = None) -> list[int] | None:
        """The weights of a stream among the constants, with one bit flipped; None for a stream that is none."""
        content = bytearray(self.compiled.model[self._constants + start : self._constants + start + length])
        if bit is not None:
            content[place] ^= 1 << bit
        try:
            return [int(w) for w in decode_weights(bytes(content))]
        except StreamError:
            return None

    def register(self, name: str) -> int:
        return next(c.value for c in self.commands if c.name == name)

    def _audit(self, place: int, bit: int) -> Audit:
        content = bytearray(self.compiled.model)
        content[place] ^= 1 << bit
        damaged: Compiled = replace(self.compiled, model=bytes(content))
        return audit(damaged, *golden(self.path))
