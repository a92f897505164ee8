"""What a MaskRCNN offers besides training and detection: its inputs, anchors, layers, tensors."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import keras
import numpy as np

from frcnn.arrays import (
    Array,
    Boxes,
    ClassIds,
    FloatArray,
    IntArray,
    NormalizedBoxes,
    Scores,
    Shape,
    Tensor,
    Window,
)
from frcnn.compatibility import refused_masks
from frcnn.config import Config
from frcnn.errors import ArgumentError
from frcnn.geometry.anchors import normalized_pyramid_anchors, pyramid_anchors
from frcnn.inference import transform
from frcnn.network.inspection import run_tensors
from frcnn.training import layer_selection

Mode: TypeAlias = Literal["training", "inference"]


class GraphInspection:
    """Methods of `MaskRCNN` that show what goes into its model, and what happens inside.

    Attributes:
        mode, config, keras_model, anchors: see `MaskRCNN`.
    """

    mode: Mode
    config: Config
    keras_model: keras.Model
    _anchors: Boxes | None = None

    @property
    def anchors(self) -> Boxes | None:
        """Anchors in pixels, float64 `[A, 4]`: those that `get_anchors` made last.

        Before, those of `config.IMAGE_SHAPE`; None where the size of molded images varies.
        """
        if self._anchors is None and self.config.IMAGE_RESIZE_MODE == "square":
            self._anchors = pyramid_anchors(self.config, self.config.IMAGE_SHAPE)
        return self._anchors

    def _check_mode(self, action: str, mode: Mode) -> None:
        if self.mode != mode:
            raise ArgumentError(f'{action} needs a model built with mode="{mode}".')

    def mold_inputs(self, images: Iterable[Array]) -> tuple[FloatArray, FloatArray, IntArray]:
        """Resizes, pads and molds images that all get the same molded shape.

        Returns:
            molded images float32 `[B, H, W, C]`, metas float32 `[B, META]`, windows `[B, 4]`
            (y1, x1, y2, x2) in pixels of the molded images.
        """
        checked = [transform.check_image(image, number, self.config)
                   for number, image in enumerate(images)]
        molded, metas, windows = transform.mold_inputs(checked, self.config)
        return np.stack(molded), np.stack(metas).astype(np.float32), np.stack(windows)

    @refused_masks(2, "boxes, class_ids, scores = model.unmold_detections(detections, "
                      "original_image_shape, image_shape, window)")
    def unmold_detections(
        self, detections: Array, original_image_shape: Shape, image_shape: Shape,
        window: Window | IntArray,
    ) -> tuple[Boxes, ClassIds, Scores]:
        """Converts detections to pixels of the original image; see `transform`."""
        return transform.unmold_detections(detections, original_image_shape, image_shape, window)

    def get_anchors(self, image_shape: Shape) -> NormalizedBoxes:
        """Anchors of a molded image, normalized, float32 `[A, 4]`, read-only.

        `self.anchors` then holds the same in pixels, float64.
        """
        self._anchors = pyramid_anchors(self.config, image_shape)
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
