"""What this machine has: tools, Python packages, data sets; for what is missing, what needs it and how to get it."""

from __future__ import annotations

import importlib.util
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from codesign import toolchain
from codesign.errors import ToolError

_PACKAGES = {
    "numpy": ("everything", "pip install codesign"),
    "onnx": ("ONNX models", "pip install codesign"),
    "torch": ("Brevitas models, training", "pip install 'codesign[brevitas]'"),
    "brevitas": ("Brevitas models, training", "pip install 'codesign[brevitas]'"),
    "onnxoptimizer": ("Brevitas models, training", "pip install 'codesign[brevitas]'"),
    "flatbuffers": ("exporting TFLite models", "pip install 'codesign[ethosu]'"),
    "hls4ml": ("HLS projects", "pip install 'codesign[hls]'"),
    "ai-edge-litert": ("comparing TFLite models with LiteRT's kernels", "pip install 'codesign[ethosu]'"),
    "apache-tvm": ("ARM, x86 and Mali", "pip install 'codesign[tvm]'"),
    "apache-tvm-ffi": ("ARM, x86 and Mali", "pip install 'codesign[tvm]'"),
    "xgboost-cpu": ("tuning with MetaSchedule", "pip install 'codesign[tvm]'"),
}
_MODULES = {"apache-tvm": "tvm", "apache-tvm-ffi": "tvm_ffi", "xgboost-cpu": "xgboost"}


def install_hint(module: str) -> str:
    """How to get the package of a module that could not be imported; empty when it is none of codesign's."""
    top = module.partition(".")[0]
    package = next((package for package, name in _MODULES.items() if name == top), top)
    return _PACKAGES.get(package, ("", ""))[1]


@dataclass(frozen=True)
class Finding:
    """One thing that codesign can use.

    version   or the place, for a folder; empty: it is missing
    optional  whether everything works without it
    """

    name: str
    version: str
    needed_for: str
    install: str
    optional: bool = False

    @property
    def missing(self) -> bool:
        return not self.version


def examine() -> list[Finding]:
    """Everything that some command needs, found or missing."""
    from codesign.train.data import fashion_dir

    findings = [Finding("python", platform.python_version(), "everything", "")]
    for package, (needed_for, install) in _PACKAGES.items():
        try:
            module = _MODULES.get(package, package.replace("-", "_"))
            found = version(package) if importlib.util.find_spec(module) else ""
        except PackageNotFoundError:
            found = ""
        findings.append(Finding(package, found, needed_for, install))
    for tool in toolchain.survey():
        findings.append(
            Finding(
                tool.name,
                "" if tool.missing else tool.version or "found",
                tool.needed_for,
                tool.install,
                optional=tool.optional,
            )
        )
    folder = fashion_dir()
    needed_for, install = "training on Fashion-MNIST (else scikit-learn's digits)", "apt install dataset-fashion-mnist"
    findings.append(Finding("fashion-mnist", str(folder) if folder else "", needed_for, install, optional=True))
    try:
        cache = str(toolchain.cache_dir())
    except ToolError as error:
        cache, install = "", error.diagnostics[0].hint
    findings.append(Finding("cache", cache, "compiled simulators", install))
    return findings


def shown_path(text: str) -> str:
    """A path under the home directory with `~`, as a user would write it."""
    home = str(Path.home())
    return "~" + text.removeprefix(home) if text.startswith(home + "/") else text
