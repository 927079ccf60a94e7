"""The command line: finds the command, turns errors into sentences and exit statuses.

0 done and verified; 1 a mismatch or an unmet requirement; 2 bad usage or bad input; 3 an unsupported model; 4 a tool is
missing or failed; 130 interrupted. A command is a module of `codesign.commands`, imported when it is called, so that
help appears at once.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import warnings
from collections.abc import Sequence

COMMANDS = {
    "targets": "the devices there are, with the source of every figure",
    "inspect": "what is in a model: layers, bits, work, and what the import rounded",
    "check": "whether a target can run a model; if not, every reason at once",
    "evaluate": "the golden evaluation of a model on given inputs",
    "compile": "a model to a verified design for a target",
    "simulate": "a compiled design cycle by cycle, compared with the golden evaluation",
    "report": "the figures of one or more build directories",
    "train": "quantisation-aware training from a recipe",
    "doctor": "which tools there are, and how to get those that are missing",
    "demo": "the whole way on real data: train, compile, simulate, one table",
}

_EXAMPLE = """\
Example:
  codesign compile model.onnx -t pynq-z2 -o out --require "fps>=10000"
  codesign simulate out

'codesign COMMAND --help' explains a command and shows an example."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
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
        print(f"codesign: there is no command {words[0]!r}; try: {hint}", file=sys.stderr)
        return 2
    return _run(words[0], words[1:])


def _run(name: str, words: list[str]) -> int:
    from codesign.commands.common import Parser
    from codesign.errors import CodesignError

    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # of other people's packages; what a user must know is said in a sentence
    try:
        command = importlib.import_module(f"codesign.commands.{name}")
        parser = Parser(name, COMMANDS[name], command.EXAMPLE)
        command.arguments(parser)
        status: int = command.run(parser.parse_args(words))
        sys.stdout.flush()
        return status
    except CodesignError as error:
        for diagnostic in error.diagnostics:
            print(f"codesign {name}: {diagnostic}", file=sys.stderr)
        return error.exit_status
    except ModuleNotFoundError as error:
        from codesign.doctor import install_hint

        hint = install_hint(error.name or "")
        if not hint:
            raise
        print(f"codesign {name}: {error.name}: not installed; try: {hint}", file=sys.stderr)
        return 4
    except MemoryError as error:
        print(f"codesign {name}: not enough memory: {error}; try: fewer frames", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"codesign {name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = ["codesign: quantised neural networks to verified hardware, bit-exact and cycle-exact", ""]
    lines += ["Usage: codesign COMMAND …", ""]
    lines += [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join([*lines, "", _EXAMPLE])


if __name__ == "__main__":
    sys.exit(main())
