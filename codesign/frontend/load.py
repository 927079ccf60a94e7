"""MODEL on the command line: which importer takes it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from codesign.errors import InputError
from codesign.frontend.imported import Imported

_FUNCTION = "FILE.py:FUNCTION that returns a Brevitas module and an example input"
_KINDS = f"a .onnx or .tflite file, {_FUNCTION}, or a graph .txt file"


def import_model(spec: str | Path) -> Imported:
    """The integer graph of a model file or of `file.py:function`.

    Raises InputError for what cannot be read, UnsupportedError with one finding per layer for what cannot be imported.
    """
    text = str(spec)
    path, colon, function = text.rpartition(":")
    if colon and path.endswith(".py"):
        return _from_function(Path(path), function)
    match Path(text).suffix.lower():
        case ".onnx":
            return _from_onnx(Path(text))
        case ".txt":
            return _from_text(Path(text))
        case ".tflite":
            from codesign.frontend.tflite import import_tflite

            return import_tflite(Path(text))
        case ".py":
            raise InputError.at(text, "a Python file without a function", "FILE.py:FUNCTION", f"{text}:model")
        case _:
            raise InputError.at(text, "no model that codesign knows", _KINDS)


def import_brevitas(module: Any, example: Any) -> Imported:
    """The integer graph of a Brevitas module; see `codesign.frontend.brevitas`."""
    from codesign.frontend.brevitas import import_brevitas as convert_module

    return convert_module(module, example)


def _from_onnx(path: Path) -> Imported:
    from codesign.frontend.onnx import convert
    from codesign.frontend.proto import read_model
    from codesign.frontend.reference import OnnxSource

    model = read_model(path)
    graph, ctx = convert(model, str(path))
    return Imported(graph, OnnxSource(model), tuple(ctx.notes), tuple(ctx.probes), ctx.layouts)


def _from_text(path: Path) -> Imported:
    from codesign.ir.text import parse_graph

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError.at(str(path), "no such file", "the text form of a graph") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError.at(str(path), "cannot be read", "the text form of a graph") from error
    return Imported(parse_graph(text))


def _from_function(path: Path, function: str) -> Imported:
    from codesign.frontend.brevitas import import_brevitas as convert_module

    where = f"{path}:{function}"
    if not path.is_file():
        raise InputError.at(str(path), "no such file", "FILE.py:FUNCTION")
    result = _call(path, function, where)
    if not isinstance(result, tuple) or len(result) != 2:
        found = f"returns {type(result).__name__}"
        raise InputError.at(
            where, found, "a tuple of a Brevitas module and an example input", "return model, torch.randn(1, 784)"
        )
    return convert_module(result[0], result[1], where)


def _call(path: Path, function: str, where: str) -> Any:
    """The result of the user's function. What the user's code raises becomes an InputError with its place."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
        target = getattr(module, function, None)
        if not callable(target):
            names = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == path.stem]
            raise InputError.at(where, "no such function", ", ".join(names) or "a function of this file")
        return target()
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        line = _line(error, path)
        raise InputError.at(
            where, f"raises {type(error).__name__}{line}: {str(error)[:200]}", "a function that returns"
        ) from error
    finally:
        sys.path.pop(0)


def _line(error: BaseException, path: Path) -> str:
    """' in line N' of the user's file, where the traceback passes through it."""
    found, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            found = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.lineno:
        found = error.lineno
    return f" in line {found}" if found else ""
