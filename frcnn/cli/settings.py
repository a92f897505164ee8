"""The Config of a training or detection: the weights' or the sample's, and the command line's."""

import argparse
import json
import warnings
from typing import Any

import numpy as np

from frcnn.allowed_values import is_count
from frcnn.cli import recipes
from frcnn.cli.options import chosen_settings
from frcnn.cli.sample import Sample
from frcnn.cli.starts import Start
from frcnn.config import PRECISIONS, Config
from frcnn.data.dataset import Dataset
from frcnn.errors import ArgumentError, CheckpointError, ConfigError

COCO_BACKBONE = "resnet101"


def training_config(start: Start, options: argparse.Namespace, num_classes: int,
                    sample: Sample) -> Config:
    """The Config to train with.

    It is that of the JSON beside the weights, or else the sample's with the settings of the recipe
    and those that the weight file determines; options of the command line replace either.

    Args:
        start: the initial weights.
        options: of `frcnn train`.
        num_classes: of the data set, background included.
        sample: the kind of data.

    Raises:
        ConfigError: a setting is not allowed, or does not fit the initial weights.
        CheckpointError: the JSON beside the weights does not describe them.
    """
    recipe = recipes.RECIPES[options.recipe or sample.recipe]
    settings = {} if start.config else {
        **recipes.settings_of(recipe, start, options), **start.architecture}
    settings["NUM_CLASSES"] = num_classes
    if start.word == "none":
        settings.update({"TRAIN_BN": True, **sample.from_scratch})
    if start.word == "synthetic":  # its BatchNorm statistics are those of drawings
        settings["TRAIN_BN"] = True
    if start.word == "coco":
        settings["BACKBONE"] = COCO_BACKBONE
    if options.batch_norm:
        settings["TRAIN_BN"] = options.batch_norm == "train"
    if options.steps:
        settings["STEPS_PER_EPOCH"] = options.steps
    if options.learning_rate:
        settings["LEARNING_RATE"] = options.learning_rate
    settings.update(chosen_settings(options))
    base = start.config or sample.config
    channels = settings.get("IMAGE_CHANNEL_COUNT", base.IMAGE_CHANNEL_COUNT)
    if start.word == "coco" and channels != Config.IMAGE_CHANNEL_COUNT:
        raise ConfigError(f"--model coco is a detector for images of {Config.IMAGE_CHANNEL_COUNT} "
                          f"channels; train one for {channels} from --model imagenet.")
    if channels != base.IMAGE_CHANNEL_COUNT and _adapts_channels(start, channels):
        settings.setdefault("MEAN_PIXEL", [_mean_of_channels(base)] * channels)
    if channels != base.IMAGE_CHANNEL_COUNT and "MEAN_PIXEL" not in settings:
        raise ConfigError(f"IMAGE_CHANNEL_COUNT is {channels}: give the mean pixel of such images, "
                          "one number for each channel, with --set MEAN_PIXEL=[…].")
    config = base.replaced(**settings)
    _check_against_weights(start, config)
    if start.word == "none" and not config.TRAIN_BN:
        raise ConfigError(
            "BatchNorm cannot be frozen over random weights: its stored statistics describe no "
            "data, so nothing would be learned. Leave --batch-norm at 'train', or start from "
            "--model imagenet.")
    if start.word == "coco" and config.BACKBONE != COCO_BACKBONE:
        raise ConfigError(f"--model coco is a {COCO_BACKBONE}; leave --backbone out, or train "
                          f"a {config.BACKBONE} from --model imagenet.")
    return config


def _adapts_channels(start: Start, channels: object) -> bool:
    """Whether the number of channels is another than 3, and the initial weights are fitted to it.
    """
    return channels != Config.IMAGE_CHANNEL_COUNT and is_count(channels) and (
        start.word in ("none", "imagenet", "synthetic")
        or (start.backbone_only
            and start.architecture.get("IMAGE_CHANNEL_COUNT") == Config.IMAGE_CHANNEL_COUNT))


def _mean_of_channels(base: Config) -> float:
    """The mean pixel of a channel that is none of red, green and blue: the mean of theirs."""
    return round(float(np.mean(np.asarray(base.MEAN_PIXEL, float))), 4)


def channels_text(config: Config, options: argparse.Namespace) -> str | None:
    """A line on images of another number of channels whose mean pixel was not given, or None."""
    chosen = dict(options.settings)
    if "IMAGE_CHANNEL_COUNT" not in chosen or "MEAN_PIXEL" in chosen \
            or config.IMAGE_CHANNEL_COUNT == Config.IMAGE_CHANNEL_COUNT:
        return None
    mean = float(np.asarray(config.MEAN_PIXEL, float)[0])
    return (f"{config.IMAGE_CHANNEL_COUNT}, with the mean pixel {mean:g} in each, that of "
            "ImageNet's; --set MEAN_PIXEL=[…] gives another")


