"""The best checkpoint of a run: a copy of the one with the highest AP while it trained."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from frcnn.errors import CheckpointError
from frcnn.files import read_json, replacing, write_json
from frcnn.newest import metadata_path


@dataclass(frozen=True)
class BestCheckpoint:
    """The checkpoint of a run that had the highest AP when it was evaluated while training.

    Attributes:
        path: of the weights.
        epoch: how many epochs they have had.
        ap: COCO's AP on the validation images, from 0 to 1.
    """

    path: str
    epoch: int
    ap: float


def best_path(log_dir: str | os.PathLike[str], name: str) -> str:
    """The path of the best checkpoint of a run named `name`: of an older version, if it has one."""
    path, old = (os.path.join(log_dir, file) for file in (
        f"best_mask_rcnn_{name.lower()}.h5", f"mask_rcnn_{name.lower()}_best.h5"))
    return old if os.path.lexists(old) and not os.path.lexists(path) else path


def save_best(checkpoint: str | os.PathLike[str], path: str | os.PathLike[str], epoch: int,
              metrics: Mapping[str, float]) -> BestCheckpoint:
    """Copies a checkpoint and its JSON to the best one's place, atomically.

    Args:
        checkpoint: path of the weights, with a JSON beside them.
        path: `best_path`.
        epoch: how many epochs they have had; it is added to the JSON.
        metrics: `val_AP` and others; they are added to the JSON, too.

    Raises:
        CheckpointError: a file cannot be read or written.
    """
    try:
        data = {**read_json(metadata_path(checkpoint)), "epoch": int(epoch),
                **{name: float(value) for name, value in metrics.items()}}
        with replacing(path) as temporary:
            shutil.copyfile(checkpoint, temporary)
        # After the weights: if only they were replaced, the JSON claims no AP that they lack.
        write_json(metadata_path(path), data)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"The checkpoint {path} cannot be written: {error}.") from error
    return BestCheckpoint(os.fspath(path), data["epoch"], data["val_AP"])


def load_best(path: str | os.PathLike[str]) -> BestCheckpoint | None:
    """The best checkpoint at a path, or None if it, or its JSON with epoch and AP, is missing."""
    try:
        data = read_json(metadata_path(path))
        best = BestCheckpoint(os.fspath(path), int(data["epoch"]), float(data["val_AP"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return best if best.epoch > 0 and os.path.isfile(path) else None
