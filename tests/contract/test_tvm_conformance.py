"""The TVM backend against the conformance suite: natively, and in QEMU on cores with and without SDOT."""

from __future__ import annotations

from codesign.backends.tvm.backend import TvmBackend
from codesign.target import load_target
from codesign.testing.conformance import BackendConformance


class TestHost(BackendConformance):
    backend, target = TvmBackend(), load_target("host-x86")


class TestCortexA72(BackendConformance):
    backend, target = TvmBackend(), load_target("cortex-a72")


class TestCortexA76(BackendConformance):
    backend, target = TvmBackend(), load_target("cortex-a76")
