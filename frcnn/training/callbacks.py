"""Keras callbacks of a training: files after each epoch, the check for divergence, output."""

import importlib.util
import logging
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import keras
import numpy as np
from keras import ops

from frcnn import newest, runs
from frcnn.config import LOSS_NAMES, Config
from frcnn.data.dataset import Dataset
from frcnn.errors import TrainingDivergedError
from frcnn.files import read_json, to_plain_json, write_json
from frcnn.training.optimizer import averaging, exchange_average
from frcnn.weights.checkpoint import save_weights

log = logging.getLogger(__name__)

Logs: TypeAlias = dict[str, Any] | None
History: TypeAlias = dict[str, list[Any]]  # "epoch", which counts from 1, and one list a metric


class StopWhenDiverged(keras.callbacks.Callback):
    """Raises TrainingDivergedError once the loss or a weight is NaN or infinite.

    It comes before SaveCheckpoint in the list of callbacks, so that such weights are not saved: a
    step can make them so although its loss was finite.

    Args:
        last_good: a function without arguments: the path of the last checkpoint, or None.
    """

    def __init__(self, last_good: Callable[[], str | None]) -> None:
        super().__init__()
        self.last_good = last_good
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Keeps the epoch's number for the message."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Checks the loss."""
        loss = float((logs or {}).get("loss", 0.0))  # a running mean, which then stays NaN
        if not math.isfinite(loss):
            steps = (self.params or {}).get("steps")
            self._stop(f"The loss became {loss} in epoch {self.epoch + 1}, step {batch + 1}"
                       + (f" of {steps}" if steps else ""))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Checks the weights."""
        for weight in self.model.weights:
            if not np.isfinite(ops.convert_to_numpy(ops.cast(weight, "float32"))).all():
                self._stop(f"Weight {weight.path} contains NaN or infinity after epoch {epoch + 1}")

    def _stop(self, what: str) -> NoReturn:
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        last = self.last_good()
        raise TrainingDivergedError(
            f"{what}: training diverged. Try a lower learning rate (it was {rate:.3g}) or a "
            "smaller GRADIENT_CLIP_NORM. "
            + (f"The last good checkpoint is {last}." if last else "There is no checkpoint yet."))


class SameValidation(keras.callbacks.Callback):
    """Has validation draw the same random numbers each time, and training go on as without it.

    The layers that sample RoIs have a state that each step advances.
    """

    def __init__(self) -> None:
        super().__init__()
        self._states: list[tuple[Any, Any]] = []

    def on_test_begin(self, logs: Logs = None) -> None:
        """Keeps the states of the random generators, and sets fixed ones."""
        self._states = []
        for variable in self.model.variables:
            if variable.path.endswith("seed_generator_state"):
                self._states.append((variable, ops.convert_to_numpy(variable)))
                variable.assign(np.zeros(variable.shape, self._states[-1][1].dtype))

    def on_test_end(self, logs: Logs = None) -> None:
        """Restores the states."""
        for variable, state in self._states:
            variable.assign(state)
        self._states = []


class SaveCheckpoint(keras.callbacks.Callback):
    """Writes the weights and the JSON that detection needs after each epoch.

    Args:
        log_dir: the run's folder.
        name: the run's name, as in the files' names.
        config: Config.
        dataset: the training data set, for class names and source category ids.
        keep: how many of the newest checkpoints are kept; None keeps all.
        earlier: the epochs whose checkpoints this run has written before. Only these, and those
            that the callback writes, are ever deleted.
        writes: False only notes which checkpoint another process writes.
        **extra: entries of the JSON.

    Attributes:
        last: path of the newest checkpoint, or None.
    """

    def __init__(self, log_dir: str | Path, name: str, config: Config, dataset: Dataset,
                 keep: int | None = None, earlier: Iterable[int] = (),
                 writes: bool = True, **extra: Any) -> None:
        super().__init__()
        self.writes, self.extra = writes, extra
        self.log_dir, self.name, self.config, self.dataset = str(log_dir), name, config, dataset
        self.keep = keep
        self.last: str | None = None
        self._epochs = set(earlier)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Writes both files, and deletes those that are not kept."""
        path = runs.checkpoint_path(self.log_dir, self.name, epoch + 1)
        if not self.writes:
            self.last = path
            return
        # First the JSON, since weights without it could not be used for detection. Where one is
        # there, of a line that is abandoned, the new one may not say that the old weights are new.
        replaces = runs.metadata_path(path).is_file() and Path(path).is_file()
        if replaces:
            save_weights(self.model, path)
        runs.save_metadata(path, self.config, *class_lists(self.dataset, self.config),
                           **{newest.SAVED: newest.now(), **self.extra})
        if not replaces:
            save_weights(self.model, path)
        self.last = path
        self._epochs.add(epoch + 1)
        if self.keep is not None:
            self._delete({number for number in self._epochs if number <= epoch + 1 - self.keep})

    def _delete(self, epochs: set[int]) -> None:
        for epoch in epochs:
            path = Path(runs.checkpoint_path(self.log_dir, self.name, epoch))
            try:
                path.unlink(missing_ok=True)
                runs.metadata_path(path).unlink(missing_ok=True)
            except OSError as error:  # on Windows, another program may have opened it
                log.warning("%s cannot be deleted, so it is kept: %s", path, error)
        self._epochs -= epochs


