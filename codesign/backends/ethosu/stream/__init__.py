"""Ethos-U command streams, decoded: usable without Vela.

`decode(read_payload(data))` gives the events of a stream; `Memory` follows constants and feature maps through the
transfers; `weights` and `scales` read what convolutions take from memory.
"""

from codesign.backends.ethosu.stream.decoder import Stream, decode, events
from codesign.backends.ethosu.stream.errors import StreamError
from codesign.backends.ethosu.stream.payload import Device, Payload, read_payload

__all__ = ["Device", "Payload", "Stream", "StreamError", "decode", "events", "read_payload"]
