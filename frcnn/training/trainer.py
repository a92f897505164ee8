"""Training of a detector: the check of its arguments, its optimizer and its batches."""

from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import keras

from frcnn.config import Config
from frcnn.data.agreement import check_same_classes
from frcnn.data.dataset import Dataset
from frcnn.data.loader import DetectionSequence
from frcnn.errors import ArgumentError, DetectionOnlyError
from frcnn.network.ops import check_backend, check_strategy
from frcnn.network.precision import dtype_policy
from frcnn.startup import FROZEN_WEIGHTS, is_detection_only
from frcnn.training import agreement, job
from frcnn.training.layer_selection import layer_pattern, matching_layers
from frcnn.training.optimizer import make_optimizer
from frcnn.training.schedules import SCHEDULES, LearningRate
from frcnn.training.state import DATA, TrainingState, digest

VALIDATION_SEED = 0  # of the sampled anchors, where no seed is given


FROZEN_OVER_RANDOM = (
    "BatchNorm is frozen (TRAIN_BN=False) over random weights: its stored statistics do not fit "
    "them, so the network can hardly learn. Load weights first, or set TRAIN_BN=True.")


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
        raise ArgumentError(f"schedule is {schedule!r}; allowed are {', '.join(SCHEDULES)}.")
    if isinstance(learning_rate, Real) and not float(learning_rate) > 0:
        raise ArgumentError(f"learning_rate is {learning_rate}; it must be above 0.")
    if epochs <= first_epoch:
        raise ArgumentError(f"epochs is {epochs}, the running total, but the model has already "
                            f"trained {first_epoch}; ask for more.")
    if schedule_start is not None and not 0 <= schedule_start <= first_epoch:
        raise ArgumentError(f"schedule_start is {schedule_start}; it must be from 0 to the epochs "
                            f"done, {first_epoch}.")
    matching_layers(model, layer_pattern(layers))


def compile_detector(
    model: keras.Model, config: Config, learning_rate: LearningRate,
    momentum: float | None = None, jit_compile: bool | str = "auto",
) -> None:
    """Compiles a model with the configured optimizer, gradients clipped by their global norm.

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
        BackendError: the model is under a TensorFlow distribution strategy.
    """
    check_allowed()
    check_backend()
    check_strategy(model)
    optimizer = make_optimizer(config, learning_rate, momentum)
    if config.PRECISION == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
    # Allocated during the first step, the momentum would be placed between tensors that the step
    # frees; built before, it lowers the peak memory of a step by a twentieth.
    optimizer.build(model.trainable_variables)
    model.compile(optimizer=optimizer, jit_compile=jit_compile)


def make_sequences(
    config: Config, train_dataset: Dataset, val_dataset: Dataset | None, *, first_epoch: int = 0,
    first_step: int = 0, augmentation: Any = None,
    no_augmentation_sources: Iterable[str] | None = None,
    seed: int | None = None, drawn_seed: int | None = None, workers: int = 2,
) -> tuple[DetectionSequence, DetectionSequence | None]:
    """The batches for training and validation.

    Validation has the same images and the same sampled anchors in each epoch, also in a resumed run
    of the same seed or without one, so that its figures can be compared.

    Args:
        config: Config.
        train_dataset: a prepared Dataset.
        val_dataset: a prepared Dataset, or None.
        first_epoch: epochs that are done already.
        first_step: steps of the next one that are done already.
        augmentation, no_augmentation_sources, seed, workers: see `MaskRCNN.train`.
        drawn_seed: for a run without a seed that continues: the one that it has drawn.

    Returns:
        Two `DetectionSequence`s; the second is None without a `val_dataset`.

    Raises:
        DatasetError, ConfigError: as `DetectionSequence`; or the data sets have other classes.
    """
    here, seed = job.current(), agreement.same_seed(seed, config)
    here.check_batch(config.IMAGES_PER_GPU, config.GPU_COUNT)
    random_rois = 0 if config.USE_RPN_ROIS else config.POST_NMS_ROIS_TRAINING
    batches = DetectionSequence(
        train_dataset, config, augmentation=augmentation,
        no_augmentation_sources=no_augmentation_sources,
        seed=drawn_seed if seed is None else seed, random_rois=random_rois,
        steps=config.STEPS_PER_EPOCH, initial_epoch=first_epoch, initial_step=first_step,
        workers=workers, recipes=True, part=here.part)
    if val_dataset is None:
        return batches, None
    check_same_classes(train_dataset.class_names, val_dataset, "The training data set",
                       "Both must have the same classes in the same order; prepare(class_map) of "
                       "the validation data set can rename them.")
    return batches, DetectionSequence(
        val_dataset, config, shuffle=False, seed=VALIDATION_SEED if seed is None else seed,
        random_rois=random_rois,
        steps=config.VALIDATION_STEPS, workers=workers, repeats_epoch=True,
        part=here.part)


def describe(config: Config, batches: DetectionSequence, layers: str,
             schedule_start: int) -> dict[str, Any]:
    """What the optimizer of a training belongs to; see `TrainingState.about`."""
    return {"layers": layers, "optimizer": config.OPTIMIZER, "average": bool(config.EMA_MOMENTUM),
            "seed": batches.seed, "steps": batches.whole_length, "batch_size": batches.batch_size,
            "schedule_start": schedule_start, DATA: agreement.fingerprint(batches.dataset)}


def agree(model: keras.Model, batches: DetectionSequence, val_batches: DetectionSequence | None,
          state: TrainingState | None, options: Mapping[str, Any]) -> None:
    """Checks that all processes of a job are about to train alike; all of them call it.

    Args:
        model: the Detector with its initial weights.
        batches, val_batches: as `make_sequences` returns them.
        state: that from which the training continues, or None.
        options: other values, by name.

    Raises:
        ConfigError: two processes differ; the message names what and how.
    """
    if job.current().processes == 1:
        return
    weights = {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights}
    agreement.agree({
        "the training data": agreement.digest_of_data(batches.dataset),
        "the validation data": agreement.digest_of_data(val_batches and val_batches.dataset),
        "the training state": state and f"that of epoch {state.epoch}, step {state.step}, with "
                                        f"the SHA-256 {digest(state.arrays)[:16]}",
        "the augmentation": _text(batches.augmentation),
        "the number format": dtype_policy(batches.config.PRECISION).name,
        "the SHA-256 of the weights": digest(weights)[:16],
        **{name: _text(value) for name, value in options.items()}})


def _text(value: Any) -> str:
    """A value as a text that does not depend on the process."""
    if hasattr(value, "get_config"):
        return f"{type(value).__name__} of {value.get_config()}"
    return getattr(value, "__name__", type(value).__name__) if callable(value) else repr(value)
