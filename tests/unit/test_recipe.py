"""Recipes: the shipped ones are read, a bad one says everything that is wrong, its digest covers everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from codesign.errors import InputError
from codesign.resources import resource_dir
from codesign.train.recipe import Cnn, Mlp, read_recipe

GOOD = """
data = "digits"
seed = 3
[model]
kind = "mlp"
hidden = [8]
[training]
epochs = 1
[goal]
accuracy = 0.1
"""


def test_the_shipped_recipes() -> None:
    mlp = read_recipe(resource_dir("examples") / "fashion_mlp.toml")
    cnn = read_recipe(resource_dir("examples") / "fashion_cnn.toml")
    assert mlp.model == Mlp((64, 64, 64), 2, 2)
    assert isinstance(cnn.model, Cnn)
    assert (mlp.data, mlp.accuracy, cnn.accuracy) == ("fashion-mnist", 0.84, 0.87)


@pytest.mark.parametrize(
    "change", [("seed = 3", "seed = 4"), ("[8]", "[9]"), ("epochs = 1", "epochs = 2"), ("mlp", "cnn")]
)
def test_the_digest_covers_everything(tmp_path: Path, change: tuple[str, str]) -> None:
    path = tmp_path / "r.toml"
    path.write_text(GOOD)
    before = read_recipe(path).digest()
    path.write_text(GOOD.replace(*change).replace("hidden", "channels" if "cnn" in change else "hidden"))
    assert read_recipe(path).digest() != before


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(
        'data = "digits"\nseed = -1\n[model]\nkind = "cnn"\nhidden = [8]\nchannels = [1, 2, 3, 4]\n'
        "[training]\nepochs = 0\nspeed = 1\n[goal]\naccuracy = 2\n"
    )
    with pytest.raises(InputError) as caught:
        read_recipe(path)
    assert str(caught.value).splitlines() == [
        f"{path}: unknown key 'model.hidden'; allowed: channels, weight_bits, activation_bits",
        f"{path}: model.channels is [1, 2, 3, 4]; allowed: a list of 1 to 3 whole numbers from 1 to 4096",
        f"{path}: training.epochs is 0; allowed: a whole number from 1 to 10000",
        f"{path}: unknown key 'training.speed'; allowed: epochs, batch, learning_rate, label_smoothing, weight_decay",
        f"{path}: goal.accuracy is 2; allowed: a number from 0 to 1",
        f"{path}: seed is -1; allowed: a whole number from 0 to 2147483647",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "data is None; allowed: 'fashion-mnist' or 'digits'"),
        ('data = "x"', "data is 'x'; allowed: 'fashion-mnist' or 'digits'"),
        ('data = "digits"\nmodel = 1', "model is 1; allowed: a table [model]"),
        ('data = "digits"\ncolour = 1', "unknown key 'colour'; allowed: data, seed, model, training, goal"),
        ('data = "digits"', "model.kind is None; allowed: 'mlp' or 'cnn'"),
        ("= 1", "not a TOML file: "),
    ],
)
def test_bad_forms(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_recipe(tmp_path / "none.toml")
    expected = "cannot be read: No such file or directory; try: examples/fashion_mlp.toml"
    assert str(caught.value) == f"{tmp_path / 'none.toml'}: {expected}"
