"""Detection in a stream of images: prepared ahead in threads, batched by shape, results in order.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from frcnn.arrays import DetectionResult, FloatArray, Image, ImageMeta, Shape, Window
from frcnn.config import Config
from frcnn.data.image_io import read_image
from frcnn.data.intensity import Intensity
from frcnn.data.prefetch import Prefetcher
from frcnn.errors import ArgumentError, ImageError
from frcnn.inference import transform as inference

ImageSource: TypeAlias = Image | str | os.PathLike[str] | Callable[[], Image]

MAX_WORKERS = 4
# Pixels in a batch. On a CPU, small images that together are as large as one of 1024x1024 take a
# tenth less time than one by one, and as much memory as that one image.
CPU_PIXELS, GPU_PIXELS, MAX_BATCH_SIZE = 2**20, 2**23, 16
# A batch that is not full waits for images of its shape until this many times its size were read.
WINDOW = 4


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """An image ready for the network.

    Attributes:
        number: its position among the images, from 0.
        original_shape: (height, width, channels) in the image's own pixels.
        molded: float32 `[H, W, C]`.
        meta: float32 `[META]`.
        window: (y1, x1, y2, x2), pixels of the molded image.
    """

    number: int
    original_shape: Shape
    molded: FloatArray
    meta: ImageMeta
    window: Window

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the molded image."""
        height, width = self.molded.shape[:2]
        return height, width


@dataclass(frozen=True, eq=False)
class FailedImage:
    """An image that could not be read or molded.

    Attributes:
        number: its position among the images, from 0.
        error: the exception.
        ends_stream: whether the iterable of the images raised the error, and so has ended.
    """

    number: int
    error: Exception
    ends_stream: bool = False

    @property
    def is_skippable(self) -> bool:
        """Whether the error concerns this image alone, so that the stream can go on."""
        return not self.ends_stream and isinstance(
            self.error, (ImageError, OSError, ValueError, MemoryError))


def prepare(source: ImageSource, number: int, config: Config,
            intensity: Intensity | None = None) -> PreparedImage | FailedImage:
    """Reads, checks, resizes and molds one image.

    Args:
        source: an array, a path or a function, see `MaskRCNN.detect_stream`.
        number: its position among the images.
        config: Config.
        intensity: of the stream's files; None makes one of the config's IMAGE_INTENSITY_RANGE.

    Returns:
        The PreparedImage; or a FailedImage with the error, which is raised in the image's turn.
    """
    try:
        image = inference.check_image(read_source(source, config, intensity), number, config)
        (molded,), (meta,), (window,) = inference.mold_inputs([image], config)
    except Exception as error:
        return FailedImage(number, error)
    return PreparedImage(number, image.shape, molded, meta.astype(np.float32), window)


def read_source(source: ImageSource, config: Config, intensity: Intensity | None) -> Image:
    """The image that a source is or gives, not checked; see `prepare`."""
    if callable(source):
        source = source()
    if isinstance(source, (str, os.PathLike)):  # also what a function may return
        return read_image(source, config.IMAGE_CHANNEL_COUNT,
                          intensity or config.IMAGE_INTENSITY_RANGE)
    return source


class PreparedImages:
    """Iterator over prepared images, in order, which threads prepare a few ahead.

    Args:
        images: iterable of sources; the threads draw from it, one at a time.
        config: Config.
        workers: number of threads; None for one a processor core, at most MAX_WORKERS.

    Attributes:
        ahead: how many images may be in progress or ready; memory grows with it.
    """

    def __init__(
        self, images: Iterable[ImageSource], config: Config, workers: int | None = None,
    ) -> None:
        workers = workers or min(MAX_WORKERS, os.cpu_count() or 1)
        self.ahead = 2 * workers
        self._config = config
        self._intensity = Intensity(config.IMAGE_INTENSITY_RANGE)
        self._source: Iterator[ImageSource] | None = iter(images)
        self._lock, self._count = threading.Lock(), 0
        self._drawn: dict[int, ImageSource | FailedImage] = {}
        self._prefetcher = Prefetcher(self._make, workers)
        self._number = 0

    def __iter__(self) -> Iterator[PreparedImage | FailedImage]:
        return self

    def __next__(self) -> PreparedImage | FailedImage:
        number = self._number
        made = self._prefetcher.take([(number + i,) for i in range(max(1, self.ahead))])
        if made is None:
            self.close()
            raise StopIteration
        self._number += 1
        return made

    def close(self) -> None:
        """Cancels what has not been started."""
        self._prefetcher.clear()

    def _make(self, number: int) -> PreparedImage | FailedImage | None:
        """The prepared image of that number, None after the last one."""
        with self._lock:  # threads may arrive in another order than they were started
            while number >= self._count and self._source is not None:
                self._draw(self._source)
            if number not in self._drawn:
                return None
            source = self._drawn.pop(number)
        if isinstance(source, FailedImage):
            return source
        return prepare(source, number, self._config, self._intensity)

    def _draw(self, images: Iterator[ImageSource]) -> None:
        """Takes the next image from the iterable."""
        try:
            self._drawn[self._count] = next(images)
        except StopIteration:
            self._source = None
            return
        except Exception as error:
            self._source = None
            self._drawn[self._count] = FailedImage(self._count, error, ends_stream=True)
        self._count += 1


