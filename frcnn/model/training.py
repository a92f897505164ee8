"""How a detector is trained: which layers, which step size, and what each epoch leaves behind."""

import importlib.util
import json
import logging
import math
import re
from pathlib import Path

import keras
import numpy as np
from keras import ops

from frcnn import runs
from frcnn.checkpoints import save_weights
from frcnn.errors import DetectionOnly, TrainingDiverged
from frcnn.files import replacing
from frcnn.model.optimizer import DecayingSGD
from frcnn.startup import FROZEN_WEIGHTS, is_detection_only

log = logging.getLogger(__name__)

SCHEDULES = ("constant", "warmup_step", "warmup_cosine")
# Share of the steps that warm up, and at most how many (Goyal et al. 2017 warm up for 5 epochs).
WARMUP_SHARE, MOST_WARMUP_STEPS = 0.1, 500
# "warmup_step" trains the last fifth at a tenth.
STEP_AT, STEP_FACTOR = 0.8, 0.1

_HEADS = r"mrcnn_.*|rpn_.*|fpn_.*"
_DENSENET_FROM = {
    3: r"pool2_conv|conv3_.*|pool3_.*|conv4_.*|pool4_.*|conv5_.*|bn",
    4: r"pool3_conv|conv4_.*|pool4_.*|conv5_.*|bn",
    5: r"pool4_conv|conv5_.*|bn",
}


def check_allowed():
    """Raises DetectionOnly in a process that was told to detect only."""
    if is_detection_only():
        raise DetectionOnly(
            "This process was told that it only detects, so training would not notice that weights "
            "change. Train in a new process that does not call frcnn.startup.detection_only() and "
            f"whose environment does not set {FROZEN_WEIGHTS}.")


def layer_pattern(layers):
    """The regular expression of the layer names that a word for layers stands for.

    Args:
        layers: "heads" (pyramid, RPN and head), "3+", "4+", "5+" (also every backbone layer after
            C2, C3, C4), "all", or a regular expression.
    """
    if layers == "all":
        return r".*"
    if layers == "heads":
        return _HEADS
    if layers in ("3+", "4+", "5+"):
        first = int(layers[0])
        stages = f"[{first}-5]"
        return rf"res{stages}.*|bn{stages}.*|{_DENSENET_FROM[first]}|{_HEADS}"
    return layers


def set_trainable(model, pattern, verbose=0):
    """Makes the layers trainable whose whole name matches, and no others.

    Args:
        model: keras.Model; nested models are entered.
        pattern: regular expression.
        verbose: 1 logs each chosen layer's name.

    Raises:
        ValueError: the expression is broken, or matches no layer with weights.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"layers is {pattern!r}, which is neither heads, 3+, 4+, 5+, all nor a "
                         f"regular expression ({error}).") from error
    chosen = _set_trainable(model, expression)
    if not chosen:
        raise ValueError(f"layers is {pattern!r}, which matches no layer that has weights; use "
                         "heads, 3+, 4+, 5+, all, or a regular expression of layer names.")
    for name in chosen if verbose else ():
        log.info("training %s", name)
    return chosen


def _set_trainable(model, expression):
    chosen = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            layer.trainable = True
            chosen += _set_trainable(layer, expression)
        elif layer.weights:
            layer.trainable = bool(expression.fullmatch(layer.name))
            chosen += [layer.name] if layer.trainable else []
    return chosen


class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly at first, and falls at the end.

    Args:
        peak: the rate after the warm-up.
        steps: of the whole schedule.
        kind: "warmup_step" (a tenth in the last fifth) or "warmup_cosine" (down to a hundredth;
            Loshchilov & Hutter 2017, equation 5).
        first_step: where in the schedule step 0 is, for a run that goes on.
    """

    def __init__(self, peak, steps, kind="warmup_cosine", first_step=0):
        super().__init__()
        self.peak, self.steps, self.kind, self.first_step = peak, max(steps, 1), kind, first_step
        self.warmup = min(MOST_WARMUP_STEPS, max(1, int(WARMUP_SHARE * self.steps)))

    def __call__(self, step):
        step = ops.cast(step, "float32") + self.first_step
        rise = ops.minimum((step + 1.0) / self.warmup, 1.0)
        done = ops.clip(step / self.steps, 0.0, 1.0)
        if self.kind == "warmup_step":
            fall = ops.where(done < STEP_AT, 1.0, STEP_FACTOR)
        else:
            fall = 0.01 + 0.99 * 0.5 * (1.0 + ops.cos(math.pi * done))
        return self.peak * rise * fall

    def get_config(self):
        return {"peak": self.peak, "steps": self.steps, "kind": self.kind,
                "first_step": self.first_step}


def compile_detector(model, config, learning_rate, momentum=None, jit_compile="auto"):
    """Gives the model its optimizer: SGD with momentum, gradients clipped by their global norm.

    It is made for the layers that are trainable now; choose these first, or compile again after.

    Args:
        learning_rate: a number or a Keras schedule.
        momentum: default `LEARNING_MOMENTUM`.

    Raises:
        DetectionOnly: see `check_allowed`.
    """
    check_allowed()
    optimizer = DecayingSGD(
        learning_rate, momentum=config.LEARNING_MOMENTUM if momentum is None else momentum,
        clip_norm=config.GRADIENT_CLIP_NORM, decay=config.WEIGHT_DECAY)
    if config.PRECISION == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    # Made in the first step, the momentum would lie between what that step frees: a step's peak is
    # lower by a twentieth if it is there before.
    optimizer.build(model.trainable_variables)
    model.compile(optimizer=optimizer, jit_compile=jit_compile)


# --- callbacks --------------------------------------------------------------------------------


class StopWhenDiverged(keras.callbacks.Callback):
    """Ends training with TrainingDiverged once the loss, or a weight, is infinite or no number.

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
        raise TrainingDiverged(
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
                   **{name: _number(value) for name, value in (logs or {}).items()}}
        count = len(self.history.get("epoch", []))
        for name, value in figures.items():
            # A figure that comes in later, such as a validation loss, has no earlier values.
            self.history.setdefault(name, [None] * count).append(value)
        for name in self.history.keys() - figures.keys():
            self.history[name].append(None)
        with replacing(self.path) as temporary:
            Path(temporary).write_text(json.dumps(self.history, indent=1, allow_nan=False),
                                       encoding="utf-8")


def _number(value):
    """A figure as JSON can hold it: None where it is infinite or no number."""
    value = float(value)
    return value if math.isfinite(value) else None


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
