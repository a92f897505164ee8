"""What each epoch of a training leaves behind, and what ends one."""

import importlib.util
import json
import logging
import math
from pathlib import Path

import keras
import numpy as np
from keras import ops

from frcnn import runs
from frcnn.errors import TrainingDivergedError
from frcnn.files import to_plain_json, write_json
from frcnn.weights.checkpoint import save_weights

log = logging.getLogger(__name__)


class StopWhenDiverged(keras.callbacks.Callback):
    """Ends training with TrainingDivergedError once the loss, or a weight, is infinite or no number.

    It stands before SaveCheckpoint in the list, so that no spoiled weights are ever written: a
    step may spoil them although the loss that it began with was still a number.

    Args:
        last_good: a function without arguments: the path of the last checkpoint, or None.
    """

    def __init__(self, last_good):
        super().__init__()
        self.last_good = last_good
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = float((logs or {}).get("loss", 0.0))  # a mean, which stays spoiled once it is
        if not math.isfinite(loss):
            steps = (self.params or {}).get("steps")
            self._stop(f"The loss became {loss} in epoch {self.epoch + 1}, step {batch + 1}"
                       + (f" of {steps}" if steps else ""))

    def on_epoch_end(self, epoch, logs=None):
        for weight in self.model.weights:
            if not np.isfinite(ops.convert_to_numpy(ops.cast(weight, "float32"))).all():
                self._stop(f"The weights of {weight.path} are no numbers at the end of epoch "
                           f"{epoch + 1}")

    def _stop(self, what):
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        last = self.last_good()
        raise TrainingDivergedError(
            f"{what}: training diverged. Try a lower learning rate (it was {rate:.3g}) or a "
            "smaller GRADIENT_CLIP_NORM. "
            + (f"The last good checkpoint is {last}." if last else "There is no checkpoint yet."))


class SaveCheckpoint(keras.callbacks.Callback):
    """After each epoch writes the weights and, beside them, the JSON that detection needs.

    Args:
        log_dir: the run's folder.
        name: the run's name, as in the files' names.
        config: Config.
        dataset: the training data set, for class names and source category ids.

    Attributes:
        last: path of the newest checkpoint, or None.
    """

    def __init__(self, log_dir, name, config, dataset):
        super().__init__()
        self.log_dir, self.name, self.config, self.dataset = log_dir, name, config, dataset
        self.last = None

    def on_epoch_end(self, epoch, logs=None):
        path = runs.checkpoint_path(self.log_dir, self.name, epoch + 1)
        # First the JSON: weights without it could not be used for detection.
        runs.save_metadata(path, self.config, *class_lists(self.dataset, self.config))
        save_weights(self.model, path)
        self.last = path


def class_lists(dataset, config):
    """Class names, and the data set's own id of each (None for the background)."""
    names = [str(name) for name in dataset.class_names]
    names += [f"class {i}" for i in range(len(names), config.NUM_CLASSES)]
    ids = [None] + [info["id"] for info in dataset.class_info[1:]]
    return names, ids + [None] * (len(names) - len(ids))


class WriteHistory(keras.callbacks.Callback):
    """Keeps every epoch's figures in `history.json`, going on where an earlier run stopped.

    Attributes:
        history: dict of lists by figure's name, and "epoch", which counts from 1.
    """

    def __init__(self, log_dir, first_epoch):
        super().__init__()
        self.path = Path(log_dir) / "history.json"
        self.history = self._earlier(first_epoch)

    def _earlier(self, first_epoch):
        try:
            history = json.loads(self.path.read_text(encoding="utf-8"))
            kept = [i for i, epoch in enumerate(history["epoch"]) if epoch <= first_epoch]
            return {name: [values[i] for i in kept] for name, values in history.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            log.warning("%s cannot be read and starts anew: %s", self.path, error)
            return {}

    def on_epoch_end(self, epoch, logs=None):
        figures = {"epoch": epoch + 1,
                   **{name: to_plain_json(float(value), non_finite="null")
                      for name, value in (logs or {}).items()}}
        count = len(self.history.get("epoch", []))
        for name, value in figures.items():
            # A figure that comes in later, such as a validation loss, has no earlier values.
            self.history.setdefault(name, [None] * count).append(value)
        for name in self.history.keys() - figures.keys():
            self.history[name].append(None)
        write_json(self.path, self.history, indent=1)


def tensorboard(log_dir):
    """TensorBoard's callback in a list, or an empty list, with a warning, without TensorFlow.

    Keras's callback writes through TensorFlow on every backend.
    """
    missing = [name for name in ("tensorflow", "tensorboard") if not _is_installed(name)]
    if missing:
        log.warning("%s is not installed, so there are no TensorBoard logs; training goes on, and "
                    "history.json has the losses.", " and ".join(missing))
        return []
    return [keras.callbacks.TensorBoard(log_dir=str(log_dir), write_graph=False)]


def _is_installed(package):
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module without a spec, as a stand-in may be
        return False
