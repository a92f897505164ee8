"""The inference model as a compiled function from molded images to detections."""

import contextlib
import functools
import logging
from typing import Literal, TypeAlias

import keras
import numpy as np
from keras import ops

from frcnn.arrays import Array, FloatArray, Tensor
from frcnn.config import Config
from frcnn.errors import ArgumentError
from frcnn.geometry.anchors import normalized_pyramid_anchors
from frcnn.inference.folding import FoldedModel
from frcnn.network import ops as frcnn_ops
from frcnn.network.graph import Detector
from frcnn.startup import collection_paused, is_detection_only

log = logging.getLogger(__name__)

JitCompile: TypeAlias = bool | Literal["auto"]
BatchShape: TypeAlias = tuple[int | None, int | None, int | None]  # (B, H, W), None is any number

# Molded shapes whose anchors stay on the device; those of a 1024x1024 image take 4 MB.
CACHED_SHAPES = 16


class CompiledDetector:
    """The part of a model that detection needs, BatchNorm folded, as a compiled function.

    On TensorFlow one graph serves all image sizes and batch sizes. XLA (`jit_compile`) and JAX
    compile for each molded size, and for each power of two up to the largest batch: smaller
    batches are padded to the next one.

    Args:
        model: the inference model of `frcnn.network.graph`.
        config: Config.
        jit_compile: True for XLA, False, or "auto": XLA where Keras chooses it (JAX; TensorFlow
            with a GPU), on TensorFlow only if all images are molded to one shape.

    Raises:
        ValueError: `jit_compile` has another value.

    Attributes:
        model: the compiled Detector; its inputs are the image, the meta and the anchors.
        jit_compile: bool, the choice made.
        compiles_each_shape: whether each new shape compiles.
        shapes: list of (B, H, W), in the order in which they were compiled; None is any number.
    """

    def __init__(
        self, model: keras.Model, config: Config, jit_compile: JitCompile = "auto",
    ) -> None:
        if jit_compile not in (True, False, "auto"):
            raise ArgumentError(f"jit_compile is {jit_compile!r}; allowed are True, False and "
                                '"auto".')
        self.shapes: list[BatchShape] = []
        anchors = model.get_layer("anchors").output
        with collection_paused(), frcnn_ops.default_policy():
            self._folded = FoldedModel(model, model.outputs[:1], [*model.inputs, anchors])
            inner = self._folded.model
            self.model = Detector(inner.inputs, inner.outputs[0])
        self._choose(jit_compile)
        self._run = frcnn_ops.compiled(self.model)
        # As tensors: copying the anchors to a GPU for each batch would take a noticeable part of
        # the time that detection takes there.
        self._anchors = functools.lru_cache(CACHED_SHAPES)(
            functools.partial(_anchor_tensor, config))

    def _choose(self, jit_compile: JitCompile) -> None:
        on_jax = keras.backend.backend() != "tensorflow"
        if jit_compile == "auto" and None in self.model.inputs[0].shape[1:] and not on_jax:
            jit_compile = False
        if jit_compile != "auto":
            self.model.jit_compile = bool(jit_compile)
        self.jit_compile = bool(self.model.jit_compile)
        self.compiles_each_shape = self.jit_compile or on_jax

    @property
    def is_outdated(self) -> bool:
        """Whether the model has other variables by now; see `FoldedModel`."""
        return self._folded.is_outdated

    def refresh(self) -> None:
        """Takes over weights that have changed; call it before a series of calls."""
        has_changed = self._folded.refresh()
        if has_changed and is_detection_only() and keras.backend.backend() == "tensorflow":
            # The compiled function has its own copy of the weights, which is now outdated.
            self._run = frcnn_ops.compiled(self.model)
            self.shapes.clear()

    def __call__(self, molded: FloatArray, metas: FloatArray, most: int = 1) -> FloatArray:
        """Detects in one batch.

        Args:
            molded: float32 `[B, H, W, C]`.
            metas: float32 `[B, META]`.
            most: the largest batch seen for this shape; where each shape compiles, smaller ones
                are padded to it to avoid recompiling.

        Returns:
            `[B, DETECTION_MAX_INSTANCES, 6]`, as `frcnn.network.postprocess.DetectionLayer`.
        """
        count, height, width = molded.shape[:3]
        shape: BatchShape = tuple(self.model.inputs[0].shape[:3])
        if self.compiles_each_shape:
            size = 2 ** (max(count, most) - 1).bit_length()
            shape = size, height, width
            molded, metas = _padded(molded, size), _padded(metas, size)
        is_new = shape not in self.shapes
        if is_new:
            self.shapes.append(shape)
            log.info("detection is compiled for batches of %s molded images of %s x %s pixels",
                     *("any number" if side is None else side for side in shape))
        with collection_paused() if is_new else contextlib.nullcontext():
            return self._run(molded, metas, self._anchors((height, width)))[:count]


def _anchor_tensor(config: Config, shape: tuple[int, int]) -> Tensor:
    """Normalized anchors of a molded image of that shape, `[1, A, 4]` on the device."""
    return ops.convert_to_tensor(normalized_pyramid_anchors(config, shape)[None])


def _padded(x: Array, count: int) -> Array:
    """x `[B, ...]` with its last row repeated until there are `count`."""
    return np.concatenate([x, np.repeat(x[-1:], count - len(x), axis=0)]) if len(x) < count else x
