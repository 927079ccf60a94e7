"""Quantisation-aware training from a recipe: TOML in, QONNX model, checkpoint and metrics out."""
