"""The names of the state files in a run's folder; loads no Keras, since the command line reads it.
"""

import os
from pathlib import Path

from frcnn import newest, runs


def state_path(folder: str | os.PathLike[str], epoch: int, step: int) -> Path:
    """The path of the state after so many epochs, and steps of the next one."""
    return Path(folder) / f"training_state_{epoch:04d}_{step:06d}.state"


def place_of(path: Path) -> tuple[int, int]:
    """The epochs and steps that are done in a state, by its file's name."""
    match = newest.STATE_FILE.fullmatch(path.name)
    assert match is not None
    return int(match["epoch"]), int(match["step"])


def state_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The state files in a run's folder, the one that is furthest first."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = (Path(folder) / name for name in names if newest.STATE_FILE.fullmatch(name))
    return sorted(found, key=place_of, reverse=True)


def further_states(folder: str | os.PathLike[str], epoch: int, step: int) -> list[Path]:
    """The state files beyond a place: those of a run that went back to an earlier epoch."""
    return [path for path in state_files(folder) if place_of(path) > (epoch, step)]


def usable_states(folder: str | os.PathLike[str], epochs_done: int) -> list[Path]:
    """The state files from which a run can continue, the one that is furthest first.

    At the end of an epoch its checkpoint is written, then the run is evaluated, then the state is
    saved. A run that was killed in between continues from the state before, in the last epoch of
    the checkpoint, and does the same again. One further back is of no use: the run had gone on
    without it. Nor is one of a line that was abandoned, see `frcnn.newest`.

    Args:
        folder: the run's.
        epochs_done: those of the checkpoint.
    """
    places = {path: newest.state_place(path) for path in state_files(folder)
              if place_of(path) >= (epochs_done - 1, 0)}
    if not places:
        return []
    line = newest.newest_line([*filter(None, places.values()), *(
        newest.checkpoint_place(Path(folder) / name, epoch)
        for name, epoch in runs.checkpoints_in(folder).items() if epoch == epochs_done)])
    return [path for path, place in places.items()  # a damaged one may be of this line
            if place is None or place.line == line]
