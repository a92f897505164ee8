"""Which layers a run trains in which epochs; kept beside its checkpoints, so that it can go on."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from frcnn.cli.sample import HEAD_SHARE
from frcnn.errors import ConfigError
from frcnn.files import write_json

FILE_NAME = "plan.json"


@dataclass
class Stage:
    """A stretch of training: which layers, after which epoch of the run, and up to which."""

    layers: str
    since: int
    until: int


def make(options, start, default_epochs):
    """The stages of a run: list of Stage.

    A run that was stopped goes on with its own plan; one that is to go on for longer than planned,
    or with other layers, gets a new one from its last epoch on.

    Args:
        options: of train.py.
        start: the `starts.Start`.
        default_epochs: when neither the options nor a plan say more.

    Raises:
        ConfigError: the run to go on with has had all its epochs.
    """
    kept = load(start.path.parent) if start.epoch else []
    epochs = options.epochs or (kept[-1].until if kept else default_epochs)
    if start.epoch >= epochs:
        raise ConfigError(f"{start.path} has had {start.epoch} epochs already; --epochs counts "
                          f"them all, so give more than {start.epoch}.")
    if kept and kept[-1].until == epochs and not options.layers:
        return [stage for stage in kept if stage.until > start.epoch]
    if options.layers:
        return [Stage(options.layers, start.epoch, epochs)]
    if start.pretrained or options.new_head:
        heads = start.epoch + max(1, round(HEAD_SHARE * (epochs - start.epoch)))
        if heads < epochs:
            return [Stage("heads", start.epoch, heads), Stage("all", heads, epochs)]
    return [Stage("all", start.epoch, epochs)]


def save(stages, folder):
    """Writes the plan into a run's folder."""
    write_json(Path(folder) / FILE_NAME, [asdict(stage) for stage in stages], indent=1)


def load(folder):
    """The plan in a run's folder; empty where there is none that can be used."""
    try:
        rows = json.loads((Path(folder) / FILE_NAME).read_text("utf-8"))
        return [Stage(str(row["layers"]), int(row["since"]), int(row["until"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def describe(stages):
    """The plan in words."""
    return ", then ".join(f"{stage.layers} up to epoch {stage.until}" for stage in stages)
