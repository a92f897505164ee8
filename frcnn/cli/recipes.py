"""Recipes: settings that were measured together, for new runs; benchmarks/ACCURACY.md has figures.

A recipe replaces settings of the sample's Config where the run has none of its own: options of the
command line take precedence, and a checkpoint keeps the settings it was trained with.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from frcnn.cli.starts import Start
from frcnn.config import Config
from frcnn.data.anchor_fit import AnchorShapes, best_ious, coverage, fit_anchors, molded_objects
from frcnn.data.dataset import Dataset
from frcnn.errors import ConfigError

# Settings of the optimizer, which only fit together.
_OPTIMIZER = ("OPTIMIZER", "LEARNING_RATE", "WEIGHT_DECAY")
_ANCHORS = ("RPN_ANCHOR_SCALES", "RPN_ANCHOR_RATIOS", "RPN_ANCHOR_STRIDE")
# A learning rate of the command line this many times a recipe's is taken for another optimizer's.
_HIGHEST_FACTOR = 10
# Anchors that cover this share of the objects are kept.
_ALL_COVERED = 0.995


@dataclass(frozen=True)
class Recipe:
    """What a recipe sets.

    Attributes:
        text: what it is for, as `--help` says it.
        new_head: settings where pyramid, RPN and head begin with random weights.
        new_network: further settings where the backbone does, too. Weights trained on synthetic
            data count as random here: they are made for the settings of the run.
        fits_anchors: whether anchors are fitted to the training data, where the RPN is new.
    """

    text: str
    new_head: Mapping[str, Any] = field(default_factory=dict)
    new_network: Mapping[str, Any] = field(default_factory=dict)
    fits_anchors: bool = False


_DETECTION = {"DETECTION_ALL_CLASSES": True, "DETECTION_SOFT_NMS_SIGMA": 0.5}
_ROIS = {"ROI_ALIGN_SAMPLES": 2, "ROI_FILL_NEGATIVES": True}
_ADAMW = {"OPTIMIZER": "adamw", "LEARNING_RATE": 2e-4, "WEIGHT_DECAY": 0.05}
_DEFAULT = Recipe(
    "anchors fitted to the data, hard negatives, RoI align by bins, Soft-NMS; from random weights "
    "also AdamW and a normalized pyramid",
    new_head={**_DETECTION, **_ROIS, "RPN_ANCHOR_STRIDE": 1},
    new_network={**_ADAMW, "PYRAMID_BATCH_NORM": True}, fits_anchors=True)
RECIPES = {
    "reference": Recipe("as Matterport's Mask R-CNN trains and detects"),
    "default": _DEFAULT,
    "accurate": Recipe(
        "the default with a cascade of three heads, and detection in three mirrored copies, too: "
        "more exact boxes for four times the time",
        new_head={**_DEFAULT.new_head, "CASCADE_IOUS": (0.5, 0.6, 0.7),
                  "DETECTION_FLIPS": ("horizontal", "vertical", "both")},
        new_network=_DEFAULT.new_network, fits_anchors=True),
}


def add_option(group: argparse._ArgumentGroup, default: str) -> None:
    """Adds `--recipe` to a parser's group."""
    texts = "; ".join(f"'{name}': {recipe.text}" for name, recipe in RECIPES.items())
    group.add_argument("--recipe", choices=tuple(RECIPES),
                       help=f"settings that belong together, for a new run (default: {default}): "
                            f"{texts}")


def check_start(name: str | None, start: Start) -> None:
    """Raises ConfigError where `--recipe` is given for weights that have their own settings."""
    if name is not None and not _is_new(start):
        raise ConfigError(
            f"--recipe {name}: {start.path} is a trained detector, which keeps the settings it was "
            "trained with. Leave --recipe out, or start from --model none or imagenet.")


def settings_of(recipe: Recipe, start: Start, options: argparse.Namespace) -> dict[str, Any]:
    """The settings of a recipe for these initial weights.

    Args:
        recipe: one of RECIPES.
        start: the initial weights.
        options: of `frcnn train`; where they choose another optimizer, the recipe's rate and decay
            are left out.

    Raises:
        ConfigError: a learning rate of the options is another optimizer's.
    """
    if not _is_new(start):
        return {}
    new_network = start.word in ("none", "synthetic")
    settings = {**recipe.new_head, **(recipe.new_network if new_network else {})}
    chosen = dict(options.settings)
    if chosen.get("OPTIMIZER", settings.get("OPTIMIZER")) != settings.get("OPTIMIZER"):
        settings = {name: value for name, value in settings.items() if name not in _OPTIMIZER}
    rate = settings.get("LEARNING_RATE")
    if rate and options.learning_rate and options.learning_rate > _HIGHEST_FACTOR * rate:
        raise ConfigError(
            f"--learning-rate {options.learning_rate:g} is {options.learning_rate / rate:.0f} "
            f"times that of the recipe, which trains with AdamW ({rate:g}): training would "
            "diverge. Give a lower one, or --recipe reference, which trains with SGD.")
    return settings


def fitted(config: Config, recipe: Recipe, start: Start, options: argparse.Namespace,
           dataset: Dataset) -> tuple[Config, str | None]:
    """The Config with anchors that fit the data, and a line that says so.

    Args:
        config: Config.
        recipe: one of RECIPES.
        start: the initial weights.
        options: of `frcnn train`; anchors that they choose are kept.
        dataset: the training data.

    Returns:
        The Config, and the text of the change, or None where the anchors are kept.
    """
    chosen = dict(options.settings)
    if not (recipe.fits_anchors and _is_new(start)) or any(name in chosen for name in _ANCHORS):
        return config, None
    return fit(config, dataset)


def fit(config: Config, dataset: Dataset) -> tuple[Config, str | None]:
    """The Config with the anchors that fit the data, and a line on them or None; see `fitted`."""
    objects = molded_objects(dataset, config)
    if not len(objects):
        return config, None
    present = AnchorShapes.from_config(config)
    before = coverage(best_ious(objects, present))
    best = present if before > _ALL_COVERED else fit_anchors(objects, present)
    if best == present:
        return config, None
    after = coverage(best_ious(objects, best))
    scales, ratios = (", ".join(f"{number:g}" for number in numbers)
                      for numbers in (best.scales, best.ratios))
    return config.replaced(RPN_ANCHOR_SCALES=best.scales, RPN_ANCHOR_RATIOS=list(best.ratios)), (
        f"scales {scales} and ratios {ratios} fit {after:.0%} of the objects ({before:.0%} before)")


def _is_new(start: Start) -> bool:
    """Whether pyramid, RPN and head begin with random weights, or those of synthetic data."""
    return start.word in ("none", "imagenet", "synthetic") or start.backbone_only
