"""The Ethos-U backend against the conformance suite: the model that Vela is given is exact, whichever format it has."""

from __future__ import annotations

from codesign.backends.ethosu.backend import EthosuBackend
from codesign.target import load_target
from codesign.testing.conformance import BackendConformance


class TestEthosU(BackendConformance):
    backend, target = EthosuBackend(), load_target("ethos-u55-128")
    refused = {  # noqa: RUF012 the base class says ClassVar
        "lookup_per_channel": "a choice of elements that ethos-u55 has no operator for",
        "add_bipolar": "weights and scales equal to those of threshold1, but other biases",
    }
