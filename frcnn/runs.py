"""Run folders, checkpoint names, epochs, and the JSON beside a checkpoint.

A run's folder is `<model_dir>/<name><yyyymmddThhmm>`, its checkpoints are
`mask_rcnn_<name>_<epoch:04d>.h5`, both as in the reference, so that each finds the other's.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from frcnn.config import Config
from frcnn.errors import CheckpointError
from frcnn.files import write_json

PathLike: TypeAlias = str | os.PathLike[str]

_RUN_FOLDER = re.compile(r"(?P<name>.+?)\d{8}T\d{4}")
_MINUTE = "%Y%m%dT%H%M"
_CHECKPOINT = re.compile(r"mask_rcnn_(?:.*\D)?(?P<epoch>\d{4,})\.h5")


def _parts(path: PathLike) -> list[str]:
    """A path's parts, whether in this system's notation or in that of Windows."""
    return [part for part in re.split(r"[/\\]", os.fspath(path)) if part]


def epoch_of(path: PathLike) -> int:
    """The epoch in a checkpoint's file name, whatever its folder; 0 if there is none.

    `"mask_rcnn_ury_0050.h5"` gives 50: fifty epochs are done, training continues with the next.
    """
    parts = _parts(path)
    match = _CHECKPOINT.fullmatch(parts[-1]) if parts else None
    return int(match["epoch"]) if match else 0


def checkpoint_path(log_dir: PathLike, name: str, epoch: int) -> str:
    """The path of the checkpoint that a run named `name` writes after an epoch."""
    return os.path.join(log_dir, f"mask_rcnn_{name.lower()}_{epoch:04d}.h5")


def is_run_folder(folder: PathLike, name: str) -> bool:
    """Whether the last part of a folder's path is that of a run of `name`."""
    parts = _parts(folder)
    match = _RUN_FOLDER.fullmatch(parts[-1]) if parts else None
    return match is not None and match["name"].lower() == name.lower()


def find_last(model_dir: PathLike, name: str | None = None) -> str:
    """The newest run's last checkpoint; runs without a checkpoint are ignored.

    Args:
        model_dir: the folder of all runs.
        name: the configuration's NAME; None takes runs of any name.

    Returns:
        The checkpoint's path.

    Raises:
        FileNotFoundError: no run, or none with a checkpoint.
    """
    if not os.path.isdir(model_dir):
        raise FileNotFoundError(
            f"There is no folder {model_dir}, so no last checkpoint; name a weight file instead."
        )
    runs = {entry: match["name"].lower() for entry in os.listdir(model_dir)
            if (match := _RUN_FOLDER.fullmatch(entry))
            and os.path.isdir(os.path.join(model_dir, entry))}
    of_name = [run for run in runs if name is None or runs[run] == name.lower()]
    # by the date alone, since names differ
    for run in sorted(of_name, key=lambda entry: entry[-len("yyyymmddThhmm"):], reverse=True):
        folder = os.path.join(model_dir, run)
        files = [entry for entry in os.listdir(folder) if _CHECKPOINT.fullmatch(entry)]
        if files:
            return os.path.join(folder, max(files, key=lambda entry: (epoch_of(entry), entry)))
    raise FileNotFoundError(f"{model_dir} has {_what_there_is(runs, of_name, name)}; name a "
                            "weight file instead.")


def _what_there_is(runs: Mapping[str, str], of_name: Sequence[str], name: str | None) -> str:
    """Why there is no last checkpoint, for the error message."""
    whose = "" if name is None else f" of {name!r}"
    if of_name:
        return f"{len(of_name)} run folders{whose}, none with a checkpoint"
    others = ", ".join(repr(other) for other in sorted(set(runs.values())))
    return (f"no run folder{whose}, as {(name or 'ury').lower()}20180101T0000"
            + (f", only those of {others}" if others else ""))


def goes_on(weights_path: PathLike | None, name: str) -> bool:
    """Whether a run of `name` that starts from this checkpoint continues in the file's folder."""
    parts = _parts(weights_path) if weights_path is not None else []
    return len(parts) > 1 and is_run_folder(parts[-2], name)


