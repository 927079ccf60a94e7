"""The toolchains. A new one is a package beside this file and one line in BACKENDS; it is imported when it is used."""

from __future__ import annotations

import importlib
from typing import Any

from codesign.backends.base import Backend
from codesign.errors import UsageError

BACKENDS: dict[str, str] = {
    "rtl": "codesign.backends.rtl.backend:RtlBackend",
    "ethosu": "codesign.backends.ethosu.backend:EthosuBackend",
    "hls": "codesign.backends.hls.backend:VitisBackend",
    "hls-vivado": "codesign.backends.hls.backend:VivadoBackend",
    "hls-quartus": "codesign.backends.hls.backend:QuartusBackend",
    "hls-oneapi": "codesign.backends.hls.backend:OneApiBackend",
    "hls-catapult": "codesign.backends.hls.backend:CatapultBackend",
    "hls-pynq": "codesign.backends.hls.backend:PynqBackend",
    "tvm": "codesign.backends.tvm.backend:TvmBackend",
}


def load_backend(name: str) -> Backend[Any]:
    """The backend of that name. Raises UsageError for an unknown one."""
    if name not in BACKENDS:
        raise UsageError.at("backend", f"there is no {name!r}", ", ".join(BACKENDS))
    module, _, attribute = BACKENDS[name].partition(":")
    backend: Backend[Any] = getattr(importlib.import_module(module), attribute)()
    return backend
