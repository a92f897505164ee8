"""Which run was trained last, and which of its checkpoints: by line and time, not by number.

A run that goes back to an earlier epoch and continues from there leaves the later checkpoints of
the line that it abandoned in its folder. What a training writes names its line: states, and the
JSON files beside checkpoints. Trainings that continue each other exactly are of one line. What was
written last is of the present one. Files of older versions name none; then times and the history
decide.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from frcnn.files import expanded, parse_json, read_json

RUN_FOLDER = re.compile(r"(?P<name>.+?)\d{8}T\d{4}")
MINUTE = "%Y%m%dT%H%M"
SAVED = "saved"  # the entry of a checkpoint's JSON with the time at which it was written
LINE = "line"  # the entry of a checkpoint's JSON and of a state with its line
HISTORY = "history.json"
STATE_FILE = re.compile(r"training_state_(?P<epoch>\d{4,})_(?P<step>\d{6,})\.state")
_MOST_ABOUT = 2**26  # bytes of what a state says about itself


@dataclass(frozen=True)
class Place:
    """How far a training was when it wrote a checkpoint or a state.

    Attributes:
        epoch: epochs that were done.
        step: steps of the next one that were done.
        saved: when it was written, in seconds since 1970; 0 where the file does not say.
        line: of the training; None where the file does not say.
    """

    epoch: int
    step: int = 0
    saved: float = 0.0
    line: str | None = None


def metadata_path(path: str | os.PathLike[str]) -> Path:
    """The path of the JSON beside a checkpoint: `config_mask_rcnn_ury_0001.json`.

    The name begins otherwise than the checkpoint's and comes before it in the alphabet, so that
    code which takes the last of the files that begin with "mask_rcnn", as the reference's
    `find_last` does, gets weights. Older versions wrote `mask_rcnn_ury_0001.json`; that is
    returned where only it exists.

    Args:
        path: the checkpoint's, or the JSON's, which is returned as it is.
    """
    path = expanded(path)
    if path.suffix == ".json":
        return path
    old = path.with_suffix(".json")
    new = old.with_name(f"config_{old.name}")
    return old if not os.path.lexists(new) and os.path.lexists(old) else new


def now() -> str:
    """The present time as a checkpoint's JSON has it: ISO 8601 with the zone."""
    return datetime.now().astimezone().isoformat()


def end_of_line(folder: str | os.PathLike[str], epochs: Mapping[str, int]) -> str:
    """The checkpoint of a run's folder that its training wrote last.

    That is the one at or before the furthest place of the present line. Where no state names a
    line, as of older versions, it is the one of the last epoch in `history.json`, from which going
    back removes the later epochs; or a later one that has been written since, before the history.
    Without a usable history it is the newest by the times in the JSON files, else the one of the
    highest epoch.

    Args:
        folder: of the run.
        epochs: file name → epoch, of its checkpoints; at least one.

    Returns:
        A file name.
    """
    found = _end_of_newest_line(folder, epochs)
    if found is not None:
        return found
    last = _last_epoch(Path(folder) / HISTORY)
    known = last in epochs.values()
    candidates = [name for name, epoch in epochs.items() if not known or epoch >= (last or 0)]

    def order(name: str) -> tuple[Any, ...]:
        saved = saved_time(Path(folder) / name)
        return (saved.timestamp() if saved else 0.0, known and epochs[name] == last,
                epochs[name], name)

    return max(candidates, key=order)


def _end_of_newest_line(folder: str | os.PathLike[str], epochs: Mapping[str, int]) -> str | None:
    """As `end_of_line`, by the lines that the files name; None where that is not known."""
    states = [place for place in state_places(folder) if place.line is not None]
    if not states:
        return None
    places = [*states, *(checkpoint_place(Path(folder) / name, epoch)
                         for name, epoch in epochs.items())]
    line = newest_line(places)
    if line is None:  # an older version went on with the run
        return None
    furthest = max(place.epoch for place in places if place.line == line)
    return max((name for name, epoch in epochs.items() if epoch == furthest), default=None)


def newest_line(places: Iterable[Place]) -> str | None:
    """The line of the file that was written last."""
    newest = max(places, key=lambda place: place.saved, default=None)
    return None if newest is None else newest.line


def checkpoint_place(checkpoint: str | os.PathLike[str], epoch: int) -> Place:
    """The place of a checkpoint of that epoch, by the JSON beside it."""
    data = _read(metadata_path(checkpoint))
    return _place(epoch, 0, data if isinstance(data, dict) else {})


