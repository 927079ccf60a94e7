"""Shared by all tests: Hypothesis profiles, tools that may be missing locally but not in the continuous integration."""

from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import settings

from codesign import toolchain
from codesign.doctor import examine
from codesign.errors import ToolError

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_sessionstart(session: pytest.Session) -> None:
    """The continuous integration has everything that a test could skip for want of."""
    if os.environ.get("CODESIGN_CI") and not hasattr(session.config, "workerinput"):
        absent = [f"{f.name} ({f.install})" for f in examine() if f.missing and not f.optional]
        if absent:
            pytest.exit(f"the continuous integration lacks {', '.join(absent)}", returncode=1)


def missing(what: str) -> None:
    """End the running test for want of `what`: a visible skip locally, a failure in the continuous integration."""
    if os.environ.get("CODESIGN_CI"):
        pytest.fail(f"{what} is missing, and the continuous integration must have it", pytrace=False)
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="session")
def cxx() -> str:
    """The C++ compiler."""
    found = shutil.which(os.environ.get("CXX", "g++"))
    if found is None:
        missing("a C++ compiler")
    return str(found)


@pytest.fixture(scope="session")
def fst(cxx: str) -> None:
    """The headers that traces need."""
    try:
        toolchain.require("fst")
    except ToolError as error:
        missing(str(error))