def suitable_batch_size(height: int, width: int, on_accelerator: bool = False) -> int:
    """How many images of a molded size go through the network together."""
    budget = GPU_PIXELS if on_accelerator else CPU_PIXELS
    return max(1, min(MAX_BATCH_SIZE, budget // (height * width)))


def in_batches(
    prepared: PreparedImages, size_for: Callable[[int, int], int],
) -> Iterator[list[PreparedImage] | FailedImage]:
    """Groups prepared images of one molded shape.

    Each batch contains the oldest image left, so that results can be returned in order without
    holding many back.

    Args:
        prepared: PreparedImages; its `ahead` is raised to the largest batch size.
        size_for: function (height, width) → how many images of that molded shape go together.

    Yields:
        Lists of PreparedImage, and each FailedImage by itself.
    """
    waiting: list[PreparedImage | FailedImage] = []
    for first in prepared:
        waiting.append(first)
        while waiting:
            oldest = waiting[0]
            if isinstance(oldest, FailedImage):
                yield oldest
                waiting.pop(0)
                continue
            size = size_for(*oldest.shape)
            prepared.ahead = max(prepared.ahead, size)
            batch = _of_shape(waiting, oldest.shape)[:size]
            while len(batch) < size and len(waiting) < WINDOW * size:
                following = next(prepared, None)
                if following is None:
                    break
                waiting.append(following)
                batch += _of_shape([following], oldest.shape)
            if len(batch) < size:  # few sizes, since each may compile
                batch = batch[:2 ** (len(batch).bit_length() - 1)]
            yield batch
            waiting = [image for image in waiting if image not in batch]


def _of_shape(
    images: Iterable[PreparedImage | FailedImage], shape: tuple[int, int],
) -> list[PreparedImage]:
    return [image for image in images
            if isinstance(image, PreparedImage) and image.shape == shape]


class BatchDetector(Protocol):
    """A function of molded images, metas and the largest batch seen for their shape.

    It returns detections `[B, N, 6]`, see `frcnn.inference.compiled.CompiledDetector`.
    """

    def __call__(self, molded: FloatArray, metas: FloatArray, most: int, /) -> FloatArray: ...


class DetectionStream:
    """Detection in a stream of images; see `MaskRCNN.detect_stream`.

    Args:
        detector: CompiledDetector.
        config: Config.
        batch_size: None for `suitable_batch_size`.
        on_accelerator: whether the detector computes on another device than a CPU.

    Raises:
        ValueError: `batch_size` is below 1.
    """

    def __init__(
        self, detector: BatchDetector, config: Config, batch_size: int | None = None,
        on_accelerator: bool = False,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ArgumentError(f"batch_size is {batch_size}; it must be 1 or more, or None.")
        self.detector, self.config, self.batch_size = detector, config, batch_size
        self.on_accelerator = on_accelerator
        self._most: dict[tuple[int, int], int] = {}  # the largest batch so far, by molded shape

    def run(
        self, images: Iterable[ImageSource], workers: int | None = None,
        return_exceptions: bool = False,
    ) -> Iterator[DetectionResult | Exception]:
        """Yields one result an image, in the order of the images.

        Raises:
            The error of an image, after the results of those before it, unless it is skippable
            and `return_exceptions` is set: then it is yielded.
        """
        prepared = PreparedImages(images, self.config, workers)
        found: dict[int, DetectionResult | FailedImage] = {}
        head = 0
        try:
            for batch in in_batches(prepared, self._size_for):
                if isinstance(batch, FailedImage):
                    found[batch.number] = batch
                else:
                    found.update(self._results(batch))
                while head in found:
                    result = found.pop(head)
                    if not isinstance(result, FailedImage):
                        yield result
                    elif return_exceptions and result.is_skippable:
                        yield result.error
                    else:
                        raise result.error
                    head += 1
        finally:
            prepared.close()

    def _size_for(self, height: int, width: int) -> int:
        return self.batch_size or suitable_batch_size(height, width, self.on_accelerator)

    def _results(self, batch: list[PreparedImage]) -> dict[int, DetectionResult]:
        """The results of a batch, by the images' numbers."""
        shape = batch[0].shape
        self._most[shape] = max(len(batch), self._most.get(shape, 1))
        rows = self.detector(np.stack([image.molded for image in batch]),
                             np.stack([image.meta for image in batch]), self._most[shape])
        return {image.number: inference.as_result(*inference.unmold_detections(
            detections, image.original_shape, image.molded.shape, image.window))
            for image, detections in zip(batch, rows)}
