"""The user's name of a layer, from the names that exporters give to ONNX nodes."""

from __future__ import annotations

# Modules that exist only while a model is exported.
_PROXIES = ("export_handler", "activation_impl")


def module_path(node_name: str) -> str:
    """'/features/features.0/act_quant/export_handler/Quant' -> 'features.0.act_quant'; '' for other names.

    TorchScript writes one part per module; a part that repeats its parent's name (a Sequential) replaces it.
    """
    if not node_name.startswith("/"):
        return ""
    path: list[str] = []
    for part in node_name.strip("/").split("/")[:-1]:
        if part.startswith(_PROXIES):
            break
        if path and part.startswith(f"{path[-1]}."):
            path[-1] = part
        else:
            path.append(part)
    return ".".join(path)


def layer_name(node_name: str, op: str, output: str) -> str:
    """What diagnostics and reports call a node: its module, else its own name, else its operator and output."""
    path = module_path(node_name)
    if path:
        return path.removesuffix(".act_quant").removesuffix(".weight_quant").removesuffix(".bias_quant")
    return node_name.strip("/") or f"{op} {output}"
