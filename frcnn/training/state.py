"""The state of a training between two steps: everything but the data, so that it goes on exactly.

The order of the images, their augmentation and the sampled anchors are functions of the seed, the
epoch and the place in it, so that of the data three numbers are enough. A state file has the
weights too, since between two epochs' ends there is no checkpoint of them.
"""

import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from frcnn import __version__, newest, runs
from frcnn.arrays import Array
from frcnn.errors import CheckpointError, ConfigError
from frcnn.files import read_json, remove_drafts, replacing
from frcnn.training.optimizer import averaging
from frcnn.training.state_files import further_states, state_files, state_path, usable_states
from frcnn.weights.hdf5_checks import check_array, check_compression, read_attribute

log = logging.getLogger(__name__)

FORMAT = 1
# Not ".h5", so that nobody takes one for a checkpoint.
RUN = "run"  # what a run's checkpoints and states have in common, and others have not
HISTORY, VERSIONS = "history", "versions"  # the run's, and those of the software
DATA = "data"  # what a state says of the data; they may change between two epochs
KEPT = 2  # state files of a run; an older one is deleted
# A constant learning rate is a variable of the optimizer; the present run's own holds.
_NOT_RESTORED = "learning_rate"


@dataclass
class TrainingState:
    """A training between two steps.

    Attributes:
        epoch: epochs that are done.
        step: steps that are done in the next one.
        about: what the optimizer belongs to, as JSON has it: the trained layers, the optimizer's
            class, the steps of an epoch, the seed; see `trainer.describe`. Besides, by which run
            and which line of it it was saved (`RUN`, `newest.LINE`), when, with which `versions`
            and settings, and the history so far.
        arrays: by key: "model/<layer>/<number>", "optimizer/<number>", "metrics/<number>".
    """

    epoch: int
    step: int
    about: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, model: keras.Model, epoch: int, step: int,
           about: Mapping[str, Any]) -> "TrainingState":
        """The present state of a compiled model."""
        if hasattr(model, "jax_state_sync"):  # between steps JAX's trainer keeps it elsewhere
            model.jax_state_sync()
        arrays = {key: np.array(keras.ops.convert_to_numpy(variable))
                  for key, variable in _variables(model)}
        return cls(epoch, step, dict(about), arrays)

    def restore(self, model: keras.Model, with_optimizer: bool = True) -> None:
        """Gives a model the state.

        Args:
            model: compiled, with the layers trainable that were.
            with_optimizer: whether the optimizer gets its variables back, too; else it begins
                anew, as at the beginning of a stage.

        Raises:
            CheckpointError: the state is of another model or optimizer; nothing is changed.
        """
        wanted = {key: variable for key, variable in _variables(model)
                  if with_optimizer or not key.startswith("optimizer/")}
        for key, variable in wanted.items():
            if key not in self.arrays or self.arrays[key].shape != tuple(variable.shape):
                found = self.arrays[key].shape if key in self.arrays else "missing"
                raise CheckpointError(f"The training state is of another network or optimizer: "
                                      f"{key} is {found}, not {tuple(variable.shape)}.")
        for key, variable in wanted.items():
            if not key.startswith("metrics/"):
                variable.assign(self.arrays[key])
        for name, version in versions().items():
            stored = self._stored_versions().get(name, version)
            if stored != version:
                log.warning("The training was saved with %s %s and goes on with %s, so that its "
                            "numbers may be others than without the interruption.", name, stored,
                            version)
        optimizer = averaging(model.optimizer)
        if with_optimizer and optimizer.use_ema:  # exchanged at an epoch's end, see `AverageSwap`
            optimizer.average_is_in_model = self.step == 0

    def _stored_versions(self) -> Mapping[str, Any]:
        stored = self.about.get(VERSIONS)
        return stored if isinstance(stored, dict) else {}

    def restore_metrics(self, model: keras.Model) -> None:
        """Gives the metrics of an epoch back that was interrupted, after Keras has reset them."""
        for key, variable in _metrics(model):
            if key in self.arrays:
                variable.assign(self.arrays[key])

    def is_finite(self) -> bool:
        """Whether no weight is NaN or infinite."""
        return all(bool(np.isfinite(value).all()) for key, value in self.arrays.items()
                   if key.startswith("model/") and value.dtype.kind == "f")

    def optimizer_goes_on(self, about: Mapping[str, Any], folder: str | os.PathLike[str]) -> bool:
        """Whether the optimizer of another training is this state's.

        Where it is not, although the layers are the same, a warning says why.

        Args:
            about: what the training is, as in the attribute.
            folder: the run's, for the message.

        Raises:
            ConfigError: the state is within an epoch, and the training is another: it cannot go on.
        """
        names = differing(self.about, about, bool(self.step))
        differences = "; ".join(f"{name} {self.about[name]!r}, now {about[name]!r}"
                                for name in names)
        if differences and self.step:
            raise ConfigError(
                f"The training was interrupted within epoch {self.epoch + 1}, and this call "
                f"differs from it: {differences}. Continue with the same values, or delete "
                f"{folder}/training_state_* to continue from the last checkpoint.")
        if differences and "layers" not in names:  # a stage of other layers is meant to begin anew
            log.warning("The training continues after epoch %d with a new optimizer, without its "
                        "momentum, since this call differs from the one before: %s.",
                        self.epoch, differences)
        return not differences

    # --- files ------------------------------------------------------------------------------------

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Writes the state into a run's folder, atomically, and deletes all but `KEPT` of them.

        Raises:
            OSError: the file cannot be written; older ones are unchanged.
        """
        for prefix in ("training_state_", "mask_rcnn_", "config_mask_rcnn_", "best_mask_rcnn_",
                       "config_best_mask_rcnn_"):
            remove_drafts(folder, prefix)
        path = state_path(folder, self.epoch, self.step)
        try:
            with replacing(path) as draft, h5py.File(draft, "w") as file:
                for key, value in self.arrays.items():
                    file.create_dataset(key, data=value)
                file.attrs["about"] = json.dumps({
                    **self.about, "format": FORMAT, "epoch": self.epoch, "step": self.step,
                    newest.SAVED: newest.now()})
                file.attrs["digest"] = digest(self.arrays)
        except RuntimeError as error:  # h5py's, of a file that cannot be closed: the disk is full
            raise OSError(f"{path} cannot be written: {error}") from error
        for old in further_states(folder, self.epoch, self.step):
            old.unlink(missing_ok=True)
        for old in state_files(folder)[KEPT:]:
            old.unlink(missing_ok=True)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "TrainingState":
        """Reads a file of `save`.

        Raises:
            CheckpointError: it is cut off, damaged or of another kind.
        """
        try:
            with h5py.File(path, "r") as file:
                about = json.loads(read_attribute(file, "about"))
                arrays = {key: np.asarray(file[key]) for key in _dataset_keys(file)}
                stored = read_attribute(file, "digest")
            epoch, step = int(about.pop("epoch")), int(about.pop("step"))
            version = about.pop("format")
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise CheckpointError(f"The training state {path} is cut off or damaged: {error}. "
                                  "Delete it to continue from the checkpoint alone.") from error
        if version != FORMAT or digest(arrays) != stored:
            raise CheckpointError(
                f"The training state {path} is damaged, or was written by another version. Delete "
                "it to continue from the checkpoint alone.")
        return cls(epoch, step, about, arrays)


def differing(stored: Mapping[str, Any], about: Mapping[str, Any], within_epoch: bool) -> list[str]:
    """The names by which a training and the one that saved a state differ, so that neither goes on.

    Args:
        stored: what the state says; one of an older version does not know of everything.
        about: what the training is, see `TrainingState`.
        within_epoch: whether the state is, and the data have to be the same, too.
    """
    return [name for name, value in about.items()
            if stored.get(name, value) != value and (within_epoch or name != DATA)]


def find_state(folder: str | os.PathLike[str], epochs_done: int,
               name: str | None = None) -> TrainingState | None:
    """The state with which a run continues; None if there is none.

    Args:
        folder: the run's.
        epochs_done: those of the checkpoint that it continues from, see `usable_states`.
        name: the run's, as in the checkpoint's file name; None does not compare the two.

    Raises:
        CheckpointError: every such state is damaged, or of another run; the message is of the
            furthest.
    """
    first_error: CheckpointError | None = None
    run = None if name is None else identity_of_run(folder, name, epochs_done)
    for path in usable_states(folder, epochs_done):
        try:
            state = TrainingState.load(path)
            if run is None or state.about.get(RUN, run) == run:
                return state
            raise CheckpointError(f"The training state {path} is of another run than the "
                                  "checkpoint. Delete it to continue from the checkpoint alone.")
        except CheckpointError as error:
            first_error = first_error or error
    if first_error is not None:
        raise first_error
    return None


def identity_of_run(folder: str | os.PathLike[str], name: str, epochs_done: int) -> str | None:
    """What the JSON beside a run's checkpoint has as `RUN`; None where there is none."""
    path = runs.metadata_path(runs.checkpoint_path(folder, name, epochs_done))
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return None
    return found.get(RUN) if isinstance(found, dict) else None