def state_places(folder: str | os.PathLike[str]) -> list[Place]:
    """The places of the states in a run's folder that can be read."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = (state_place(Path(folder) / name) for name in names if STATE_FILE.fullmatch(name))
    return [place for place in found if place is not None]


def state_place(path: Path) -> Place | None:
    """The place of a state, by its name and content; None if it cannot be read."""
    match, about = STATE_FILE.fullmatch(path.name), about_state(path)
    if match is None or about is None:
        return None
    return _place(int(match["epoch"]), int(match["step"]), about)


def about_state(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What a state file says of itself, without its arrays; None if it cannot be read."""
    try:
        import h5py  # not at the top: exported detectors are used without it

        with h5py.File(path, "r") as file:
            described = file.attrs.get_id("about")
            if described.shape != () or described.dtype.itemsize > _MOST_ABOUT:
                return None
            about = parse_json(file.attrs["about"])
    except (ImportError, OSError, KeyError, ValueError, TypeError, RuntimeError):
        return None
    return about if isinstance(about, dict) else None


def _place(epoch: int, step: int, data: Mapping[str, Any]) -> Place:
    saved, line = _parsed(data.get(SAVED)), data.get(LINE)
    return Place(epoch, step, saved.timestamp() if saved else 0.0,
                 line if isinstance(line, str) else None)


def saved_time(checkpoint: str | os.PathLike[str]) -> datetime | None:
    """When training wrote a checkpoint, by the JSON beside it; None where it does not say."""
    data = _read(metadata_path(checkpoint))
    return _parsed(data.get(SAVED)) if isinstance(data, dict) else None


def newest_run(model_dir: str | os.PathLike[str], name: str | None,
               epoch_of: Callable[[str], int], *patterns: re.Pattern[str]) -> tuple[str, list[str]]:
    """The run that was trained last, of those with files whose names match a pattern.

    Args:
        model_dir: the folder of all runs.
        name: that of the runs; None takes any.
        epoch_of: function from a file's name to its epoch.
        patterns: of the names.

    Returns:
        The run's folder, and the names of these files.

    Raises:
        FileNotFoundError: there is none.
    """
    model_dir = expanded(model_dir)
    if not model_dir.is_dir():
        raise FileNotFoundError(
            f"There is no folder {model_dir}, so no checkpoint; name a weight file instead.")
    runs = {entry: match["name"].lower() for entry in os.listdir(model_dir)
            if (match := RUN_FOLDER.fullmatch(entry)) and (model_dir / entry).is_dir()}
    of_name = [run for run in runs if name is None or runs[run] == name.lower()]
    found = []
    for run in of_name:
        folder = os.path.join(model_dir, run)
        files = {entry: epoch_of(entry) for entry in os.listdir(folder)
                 if any(pattern.fullmatch(entry) for pattern in patterns)}
        if files:
            found.append((_trained_until(folder, files), folder, list(files)))
    if found:
        return max(found)[1:]
    raise FileNotFoundError(f"{model_dir} has {_what_there_is(runs, of_name, name)}; name a "
                            "weight file instead.")


def _trained_until(folder: str, epochs: Mapping[str, int]) -> tuple[float, str]:
    """When a run was last trained; where its files do not say, when it began."""
    minute = folder[-len("yyyymmddThhmm"):]  # not the whole, since names differ
    last = end_of_line(folder, epochs)
    saved = max(place.saved for place in [
        checkpoint_place(os.path.join(folder, last), epochs[last]), *state_places(folder)])
    try:
        return saved or datetime.strptime(minute, MINUTE).timestamp(), minute
    except (ValueError, OverflowError):  # digits that are no date
        return 0.0, minute


def _what_there_is(runs: Mapping[str, str], of_name: Sequence[str], name: str | None) -> str:
    """Why there is no checkpoint, for the error message."""
    whose = "" if name is None else f" of {name!r}"
    if of_name:
        return f"{len(of_name)} run folders{whose}, none with a checkpoint"
    others = ", ".join(repr(other) for other in sorted(set(runs.values())))
    return (f"no run folder{whose}, as {(name or 'ury').lower()}20180101T0000"
            + (f", only those of {others}" if others else ""))


def _last_epoch(history: Path) -> int | None:
    data = _read(history)
    epochs = data.get("epoch") if isinstance(data, dict) else None
    last = epochs[-1] if isinstance(epochs, list) and epochs else None
    return last if isinstance(last, int) else None


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError, RecursionError):
        return None


def _parsed(text: Any) -> datetime | None:
    """The time in a text, with its zone; None if it is none."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (TypeError, ValueError, OverflowError):
        return None