def run_folder(model_dir: PathLike, name: str, weights_path: PathLike | None = None,
               now: datetime | None = None) -> str:
    """The folder in which a run continues, or a new one.

    Args:
        model_dir: the folder of all runs.
        name: the configuration's NAME.
        weights_path: the checkpoint that the run starts from, if any. If its folder is one of a
            run of this name, the run continues there. A folder that does not exist here, as one
            in Windows's notation, is replaced by that of the same name in `model_dir`.
        now: time for the new folder's name; the present by default.

    Returns:
        The folder's path; it is not made. A new one does not exist yet: its minute is moved past
        those that do. `claim_folder` makes it.
    """
    if weights_path is not None and goes_on(weights_path, name):
        parent = os.path.dirname(os.fspath(weights_path))
        return (parent if os.path.isdir(parent)
                else os.path.join(model_dir, _parts(weights_path)[-2]))
    folder = os.path.join(model_dir, f"{name.lower()}{now or datetime.now():{_MINUTE}}")
    while os.path.exists(folder):
        folder = _a_minute_later(folder)
    return folder


def claim_folder(folder: str) -> str:
    """Makes the folder of a new run, for this run alone.

    Of two runs that start at once only one can make a folder; the other takes the next minute's.

    Args:
        folder: from `run_folder`. One without a minute in its name, which a caller chose, is
            taken as it is.

    Returns:
        The path of the folder made.
    """
    if not _RUN_FOLDER.fullmatch(os.path.basename(folder)):
        os.makedirs(folder, exist_ok=True)
        return folder
    os.makedirs(os.path.dirname(folder) or ".", exist_ok=True)
    while True:
        try:
            os.mkdir(folder)
            return folder
        except FileExistsError:
            folder = _a_minute_later(folder)


def _a_minute_later(folder: str) -> str:
    length = len("yyyymmddThhmm")
    minute = datetime.strptime(folder[-length:], _MINUTE) + timedelta(minutes=1)
    return folder[:-length] + format(minute, _MINUTE)


# --- the JSON beside a checkpoint -----------------------------------------------------------


@dataclass
class Metadata:
    """What detection needs in addition to the weights.

    Attributes:
        config_json: the settings, as `Config.to_json` wrote them.
        class_names: one a class, the background's first.
        source_class_ids: the data set's own category id of each class, None for the background;
            empty if unknown.
        extra: all other entries.
    """

    config_json: str
    class_names: list[str]
    source_class_ids: list[Any] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def config(self, config_class: type[Config] = Config) -> Config:
        """The settings as a `Config`. Raises ConfigError if a value is not allowed."""
        return config_class.from_json(self.config_json)


def metadata_path(path: PathLike) -> Path:
    """The JSON file's path for a checkpoint's."""
    return Path(path).with_suffix(".json")


def save_metadata(path: PathLike, config: Config, class_names: Sequence[str],
                  source_class_ids: Sequence[Any] | None = None, **extra: Any) -> None:
    """Writes the JSON beside a checkpoint, atomically.

    Args:
        path: the checkpoint's path (or the JSON's).
        config: the `Config`.
        class_names: one a class, the background's first.
        source_class_ids: the data set's category id of each class, None for the background.
        **extra: anything else that JSON can represent.

    Raises:
        CheckpointError: the lists and NUM_CLASSES disagree, JSON cannot represent an entry, or the
            file cannot be written.
    """
    data = {
        "config": json.loads(config.to_json()),
        "class_names": [str(name) for name in class_names],
        "source_class_ids": list(source_class_ids or ()),
        **extra,
    }
    target = metadata_path(path)
    _check_metadata(data, target)
    try:
        write_json(target, data)
    except (OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"{target} cannot be written: {error}") from error


def load_metadata(path: PathLike) -> Metadata:
    """Reads the JSON beside a checkpoint.

    Args:
        path: the checkpoint's path, or the JSON's.

    Raises:
        FileNotFoundError: there is none.
        CheckpointError: it is not what `save_metadata` writes.
    """
    target = metadata_path(path)
    try:
        data = json.loads(target.read_text("utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There is no {target} with the configuration and class names of {path}; put it "
            "beside the weights, or give the settings and classes yourself."
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{target} cannot be read as JSON: {error}.") from error
    _check_metadata(data, target)
    config_json = json.dumps(data.pop("config"))
    return Metadata(config_json, data.pop("class_names"), data.pop("source_class_ids", []), data)


def _check_metadata(data: Any, target: Path) -> None:
    if not isinstance(data, dict) or not isinstance(data.get("config"), dict):
        raise CheckpointError(f"{target} has no 'config'; it was not written beside a checkpoint.")
    names, ids = data.get("class_names"), data.get("source_class_ids", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{target}: 'class_names' is not a list of names.")
    if not isinstance(ids, list) or len(ids) not in (0, len(names)):
        raise CheckpointError(
            f"{target}: 'source_class_ids' does not fit the {len(names)} class names."
        )
    classes = data["config"].get("NUM_CLASSES")
    if classes != len(names):
        raise CheckpointError(
            f"{target}: NUM_CLASSES is {classes}, but there are {len(names)} class names "
            "(the background counts)."
        )
