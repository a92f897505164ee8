"""Training of a detector: the check of its arguments, its optimizer, batches and loop."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import keras

from frcnn import runs
from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.data.loader import DetectionSequence
from frcnn.errors import DetectionOnlyError
from frcnn.startup import FROZEN_WEIGHTS, is_detection_only
from frcnn.training.callbacks import (
    History,
    PrintEpoch,
    SaveCheckpoint,
    StopWhenDiverged,
    WriteHistory,
    tensorboard,
)
from frcnn.training.layer_selection import layer_pattern, matching_layers
from frcnn.training.optimizer import DecayingSGD
from frcnn.training.schedules import SCHEDULES, LearningRate


def check_allowed() -> None:
    """Raises DetectionOnlyError in a process that called `frcnn.startup.detection_only`."""
    if is_detection_only():
        raise DetectionOnlyError(
            "Training is disabled because frcnn.startup.detection_only() was called, or the "
            f"environment sets {FROZEN_WEIGHTS}: changes of the weights would be ignored. Train in "
            "a new process without either.")


def check_arguments(
    model: keras.Model, *, learning_rate: LearningRate, epochs: int, first_epoch: int,
    layers: str, schedule: str, schedule_start: int | None,
) -> None:
    """Checks the arguments of `MaskRCNN.train`, before anything is changed.

    The data sets and the augmentation are checked by `make_sequences`.

    Args:
        model: the Detector.
        first_epoch: epochs that are done already.
        learning_rate, epochs, layers, schedule, schedule_start: see `MaskRCNN.train`.

    Raises:
        ValueError: an argument has a value that is not allowed. The message names both.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule is {schedule!r}; allowed are {', '.join(SCHEDULES)}.")
    if isinstance(learning_rate, Real) and not float(learning_rate) > 0:
        raise ValueError(f"learning_rate is {learning_rate}; it must be above 0.")
    if epochs <= first_epoch:
        raise ValueError(f"epochs is {epochs}, the running total, but the model has already "
                         f"trained {first_epoch}; ask for more.")
    if schedule_start is not None and not 0 <= schedule_start <= first_epoch:
        raise ValueError(f"schedule_start is {schedule_start}; it must be from 0 to the epochs "
                         f"done, {first_epoch}.")
    matching_layers(model, layer_pattern(layers))


def compile_detector(
    model: keras.Model, config: Config, learning_rate: LearningRate,
    momentum: float | None = None, jit_compile: bool | str = "auto",
) -> None:
    """Compiles a model with SGD with momentum, gradients clipped by their global norm.

    The optimizer is built for the layers that are trainable now; select these first, or compile
    again afterwards.

    Args:
        model: the Detector.
        config: Config.
        learning_rate: a number or a Keras schedule.
        momentum: default `LEARNING_MOMENTUM`.
        jit_compile: as of `keras.Model.compile`.

    Raises:
        DetectionOnlyError: see `check_allowed`.
    """
    check_allowed()
    optimizer = DecayingSGD(
        learning_rate, momentum=config.LEARNING_MOMENTUM if momentum is None else momentum,
        clip_norm=config.GRADIENT_CLIP_NORM, decay=config.WEIGHT_DECAY)
    if config.PRECISION == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    # Allocated during the first step, the momentum would be placed between tensors that the step
    # frees; built before, it lowers the peak memory of a step by a twentieth.
    optimizer.build(model.trainable_variables)
    model.compile(optimizer=optimizer, jit_compile=jit_compile)