def class_lists(dataset: Dataset, config: Config) -> tuple[list[str], list[Any]]:
    """Names and source category ids of all NUM_CLASSES classes.

    Classes that the data set does not have are named "class N". The id of the background and of
    these is None.
    """
    names = [str(name) for name in dataset.class_names]
    names += [f"class {i}" for i in range(len(names), config.NUM_CLASSES)]
    ids = [None] + [info["id"] for info in dataset.class_info[1:]]
    return names, ids + [None] * (len(names) - len(ids))


class WriteHistory(keras.callbacks.Callback):
    """Writes the metrics of all epochs to `history.json`, continuing that of a resumed run.

    If it is called again for the same epoch, the new metrics replace the earlier ones.

    Args:
        log_dir: the run's folder.
        first_epoch: epochs that are done already; later ones in an existing file are dropped.
        writes: False keeps the metrics in memory only, as another process writes them.
        stored: the history that a state has, taken where the file cannot be read.

    Attributes:
        history: dict of lists by metric, and "epoch", which counts from 1.
    """

    def __init__(self, log_dir: str | Path, first_epoch: int, writes: bool = True,
                 stored: Any = None) -> None:
        super().__init__()
        self.writes = writes
        self.path = Path(log_dir) / "history.json"
        self.history: History = self._earlier(first_epoch, stored)

    def _earlier(self, first_epoch: int, stored: Any) -> History:
        begins = "a new history begins" if not stored else "that of the training's state is taken"
        try:
            return _until(first_epoch, read_json(self.path))
        except FileNotFoundError:
            pass
        except (OSError, *_NO_HISTORY) as error:
            log.warning("%s cannot be read, so %s: %s", self.path, begins, error)
        try:
            return _until(first_epoch, stored) if stored else {}
        except _NO_HISTORY:
            return {}

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Adds the epoch and writes the file."""
        values = {"epoch": epoch + 1,
                  **{name: to_plain_json(float(value), non_finite="null")
                     for name, value in (logs or {}).items()}}
        if self.history.get("epoch", [])[-1:] == [epoch + 1]:
            for column in self.history.values():
                column.pop()
        count = len(self.history.get("epoch", []))
        for name, value in values.items():
            # A metric that starts later, such as a validation loss, has no earlier values.
            self.history.setdefault(name, [None] * count).append(value)
        for name in self.history.keys() - values.keys():
            self.history[name].append(None)
        if self.writes:
            write_json(self.path, self.history, indent=1)


_NO_HISTORY = (ValueError, KeyError, IndexError, TypeError, AttributeError)


def _until(epoch: int, history: Any) -> History:
    """The part of a history up to an epoch; raises one of _NO_HISTORY if it is none."""
    kept = [i for i, number in enumerate(history["epoch"]) if number <= epoch]
    return {name: [values[i] for i in kept] for name, values in history.items()}


class PrintEpoch(keras.callbacks.Callback):
    """Prints one line an epoch, without control characters, as for a log file.

    For example:

        epoch 3/10  66 s  loss 1.234 (rpn_class 0.123, …, bbox 0.456)  val_loss 1.300  val_AP 0.312

    Args:
        epochs: the total to reach.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs
        self._began = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Starts the epoch's clock."""
        self._began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Prints the line."""
        logs = logs or {}
        seconds = time.monotonic() - self._began
        parts = [f"epoch {epoch + 1}/{self.epochs}", f"{seconds:.0f} s"]
        losses = ", ".join(
            f"{name.removeprefix('mrcnn_').removesuffix('_loss')} {float(logs[name]):.3f}"
            for name in LOSS_NAMES if name in logs)
        if "loss" in logs:
            parts.append(f"loss {float(logs['loss']):.3f}" + (f" ({losses})" if losses else ""))
        parts += [f"{name} {float(logs[name]):.3f}" for name in ("val_loss", "val_AP", "val_AP50")
                  if name in logs]
        print("  ".join(parts), flush=True)


class AverageSwap(keras.callbacks.Callback):
    """Has checkpoints, evaluations and validation use the moving average of the weights.

    At the end of an epoch it exchanges the two, and back when the next one begins; it comes before
    the callbacks that read the weights. After `fit` the model has the average. BatchNorm's
    statistics are not averaged: they are a moving average already.
    """

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Trains the weights themselves."""
        self._put(False)

    def on_test_begin(self, logs: Logs = None) -> None:
        """Validates the average."""
        self._put(True)

    def on_test_end(self, logs: Logs = None) -> None:
        """The rest of the epoch's end begins as without validation."""
        self._put(False)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """What is saved and evaluated is the average."""
        self._put(True)

    def _put(self, average: bool) -> None:
        optimizer = self.model.optimizer
        if averaging(optimizer).average_is_in_model != average:
            exchange_average(optimizer)


def average_swap(config: Config) -> list[keras.callbacks.Callback]:
    """The `AverageSwap` of a training with `EMA_MOMENTUM`, in a list; else an empty one."""
    return [AverageSwap()] if config.EMA_MOMENTUM else []


def tensorboard(log_dir: str | Path) -> list[keras.callbacks.Callback]:
    """Keras's TensorBoard callback in a list.

    It writes through TensorFlow on every backend. Without TensorFlow or TensorBoard the list is
    empty, and a warning is logged.
    """
    missing = [name for name in ("tensorflow", "tensorboard") if not _is_installed(name)]
    if missing:
        log.warning("%s is not installed, so there are no TensorBoard logs; training goes on, and "
                    "history.json has the losses.", " and ".join(missing))
        return []
    return [keras.callbacks.TensorBoard(log_dir=str(log_dir), write_graph=False)]


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module without a spec, such as a test may insert
        return False
