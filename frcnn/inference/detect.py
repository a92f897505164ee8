"""Detection in images with one inference model, behind the methods of `MaskRCNN`."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import cast

import keras
import numpy as np

from frcnn.arrays import Array, DetectionResult, FloatArray
from frcnn.config import Config
from frcnn.data.slides import LargeImage
from frcnn.inference import transform as inference
from frcnn.inference.compiled import BatchShape, CompiledDetector, JitCompile
from frcnn.inference.fusion import MirroredDetector
from frcnn.inference.stream import BatchDetector, DetectionStream, ImageSource
from frcnn.inference.tiled import Stream, TiledDetection, Tiling, as_large_image
from frcnn.network import ops as frcnn_ops


class DetectionRunner:
    """An inference model and its compiled version, which the first detection makes.

    Args:
        model: the inference model of `frcnn.network.graph`.
        config: Config.
    """

    def __init__(self, model: keras.Model, config: Config) -> None:
        self.model, self.config = model, config
        self._compiled: CompiledDetector | None = None
        # Threads may detect at the same time: one of them compiles or takes over new weights, and
        # the others wait until it has done so.
        self._lock = threading.RLock()
        self._jit_compile: JitCompile = "auto"

    def compile(self, jit_compile: JitCompile = "auto") -> CompiledDetector:
        """Compiles detection; see `MaskRCNN.compile_detection`."""
        frcnn_ops.check_backend()
        with self._lock:
            self._compiled = CompiledDetector(self.model, self.config, jit_compile)
            self._jit_compile = jit_compile
            return self._compiled

    def compiled(self) -> CompiledDetector:
        """The compiled model, with the current weights."""
        frcnn_ops.check_backend()
        with self._lock:
            if self._compiled is None or self._compiled.is_outdated:
                return self.compile(self._jit_compile)
            self._compiled.refresh()
            return self._compiled

    def detector(self) -> BatchDetector:
        """The function of a molded batch: the compiled model, on all copies of DETECTION_FLIPS."""
        compiled = self.compiled()
        return MirroredDetector(compiled, self.config) if self.config.DETECTION_FLIPS else compiled

    @property
    def shapes(self) -> list[BatchShape]:
        """See `MaskRCNN.detection_shapes`."""
        return list(self._compiled.shapes) if self._compiled else []

    def detect(
        self, images: Iterable[ImageSource], verbose: int = 0, batch_size: int | None = None,
    ) -> list[DetectionResult]:
        """Detects in a list of images; see `MaskRCNN.detect`."""
        images = inference.check_arrays(images, self.config)
        # Exceptions are raised here, not returned.
        results = cast("Iterator[DetectionResult]", self.stream(images, batch_size))
        return list(inference.progress(results, images, verbose))

    def stream(
        self, images: Iterable[ImageSource], batch_size: int | None = None,
        workers: int | None = None, return_exceptions: bool = False,
    ) -> Iterator[DetectionResult | Exception]:
        """Detects in a stream of images; see `MaskRCNN.detect_stream`."""
        return DetectionStream(
            self.detector(), self.config, batch_size, frcnn_ops.has_accelerator(),
        ).run(images, workers, return_exceptions)

    def detect_tiled(
        self, image: LargeImage | ImageSource, tiling: Tiling, level: int | None = None,
        mpp: float | None = None, batch_size: int | None = None, verbose: int = 0,
    ) -> DetectionResult:
        """Detects in the tiles of one image; see `MaskRCNN.detect_tiled`."""
        with as_large_image(image, self.config, level, mpp) as large:
            task = TiledDetection(large, tiling, self.config)
            stream = cast("Stream", partial(self.stream, batch_size=batch_size))
            if not verbose:
                return task.run(stream)
            from tqdm import tqdm

            with tqdm(total=len(task.grid), desc="detect", unit="tile") as bar:
                return task.run(stream, on_tile=lambda number, found: bar.update())

    def detect_molded(
        self, molded_images: Sequence[Array] | Array, image_metas: Sequence[Array] | Array,
    ) -> list[DetectionResult]:
        """Detects in molded images; see `MaskRCNN.detect_molded`."""
        molded = np.stack(list(molded_images))
        metas = np.stack(list(image_metas)).astype(np.float32)
        height, width = molded.shape[1:3]
        rows: FloatArray = self.detector()(molded, metas, 1)
        return [inference.as_result(*inference.unmold_detections(
            detections, (height, width), (height, width), (0, 0, height, width)))
            for detections in rows]