def make_sequences(
    config: Config, train_dataset: Dataset, val_dataset: Dataset | None, *, first_epoch: int = 0,
    augmentation: Any = None, no_augmentation_sources: Iterable[str] | None = None,
    seed: int | None = None, workers: int = 2,
) -> tuple[DetectionSequence, DetectionSequence | None]:
    """The batches for training and validation.

    Args:
        config: Config.
        train_dataset: a prepared Dataset.
        val_dataset: a prepared Dataset, or None.
        first_epoch: epochs that are done already.
        augmentation, no_augmentation_sources, seed, workers: see `MaskRCNN.train`.

    Returns:
        Two `DetectionSequence`s; the second is None without a `val_dataset`.

    Raises:
        DatasetError, ConfigError: as `DetectionSequence`.
    """
    random_rois = 0 if config.USE_RPN_ROIS else config.POST_NMS_ROIS_TRAINING
    batches = DetectionSequence(
        train_dataset, config, augmentation=augmentation,
        no_augmentation_sources=no_augmentation_sources, seed=seed, random_rois=random_rois,
        steps=config.STEPS_PER_EPOCH, initial_epoch=first_epoch, workers=workers)
    if val_dataset is None:
        return batches, None
    return batches, DetectionSequence(
        val_dataset, config, shuffle=False, seed=seed, random_rois=random_rois,
        steps=config.VALIDATION_STEPS, workers=workers)


@dataclass
class FitRun:
    """One call of `fit` on a detector: what it needs, and what it leaves.

    After `fit`, also after one that raised, `last_checkpoint`, `history` and `epoch` say how far
    it got.

    Attributes:
        model: the compiled Detector.
        config: Config.
        log_dir: the run's folder.
        name: the run's name, as in the files' names.
        dataset: the training data set, for the JSON beside a checkpoint.
        first_epoch: epochs that are done already.
        epochs: the total to reach.
        starting_checkpoint: path of the last checkpoint before this run, named in the error of a
            run that diverges before its first own one; or None.
        last_checkpoint: path of the newest checkpoint that this run wrote, or None.
        history: dict of lists: the metrics of each epoch.
    """

    model: keras.Model
    config: Config
    log_dir: str
    name: str
    dataset: Dataset
    first_epoch: int
    epochs: int
    starting_checkpoint: str | None = None
    last_checkpoint: str | None = field(default=None, init=False)
    history: History = field(default_factory=dict, init=False)

    def fit(
        self, batches: DetectionSequence, val_batches: DetectionSequence | None,
        custom_callbacks: Iterable[keras.callbacks.Callback] = (), verbose: int = 1,
    ) -> None:
        """Trains; writes a checkpoint, its JSON, TensorBoard logs and history.json each epoch.

        Args:
            batches, val_batches: as `make_sequences` returns them.
            custom_callbacks: called after this package's own.
            verbose: see `MaskRCNN.train`.

        Raises:
            TrainingDivergedError: the loss or a weight became NaN or infinite.
            DatasetError, ImageError: the loader's own.
        """
        saver = SaveCheckpoint(self.log_dir, self.name, self.config, self.dataset)
        writer = WriteHistory(self.log_dir, self.first_epoch)
        guard = StopWhenDiverged(lambda: saver.last or self.starting_checkpoint)
        callbacks = [guard, saver, writer, *tensorboard(self.log_dir)]
        if verbose == 2:  # Keras's own output for 2 takes two lines and has control characters
            callbacks.append(PrintEpoch(self.epochs))
            verbose = 0
        try:
            self.model.fit(
                batches, validation_data=val_batches, initial_epoch=self.first_epoch,
                epochs=self.epochs, callbacks=[*callbacks, *custom_callbacks], verbose=verbose,
                shuffle=False)  # the loader shuffles, from its seed
        except Exception as error:
            # Keras and TensorFlow wrap the loader's error beyond recognition.
            sequences = [batches] if val_batches is None else [batches, val_batches]
            failure = next((x.failure for x in sequences if x.failure is not None), None)
            if failure is not None and failure is not error:
                raise failure from None
            raise
        finally:
            self.history, self.last_checkpoint = writer.history, saver.last

    @property
    def epoch(self) -> int:
        """Epochs that are done, by the newest checkpoint."""
        return runs.epoch_of(self.last_checkpoint) if self.last_checkpoint else self.first_epoch
