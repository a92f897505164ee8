"""MaskRCNN: build, load, train, detect. The name is the reference's; there is no mask head."""

import logging
import warnings
from pathlib import Path

import keras
import numpy as np

from frcnn import runs
from frcnn.geometry.anchors import pyramid_anchors
from frcnn.geometry.boxes import norm_boxes
from frcnn.inference.detect import Detecting
from frcnn.network.graph import build_detector
from frcnn.network.inspection import run_tensors
from frcnn.startup import collection_paused
from frcnn.training import layer_selection, schedules, trainer
from frcnn.weights import checkpoint as checkpoints
from frcnn.weights import download

log = logging.getLogger(__name__)


class MaskRCNN(Detecting):
    """The detector with everything around it.

    Args:
        mode: "training" or "inference".
        config: Config.
        model_dir: folder of all runs; a run's own folder is made in it when training starts.
        seed: of the weights and of the RoI sampling; None draws one.

    Raises:
        ValueError: there is no such mode. DetectionOnlyError: training in a process that was told to
            detect only (`frcnn.startup.detection_only`).

    Attributes:
        keras_model: the `keras.Model` (see `frcnn.network.graph`).
        log_dir, checkpoint_path, epoch: the run's folder, the path of its checkpoints with
            `*epoch*` in place of the number, and how many epochs are done.
        history: dict of lists: each epoch's figures, after training.
        last_checkpoint: path of the newest checkpoint that training wrote, or None.
    """

    def __init__(self, mode, config, model_dir, seed=None):
        if mode not in ("training", "inference"):
            raise ValueError(f'mode is {mode!r}; allowed are "training" and "inference".')
        if mode == "training":
            trainer.check_allowed()
        self.mode, self.config, self.model_dir, self.seed = mode, config, str(model_dir), seed
        self.history, self.last_checkpoint = {}, None
        self.anchors = None
        self._anchor_cache = {}
        self._weights_are_random = True
        self.set_log_dir()
        self.keras_model = self.build(mode, config)

    def build(self, mode, config):
        """Builds the Keras model, with fresh random weights."""
        if self.seed is not None:
            keras.utils.set_random_seed(self.seed)
        with collection_paused():
            return build_detector(mode, config, self.seed)

    # --- weights and folders ------------------------------------------------------------------

    def load_weights(self, filepath, by_name=True, exclude=None, allow_missing=False):
        """Loads a checkpoint, and takes up its epoch and folder; see `checkpoints.load_weights`.

        Returns:
            The report: what was loaded, ignored and missing.

        Raises:
            CheckpointError, FileNotFoundError: the file cannot be used; nothing has changed.
        """
        with collection_paused():
            report = checkpoints.load_weights(self.keras_model, filepath, by_name, exclude,
                                              allow_missing)
        self._weights_are_random = False
        self.set_log_dir(filepath)
        return report

    def load_imagenet_weights(self, filepath=None):
        """Loads ImageNet weights into the backbone; the rest stays random.

        Args:
            filepath: default `get_imagenet_weights()`.
        """
        report = checkpoints.load_imagenet_weights(
            self.keras_model, filepath or self.get_imagenet_weights())
        self._weights_are_random = False
        return report

    def get_imagenet_weights(self):
        """Downloads the backbone's ImageNet weights, once; returns the file's path."""
        return download.get_imagenet_weights(self.config.BACKBONE, verbose=1)

    def find_last(self):
        """The newest checkpoint of the newest run of this NAME; FileNotFoundError if none."""
        return runs.find_last(self.model_dir, self._run_name)

    def set_log_dir(self, model_path=None):
        """Sets log_dir, checkpoint_path and epoch, from a checkpoint's path or for a new run."""
        self.epoch = runs.epoch_of(model_path) if model_path else 0
        self._starting_checkpoint = str(model_path) if self.epoch else None
        self._log_dir_is_ours = runs.goes_on(model_path, self._run_name)
        self._use_log_dir(runs.run_folder(self.model_dir, self._run_name, model_path))

    def make_log_dir(self):
        """Makes the run's folder; `train` does so by itself. Returns its path.

        When another run has taken the folder of a new one since `set_log_dir`, this one moves on
        to the next free minute, and log_dir and checkpoint_path with it.
        """
        if not self._log_dir_is_ours:
            self._use_log_dir(runs.claim_folder(self.log_dir))
            self._log_dir_is_ours = True
        Path(self.log_dir).mkdir(parents=True, exist_ok=True)
        return self.log_dir

    def _use_log_dir(self, folder):
        self.log_dir = folder
        self.checkpoint_path = str(
            Path(folder) / f"mask_rcnn_{self._run_name.lower()}_*epoch*.h5")

    @property
    def _run_name(self):
        return self.config.NAME or "frcnn"

    # --- training -----------------------------------------------------------------------------

    def compile(self, learning_rate, momentum=None, jit_compile="auto"):
        """Gives the model its optimizer; `train` does so by itself."""
        trainer.compile_detector(self.keras_model, self.config, learning_rate, momentum,
                                  jit_compile)

    def set_trainable(self, layer_regex, keras_model=None, verbose=0):
        """Makes the layers trainable whose whole name matches, and no others."""
        return layer_selection.set_trainable(keras_model or self.keras_model, layer_regex, verbose)

    def train(self, train_dataset, val_dataset, learning_rate, epochs, layers, augmentation=None,
              custom_callbacks=None, no_augmentation_sources=None, *, schedule="constant",
              schedule_start=None, seed=None, workers=2, jit_compile="auto", verbose=1):
        """Trains, and leaves a checkpoint, its JSON, TensorBoard logs and history.json an epoch.

        Args:
            train_dataset, val_dataset: prepared Datasets; val_dataset may be None.
            learning_rate: a number or a Keras schedule.
            epochs: the running total: a model at epoch 3 trained with 5 trains two more.
            layers: "heads", "3+", "4+", "5+", "all" or a regular expression of layer names.
            augmentation: see `frcnn.data.augment`; None augments nothing.
            custom_callbacks: further Keras callbacks.
            no_augmentation_sources: sources whose images are not augmented.
            schedule: "constant", "warmup_step" or "warmup_cosine"; see `schedules.WarmupSchedule`.
            schedule_start: the epoch at which the schedule began, for a run that goes on; default
                the current one.
            seed: of the data's order and augmentation; default the model's.
            workers: threads that prepare batches.
            verbose: 1 shows a progress bar with the four losses.

        Raises:
            ValueError: an argument is unfit. DatasetError, ImageError: the data are.
            TrainingDivergedError: the loss became infinite or no number.
        """
        self._check_training(learning_rate, epochs, schedule)
        chosen = self.set_trainable(layer_selection.layer_pattern(layers))
        batches, val_batches = trainer.make_sequences(
            self.config, train_dataset, val_dataset, first_epoch=self.epoch,
            augmentation=augmentation, no_augmentation_sources=no_augmentation_sources,
            seed=self.seed if seed is None else seed, workers=workers)
        start = self.epoch if schedule_start is None else schedule_start
        rate = self._learning_rate(learning_rate, schedule, len(batches), start, epochs)
        self.compile(rate, jit_compile=jit_compile)

        self.make_log_dir()
        log.info("epochs %d to %d, %d layers, checkpoints in %s", self.epoch + 1, epochs,
                 len(chosen), self.log_dir)
        run = trainer.FitRun(
            self.keras_model, self.config, self.log_dir, self._run_name, train_dataset,
            self.epoch, epochs, self.last_checkpoint or self._starting_checkpoint)
        try:
            run.fit(batches, val_batches, custom_callbacks or (), verbose)
        finally:
            self.history, self.epoch = run.history, run.epoch
            self.last_checkpoint = run.last_checkpoint or self.last_checkpoint
        self._weights_are_random = False

    def _check_training(self, learning_rate, epochs, schedule):
        if self.mode != "training":
            raise ValueError('train needs a model built with mode="training".')
        if schedule not in schedules.SCHEDULES:
            raise ValueError(f"schedule is {schedule!r}; allowed are "
                             + ", ".join(schedules.SCHEDULES) + ".")
        if isinstance(learning_rate, (int, float)) and not learning_rate > 0:
            raise ValueError(f"learning_rate is {learning_rate}; it must be above 0.")
        if epochs <= self.epoch:
            raise ValueError(f"epochs is {epochs}, the running total, but the model has already "
                             f"trained {self.epoch}; ask for more.")
        if self._weights_are_random and not self.config.TRAIN_BN:
            warnings.warn(
                "BatchNorm is frozen (TRAIN_BN=False) over random weights: its stored statistics "
                "fit nothing, so the network can hardly learn. Load weights first, or set "
                "TRAIN_BN=True.", stacklevel=3)

    def _learning_rate(self, learning_rate, schedule, steps, start, epochs):
        if schedule == "constant" or not isinstance(learning_rate, (int, float)):
            return learning_rate
        return schedules.WarmupSchedule(learning_rate, steps * (epochs - start), schedule,
                                       first_step=steps * (self.epoch - start))

    # --- inspection ---------------------------------------------------------------------------

    def get_anchors(self, image_shape):
        """Anchors of a molded image, normalized, float32 `[A, 4]`.

        `self.anchors` then holds the same in pixels.
        """
        self.anchors = pyramid_anchors(self.config, image_shape)
        key = tuple(image_shape[:2])
        if key not in self._anchor_cache:
            self._anchor_cache[key] = norm_boxes(self.anchors, key).astype(np.float32)
        return self._anchor_cache[key]

    def get_trainable_layers(self):
        """All layers with weights, those of nested models included."""
        layers = []
        for layer in self.keras_model.layers:
            inner = layer.layers if isinstance(layer, keras.Model) else [layer]
            layers += [each for each in inner if each.weights]
        return layers

    def run_graph(self, images, outputs, image_metas=None):
        """Evaluates tensors inside the model for images of one molded shape.

        Args:
            images: list of uint8 `[h, w, C]`; with `image_metas`, molded images instead.
            outputs: list of (name, tensor), as `keras_model.get_layer(name).output`.
            image_metas: `[B, META]`.

        Returns:
            OrderedDict of NumPy arrays, by name.
        """
        self._check_inference("run_graph")
        if image_metas is None:
            molded, metas, _ = self.mold_inputs(images)
        else:
            molded, metas = np.stack(images), np.stack(image_metas).astype(np.float32)
        return run_tensors(self.keras_model, [molded, metas], outputs)
