"""TensorFlow Lite models of integers; `importer` has the walk, each other file one family of operators."""

from codesign.frontend.tflite.importer import import_tflite

__all__ = ["import_tflite"]
