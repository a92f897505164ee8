"""Which layers a run trains in which epochs; stored in its folder so that it can continue."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from frcnn.cli.sample import HEAD_SHARE
from frcnn.cli.starts import Start
from frcnn.errors import ConfigError
from frcnn.files import read_json, write_json

log = logging.getLogger(__name__)

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

    From weights of photographs, and with a new head, the heads are trained alone first: until then
    the gradients of the new layers would spoil good features. From "synthetic" weights all layers
    are trained from the first epoch, as from random ones. Only the output layers are new, and the
    backbone has seen nothing but drawings: its features are a beginning, not worth keeping as they
    are, and its BatchNorm statistics are those of other images.

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
    """The plan in a run's folder; empty, with a message, where it cannot be used.

    It is also empty where there is none, as in a run of the reference.
    """
    path = Path(folder) / FILE_NAME
    try:
        rows = read_json(path)
        if not isinstance(rows, list):
            raise ConfigError("it holds no list")
        return [_stage(row) for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        log.warning("%s cannot be used (%s), so the epochs and layers are those of the command "
                    "line.", path, error)
        return []


def _stage(row: Any) -> Stage:
    """A stage as `save` wrote it; raises ConfigError for anything else."""
    values = [row.get(name) for name in ("layers", "since", "until")] \
        if isinstance(row, dict) else [None, 0, 0]
    stage = Stage(*values)
    if not isinstance(stage.layers, str) or not all(
            type(epoch) is int and epoch >= 0 for epoch in (stage.since, stage.until)) \
            or stage.since >= stage.until:
        raise ConfigError(f"{str(row)[:200]} is no stage of a training")
    return stage


def describe(stages: Sequence[Stage]) -> str:
    """The plan as text."""
    return ", then ".join(f"{stage.layers} up to epoch {stage.until}" for stage in stages)
