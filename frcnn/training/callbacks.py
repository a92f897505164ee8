"""Keras callbacks of a training: files after each epoch, the check for divergence, output."""

import importlib.util
import json
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import keras
import numpy as np
from keras import ops

from frcnn import runs
from frcnn.config import LOSS_NAMES, Config
from frcnn.data.dataset import Dataset
from frcnn.errors import TrainingDivergedError
from frcnn.files import to_plain_json, write_json
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


class SaveCheckpoint(keras.callbacks.Callback):
    """Writes the weights and the JSON that detection needs after each epoch.

    Args:
        log_dir: the run's folder.
        name: the run's name, as in the files' names.
        config: Config.
        dataset: the training data set, for class names and source category ids.

    Attributes:
        last: path of the newest checkpoint, or None.
    """

    def __init__(self, log_dir: str | Path, name: str, config: Config, dataset: Dataset) -> None:
        super().__init__()
        self.log_dir, self.name, self.config, self.dataset = str(log_dir), name, config, dataset
        self.last: str | None = None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Writes both files."""
        path = runs.checkpoint_path(self.log_dir, self.name, epoch + 1)
        # First the JSON: weights without it could not be used for detection.
        runs.save_metadata(path, self.config, *class_lists(self.dataset, self.config))
        save_weights(self.model, path)
        self.last = path


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

    Args:
        log_dir: the run's folder.
        first_epoch: epochs that are done already; later ones in an existing file are dropped.

    Attributes:
        history: dict of lists by metric, and "epoch", which counts from 1.
    """

    def __init__(self, log_dir: str | Path, first_epoch: int) -> None:
        super().__init__()
        self.path = Path(log_dir) / "history.json"
        self.history: History = self._earlier(first_epoch)

    def _earlier(self, first_epoch: int) -> History:
        try:
            history = json.loads(self.path.read_text(encoding="utf-8"))
            kept = [i for i, epoch in enumerate(history["epoch"]) if epoch <= first_epoch]
            return {name: [values[i] for i in kept] for name, values in history.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            log.warning("%s cannot be read, so a new history begins: %s", self.path, error)
            return {}

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Adds the epoch and writes the file."""
        values = {"epoch": epoch + 1,
                  **{name: to_plain_json(float(value), non_finite="null")
                     for name, value in (logs or {}).items()}}
        count = len(self.history.get("epoch", []))
        for name, value in values.items():
            # A metric that starts later, such as a validation loss, has no earlier values.
            self.history.setdefault(name, [None] * count).append(value)
        for name in self.history.keys() - values.keys():
            self.history[name].append(None)
        write_json(self.path, self.history, indent=1)


class PrintEpoch(keras.callbacks.Callback):
    """Prints one line an epoch, without control characters, as for a log file.

    For example:

        epoch 3/10  66 s  loss 1.234 (rpn_class 0.123, …, bbox 0.456)  val_loss 1.300

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
        if "val_loss" in logs:
            parts.append(f"val_loss {float(logs['val_loss']):.3f}")
        print("  ".join(parts), flush=True)


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