def versions() -> dict[str, str]:
    """The versions on which the numbers of a training depend, by name."""
    backend = keras.backend.backend()
    return {"frcnn": __version__, "keras": keras.__version__,
            backend: str(getattr(sys.modules.get(backend), "__version__", "unknown"))}


def digest(arrays: Mapping[str, Array]) -> str:
    """SHA-256 of the arrays, their keys, shapes and types, as hexadecimal digits."""
    found = hashlib.sha256()
    for key in sorted(arrays):
        value = np.ascontiguousarray(arrays[key])
        found.update(f"{key} {value.dtype.str} {value.shape};".encode())
        found.update(value.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def _dataset_keys(file: h5py.File) -> list[str]:
    keys: list[str] = []
    file.visititems(lambda key, item: keys.append(key) if isinstance(item, h5py.Dataset) else None)
    for key in keys:
        if file[key].dtype.kind == "O":
            raise CheckpointError(f"{key} is no array of numbers")
        check_array(file[key])
        check_compression(file[key])
    return keys


def _variables(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    """All variables of a compiled model by keys that do not depend on the process."""
    for layer in _layers(model):
        for number, variable in enumerate(layer.variables):
            yield f"model/{layer.name}/{number}", variable
    for number, variable in enumerate(model.optimizer.variables):
        if variable.name != _NOT_RESTORED:
            yield f"optimizer/{number:05d}", variable
    yield from _metrics(model)


def _metrics(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    for number, variable in enumerate(model.metrics_variables):
        yield f"metrics/{number:03d}", variable


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        elif layer.variables:
            yield layer
