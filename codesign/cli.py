"""The command line: finds the command, turns errors into sentences and exit statuses.

0 done and verified; 1 a mismatch or an unmet requirement; 2 bad usage or bad input; 3 an unsupported model; 4 a tool is
missing or failed; 130 interrupted. A command is a module of `codesign.commands`, imported when it is called, so that
help appears at once.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

COMMANDS = {
    "targets": "the devices there are, with the source of every figure",
    "inspect": "what is in a model: layers, bits, work, and what the import rounded",
    "check": "whether a target can run a model; if not, every reason at once",
    "evaluate": "the golden evaluation of a model on given inputs",
    "compile": "a model to a verified design for a target",
    "tune": "the fastest kernels for a processor, searched within a budget and kept on record",
    "records": "what tuning found so far: exported, imported, repaired",
    "export": "the integer graph as a .tflite or .tosa file, compared with the format's own interpreter",
    "simulate": "a compiled design cycle by cycle, compared with the golden evaluation",
    "report": "the figures of one or more build directories",
    "train": "quantisation-aware training from a recipe",
    "calibrate": "a board's measurements to the factors of its simulated cycles",
    "doctor": "which tools there are, and how to get those that are missing",
    "demo": "the whole way on real data: train, compile, simulate, one table",
}

_CANNOT_WRITE = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EBADF)

_EXAMPLE = """\
Example:
  codesign compile model.onnx -t pynq-z2 -o out --require "fps>=10000"
  codesign simulate out

'codesign COMMAND --help' explains a command and shows an example."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. No exception leaves it but SystemExit (--help)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = f"codesign {words[0]}" if words and words[0] in COMMANDS else "codesign"
    if sys.stdout is None:  # closed by the caller
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    try:
        try:
            return _run(words)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return _say(name, "interrupted", 130)
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        _discard_output()
        return 0
    except MemoryError:
        return _say(name, "needs more memory than there is; try: fewer frames, or a smaller model", 2)
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None and error.errno in _CANNOT_WRITE:
            _discard_output()
            return _say(name, f"cannot write: {error.strerror}", 2)
        return _say(name, _internal_error(error), 2)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if words else 2
    if words[0] == "--version":
        from importlib.metadata import version

        print(f"codesign {version('codesign')}")
        return 0
    if words[0] not in COMMANDS:
        close = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f"codesign {close[0]}" if close else "codesign --help"
        return _say("codesign", f"there is no command {words[0]!r}; try: {hint}", 2)
    return _command(words[0], words[1:])


def _command(name: str, words: list[str]) -> int:
    from codesign.commands.common import Parser
    from codesign.errors import CodesignError

    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # of other people's packages; what a user must know is said in a sentence
    try:
        command = importlib.import_module(f"codesign.commands.{name}")
        parser = Parser(name, COMMANDS[name], command.EXAMPLE)
        command.arguments(parser)
        status: int = command.run(parser.parse_args(words))
        return status
    except CodesignError as error:
        for diagnostic in error.diagnostics:
            _say(f"codesign {name}", str(diagnostic), 0)
        return error.exit_status
    except ModuleNotFoundError as error:
        from codesign.doctor import install_hint

        hint = install_hint(error.name or "")
        if not hint:
            raise
        return _say(f"codesign {name}", f"{error.name}: not installed; try: {hint}", 4)


def _say(name: str, text: str, status: int) -> int:
    print(f"{name}: {text}", file=sys.stderr)
    return status


def _discard_output() -> None:
    """Python would try again at its end to write what stdout still holds."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _internal_error(error: Exception) -> str:
    """The sentence for a fault of codesign itself; its details go to a log."""
    import tempfile
    import traceback

    from codesign.errors import CodesignError
    from codesign.toolchain import cache_dir

    details = "".join(traceback.format_exception(error))
    text = f"internal error: {type(error).__name__}: {str(error) or 'no message'}".splitlines()[0]
    name = f"error-{os.getpid()}.log"
    for use_cache in (True, False):
        try:
            log = (cache_dir() / "logs" if use_cache else Path(tempfile.gettempdir())) / name
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(f"$ {' '.join(sys.argv)}\n{details}", encoding="utf-8", errors="replace")
            return f"{text}; try: {log} holds the details, please report it"
        except (OSError, CodesignError):
            continue
    return f"{text}\n{details}"  # nowhere to write to, and the details are not to be lost


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = ["codesign: quantised neural networks to verified hardware, bit-exact and cycle-exact", ""]
    lines += ["Usage: codesign COMMAND …", ""]
    lines += [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join([*lines, "", _EXAMPLE])


if __name__ == "__main__":
    sys.exit(main())
