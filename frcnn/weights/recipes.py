"""The layers of the optional parts of a network, by name.

These are a cascade's further stages, the pyramid's attention and the pyramid's BatchNorm.

A file may have been trained without a part that a model has, or with one that it lacks.
"""

import re
from collections.abc import Collection, Iterable
from typing import Any

from frcnn.weights.names import HEAD_OUTPUT_LAYERS

ATTENTION_PREFIX = "fpn_attention_"
_PYRAMID_NORM = re.compile(r"fpn_(c\dp\d|p\d)_bn")
_STAGE = re.compile(r"mrcnn_\w+_s(\d+)")
_OF_CLASSES = re.compile(rf"({'|'.join(HEAD_OUTPUT_LAYERS)})_s\d+|{ATTENTION_PREFIX}\w+_class_\w+")


def stage_suffix(stage: int) -> str:
    """The suffix of a stage's layers and outputs, counted from 1: "", "_s2", "_s3", …"""
    return "" if stage == 1 else f"_s{stage}"


def stage_of(name: str) -> int:
    """The stage of the cascade that a layer belongs to; 1 for those of no later stage."""
    match = _STAGE.fullmatch(name)
    return int(match[1]) if match else 1


def count_stages(names: Iterable[str]) -> int:
    """The stages of the head with these layers; 1 without a cascade."""
    return max(map(stage_of, names), default=1)


def has_attention(names: Iterable[str]) -> bool:
    """Whether these are the layers of a pyramid with attention."""
    return any(name.startswith(ATTENTION_PREFIX) for name in names)


def has_pyramid_norm(names: Iterable[str]) -> bool:
    """Whether these are the layers of a pyramid with BatchNorm."""
    return any(map(_PYRAMID_NORM.fullmatch, names))


def class_layers(names: Iterable[str]) -> list[str]:
    """Of a model with these layers, those whose shapes depend on the number of classes."""
    return [*HEAD_OUTPUT_LAYERS, *filter(_OF_CLASSES.fullmatch, names)]


def recipe_settings(names: Collection[str]) -> dict[str, Any]:
    """The settings of `Config` for the optional parts that a file's layers belong to.

    The thresholds of a cascade, which only training uses, are not in a file: those of the paper,
    0.5, 0.6, 0.7, stand for them, and the same for other numbers of stages, closer together.
    """
    settings: dict[str, Any] = {}
    stages = count_stages(names)
    if stages > 1:
        settings["CASCADE_IOUS"] = default_ious(stages)
    if has_attention(names):
        settings["PYRAMID_ATTENTION"] = True
    if has_pyramid_norm(names):
        settings["PYRAMID_BATCH_NORM"] = True
    return settings


def default_ious(stages: int) -> tuple[float, ...]:
    """IoU thresholds of a cascade: 0.5, 0.6, 0.7; from 0.5 on, below 0.9, for five stages or more.

    Source: Cai and Vasconcelos 2018 (Cascade R-CNN), section 4.3.
    """
    step = min(0.1, 0.4 / stages)
    return tuple(round(0.5 + step * stage, 4) for stage in range(stages))


def unknown_part(in_model: Iterable[str], in_file: Collection[str]) -> str | None:
    """What a file has that the model lacks, and the setting to change; None if there is nothing.

    Args:
        in_model: names of the model's layers.
        in_file: names of layers of the file that the model does not have.
    """
    ours, theirs = count_stages(in_model), count_stages(in_file)
    if theirs > ours:
        return (f"has a cascade of {theirs} stages, the model {_stages_text(ours)}: set "
                f"CASCADE_IOUS to {theirs} IoUs, such as {default_ious(theirs)}, or exclude the "
                "layers of the further stages.")
    if has_attention(in_file):
        return ("was trained with attention on the pyramid, which the model lacks: set "
                "PYRAMID_ATTENTION to True.")
    if has_pyramid_norm(in_file):
        return ("was trained with BatchNorm in the pyramid, which the model lacks: set "
                "PYRAMID_BATCH_NORM to True.")
    return None


def new_layers(missing: Iterable[str], found: Collection[str]) -> list[str]:
    """Layers of optional parts that a file was trained without: of which it has no layer at all.

    Args:
        missing: names of the model's layers that are not in the file.
        found: names of those that are.
    """
    attended, stages = has_attention(found), {stage_of(name) for name in found}
    return [name for name in missing
            if (stage_of(name) > 1 and stage_of(name) not in stages)
            or (name.startswith(ATTENTION_PREFIX) and not attended)]


def untrained_stages(new: Iterable[str]) -> str | None:
    """What is wrong with detection by stages of which no weights were loaded; None without."""
    stages = {stage_of(name) for name in new} - {1}
    if not stages:
        return None
    first = min(stages) - 1
    setting = "()" if first == 1 else f"its {first} IoUs"
    return (f"has {_stages_text(first)}, the model a cascade of {max(stages)}: set CASCADE_IOUS to "
            f"{setting} to detect with it, or train the further stages from it first.")


def missing_norms(missing: Iterable[str], found: Collection[str]) -> str | None:
    """What is wrong with a file whose pyramid has no BatchNorm while the model's has.

    Args:
        missing: names of the model's layers that are not in the file, and must be.
        found: names of those that are.
    """
    has_pyramid = any(name.startswith("fpn_") for name in found)
    if has_pyramid and has_pyramid_norm(missing) and not has_pyramid_norm(found):
        return ("was trained without BatchNorm in the pyramid, which the model has: set "
                "PYRAMID_BATCH_NORM to False.")
    return None


def _stages_text(count: int) -> str:
    return "a head of one stage" if count == 1 else f"a cascade of {count} stages"
