"""The training itself: whole data set as tensors, Adam, one-cycle learning rate, a checkpoint after every epoch."""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from codesign.backends.base import Progress
from codesign.errors import InputError, MismatchError
from codesign.train.data import Bytes, Images, available, load_images
from codesign.train.models import STATISTICS_BATCHES, build, example_input
from codesign.train.recipe import Recipe

SCHEMA = 1
_TEST_BATCH = 1000


def train(recipe: Recipe, out: Path, progress: Progress, fresh: bool = False) -> dict[str, Any]:
    """Train as `recipe` says; write model.onnx (QONNX), checkpoint.pt and metrics.json to `out`; return the metrics.

    A finished training of the same recipe is returned as it is, an unfinished one goes on after its last epoch, unless
    `fresh`. One thread: the result is determined by the recipe, the data and PyTorch's version, and these small
    tensors gain little from more, which wait for each other in busy loops when another program is running too.
    Raises InputError when `out` cannot be written, MismatchError when the accuracy misses the recipe's goal.
    """
    metrics = None if fresh else finished(recipe, out)
    if metrics is None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            out.mkdir(parents=True, exist_ok=True)
            metrics = _train(recipe, out, load_images(recipe.data), progress, fresh)
        except OSError as error:
            raise InputError.at(str(out), f"cannot be written: {error.strerror}", hint="another -o") from error
        finally:
            torch.set_num_threads(threads)
    if metrics["accuracy"] < recipe.accuracy:
        found = f"accuracy {metrics['accuracy']:.4f} on {metrics['test_images']} test images of {metrics['data']}"
        raise MismatchError.at(
            str(out), found, f"{recipe.accuracy:g} or more, the recipe's goal", "more epochs, more bits"
        )
    return metrics


def finished(recipe: Recipe, out: Path) -> dict[str, Any] | None:
    """The metrics of a finished training of this recipe in `out`, or None."""
    try:
        metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = isinstance(metrics, dict) and metrics.get("recipe_digest") == recipe.digest()
    same = same and metrics.get("data") == available(recipe.data)
    return metrics if same and (out / "model.onnx").is_file() else None


def load_trained(recipe: Recipe, out: Path) -> nn.Module:
    """The trained module of a finished training, in evaluation mode."""
    module = build(recipe.model)
    module.load_state_dict(torch.load(out / "checkpoint.pt", weights_only=True)["model"])
    return module.eval()


def _train(recipe: Recipe, out: Path, images: Images, progress: Progress, fresh: bool) -> dict[str, Any]:
    torch.manual_seed(recipe.seed)
    options = recipe.training
    module, temperature = build(recipe.model), nn.Parameter(torch.ones(()))
    x, labels = _tensors(images.train, images.train_labels)
    steps = len(x) * images.repeat // options.batch
    if len(x) < options.batch:
        raise InputError.at(
            "training.batch", f"{options.batch} images", f"at most {len(x)}, the training images there are"
        )
    state = {} if fresh else _checkpoint(recipe, out)
    with torch.no_grad():  # the scales' statistics are no part of a checkpoint: they are complete before the first one
        for step in range(STATISTICS_BATCHES):
            start = step % (len(x) // options.batch) * options.batch
            module(x[start : start + options.batch])
        if state:  # before the optimiser is made: Brevitas puts new parameters in place of those of the scales
            module.load_state_dict(state["model"])
            temperature.copy_(state["temperature"])
    parameters = [*module.parameters(), temperature]
    optimiser = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.learning_rate, options.epochs * steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=options.label_smoothing)
    parts = {"model": module, "optimiser": optimiser, "schedule": schedule}
    if state:
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
    epochs: list[dict[str, Any]] = list(state.get("epochs", []))
    for epoch in range(len(epochs), options.epochs):
        started = time.monotonic()
        shuffled = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
        order = torch.randperm(len(x) * images.repeat, generator=shuffled) % len(x)
        total = 0.0
        module.train()
        for step in range(steps):
            batch = order[step * options.batch : (step + 1) * options.batch]
            # The scores are sums of small integers: the learned temperature brings them into the softmax's range and
            # drops out of the argmax, so the exported network does without it.
            loss = loss_of(module(x[batch]) * temperature, labels[batch])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
            progress("training", epoch * steps + step + 1, options.epochs * steps)
        if not np.isfinite(total):
            raise InputError.at("training", f"the loss is {total} in epoch {epoch + 1}", hint="a smaller learning_rate")
        epochs.append({"epoch": epoch + 1, "loss": total / steps, "seconds": round(time.monotonic() - started, 2)})
        _save(recipe, out, parts, temperature, epochs)
    accuracy = accuracy_of(module, images.test, images.test_labels, progress)
    metrics = {
        "schema": SCHEMA,
        "recipe_digest": recipe.digest(),
        "data": images.name,
        "data_source": images.source,
        "notes": [images.note] if images.note else [],
        "train_images": len(images.train),
        "test_images": len(images.test),
        "accuracy": accuracy,
        "seconds": round(sum(e["seconds"] for e in epochs), 1),
        "epochs": epochs,
        "torch": torch.__version__,
    }
    _replace(out / "model.onnx", lambda path: _export(module, path))
    _replace(out / "metrics.json", lambda path: path.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8"))
    return metrics


def _tensors(images: Bytes, labels: Bytes) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, 1, 28, 28) from 0 to 1, classes (N,)."""
    x = torch.from_numpy(images.astype(np.float32)[:, None] / np.float32(255))
    return x, torch.from_numpy(labels.astype(np.int64))


def accuracy_of(module: nn.Module, images: Bytes, labels: Bytes, progress: Progress) -> float:
    """The share of `images` that the module, in evaluation mode, puts into the right class."""
    x, wanted = _tensors(images, labels)
    module.eval()
    right = 0
    with torch.no_grad():
        for start in range(0, len(x), _TEST_BATCH):
            scores = module(x[start : start + _TEST_BATCH])
            right += int((scores.argmax(dim=1) == wanted[start : start + _TEST_BATCH]).sum())
            progress("testing", min(start + _TEST_BATCH, len(x)), len(x))
    return right / len(x)


def _checkpoint(recipe: Recipe, out: Path) -> dict[str, Any]:
    """What `_save` wrote for the same recipe, or nothing."""
    path = out / "checkpoint.pt"
    if not path.is_file():
        return {}
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError.at(str(path), f"damaged checkpoint: {error}", hint="--fresh, which starts again") from error
    same = state.get("recipe") == recipe.digest() and state.get("data") == available(recipe.data)
    return state if same else {}


def _save(
    recipe: Recipe, out: Path, parts: dict[str, Any], temperature: torch.Tensor, epochs: list[dict[str, Any]]
) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    state |= {"temperature": temperature.detach(), "epochs": epochs, "recipe": recipe.digest()}
    state["data"] = available(recipe.data)
    _replace(out / "checkpoint.pt", lambda path: torch.save(state, path))


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file aside and rename it, so that an interruption leaves the old one or the new one."""
    aside = path.with_name(f".{path.name}.part")
    try:
        write(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _export(module: nn.Module, path: Path) -> None:
    """QONNX through TorchScript: the other exporter drops inputs of some layers."""
    from brevitas.export import export_qonnx

    module.eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_qonnx(
            module,
            args=example_input(),
            export_path=str(path),
            dynamo=False,
            input_names=["image"],
            output_names=["scores"],
        )
