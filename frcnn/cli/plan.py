"""Which layers a run trains in which epochs; stored in its folder so that it can continue."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from frcnn.cli.sample import HEAD_SHARE
from frcnn.cli.starts import Start
from frcnn.errors import ConfigError
from frcnn.files import write_json

FILE_NAME = "plan.json"


@dataclass
class Stage:
    """Consecutive epochs of a training that train the same layers.

    Attributes:
        layers: as in `MaskRCNN.train`.
        since: the number of epochs done before the stage.
        until: the number of epochs done after it.
    """

    layers: str
    since: int
    until: int


def make(start: Start, stored: Sequence[Stage], default_epochs: int, *,
         epochs: int | None = None, layers: str | None = None,
         new_head: bool = False) -> list[Stage]:
    """The stages of a run.

    A stopped run continues with its stored plan. One that is to train longer, or other layers,
    gets a new stage from its last epoch on. A checkpoint without a plan, such as the reference's,
    is trained for `default_epochs` more epochs.

    Args:
        start: the initial weights.
        stored: the plan in the folder of the run that continues; empty without one.
        default_epochs: how many further epochs, when nothing else says how many.
        epochs: the total that the command line asks for, epochs already done included.
        layers: the layers that the command line asks for.
        new_head: whether the output layers are new.

    Raises:
        ConfigError: the run already has all its epochs.
    """
    total = epochs or (stored[-1].until if stored else start.epoch + default_epochs)
    if start.epoch >= total:
        raise ConfigError(
            f"{start.path} has had {start.epoch} epochs already; --epochs counts them all, so give "
            f"more than {start.epoch}"
            + ("." if stored else f", or leave it out for {default_epochs} more."))
    remaining = [stage for stage in stored if stage.until > start.epoch]
    if stored and stored[-1].until == total and (
            layers is None or all(stage.layers == layers for stage in remaining)):
        return remaining
    if layers is None and stored:
        layers = stored[-1].layers
    if layers is not None:
        return [Stage(layers, start.epoch, total)]
    if start.pretrained or new_head:
        heads = start.epoch + max(1, round(HEAD_SHARE * (total - start.epoch)))
        if heads < total:
            return [Stage("heads", start.epoch, heads), Stage("all", heads, total)]
    return [Stage("all", start.epoch, total)]


def plan_changes(stored: Sequence[Stage], stages: Sequence[Stage]) -> dict[str, tuple[object,
                                                                                      object]]:
    """The options that changed a stored plan: `{name: (old value, new value)}`."""
    if not stored:
        return {}
    old, new = stored[-1], stages[-1]
    changes: dict[str, tuple[object, object]] = {}
    if new.until != old.until:
        changes["epochs"] = old.until, new.until
    if new.layers != old.layers:
        changes["layers"] = old.layers, new.layers
    return changes


def save(stages: Sequence[Stage], folder: str | Path) -> None:
    """Writes the plan into a run's folder."""
    write_json(Path(folder) / FILE_NAME, [asdict(stage) for stage in stages], indent=1)


def load(folder: str | Path) -> list[Stage]:
    """The plan in a run's folder; empty where there is none that can be used."""
    try:
        rows = json.loads((Path(folder) / FILE_NAME).read_text("utf-8"))
        return [Stage(str(row["layers"]), int(row["since"]), int(row["until"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def describe(stages: Sequence[Stage]) -> str:
    """The plan as text."""
    return ", then ".join(f"{stage.layers} up to epoch {stage.until}" for stage in stages)
