"""MaskRCNN: build, load, train, detect. Named as in the reference; it has no mask head."""

import logging
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import keras
import numpy as np

from frcnn.arrays import (
    Array,
    Boxes,
    ClassIds,
    DetectionResult,
    FloatArray,
    IntArray,
    NormalizedBoxes,
    Scores,
    Shape,
    Tensor,
    Window,
)
from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.geometry.anchors import normalized_pyramid_anchors, pyramid_anchors
from frcnn.inference import transform
from frcnn.inference.compiled import BatchShape, JitCompile
from frcnn.inference.detect import DetectionRunner
from frcnn.inference.stream import ImageSource
from frcnn.model.run_folder import RunFolder
from frcnn.network.graph import build_detector
from frcnn.network.inspection import run_tensors
from frcnn.startup import collection_paused
from frcnn.training import layer_selection, trainer
from frcnn.training.callbacks import History
from frcnn.training.schedules import LearningRate, scheduled
from frcnn.weights import checkpoint as checkpoints
from frcnn.weights import download

log = logging.getLogger(__name__)

Mode: TypeAlias = Literal["training", "inference"]


class MaskRCNN(RunFolder):
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
        log_dir, checkpoint_path, epoch, last_checkpoint: see `RunFolder`.
        history: dict of lists: the metrics of each epoch, after training.
        anchors: those of the last `get_anchors`, in pixels.
    """

    def __init__(
        self, mode: Mode, config: Config, model_dir: str | Path, seed: int | None = None,
    ) -> None:
        if mode not in ("training", "inference"):
            raise ValueError(f'mode is {mode!r}; allowed are "training" and "inference".')
        if mode == "training":
            trainer.check_allowed()
        super().__init__(model_dir, config.NAME)
        self.mode, self.config, self.seed = mode, config, seed
        self.history: History = {}
        self.anchors: Boxes | None = None
        self._runner: DetectionRunner | None = None
        self._weights_are_random = True
        self.keras_model = self.build(mode, config)

    def build(self, mode: Mode, config: Config) -> keras.Model:
        """Builds the Keras model, with new random weights."""
        if self.seed is not None:
            keras.utils.set_random_seed(self.seed)
        with collection_paused():
            return build_detector(mode, config, self.seed)

    def _check_mode(self, action: str, mode: Mode) -> None:
        if self.mode != mode:
            raise ValueError(f'{action} needs a model built with mode="{mode}".')

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
        self, layer_regex: str, keras_model: keras.Model | None = None, verbose: int = 0,
    ) -> list[str]:
        """Makes only the layers trainable whose full name matches; returns their names."""
        return layer_selection.set_trainable(keras_model or self.keras_model, layer_regex, verbose)

    def train(
        self, train_dataset: Dataset, val_dataset: Dataset | None, learning_rate: LearningRate,
        epochs: int, layers: str, augmentation: Any = None,
        custom_callbacks: Iterable[keras.callbacks.Callback] | None = None,
        no_augmentation_sources: Iterable[str] | None = None, *, schedule: str = "constant",
        schedule_start: int | None = None, seed: int | None = None, workers: int = 2,
        jit_compile: JitCompile = "auto", verbose: int = 1,
    ) -> None:
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

        Raises:
            ValueError: an argument has a value that is not allowed; the model is unchanged.
            DatasetError, ImageError: the data cannot be used.
            TrainingDivergedError: the loss or a weight became NaN or infinite.
        """
        self._check_mode("train", "training")
        trainer.check_arguments(
            self.keras_model, learning_rate=learning_rate, epochs=epochs, first_epoch=self.epoch,
            layers=layers, schedule=schedule, schedule_start=schedule_start)
        if self._weights_are_random and not self.config.TRAIN_BN:
            warnings.warn(
                "BatchNorm is frozen (TRAIN_BN=False) over random weights: its stored statistics "
                "do not fit them, so the network can hardly learn. Load weights first, or set "
                "TRAIN_BN=True.", stacklevel=2)
        batches, val_batches = trainer.make_sequences(
            self.config, train_dataset, val_dataset, first_epoch=self.epoch,
            augmentation=augmentation, no_augmentation_sources=no_augmentation_sources,
            seed=self.seed if seed is None else seed, workers=workers)
        start = self.epoch if schedule_start is None else schedule_start
        rate = scheduled(learning_rate, schedule, len(batches), start=start, epoch=self.epoch,
                         epochs=epochs)
        chosen = self.set_trainable(layer_selection.layer_pattern(layers))
        self.compile(rate, jit_compile=jit_compile)
        log.info("epochs %d to %d, %d layers, checkpoints in %s", self.epoch + 1, epochs,
                 len(chosen), self.make_log_dir())
        run = trainer.FitRun(
            self.keras_model, self.config, self.log_dir, self.run_name, train_dataset,
            self.epoch, epochs, self.last_checkpoint or self.starting_checkpoint)
        try:
            run.fit(batches, val_batches, custom_callbacks or (), verbose)
        finally:
            self.history, self.epoch = run.history, run.epoch
            self.last_checkpoint = run.last_checkpoint or self.last_checkpoint
        self._weights_are_random = False

    # --- detection ----------------------------------------------------------------------------

    def detect(
        self, images: Iterable[ImageSource], verbose: int = 0, *, batch_size: int | None = None,
    ) -> list[DetectionResult]:
        """Detects and classifies the objects in images.

        Args:
            images: list of uint8 arrays `[h, w, C]`, any number of any sizes; paths and functions
                are also accepted, as in `detect_stream`.
            verbose: 1 shows a progress bar.
            batch_size: see `detect_stream`.

        Returns:
            A list with one dict for each image, in order. Its arrays have one row for each object,
            by descending score: `boxes` float32 `[N, 4]`, (y1, x1, y2, x2) in pixels of the
            original image; `rois` int32 `[N, 4]`, the same rounded; `class_ids` int32 `[N]`;
            `scores` float32 `[N]`.

        Raises:
            ValueError: the shape of an image does not fit the model.
            ImageError, FileNotFoundError: a file cannot be read.
        """
        return self._detection.detect(images, verbose, batch_size)

    def detect_stream(
        self, images: Iterable[ImageSource], *, batch_size: int | None = None,
        workers: int | None = None, return_exceptions: bool = False,
    ) -> Iterator[DetectionResult | Exception]:
        """Detects in any number of images, of which only a few are in memory at a time.

        Threads read, resize and mold the next images while the network processes the current ones.

        Args:
            images: iterable, possibly endless, of uint8 arrays `[h, w, C]`, paths of image files,
                or functions without arguments that return such an array. Worker threads draw
                from the iterable, one at a time, and call the functions, several at a time.
            batch_size: images in a batch; None chooses by their molded size and the device.
            workers: number of threads; None for one per processor core, at most four.
            return_exceptions: True yields the error of an image that cannot be read or does not
                fit in place of its result, and continues.

        Yields:
            The dicts of `detect`, in the order of the images. Uses the weights at the time of the
            call; do not load others until the iterator is exhausted.

        Raises:
            ValueError, ImageError, FileNotFoundError: as `detect`.
        """
        return self._detection.stream(images, batch_size, workers, return_exceptions)

    def detect_molded(
        self, molded_images: Sequence[Array] | Array, image_metas: Sequence[Array] | Array,
        verbose: int = 0,
    ) -> list[DetectionResult]:
        """Detects in images that are already molded; boxes are in pixels of the molded image.

        Args:
            molded_images: float32 `[B, H, W, C]`, or a list of images of one shape.
            image_metas: `[B, META]`; boxes are clipped to the windows in them, but not mapped back
                to the original images.
            verbose: unused, as in the reference.

        Returns:
            A list of dicts, as from `detect`.
        """
        return self._detection.detect_molded(molded_images, image_metas)

    def compile_detection(self, jit_compile: JitCompile = "auto") -> None:
        """Sets how detection is compiled; without this call it is compiled with "auto".

        Args:
            jit_compile: True for XLA, which compiles for each molded shape and batch size; False
                for none. "auto" is XLA where Keras chooses it (on JAX, and on TensorFlow with a
                GPU), but on TensorFlow only in the resize mode "square".
        """
        self._detection.compile(jit_compile)

    @property
    def detection_shapes(self) -> list[BatchShape]:
        """(B, H, W) of the molded batches that detection was compiled for; None means any number.

        On TensorFlow without XLA there is one entry. Otherwise there are one or more for each
        molded size, whose sides are multiples of 64 (in the mode "square" there is one size), and B
        is a power of two.
        """
        return self._runner.shapes if self._runner else []

    @property
    def _detection(self) -> DetectionRunner:
        self._check_mode("detection", "inference")
        if self._runner is None or self._runner.model is not self.keras_model:
            self._runner = DetectionRunner(self.keras_model, self.config)
        return self._runner

    def mold_inputs(self, images: Iterable[Array]) -> tuple[FloatArray, FloatArray, IntArray]:
        """Resizes, pads and molds images that all get the same molded shape.

        Returns:
            molded images float32 `[B, H, W, C]`, metas float32 `[B, META]`, windows `[B, 4]`
            (y1, x1, y2, x2) in pixels of the molded images.
        """
        molded, metas, windows = transform.mold_inputs(images, self.config)
        return np.stack(molded), np.stack(metas).astype(np.float32), np.stack(windows)

    def unmold_detections(
        self, detections: Array, original_image_shape: Shape, image_shape: Shape,
        window: Window | IntArray,
    ) -> tuple[Boxes, ClassIds, Scores]:
        """Converts detections to pixels of the original image; see `transform`."""
        return transform.unmold_detections(detections, original_image_shape, image_shape, window)

    # --- inspection ---------------------------------------------------------------------------

    def get_anchors(self, image_shape: Shape) -> NormalizedBoxes:
        """Anchors of a molded image, normalized, float32 `[A, 4]`, read-only.

        `self.anchors` then holds the same in pixels, float64.
        """
        self.anchors = pyramid_anchors(self.config, image_shape)
        return normalized_pyramid_anchors(self.config, image_shape)

    def get_trainable_layers(self) -> list[keras.layers.Layer]:
        """All layers with weights, those of nested models included."""
        return layer_selection.layers_with_weights(self.keras_model)

    def run_graph(
        self, images: Sequence[Array], outputs: Sequence[tuple[str, Tensor]],
        image_metas: Sequence[Array] | Array | None = None,
    ) -> OrderedDict[str, Array]:
        """Evaluates tensors inside the model, for images that have the same molded shape.

        Args:
            images: list of uint8 `[h, w, C]`; with `image_metas`, molded images instead.
            outputs: list of (name, tensor), with tensors such as
                `keras_model.get_layer(layer_name).output`.
            image_metas: `[B, META]`, of molded images; None molds `images` first.

        Returns:
            OrderedDict: name → NumPy array.
        """
        self._check_mode("run_graph", "inference")
        if image_metas is None:
            molded, metas, _ = self.mold_inputs(images)
        else:
            molded, metas = np.stack(list(images)), np.stack(list(image_metas)).astype(np.float32)
        return run_tensors(self.keras_model, [molded, metas], outputs)
