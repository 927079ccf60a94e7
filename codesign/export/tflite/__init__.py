"""Graphs as `.tflite` files of int8 and int16; `exporter` has the walk, each other file one part of the work."""

from codesign.export.tflite.exporter import Exported, export_tflite

__all__ = ["Exported", "export_tflite"]