def detection_config(start: Start, options: argparse.Namespace, **settings: Any) -> Config:
    """The Config of a trained detector, with the command line's and other settings.

    Raises:
        CheckpointError: the configuration does not describe the weights.
    """
    assert start.config is not None
    if start.num_classes not in (None, start.config.NUM_CLASSES):
        raise CheckpointError(f"{start.path} has NUM_CLASSES {start.num_classes}, but its "
                              f"configuration has {start.config.NUM_CLASSES}.")
    _check_against_weights(start, start.config)
    if getattr(options, "batch_size", None):
        settings["IMAGES_PER_GPU"] = options.batch_size
    if options.precision in PRECISIONS:  # those of an export are others
        settings["PRECISION"] = options.precision
    if start.is_exported:
        return exported_config(start, options, settings)
    if options.flips is not None:
        settings["DETECTION_FLIPS"] = options.flips
    return start.config.replaced(**settings)


def exported_config(start: Start, options: argparse.Namespace, settings: dict[str, Any]) -> Config:
    """The Config of an exported file, in which the least score may be raised.

    Raises:
        ArgumentError: an option would change what is fixed in the file.
    """
    assert start.config is not None
    fixed = {"--flips": options.flips, "--config": options.config}
    for name, value in fixed.items():
        if value is not None:
            raise ArgumentError(f"{name} has no effect on {start.path}: it is fixed in an exported "
                                "file. Export the checkpoint with it, or leave it out.")
    least = start.config.DETECTION_MIN_CONFIDENCE
    wanted = settings.get("DETECTION_MIN_CONFIDENCE", least)
    if wanted < least:
        warnings.warn(f"{start.path} was exported with --min-confidence {least:g}, and has no "
                      f"detections from {wanted:g} to that.", stacklevel=3)
    return start.config.replaced(**{**settings, "DETECTION_MIN_CONFIDENCE": max(wanted, least)})


def _check_against_weights(start: Start, config: Config) -> None:
    """Raises an error that names the first setting that differs from the weight file's."""
    for name, value in start.architecture.items():
        ours = getattr(config, name)
        if name == "NUM_CLASSES" or ours == value or (name == "BACKBONE" and callable(ours)):
            continue  # the classes are compared with the data set's
        if name == "IMAGE_CHANNEL_COUNT" and _adapts_channels(start, ours):
            continue
        if name == "CASCADE_IOUS" and len(ours) >= len(value):
            continue  # a file has the number of stages, and training may add some
        if start.config is not None and getattr(start.config, name) == ours:
            raise CheckpointError(f"{start.path} has {name} {value}, but its configuration has "
                                  f"{ours}; the JSON file belongs to other weights.")
        if name == "BACKBONE":
            raise ConfigError(f"{start.path} is a {value}; leave --backbone out, or train a "
                              f"{ours} from --model imagenet.")
        raise ConfigError(f"{start.path} has {name} {value}, not {ours}; leave this setting out, "
                          "or train from other weights.")
    if start.anchor_ratios not in (None, len(config.RPN_ANCHOR_RATIOS)):
        raise ConfigError(f"{start.path} has {start.anchor_ratios} RPN_ANCHOR_RATIOS, not "
                          f"{len(config.RPN_ANCHOR_RATIOS)}; give those that it was trained with "
                          "(--set RPN_ANCHOR_RATIOS=0.5,1,2).")


def check_classes(start: Start, dataset: Dataset, advice: str) -> None:
    """Raises CheckpointError unless a checkpoint's classes are those of the data set."""
    names = list(dataset.class_names)
    if start.class_names and start.class_names != names:
        raise CheckpointError(
            f"{start.path} was trained on {len(start.class_names) - 1} classes "
            f"({', '.join(start.class_names[1:])}); the data set has {len(names) - 1} "
            f"({', '.join(names[1:])}). {advice}")
    if start.num_classes is not None and start.num_classes != len(names):
        raise CheckpointError(
            f"{start.path} was trained on {start.num_classes - 1} classes; the data set has "
            f"{len(names) - 1} ({', '.join(names[1:])}). {advice}")


def config_changes(before: Config, after: Config) -> dict[str, tuple[Any, Any]]:
    """The settings that differ: `{name: (old value, new value)}`, as JSON stores them."""
    old, new = (json.loads(config.to_json()) for config in (before, after))
    return {name: (old[name], new[name]) for name in new if old[name] != new[name]}
