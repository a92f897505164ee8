"""The methods of a MaskRCNN that detect."""

import threading
from collections.abc import Iterable, Iterator, Sequence

from frcnn.arrays import Array, DetectionResult
from frcnn.data.slides import LargeImage
from frcnn.inference.compiled import BatchShape, JitCompile
from frcnn.inference.detect import DetectionRunner
from frcnn.inference.stream import ImageSource
from frcnn.inference.tiled import OVERLAP, Tiling
from frcnn.model.inspection import GraphInspection


class Detection(GraphInspection):
    """Methods of `MaskRCNN` that detect, in images of any size and number."""

    def __init__(self) -> None:
        self._runner: DetectionRunner | None = None
        self._runner_lock = threading.Lock()

    def detect(
        self, images: Iterable[ImageSource], verbose: int = 0, *, batch_size: int | None = None,
    ) -> list[DetectionResult]:
        """Detects and classifies the objects in images.

        Args:
            images: list of uint8 arrays `[h, w, C]`, any number of any sizes; arrays of other types
                with an IMAGE_INTENSITY_RANGE in the configuration; paths and functions are also
                accepted, as in `detect_stream`.
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

    def detect_tiled(
        self, image: LargeImage | ImageSource, *, size: int | None = None, overlap: float = OVERLAP,
        all_tiles: bool = False, level: int | None = None, mpp: float | None = None,
        batch_size: int | None = None, verbose: int = 0,
    ) -> DetectionResult:
        """Detects in one image of any size, such as a whole slide, in overlapping tiles.

        Only some tiles are in memory at a time. Objects at the seams are found once; those that
        are larger than the overlap are put together from their parts.

        Args:
            image: uint8 array `[h, w, C]`, a path, or a LargeImage (`frcnn.data.slides`).
            size: side of a tile, in pixels of the image; None for IMAGE_MAX_DIM. A tile is resized
                as any image is: take the size of the images that the detector was trained on.
            overlap: share of a tile's side that the next tile covers, too.
            all_tiles: whether to detect also in tiles of one brightness.
            level, mpp: the level of the file to read, or the resolution in microns per pixel; see
                `frcnn.data.slides.Slide`.
            batch_size: see `detect_stream`.
            verbose: 1 shows a progress bar.

        Returns:
            The dict of `detect`, in pixels of the image (of level 0).

        Raises:
            ValueError, ImageError, FileNotFoundError: as `detect`; or a level, resolution, size or
                overlap is not possible.
            MissingExtraError: the file needs the extra `slides`.
        """
        return self._detection.detect_tiled(
            image, Tiling(size or self.config.IMAGE_MAX_DIM, overlap, all_tiles), level, mpp,
            batch_size, verbose)

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
        with self._runner_lock:
            if self._runner is None or self._runner.model is not self.keras_model:
                self._runner = DetectionRunner(self.keras_model, self.config)
            return self._runner
