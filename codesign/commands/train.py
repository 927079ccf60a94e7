"""`codesign train`: quantisation-aware training from a recipe."""

from __future__ import annotations

import argparse
from pathlib import Path

from codesign.commands.common import Parser, print_json, progress_bars
from codesign.interrupts import deferred_interrupt

EXAMPLE = "codesign train examples/fashion_mlp.toml -o build/mlp"


def arguments(parser: Parser) -> None:
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml", help="what to train, on what data, and how well")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="where model.onnx and metrics.json go; resumed if begun",
    )
    parser.add_argument("--fresh", action="store_true", help="start again instead of resuming")
    parser.add_json()


def run(args: argparse.Namespace) -> int:
    from codesign.train.recipe import read_recipe

    recipe = read_recipe(args.recipe)
    with progress_bars() as bars, deferred_interrupt() as check_interrupt:
        from codesign.train.loop import train  # PyTorch's import swallows exceptions, or is left unfinished by them

        check_interrupt()

        def progress(what: str, done: int, total: int) -> None:
            check_interrupt()
            bars(what, done, total)

        metrics = train(recipe, args.output, progress, args.fresh)
    if args.json:
        print_json(metrics)
        return 0
    for note in metrics["notes"]:
        print(f"note: {note}")
    right = f"{metrics['accuracy']:.2%} of {metrics['test_images']:,} test images of {metrics['data']} right"
    print(f"{args.output}/model.onnx: {right}; {len(metrics['epochs'])} epochs, {metrics['seconds']:g} s")
    return 0
