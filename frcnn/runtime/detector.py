"""Detector: detection with an exported file, as MaskRCNN detects."""

import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Self, cast

import numpy as np

from frcnn.arrays import DetectionResult, FloatArray, Image
from frcnn.config import Config
from frcnn.data.image_meta import parse_image_meta
from frcnn.data.intensity import DeclaredRange, Intensity
from frcnn.data.resize import ResizePlan
from frcnn.errors import ArgumentError, ImageError
from frcnn.inference import transform
from frcnn.inference.fusion import MirroredDetector
from frcnn.inference.stream import (
    BatchDetector,
    DetectionStream,
    ImageSource,
    read_source,
)
from frcnn.runtime.engines import Engine, as_rows, open_engine
from frcnn.runtime.metadata import FileMetadata


class Detector:
    """A detector that `frcnn export` wrote, in the engine of its file.

    It needs neither Keras nor, unless the file is a SavedModel, TensorFlow. Threads may use it at
    the same time. In another process its file is opened again, whether the Detector was pickled or
    the process forked; a SavedModel does not survive a fork.

    Args:
        path: an `.onnx`, `.xml` or `.tflite` file, or a SavedModel's folder.
        threads: of the processor that the engine uses; None for one a core.
        min_confidence: leaves out detections with a lower score; None for the file's own, below
            which nothing can be found.
        intensity_range: of images of more than 8 bits, (low, high) or (low, high, "clip"); None for
            the file's own, which is the one that the detector was trained with.
        precision: of the arithmetic: "float32"; for OpenVINO's files also "mixed_bfloat16", the
            network in bfloat16 and the boxes in float32; "auto" is that where file and processor
            have it. How the file was trained or exported does not matter.

    Raises:
        FileNotFoundError, ExportError, BackendError: see `open_engine`.
        ArgumentError: `min_confidence` is not from 0 to 1; the file's engine does not compute in
            `precision`.
        ConfigError: `intensity_range` is no range.

    Attributes:
        path: as given.
        metadata: FileMetadata: what the file says of itself.
        class_names: by class id, the background's first.
        config: a Config with the settings of molding and detection.
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None,
                 min_confidence: float | None = None,
                 intensity_range: DeclaredRange | None = None,
                 precision: str = "float32") -> None:
        if min_confidence is not None and not 0 <= min_confidence <= 1:
            raise ArgumentError(f"min_confidence is {min_confidence!r}; allowed is None or a "
                                "number from 0 to 1.")
        self.path = os.fspath(path)
        self._options: dict[str, Any] = {
            "threads": threads, "min_confidence": min_confidence,
            "intensity_range": intensity_range, "precision": precision}
        self._engine, self._process = open_engine(self.path, threads, precision), os.getpid()
        self.metadata: FileMetadata = self._engine.metadata
        self.class_names = list(self.metadata.class_names)
        self.config = self.metadata.config().replaced(PRECISION=precision)
        if intensity_range is not None:
            self.config = self.config.replaced(IMAGE_INTENSITY_RANGE=intensity_range)
        self._runner = self._batch_detector()

    @classmethod
    def configured(cls, path: str | os.PathLike[str], config: Config) -> Self:
        """A Detector with the least score, the intensity range and the precision of a Config.

        Args:
            path: as of Detector.
            config: that of the file, in which these may have been changed.
        """
        return cls(path, min_confidence=config.DETECTION_MIN_CONFIDENCE,
                   intensity_range=config.IMAGE_INTENSITY_RANGE, precision=config.PRECISION)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.path, self._options)

    def detect(self, images: Iterable[ImageSource], verbose: int = 0, *,
               batch_size: int | None = None) -> list[DetectionResult]:
        """Detects and classifies the objects in images.

        Args:
            images: list of uint8 arrays `[h, w, C]`, any number of any sizes; arrays of other types
                if the detector was trained with an IMAGE_INTENSITY_RANGE; paths and functions are
                also accepted, as in `detect_stream`.
            verbose: 1 shows a progress bar.
            batch_size: see `detect_stream`.

        Returns:
            A list with one dict for each image, in order. Its arrays have one row for each object,
            by descending score: `boxes` float32 `[N, 4]`, (y1, x1, y2, x2) in pixels of the
            original image; `rois` int32 `[N, 4]`, the same rounded; `class_ids` int32 `[N]`;
            `scores` float32 `[N]`.

        Raises:
            ValueError: the shape of an image does not fit the model, or its type and values are
                not those of 8 bits.
            ImageError, FileNotFoundError: a file cannot be read.
        """
        images = transform.check_arrays(images, self.config)
        # Exceptions are raised here, not returned.
        results = cast("Iterator[DetectionResult]", self.detect_stream(
            images, batch_size=batch_size))
        return list(transform.progress(results, images, verbose))

    def detect_stream(self, images: Iterable[ImageSource], *, batch_size: int | None = None,
                      workers: int | None = None, return_exceptions: bool = False,
                      ) -> Iterator[DetectionResult | Exception]:
        """Detects in any number of images, of which only a few are in memory at a time.

        Args:
            images: iterable, possibly endless, of uint8 arrays `[h, w, C]`, paths of image files,
                or functions without arguments that return such an array.
            batch_size: images in a batch; None chooses by their molded size.
            workers: number of threads that read and mold; None for one a core, at most four.
            return_exceptions: True yields the error of an image that cannot be read, does not
                fit or is too large for the file's only size in place of its result, and continues.

        Yields:
            The dicts of `detect`, in the order of the images.

        Raises:
            ValueError, ImageError, FileNotFoundError: as `detect`.
        """
        if self._process != os.getpid():  # forked: the engine's threads are in the other process
            self._engine = open_engine(self.path, self._options["threads"],
                                       self._options["precision"])
            self._runner, self._process = self._batch_detector(), os.getpid()
        if self.metadata.image_in_graph:
            results = self._whole(images, return_exceptions)
        else:
            results = DetectionStream(self._runner, self.config, batch_size).run(
                self._fitting(images), workers, return_exceptions)
        return map(self._confident, results)

    def _fitting(self, images: Iterable[ImageSource]) -> Iterator[ImageSource]:
        """The sources; of a file of one size, those of larger images raise the image's error.

        Else the batch would raise it, and end the stream.
        """
        if self.metadata.shape is None:
            yield from images
            return
        intensity = Intensity(self.config.IMAGE_INTENSITY_RANGE)
        for number, source in enumerate(images):
            yield partial(self._read_fitting, source, number, intensity)

    def _read_fitting(self, source: ImageSource, number: int, intensity: Intensity) -> Image:
        image = transform.check_image(
            read_source(source, self.config, intensity), number, self.config)
        check_size(ResizePlan.for_detection(image.shape, self.config).molded_shape,
                   self.metadata.shape)
        return image

    def _whole(self, images: Iterable[ImageSource],
               return_exceptions: bool) -> Iterator[DetectionResult | Exception]:
        """Detects with a graph that molds images itself, one by one."""
        intensity = Intensity(self.config.IMAGE_INTENSITY_RANGE)
        for number, source in enumerate(images):
            try:
                image = transform.check_image(
                    read_source(source, self.config, intensity), number, self.config)
            except (ImageError, OSError, ValueError, MemoryError) as error:
                if not return_exceptions:
                    raise
                yield error
                continue
            found = self._engine({"image": image[None]})
            count = int(found["count"][0])
            yield transform.as_result(found["boxes"][0, :count], found["class_ids"][0, :count],
                                      found["scores"][0, :count])

    def _confident(self, result: DetectionResult | Exception) -> DetectionResult | Exception:
        least: float | None = self._options["min_confidence"]
        if least is None or isinstance(result, Exception):
            return result
        is_kept = result["scores"] >= np.float32(least)
        return {"rois": result["rois"][is_kept], "boxes": result["boxes"][is_kept],
                "class_ids": result["class_ids"][is_kept], "scores": result["scores"][is_kept]}

    def _batch_detector(self) -> BatchDetector:
        runner: BatchDetector = MoldedDetector(self._engine, self.config)
        return MirroredDetector(runner, self.config) if self.config.DETECTION_FLIPS else runner


def _reopened(path: str, options: dict[str, Any]) -> Detector:
    return Detector(path, **options)


def check_size(molded: tuple[int, int], largest: tuple[int, int] | None) -> None:
    """Raises ArgumentError where a molded image is larger than the file's only size.

    Args:
        molded: (height, width) of the image.
        largest: of the file; None where it takes any.
    """
    if largest is not None and (molded[0] > largest[0] or molded[1] > largest[1]):
        raise ArgumentError(
            f"An image of {molded[0]} x {molded[1]} pixels, as it is molded, is larger than the "
            f"{largest[0]} x {largest[1]} that the file was exported for; export it with "
            f"--size {molded[0]} {molded[1]}.")


class MoldedDetector:
    """The function of molded images and metas that `DetectionStream` calls.

    Args:
        engine: the Engine.
        config: Config of its molding.
    """

    def __init__(self, engine: Engine, config: Config) -> None:
        self.engine = engine
        self.padding = -np.asarray(config.MEAN_PIXEL, np.float64).astype(np.float32)

    def __call__(self, molded: FloatArray, metas: FloatArray, most: int = 1) -> FloatArray:
        """Detects in one batch.

        Args:
            molded: float32 `[B, H, W, C]`.
            metas: float32 `[B, META]`.
            most: not used.

        Returns:
            float32 `[B, N, 6]`, see `frcnn.network.postprocess.DetectionLayer`.

        Raises:
            ArgumentError: the images are larger than the file's only size.
        """
        windows = np.ascontiguousarray(parse_image_meta(metas)["window"], np.float32)
        return as_rows(self.engine({"image": self._fitted(molded), "window": windows}))

    def _fitted(self, molded: FloatArray) -> FloatArray:
        """The images, padded at the bottom and on the right to the file's only size."""
        shape = self.engine.metadata.shape
        if shape is None or molded.shape[1:3] == shape:
            return molded
        count, height, width, channels = molded.shape
        check_size((height, width), shape)
        padded = np.empty((count, *shape, channels), np.float32)
        padded[...] = self.padding
        padded[:, :height, :width] = molded
        return padded
