"""The user's name of a layer, from the names that exporters give to ONNX nodes."""

from __future__ import annotations

from collections.abc import Collection

# Modules that exist only while a model is exported.
_PROXIES = ("export_handler", "activation_impl")


def module_path(node_name: str, modules: Collection[str] = ()) -> str:
    """'/features/features.0/act_quant/export_handler/Quant' -> 'features.0.act_quant'; '' for other names.

    TorchScript writes one part per module; a part that repeats its parent's name (a Sequential) replaces it. A module
    that is used in several places carries the name of one of them behind the others: the known module wins.
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
    names = ".".join(path).split(".")
    suffixes = (".".join(names[i:]) for i in range(len(names)))
    return next((s for s in suffixes if s in modules), ".".join(names))


def layer_name(node_name: str, op: str, output: str, modules: Collection[str] = ()) -> str:
    """What diagnostics and reports call a node: its module, else its own name, else its operator and output."""
    path = module_path(node_name, modules)
    if path:
        return path.removesuffix(".act_quant").removesuffix(".weight_quant").removesuffix(".bias_quant")
    return node_name.strip("/") or f"{op} {output}"
