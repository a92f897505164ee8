"""Detection in images with one inference model, behind the methods of `MaskRCNN`."""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import keras
import numpy as np

from frcnn.arrays import Array, DetectionResult, FloatArray
from frcnn.config import Config
from frcnn.inference import transform as inference
from frcnn.inference.compiled import BatchShape, CompiledDetector, JitCompile
from frcnn.inference.stream import DetectionStream, ImageSource


class DetectionRunner:
    """An inference model and its compiled version, which the first detection makes.

    Args:
        model: the inference model of `frcnn.network.graph`.
        config: Config.
    """

    def __init__(self, model: keras.Model, config: Config) -> None:
        self.model, self.config = model, config
        self._compiled: CompiledDetector | None = None

    def compile(self, jit_compile: JitCompile = "auto") -> CompiledDetector:
        """Compiles detection; see `MaskRCNN.compile_detection`."""
        self._compiled = CompiledDetector(self.model, self.config, jit_compile)
        return self._compiled

    def compiled(self) -> CompiledDetector:
        """The compiled model, with the current weights."""
        if self._compiled is None:
            return self.compile()
        self._compiled.refresh()
        return self._compiled

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
        return DetectionStream(self.compiled(), self.config, batch_size).run(
            images, workers, return_exceptions)

    def detect_molded(
        self, molded_images: Sequence[Array] | Array, image_metas: Sequence[Array] | Array,
    ) -> list[DetectionResult]:
        """Detects in molded images; see `MaskRCNN.detect_molded`."""
        molded = np.stack(list(molded_images))
        metas = np.stack(list(image_metas)).astype(np.float32)
        height, width = molded.shape[1:3]
        rows: FloatArray = self.compiled()(molded, metas)
        return [inference.as_result(*inference.unmold_detections(
            detections, (height, width), (height, width), (0, 0, height, width)))
            for detections in rows]
