"""MaskRCNN: build, load, train, detect. Named as in the reference; it has no mask head."""

import logging
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import keras

from frcnn.compatibility import LossHistory
from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.errors import ArgumentError, PickleError
from frcnn.evaluate.coco import Metrics
from frcnn.inference.compiled import JitCompile
from frcnn.model.class_names import check_trained_classes, stored_class_names
from frcnn.model.detection import Detection
from frcnn.model.exporting import Exporting, Origin
from frcnn.model.inspection import Mode
from frcnn.model.reference_methods import ReferenceMethods
from frcnn.model.run_folder import RunFolder
from frcnn.network.graph import build_detector
from frcnn.startup import collection_paused
from frcnn.training import layer_selection, trainer
from frcnn.training.agreement import same_seed
from frcnn.training.callbacks import History
from frcnn.training.evaluation import CurrentDetector, Monitoring
from frcnn.training.fit import FitRun
from frcnn.training.interval import DEFAULT_SAVE_EVERY, Interval, SaveEvery
from frcnn.training.schedules import LearningRate, scheduled
from frcnn.training.state import TrainingState, find_state
from frcnn.weights import checkpoint as checkpoints
from frcnn.weights import download

log = logging.getLogger(__name__)


class MaskRCNN(RunFolder, Detection, Exporting, ReferenceMethods):
    """A detector: its Keras model, with methods that load weights, train and detect.

    Args:
        mode: "training" or "inference".
        config: Config.
        model_dir: folder of all runs; a run's own folder is made in it when training starts.
        seed: of the initial weights, the RoI sampling and, by default, `train`; None draws one.

    Raises:
        ValueError: the mode is neither of these.
        DetectionOnlyError: mode "training" in a process that called
            `frcnn.startup.detection_only`.

    Attributes:
        keras_model: the `keras.Model` (see `frcnn.network.graph`).
        log_dir, checkpoint_path, epoch, last_checkpoint, best_checkpoint: see `RunFolder`.
        history: dict of lists: the metrics of each epoch, after training.
        class_names: of the head, by class id, the background's first; None while they are unknown.
        has_stopped_early: whether `patience` ended the last training.
        anchors: those of the last `get_anchors`, or of `config.IMAGE_SHAPE`, in pixels.
    """

    def __init__(
        self, mode: Mode, config: Config, model_dir: str | Path, seed: int | None = None,
    ) -> None:
        if mode not in ("training", "inference"):
            raise ArgumentError(f'mode is {mode!r}; allowed are "training" and "inference".')
        if mode == "training":
            trainer.check_allowed()
        RunFolder.__init__(self, model_dir, config.NAME)
        Detection.__init__(self)
        self.mode, self.config, self.seed = mode, config, seed
        if mode == "training":
            self.seed = same_seed(seed, config)
        self._drawn_seed = self.seed if seed is None else None  # for several processes
        self.history: History = {}
        self.has_stopped_early = False
        self._current: CurrentDetector | None = None
        self._weights_are_random = True
        self.class_names: list[str] | None = None
        self.keras_model = self.build(mode, config)

    def __reduce__(self) -> NoReturn:
        raise PickleError(
            "A MaskRCNN cannot be pickled, copied or sent to another process, since its compiled "
            "functions and threads belong to this one. Send its configuration and a checkpoint's "
            "path, and call MaskRCNN(mode, config, model_dir) and load_weights(path) there; "
            "save_weights(path) writes one.")

    def build(self, mode: Mode, config: Config) -> keras.Model:
        """Builds the Keras model, with new random weights."""
        if self.seed is not None:
            keras.utils.set_random_seed(self.seed)
        with collection_paused():
            return build_detector(mode, config, self.seed)

    # --- weights ------------------------------------------------------------------------------

    def load_weights(
        self, filepath: str | Path, by_name: bool = True,
        exclude: str | Iterable[str] | None = None, allow_missing: bool | Iterable[str] = False,
    ) -> checkpoints.LoadReport:
        """Loads a checkpoint; `train` continues from its epoch, and in its folder if NAME fits.

        Args:
            filepath, by_name, exclude, allow_missing: see `frcnn.weights.checkpoint.load_weights`.

        Returns:
            The report: which layers were loaded, ignored, excluded and missing.

        Raises:
            CheckpointError, FileNotFoundError: the file cannot be used; no weight was changed.
        """
        with collection_paused():
            report = checkpoints.load_weights(self.keras_model, filepath, by_name, exclude,
                                              allow_missing)
        self._weights_are_random = False
        self.class_names = stored_class_names(filepath, report)
        self._origin = Origin.of(filepath, report)
        self.set_log_dir(filepath)
        return report

    def load_imagenet_weights(self, filepath: str | Path | None = None) -> checkpoints.LoadReport:
        """Loads ImageNet weights into the backbone; the other layers keep their weights.

        Args:
            filepath: the weight file; default `get_imagenet_weights()`.
        """
        report = checkpoints.load_imagenet_weights(
            self.keras_model, filepath or self.get_imagenet_weights())
        self._weights_are_random = False
        self._origin = Origin(self._origin.source_class_ids)
        return report

    def get_imagenet_weights(self) -> str:
        """Downloads the backbone's ImageNet weights, once; returns the file's path."""
        return download.get_imagenet_weights(self.config.BACKBONE, verbose=1)

    # --- training -----------------------------------------------------------------------------

    def compile(
        self, learning_rate: LearningRate, momentum: float | None = None,
        jit_compile: JitCompile = "auto",
    ) -> None:
        """Compiles the model for training; `train` calls it. See `trainer.compile_detector`."""
        trainer.compile_detector(self.keras_model, self.config, learning_rate, momentum,
                                 jit_compile)

    def set_trainable(
        self, layer_regex: str, keras_model: keras.Model | None = None, indent: int = 0,
        verbose: int = 0,
    ) -> list[str]:
        """Makes only the layers trainable whose full name matches; returns their names.

        `indent` is unused, as of the reference, which prints nested models with it.
        """
        return layer_selection.set_trainable(keras_model or self.keras_model, layer_regex, verbose)

    def train(
        self, train_dataset: Dataset, val_dataset: Dataset | None, learning_rate: LearningRate,
        epochs: int, layers: str, augmentation: Any = None,
        custom_callbacks: Iterable[keras.callbacks.Callback] | None = None,
        no_augmentation_sources: Iterable[str] | None = None, *, schedule: str = "constant",
        schedule_start: int | None = None, seed: int | None = None, workers: int = 2,
        jit_compile: JitCompile = "auto", verbose: int = 1, evaluate_every: int | None = None,
        evaluate_images: int | None = None, patience: int | None = None, keep: int | None = None,
        save_every: SaveEvery = DEFAULT_SAVE_EVERY, resume: bool = False,
    ) -> keras.callbacks.History:
        """Trains; writes a checkpoint, its JSON, TensorBoard logs and history.json each epoch.

        Args:
            train_dataset: a prepared Dataset.
            val_dataset: a prepared Dataset, or None for no validation.
            learning_rate: a number or a Keras schedule.
            epochs: the total number of epochs, those already done included: with 5, a model at
                epoch 3 is trained for two more.
            layers: "heads", "3+", "4+", "5+", "all" or a regular expression of layer names.
            augmentation: see `frcnn.data.augment`; None for no augmentation.
            custom_callbacks: further Keras callbacks, called after this package's own.
            no_augmentation_sources: sources whose images are not augmented.
            schedule: "constant", "warmup_step" or "warmup_cosine"; see `schedules.WarmupSchedule`.
            schedule_start: the epoch at which the schedule began, for a run that is resumed;
                default the current one.
            seed: of the data's order and augmentation; default the model's.
            workers: threads that prepare batches.
            jit_compile: as of `keras.Model.compile`.
            verbose: 0 prints nothing, 1 shows Keras's progress bar, 2 prints one line an epoch.
            evaluate_every: evaluates on `val_dataset` after every so many epochs, and after the
                last: the metrics get `val_AP` and `val_AP50`, and `best_checkpoint` is a copy of
                the checkpoint with the highest AP. None does not evaluate.
            evaluate_images: only the first so many images of `val_dataset`; None for all.
            patience: ends the training after so many evaluations in a row without a better AP,
                those of earlier calls included; None for no such end. It needs `evaluate_every`.
            save_every: how often the state of the training is saved within an epoch, beside each
                epoch's end: a number of steps, a time such as "10 min", or None for never.
                SIGINT and SIGTERM save it, too.
            resume: continues exactly where the state in the run's folder is, within an epoch too,
                with the weights of the state; without one, from the loaded weights. Without a seed,
                the state's is taken. Between two epochs, arguments and data may be others; where
                that costs the optimizer's momentum, a warning says so.
            keep: keeps only so many of the newest checkpoints of this run; None keeps all.

        Returns:
            Keras's record of the epochs of this call; the whole run's is `history`.

        Raises:
            ValueError: an argument has a value that is not allowed; the model is unchanged.
            DatasetError, ImageError: the data cannot be used; the classes of the two data sets, or
                of a loaded checkpoint, differ or are numbered otherwise.
            TrainingDivergedError: the loss or a weight became NaN or infinite.
            TrainingInterrupted: a KeyboardInterrupt, after SIGINT or SIGTERM, once the step under
                way is finished and the state saved.
            CheckpointError, ConfigError: with `resume`, the state is damaged, or this call differs
                from that whose epoch was interrupted.
        """
        self._check_mode("train", "training")
        state, first_epoch = self._state(resume)
        trainer.check_arguments(
            self.keras_model, learning_rate=learning_rate, epochs=epochs, first_epoch=first_epoch,
            layers=layers, schedule=schedule, schedule_start=schedule_start)
        check_trained_classes(self.class_names, train_dataset)
        monitoring = Monitoring(evaluate_every, evaluate_images, patience, keep)
        interval = Interval.parse(save_every)
        evaluate = self._evaluation(val_dataset, monitoring.image_ids(val_dataset))
        if self._weights_are_random and not self.config.TRAIN_BN:
            warnings.warn(trainer.FROZEN_OVER_RANDOM, stacklevel=2)
        self.epoch = first_epoch
        batches, val_batches = trainer.make_sequences(
            self.config, train_dataset, val_dataset, first_epoch=self.epoch,
            first_step=state.step if state else 0, augmentation=augmentation,
            no_augmentation_sources=no_augmentation_sources,
            **self._seeds(seed, state), workers=workers)
        start = self.epoch if schedule_start is None else schedule_start
        chosen = self.set_trainable(layer_selection.layer_pattern(layers))
        about = trainer.describe(self.config, batches, layers, start)
        goes_on = state is not None and state.optimizer_goes_on(about, self.log_dir)
        trainer.agree(self.keras_model, batches, val_batches, state, {
            **about, "epochs": epochs, "learning_rate": learning_rate, "schedule": schedule})
        self.compile(scheduled(learning_rate, schedule, batches.whole_length, start=start,
                               epoch=self.epoch, epochs=epochs, counts_on=goes_on),
                     jit_compile=jit_compile)
        if state is not None:
            state.restore(self.keras_model, with_optimizer=goes_on)
        log.info("epochs %d to %d, %d layers, checkpoints in %s", self.epoch + 1, epochs,
                 len(chosen), self.make_log_dir())
        run = FitRun(
            self.keras_model, self.config, self.log_dir, self.run_name, train_dataset,
            self.epoch, epochs, self.last_checkpoint or self.starting_checkpoint, monitoring,
            evaluate, interval, about, state)
        try:
            run.fit(batches, val_batches, custom_callbacks or (), verbose)
        finally:
            self._take_results(run)
        self._weights_are_random, self.class_names = False, list(train_dataset.class_names)
        return self.keras_model.history

    def _state(self, resume: bool) -> tuple[TrainingState | None, int]:
        """The state from which a training continues, if any, and the epochs that are done."""
        state = find_state(self.log_dir, self.epoch, self.run_name) if resume else None
        return state, state.epoch if state else self.epoch

    def _seeds(self, seed: int | None, state: TrainingState | None) -> dict[str, int | None]:
        """The seed, and the one that a run without one has drawn, as `make_sequences` takes them.

        In a job of several processes, which draws one for all, that is a seed like any other.
        """
        stored = state.about.get("seed") if state else None
        was_drawn = self._drawn_seed is not None and self.seed == self._drawn_seed
        if seed is None and was_drawn:
            seed = stored
        return {"seed": self.seed if seed is None else seed, "drawn_seed": stored}

    def _take_results(self, run: FitRun) -> None:
        """What a training leaves, also one that raised."""
        self.history, self.epoch = run.history, run.epoch
        self.last_checkpoint = run.last_checkpoint or self.last_checkpoint
        self.best_checkpoint = run.best_checkpoint.path if run.best_checkpoint else None
        self.has_stopped_early = run.has_stopped_early
        record = getattr(self.keras_model, "history", None)  # Keras's, of this call
        if isinstance(record, keras.callbacks.History):
            record.history = LossHistory(record.history)

    def _evaluation(self, dataset: Dataset | None,
                    image_ids: Sequence[int]) -> Callable[[], Metrics] | None:
        """A function that evaluates the current weights; None without images."""
        if dataset is None or not image_ids:
            return None
        if self._current is None or self._current.trained is not self.keras_model:
            self._current = CurrentDetector(self.keras_model, self.config)
        return partial(self._current.evaluate, dataset, image_ids)
