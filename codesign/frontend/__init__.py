"""Source models to the integer graph: `.onnx` and `.tflite` files, Brevitas modules, and graph text files.

imported = import_model("model.onnx")            # or "train.py:make_model", or a build's graph.txt
imported = import_brevitas(module, example)
imported.graph, imported.notes, gap(imported)
"""

from __future__ import annotations

from codesign.frontend.gap import LayerGap, gap, random_inputs
from codesign.frontend.imported import Imported, SourceModel
from codesign.frontend.load import import_brevitas, import_model

__all__ = ["Imported", "LayerGap", "SourceModel", "gap", "import_brevitas", "import_model", "random_inputs"]
