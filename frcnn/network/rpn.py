"""The region proposal network, and the anchors its outputs refer to."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from frcnn.arrays import Tensor
from frcnn.config import Config
from frcnn.geometry.anchors import cell_anchors, generate_pyramid_anchors
from frcnn.geometry.boxes import norm_boxes
from frcnn.network import ops as frcnn_ops
from frcnn.network.precision import Policy

# Ren et al. 2015 use 512 channels in the shared convolution, and draw new weights small, so that
# an untrained RPN gives both classes almost the same probability.
RPN_CHANNELS = 512
RPN_KERNEL = 3
RPN_INITIAL_STD_DEV = 0.01


def rpn_graph(feature_map: Tensor, anchors_per_location: int, anchor_stride: int,
              dtype: Policy = None) -> list[Tensor]:
    """The RPN on one level of the pyramid, as new layers.

    Source: Ren et al. 2015 (Faster R-CNN), section 3.1.

    Args:
        feature_map: `[B, h, w, depth]`.
        anchors_per_location: number of ratios.
        anchor_stride: 1 for anchors at every cell of the map, 2 for every other.
        dtype: the layers' dtype policy.

    Returns:
        logits `[B, A, 2]`, probabilities `[B, A, 2]` (background, object) and deltas `[B, A, 4]`,
        float32, with A = anchors_per_location · ceil(h / stride) · ceil(w / stride).
    """
    conv = functools.partial(
        layers.Conv2D, dtype=dtype,
        kernel_initializer=keras.initializers.RandomNormal(stddev=RPN_INITIAL_STD_DEV))
    shared = conv(RPN_CHANNELS, RPN_KERNEL, strides=anchor_stride, padding="same",
                  activation="relu", name="rpn_conv_shared")(feature_map)
    logits = conv(2 * anchors_per_location, 1, name="rpn_class_raw")(shared)
    logits = layers.Reshape((-1, 2), dtype="float32")(logits)
    probabilities = layers.Activation("softmax", dtype="float32", name="rpn_class_xxx")(logits)
    deltas = conv(4 * anchors_per_location, 1, name="rpn_bbox_pred")(shared)
    return [logits, probabilities, layers.Reshape((-1, 4), dtype="float32")(deltas)]


def build_rpn_model(anchor_stride: int, anchors_per_location: int, depth: int,
                    dtype: Policy = None) -> keras.Model:
    """The RPN as a model named `rpn_model`, shared by all levels of the pyramid.

    Args:
        anchor_stride: 1 for anchors at every cell of a map, 2 for every other.
        anchors_per_location: number of ratios.
        depth: channels of the feature maps.
        dtype: the layers' dtype policy.

    Returns:
        keras.Model: `[B, h, w, depth]` → the three outputs of `rpn_graph`.
    """
    # Of the format that the layers compute in, so that the maps are not cast there and back.
    feature_map = keras.Input((None, None, depth), name="input_rpn_feature_map",
                              dtype=keras.dtype_policies.get(dtype).compute_dtype)
    outputs = rpn_graph(feature_map, anchors_per_location, anchor_stride, dtype)
    return keras.Model(feature_map, outputs, name="rpn_model")


@keras.saving.register_keras_serializable(package="frcnn")
class Anchors(layers.Layer):
    """The anchors of a pyramid, normalized.

    Where the shapes are known when traced they are a constant, made once; else they are computed.

    Args:
        scales: side length of a square anchor in pixels, one for each level.
        ratios: width / height.
        strides: pixels of the image between neighbours on the map, one for each level.
        anchor_stride: cells of the map between neighbouring anchors.

    Call: `[image [B, H, W, C], P2, …, P6]` → float32 `[1, A, 4]`, in the order of the RPN's
    outputs: by level, row, column, ratio.
    """

    def __init__(self, scales: Sequence[float], ratios: Sequence[float], strides: Sequence[float],
                 anchor_stride: int = 1, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.scales, self.ratios = np.asarray(scales).tolist(), np.asarray(ratios).tolist()
        self.strides, self.anchor_stride = np.asarray(strides).tolist(), int(anchor_stride)

    @classmethod
    def from_settings(cls, config: Config, **kwargs: Any) -> "Anchors":
        """With a Config's `RPN_ANCHOR_*` settings and `BACKBONE_STRIDES`."""
        return cls(config.RPN_ANCHOR_SCALES, config.RPN_ANCHOR_RATIOS, config.BACKBONE_STRIDES,
                   config.RPN_ANCHOR_STRIDE, **kwargs)

    def call(self, inputs: list[Tensor]) -> Tensor:
        image_shape, *level_shapes = (tuple(ops.shape(x)[1:3]) for x in inputs)
        if all(isinstance(side, int) for shape in (image_shape, *level_shapes) for side in shape):
            anchors = generate_pyramid_anchors(self.scales, self.ratios, np.array(level_shapes),
                                               self.strides, self.anchor_stride)
            return ops.convert_to_tensor(norm_boxes(anchors, image_shape), "float32")[None]
        levels = [self._level(*level) for level in zip(self.scales, self.strides, level_shapes)]
        return frcnn_ops.norm_boxes_graph(ops.concatenate(levels), image_shape)[None]

    def _level(self, scale: float, stride: float, shape: tuple[Any, ...]) -> Tensor:
        """`generate_anchors` for a map whose shape is known when computed: `[A, 4]`, in pixels."""
        y, x = (ops.arange(0, side, self.anchor_stride) for side in shape)
        centers = ops.stack(ops.meshgrid(y, x, indexing="ij"), axis=-1)
        centers = ops.reshape(ops.cast(centers, "float32") * stride, (-1, 1, 2))
        cell = ops.convert_to_tensor(cell_anchors(scale, self.ratios), "float32")
        return ops.reshape(ops.tile(centers, (1, 1, 2)) + cell[None], (-1, 4))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (1, None, 4)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scales": self.scales, "ratios": self.ratios,
                "strides": self.strides, "anchor_stride": self.anchor_stride}
