"""Run folders, checkpoint names, epochs, and the JSON beside a checkpoint.

A run's folder is `<model_dir>/<name><yyyymmddThhmm>`, its checkpoints are
`mask_rcnn_<name>_<epoch:04d>.h5`, both as in the reference, so that each finds the other's. A copy
of the checkpoint with the highest AP is `best_mask_rcnn_<name>.h5`, which the reference's
`find_last` does not take for the newest; its JSON has the epoch. Older versions called it
`mask_rcnn_<name>_best.h5`. The JSON beside a checkpoint has the name `config_` and that of the
checkpoint, see `metadata_path`.
"""

import json
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from frcnn.best import BestCheckpoint, best_path, load_best, save_best
from frcnn.config import Config
from frcnn.errors import CheckpointError, ConfigError
from frcnn.files import read_json, write_json
from frcnn.newest import MINUTE, RUN_FOLDER, end_of_line, metadata_path, newest_run

PathLike: TypeAlias = str | os.PathLike[str]

__all__ = ["BestCheckpoint", "Metadata", "best_path", "checkpoint_path", "checkpoints_in",
           "claim_folder", "epoch_of", "epochs_done", "find_best", "find_last", "goes_on",
           "is_best", "is_run_folder", "last_checkpoint", "load_best", "load_metadata",
           "metadata_path", "run_folder", "save_best", "save_metadata"]

_CHECKPOINT = re.compile(r"mask_rcnn_(?:.*\D)?(?P<epoch>\d{4,})\.h5")
_BEST = re.compile(r"best_mask_rcnn_.+\.h5|mask_rcnn_.+_best\.h5")  # the second: older versions


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


def is_best(path: PathLike) -> bool:
    """Whether a file's name is that of a best checkpoint."""
    return any(_BEST.fullmatch(part) for part in _parts(path)[-1:])


def epochs_done(path: PathLike) -> int:
    """How many epochs a checkpoint has had, by its name or, if it `is_best`, its JSON; else 0."""
    if is_best(path):
        best = load_best(path)
        return best.epoch if best else 0
    return epoch_of(path)


def is_run_folder(folder: PathLike, name: str) -> bool:
    """Whether the last part of a folder's path is that of a run of `name`."""
    parts = _parts(folder)
    match = RUN_FOLDER.fullmatch(parts[-1]) if parts else None
    return match is not None and match["name"].lower() == name.lower()


def find_last(model_dir: PathLike, name: str | None = None) -> str:
    """The last checkpoint of the run that was trained last; runs without one are ignored.

    "Last" is by time, that of states included: a run that has been continued is newer than one that
    began after it, and where a run went back to an earlier epoch, the checkpoints that it abandoned
    do not count, once there is a state or a checkpoint of the new line. Files of older versions do
    not say the time; then it is that at which the run began.

    Args:
        model_dir: the folder of all runs.
        name: the configuration's NAME; None takes runs of any name.

    Returns:
        The checkpoint's path.

    Raises:
        FileNotFoundError: no run, or none with a checkpoint.
    """
    folder, files = newest_run(model_dir, name, epoch_of, _CHECKPOINT)
    return os.path.join(folder, end_of_line(folder, {entry: epoch_of(entry) for entry in files}))


def last_checkpoint(folder: PathLike) -> str | None:
    """The path of the checkpoint that a run wrote last, see `end_of_line`; None without any."""
    files = checkpoints_in(folder)
    return os.path.join(folder, end_of_line(folder, files)) if files else None


def checkpoints_in(folder: PathLike) -> dict[str, int]:
    """The epochs of the checkpoints in a run's folder, by the files' names."""
    return {entry: epoch_of(entry) for entry in os.listdir(folder) if _CHECKPOINT.fullmatch(entry)}


def find_best(model_dir: PathLike, name: str | None = None) -> str:
    """The best checkpoint of the newest run, `best_mask_rcnn_<name>.h5`.

    Args: as of `find_last`.

    Raises:
        FileNotFoundError: no run with a checkpoint, or the newest one has no best checkpoint, since
            it has not been evaluated while training.
    """
    folder, files = newest_run(model_dir, name, epoch_of, _CHECKPOINT, _BEST)
    best = [entry for entry in files if is_best(entry)]
    if not best:
        raise FileNotFoundError(
            f"The newest run, {folder}, has no best checkpoint: it has not been evaluated while "
            "training (--evaluate-every). Take its last checkpoint, or name a weight file.")
    return os.path.join(folder, min(best))  # today's name before that of older versions


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
    folder = os.path.join(model_dir, f"{name.lower()}{now or datetime.now():{MINUTE}}")
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
    if not RUN_FOLDER.fullmatch(os.path.basename(folder)):
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
    minute = datetime.strptime(folder[-length:], MINUTE) + timedelta(minutes=1)
    return folder[:-length] + format(minute, MINUTE)


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
        path: of the file, for messages.
    """

    config_json: str
    class_names: list[str]
    source_class_ids: list[Any] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    path: str = ""

    def config(self, config_class: type[Config] = Config,
               allow_custom: bool | Collection[str] = False) -> Config:
        """The settings as a `Config`.

        Args:
            config_class: Config or a subclass.
            allow_custom: whether functions that the file names may be imported, or which; see
                `Config.from_json`.

        Raises:
            ConfigError: a value is not allowed, or a function may not be imported.
        """
        try:
            return config_class.from_json(self.config_json, allow_custom)
        except ConfigError as error:
            raise ConfigError(f"{self.path}: {error}" if self.path else str(error)) from error


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
        data = read_json(target)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There is no {target} with the configuration and class names of {path}; put it "
            "beside the weights, or give the settings and classes yourself."
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{target} cannot be read as JSON: {error}.") from error
    _check_metadata(data, target)
    config_json = json.dumps(data.pop("config"))
    return Metadata(config_json, data.pop("class_names"), data.pop("source_class_ids", []), data,
                    os.fspath(target))


def _check_metadata(data: Any, target: Path) -> None:
    if not isinstance(data, dict) or not isinstance(data.get("config"), dict):
        raise CheckpointError(f"{target} has no 'config'; it was not written beside a checkpoint.")
    names, ids = data.get("class_names"), data.get("source_class_ids", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{target}: 'class_names' is not a list of names.")
    if not isinstance(ids, list) or len(ids) not in (0, len(names)) \
            or any(isinstance(each, (list, dict)) for each in ids):
        raise CheckpointError(
            f"{target}: 'source_class_ids' does not fit the {len(names)} class names."
        )
    classes = data["config"].get("NUM_CLASSES")
    if classes != len(names):
        raise CheckpointError(
            f"{target}: NUM_CLASSES is {classes}, but there are {len(names)} class names "
            "(the background counts)."
        )
