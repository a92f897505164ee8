"""Images of any number through the network: made ready ahead, put into batches, given in order."""

import os
import threading
from dataclasses import dataclass

import numpy as np

from frcnn.data.image_io import read_image
from frcnn.data.prefetch import Prefetcher
from frcnn.errors import ImageError
from frcnn.inference import transform as inference
from frcnn.network import ops as frcnn_ops

MOST_WORKERS = 4
# Pixels of a batch: on a CPU, images that together are as large as one of 1024 x 1024
# take a tenth less time than one by one, and as much memory as that one.
CPU_PIXELS, GPU_PIXELS, MOST_IN_A_BATCH = 2**20, 2**23, 16
# A batch that is not full waits for images of its shape until so many times its size were seen.
WINDOW = 4


@dataclass(eq=False)
class Prepared:
    """An image ready for the network, or the error that it ended in.

    Attributes:
        number: its place among the images, from 0.
        original_shape: (height, width, channels) in the image's own pixels.
        molded: float32 `[H, W, C]`; meta: float32 `[META]`; window: (y1, x1, y2, x2), pixels of
            the molded image.
        error: what was raised when it was read or molded, or None; the rest is None then.
        is_last: the error is that of the iterable that the images come from, which so ended.
    """

    number: int
    original_shape: tuple = None
    molded: np.ndarray = None
    meta: np.ndarray = None
    window: tuple = None
    error: Exception = None
    is_last: bool = False

    @property
    def shape(self):
        """(H, W) of the molded image, None for an error."""
        return None if self.error is not None else self.molded.shape[:2]

    @property
    def is_unfit(self):
        """Whether the image alone is to blame for the error, so that others may follow."""
        return isinstance(self.error, (ImageError, OSError, ValueError)) and not self.is_last


def prepare(source, number, config):
    """Reads, checks, resizes and molds one image.

    Args:
        source: what `MaskRCNN.detect_stream` takes as an image.

    Returns:
        Prepared, with the error if there was one: it is told when the image's turn has come.
    """
    try:
        if callable(source):
            source = source()
        if isinstance(source, (str, os.PathLike)):
            source = read_image(source, config.IMAGE_CHANNEL_COUNT)
        image = inference.check_image(source, number, config)
        (molded,), (meta,), (window,) = inference.mold_inputs([image], config)
    except Exception as error:
        return Prepared(number, error=error)
    return Prepared(number, image.shape, molded, meta.astype(np.float32), window)


class PreparedImages:
    """Iterator over Prepared images, in order, which threads make a few of ahead.

    Args:
        images: iterable; the threads draw from it, one at a time.
        config: Config.
        workers: how many threads; None for one a processor core, at most MOST_WORKERS.

    Attributes:
        ahead: how many images may be under way or ready; the memory that they take grows with it.
    """

    def __init__(self, images, config, workers=None):
        workers = workers or min(MOST_WORKERS, os.cpu_count() or 1)
        self.ahead = 2 * workers
        self._config, self._source = config, iter(images)
        self._lock, self._drawn, self._count = threading.Lock(), {}, 0
        self._prefetcher = Prefetcher(self._make, workers)
        self._number = 0

    def __iter__(self):
        return self

    def __next__(self):
        number = self._number
        made = self._prefetcher.take([(number + i,) for i in range(max(1, self.ahead))])
        if made is None:
            self.close()
            raise StopIteration
        self._number += 1
        return made

    def close(self):
        """Lets nothing more be made than is being made."""
        self._prefetcher.clear()

    def _make(self, number):
        """Prepared image of that number, None after the last one."""
        with self._lock:  # threads may come in another order than they were sent in
            while number >= self._count and self._source is not None:
                self._draw()
            if number not in self._drawn:
                return None
            source = self._drawn.pop(number)
        return source if isinstance(source, Prepared) else prepare(source, number, self._config)

    def _draw(self):
        """Takes the next image from the iterable."""
        try:
            self._drawn[self._count] = next(self._source)
        except StopIteration:
            self._source = None
            return
        except Exception as error:
            self._source = None
            self._drawn[self._count] = Prepared(self._count, error=error, is_last=True)
        self._count += 1


def suitable_batch_size(height, width):
    """How many images of a molded size go through the network together."""
    budget = GPU_PIXELS if frcnn_ops.has_accelerator() else CPU_PIXELS
    return max(1, min(MOST_IN_A_BATCH, budget // (height * width)))


def in_batches(prepared, size_for):
    """Puts prepared images of one molded shape together.

    Each batch holds the oldest image that is left, so what is found can be given in order without
    much of it lying about. An image with an error is a batch of its own.

    Args:
        prepared: PreparedImages, which is told to keep a whole batch ahead.
        size_for: function (height, width) → how many images of that molded shape go together.

    Yields:
        lists of Prepared.
    """
    waiting = []
    for first in prepared:
        waiting.append(first)
        while waiting:
            shape = waiting[0].shape
            size = size_for(*shape) if shape else 1
            prepared.ahead = max(prepared.ahead, size)
            batch = [each for each in waiting if each.shape == shape][:size]
            while len(batch) < size and len(waiting) < WINDOW * size:
                following = next(prepared, None)
                if following is None:
                    break
                waiting.append(following)
                if following.shape == shape:
                    batch.append(following)
            if len(batch) < size:  # few sizes, since kernels are made anew for each
                batch = batch[:2 ** (len(batch).bit_length() - 1)]
            yield batch
            waiting = [each for each in waiting if each not in batch]


class DetectionStream:
    """Detection in a stream of images; see `MaskRCNN.detect_stream`.

    Args:
        detector: CompiledDetector.
        config: Config.
        batch_size: None for `suitable_batch_size`.
    """

    def __init__(self, detector, config, batch_size=None):
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be 1 or more, or None.")
        self.detector, self.config, self.most = detector, config, {}
        self.size_for = suitable_batch_size if batch_size is None else lambda *shape: batch_size

    def run(self, images, workers=None, return_exceptions=False):
        """Yields results in the order of the images."""
        prepared, found, head = PreparedImages(images, self.config, workers), {}, 0
        try:
            for batch in in_batches(prepared, self.size_for):
                for each, result in zip(batch, self._results(batch)):
                    found[each.number] = result
                while head in found:
                    result = found.pop(head)
                    if isinstance(result, Prepared):
                        if not (return_exceptions and result.is_unfit):
                            raise result.error
                        result = result.error
                    yield result
                    head += 1
        finally:
            prepared.close()

    def _results(self, batch):
        """A batch's results; the Prepared itself of an image with an error."""
        if batch[0].error is not None:
            return batch
        shape = batch[0].shape
        self.most[shape] = max(len(batch), self.most.get(shape, 1))
        rows = self.detector(np.stack([each.molded for each in batch]),
                             np.stack([each.meta for each in batch]), self.most[shape])
        return [inference.as_result(*inference.unmold_detections(
            each_rows, each.original_shape, each.molded.shape, each.window))
            for each, each_rows in zip(batch, rows)]
