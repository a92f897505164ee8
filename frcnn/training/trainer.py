"""The training loop: what feeds the detector, its optimizer, and the epochs of `fit`."""

from dataclasses import dataclass, field

import keras

from frcnn import runs
from frcnn.data.loader import DetectionSequence
from frcnn.errors import DetectionOnlyError
from frcnn.startup import FROZEN_WEIGHTS, is_detection_only
from frcnn.training.callbacks import SaveCheckpoint, StopWhenDiverged, WriteHistory, tensorboard
from frcnn.training.optimizer import DecayingSGD


def check_allowed():
    """Raises DetectionOnlyError in a process that was told to detect only."""
    if is_detection_only():
        raise DetectionOnlyError(
            "This process was told that it only detects, so training would not notice that weights "
            "change. Train in a new process that does not call frcnn.startup.detection_only() and "
            f"whose environment does not set {FROZEN_WEIGHTS}.")


def compile_detector(model, config, learning_rate, momentum=None, jit_compile="auto"):
    """Gives the model its optimizer: SGD with momentum, gradients clipped by their global norm.

    It is made for the layers that are trainable now; choose these first, or compile again after.

    Args:
        learning_rate: a number or a Keras schedule.
        momentum: default `LEARNING_MOMENTUM`.

    Raises:
        DetectionOnlyError: see `check_allowed`.
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


def make_sequences(config, train_dataset, val_dataset, *, first_epoch=0, augmentation=None,
                   no_augmentation_sources=None, seed=None, workers=2):
    """The batches of an epoch in training and in validation.

    Args:
        val_dataset: may be None.
        first_epoch: epochs that are done already.
        augmentation, no_augmentation_sources, seed, workers: see `MaskRCNN.train`.

    Returns:
        Two `DetectionSequence`s; the second is None without a `val_dataset`.
    """
    common = {
        "random_rois": 0 if config.USE_RPN_ROIS else config.POST_NMS_ROIS_TRAINING,
        "seed": seed, "workers": workers,
    }
    batches = DetectionSequence(
        train_dataset, config, augmentation=augmentation, steps=config.STEPS_PER_EPOCH,
        no_augmentation_sources=no_augmentation_sources, initial_epoch=first_epoch, **common)
    if val_dataset is None:
        return batches, None
    return batches, DetectionSequence(val_dataset, config, shuffle=False,
                                      steps=config.VALIDATION_STEPS, **common)


@dataclass
class FitRun:
    """One call of `fit` on a detector, and where its files go.

    Attributes:
        model: the compiled Detector.
        config: Config.
        log_dir, name: the run's folder, and its name as in the files' names.
        dataset: the training data set, for the JSON beside a checkpoint.
        first_epoch: epochs that are done already; `epochs` is the total to reach.
        starting_checkpoint: path of the checkpoint that a diverged training can go back to, before
            the first of this run; or None.
        last_checkpoint: path of the newest checkpoint that this run wrote, or None.
        history: dict of lists: each epoch's figures.
    """

    model: keras.Model
    config: object
    log_dir: str
    name: str
    dataset: object
    first_epoch: int
    epochs: int
    starting_checkpoint: str | None = None
    last_checkpoint: str | None = None
    history: dict = field(default_factory=dict)

    def fit(self, batches, val_batches, custom_callbacks=(), verbose=1):
        """Trains; leaves a checkpoint, its JSON, TensorBoard logs and history.json an epoch.

        Raises:
            TrainingDivergedError: the loss or a weight became NaN or infinite.
            DatasetError, ImageError: what the loader raised.
        """
        saver = SaveCheckpoint(self.log_dir, self.name, self.config, self.dataset)
        writer = WriteHistory(self.log_dir, self.first_epoch)
        guard = StopWhenDiverged(lambda: saver.last or self.starting_checkpoint)
        try:
            self.model.fit(
                batches, validation_data=val_batches, initial_epoch=self.first_epoch,
                epochs=self.epochs,
                callbacks=[guard, saver, writer, *tensorboard(self.log_dir), *custom_callbacks],
                verbose=verbose, shuffle=False)  # the loader shuffles, from its seed
        except Exception as error:
            # Keras and TensorFlow wrap an error of the loader until it cannot be recognised.
            failure = batches.failure or (val_batches and val_batches.failure)
            if failure and failure is not error:
                raise failure from None
            raise
        finally:
            self.history, self.last_checkpoint = writer.history, saver.last

    @property
    def epoch(self):
        """Epochs that are done, as the newest checkpoint has it."""
        return runs.epoch_of(self.last_checkpoint) if self.last_checkpoint else self.first_epoch
