"""What commands share: the argument parser, tables, progress bars, JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from codesign.errors import UsageError

if TYPE_CHECKING:
    from codesign.backends.base import Progress

_WIDE = 1000

_MODEL = "a .onnx or .tflite file, file.py:function, or the graph.txt of a build"


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError, and whose help ends with an example."""

    def __init__(self, command: str, text: str, example: str) -> None:
        super().__init__(
            prog=f"codesign {command}",
            description=text[0].upper() + text[1:] + ".",
            epilog=f"Example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        raise UsageError.at("", message, hint=f"{self.prog} --help")

    def add_model(self) -> None:
        self.add_argument("model", metavar="MODEL", help=_MODEL)

    def add_target(self) -> None:
        self.add_argument(
            "-t", "--target", required=True, metavar="T", help="a name that 'codesign targets' lists, or a .toml file"
        )

    def add_json(self) -> None:
        self.add_argument("--json", action="store_true", help="print the result as JSON")


def print_json(data: Mapping[str, Any] | Sequence[Any]) -> None:
    """The result on stdout, for other programs."""
    print(json.dumps(data, indent=1, ensure_ascii=False))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", right: Sequence[str] = ()
) -> None:
    """A table on stdout; the columns named in `right` are flush right. Only the last column is ever folded."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        fold = column == columns[-1]
        justify: Literal["left", "right"] = "right" if column in right else "left"
        table.add_column(column, justify=justify, no_wrap=not fold, overflow="fold" if fold else "ellipsis")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(highlight=False)
    if title:
        console.print(Text(title, "bold"), soft_wrap=True)
    if console.is_terminal:
        console.print(table)
        return
    wide = Console(highlight=False, width=_WIDE)  # a file or a pipe: nothing is folded, no blanks at the ends of lines
    with wide.capture() as captured:
        wide.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


@contextlib.contextmanager
def progress_bars() -> Iterator[Progress]:
    """A Progress that draws one bar per activity on stderr; where stderr is no terminal, one line per activity."""
    if not sys.stderr.isatty():
        told: set[str] = set()

        def tell(what: str, _done: int, _total: int) -> None:
            if what not in told:
                told.add(what)
                print(f"{what} …", file=sys.stderr, flush=True)

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def draw(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total or None)
            bars.update(tasks[what], completed=done, total=total or None)

        yield draw
