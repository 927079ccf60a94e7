"""Training: small, on images made here; resumed, replaced, exported, judged by its goal."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from codesign.backends.base import ignore_progress as ignore
from codesign.errors import InputError, MismatchError, ToolError
from codesign.train.data import load_images
from codesign.train.recipe import Cnn, Mlp, Recipe, Training
from tests.images import write_images

pytest.importorskip("torch")
pytest.importorskip("brevitas")


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a small data set in place of Fashion-MNIST."""
    folder = tmp_path / "images"
    write_images(folder)
    monkeypatch.setenv("CODESIGN_FASHION_MNIST", str(folder))
    return folder


def recipe(model: Mlp | Cnn | None = None, epochs: int = 6, accuracy: float = 0.5) -> Recipe:
    return Recipe("fashion-mnist", 1, model or Mlp((16,), 2, 2), Training(epochs, 50, 0.02), accuracy)


@pytest.mark.parametrize("model", [Mlp((16, 16), 2, 2), Mlp((32,), 1, 1), Cnn((4, 4), 4, 4)])
def test_learns_and_exports(images: Path, tmp_path: Path, model: Mlp | Cnn) -> None:
    import onnx

    from codesign.train.loop import accuracy_of, load_trained, train

    out = tmp_path / "out"
    metrics = train(recipe(model, epochs=8), out, ignore)
    assert metrics == json.loads((out / "metrics.json").read_text())
    assert (metrics["data"], metrics["train_images"], metrics["test_images"]) == ("fashion-mnist", 400, 100)
    data = load_images("fashion-mnist")
    module = load_trained(recipe(model, epochs=8), out)
    assert accuracy_of(module, data.test, data.test_labels, ignore) == metrics["accuracy"]
    graph = onnx.load(out / "model.onnx").graph
    assert {"Quant", "BipolarQuant"} & {node.op_type for node in graph.node}
    assert sorted(p.name for p in out.iterdir()) == ["checkpoint.pt", "metrics.json", "model.onnx"]


def test_an_interrupted_training_goes_on_and_ends_the_same(images: Path, tmp_path: Path) -> None:
    from codesign.train.loop import train

    whole = train(recipe(), tmp_path / "whole", ignore)

    def interrupt(what: str, done: int, _total: int) -> None:
        if what == "training" and done == 3 * 8 + 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe(), tmp_path / "parts", interrupt)
    assert not (tmp_path / "parts" / "model.onnx").exists()
    done: list[int] = []
    parts = train(recipe(), tmp_path / "parts", lambda what, n, _: done.append(n) if what == "training" else None)
    assert done[0] == 3 * 8 + 1
    assert [e["loss"] for e in parts["epochs"]] == [e["loss"] for e in whole["epochs"]]
    assert parts["accuracy"] == whole["accuracy"]


def test_a_finished_training_is_kept_and_another_recipe_replaces_it(images: Path, tmp_path: Path) -> None:
    from codesign.train.loop import train

    first = train(recipe(epochs=2, accuracy=0.0), tmp_path, ignore)
    called: list[str] = []
    assert train(recipe(epochs=2, accuracy=0.0), tmp_path, lambda what, _d, _t: called.append(what)) == first
    assert called == []
    assert train(recipe(epochs=1, accuracy=0.0), tmp_path, ignore)["epochs"] != first["epochs"]
    train(recipe(epochs=1, accuracy=0.0), tmp_path, lambda what, _d, _t: called.append(what), fresh=True)
    assert "training" in called


def test_a_missed_goal(images: Path, tmp_path: Path) -> None:
    from codesign.train.loop import train

    with pytest.raises(MismatchError) as caught:
        train(recipe(Mlp((1,)), epochs=1, accuracy=1.0), tmp_path / "out", ignore)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'out'}: accuracy 0.")
    assert text.endswith("on 100 test images of fashion-mnist; allowed: 1 or more, the recipe's goal; "
                         "try: more epochs, more bits")  # fmt: skip


def test_a_batch_larger_than_the_data(images: Path, tmp_path: Path) -> None:
    from codesign.train.loop import train

    large = Recipe("fashion-mnist", 1, Mlp((4,)), Training(1, 5000), 0.0)
    with pytest.raises(InputError) as caught:
        train(large, tmp_path / "out", ignore)
    assert str(caught.value) == "training.batch: 5000 images; allowed: at most 400, the training images there are"


def test_a_damaged_checkpoint(images: Path, tmp_path: Path) -> None:
    from codesign.train.loop import train

    (tmp_path / "checkpoint.pt").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"checkpoint\.pt: damaged checkpoint: .*; try: --fresh, which starts again"):
        train(recipe(epochs=1), tmp_path, ignore)


def test_a_place_that_cannot_be_written(images: Path) -> None:
    from codesign.train.loop import train

    with pytest.raises(InputError, match=r"^/proc/nothing: cannot be written: .*; try: another -o$"):
        train(recipe(epochs=1), Path("/proc/nothing"), ignore)


def test_a_damaged_data_set(images: Path) -> None:
    path = images / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"ubyte\.gz: cannot be read: .*; allowed: a gzip-compressed IDX file"):
        load_images("fashion-mnist")


def test_without_fashion_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digits take its place, and that is said; where they are missing too, how to get either."""
    monkeypatch.setenv("CODESIGN_FASHION_MNIST", str(tmp_path))
    hint = "apt install dataset-fashion-mnist, or CODESIGN_FASHION_MNIST=folder"
    if importlib.util.find_spec("sklearn"):
        images = load_images("fashion-mnist")
        assert images.note == f"Fashion-MNIST is not installed ({hint}): trained on scikit-learn's digits instead"
        assert (images.name, images.train.shape, images.test.shape) == ("digits", (1297, 28, 28), (500, 28, 28))
        return
    with pytest.raises(ToolError) as caught:
        load_images("fashion-mnist")
    expected = f"not found in {tmp_path}; try: {hint}, or pip install 'codesign[digits]'"
    assert str(caught.value) == f"fashion-mnist: {expected}"
    with pytest.raises(ToolError, match="digits: scikit-learn is not installed"):
        load_images("digits")
