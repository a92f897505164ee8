"""The options of a training that its Config does not contain, stored so that it can continue.

A run's folder holds `options.json` (this module) beside `plan.json` (epochs and layers, see
`frcnn.cli.plan`) and the Config beside each checkpoint. Together they are all that shapes a
training.
"""

import argparse
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from frcnn.cli.options import ALL, OFF
from frcnn.errors import ConfigError
from frcnn.files import expanded, read_json, write_json
from frcnn.training.interval import Interval

FILE_NAME = "options.json"
SCHEDULES = ("warmup_cosine", "warmup_step", "constant")
AUGMENTATIONS = ("flip", "flips", "microscopy", "none")
# The words of the command line for None.
NONE = {"val_images": ALL, "evaluate_every": OFF, "patience": OFF, "keep": ALL,
        "save_every": OFF}


@dataclass(frozen=True)
class RunOptions:
    """Options of `frcnn train`, with their defaults.

    Attributes:
        dataset: absolute path of the data set's folder; None: the sample makes its own data.
        skip_bad: whether unusable images and boxes are left out.
        schedule: one of SCHEDULES.
        augmentation: one of AUGMENTATIONS.
        val_images: how many of the first images of "val" an evaluation takes; None: all.
        evaluate_every, patience, keep: see `MaskRCNN.train`.
        save_every: see `MaskRCNN.train`.
        seed: of all random numbers.
        deterministic: see `frcnn.training.determinism`.
    """

    dataset: str | None = None
    skip_bad: bool = False
    schedule: str = "warmup_cosine"
    augmentation: str = "flip"
    val_images: int | None = None
    evaluate_every: int | None = None
    patience: int | None = None
    keep: int | None = None
    save_every: int | str | None = "10 min"
    seed: int = 0
    deterministic: bool = False

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that the command line would not accept."""
        self._require("dataset", self.dataset is None or isinstance(self.dataset, str), "a path")
        for name in ("skip_bad", "deterministic"):
            self._require(name, isinstance(getattr(self, name), bool), "true or false")
        self._require("schedule", self.schedule in SCHEDULES, ", ".join(SCHEDULES))
        self._require("augmentation", self.augmentation in AUGMENTATIONS, ", ".join(AUGMENTATIONS))
        for name in ("val_images", "evaluate_every", "patience", "keep"):
            value = getattr(self, name)
            self._require(name, value is None or _is_integer(value, 1),
                          "null or a whole number of 1 or more")
        self._require("save_every", _is_interval(self.save_every),
                      'null, a number of steps, or a time such as "10 min"')
        self._require("seed", _is_integer(self.seed, 0), "a whole number of 0 or more")
        if self.patience is not None and self.evaluate_every is None:
            raise ConfigError(f"--patience {self.patience} needs --evaluate-every N, since it "
                              "counts evaluations; give both, or --patience off.")

    def _require(self, name: str, valid: bool, allowed: str) -> None:
        if not valid:
            raise ConfigError(f"{name} is {getattr(self, name)!r}; allowed is {allowed}.")


def _is_interval(value: Any) -> bool:
    try:
        Interval.parse(value)
    except ValueError:
        return False
    return True


def _is_integer(value: Any, lowest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= lowest


def choose(options: argparse.Namespace, stored: RunOptions | None) -> RunOptions:
    """The options to train with: those given on the command line, else the stored, else defaults.

    Args:
        options: of `frcnn train`, where an option that was not given is None.
        stored: those of the run that continues, if there is one.
    """
    given: dict[str, Any] = {}
    for option in fields(RunOptions):
        value = getattr(options, option.name)
        if value is not None:
            given[option.name] = None if value == NONE.get(option.name) else value
    if "dataset" in given:
        given["dataset"] = os.path.abspath(expanded(given["dataset"]))
    return replace(stored or RunOptions(), **given)


def option_changes(before: RunOptions, after: RunOptions) -> dict[str, tuple[Any, Any]]:
    """The options that differ, by name on the command line: `{name: (old value, new value)}`."""
    missing = {"dataset": "the sample's own", **NONE}

    def shown(name: str, value: Any) -> Any:
        return missing[name] if value is None else value

    old, new = asdict(before), asdict(after)
    return {name.replace("_", "-"): (shown(name, old[name]), shown(name, new[name]))
            for name in new if old[name] != new[name]}


def save(options: RunOptions, folder: str | Path) -> None:
    """Writes the options into a run's folder."""
    write_json(Path(folder) / FILE_NAME, asdict(options), indent=1)


def load(folder: str | Path) -> RunOptions | None:
    """The options in a run's folder; None where there are none, as in a run of the reference.

    Raises:
        ConfigError: the file is damaged.
    """
    path = Path(folder) / FILE_NAME
    names = {option.name for option in fields(RunOptions)}
    try:
        content = read_json(path)
        if not isinstance(content, dict):
            raise ConfigError("it does not hold a JSON object of options.")
        return RunOptions(**{name: value for name, value in content.items() if name in names})
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError, TypeError) as error:  # a ConfigError is a ValueError
        raise ConfigError(f"{path} cannot be used: {str(error).rstrip('.')}. Remove it to continue "
                          "the run with the options of the command line.") from error
