"""The region proposal network, and the anchors its outputs refer to."""

import functools

import keras
import numpy as np
from keras import layers, ops

from frcnn.geometry.anchors import generate_pyramid_anchors
from frcnn.geometry.boxes import norm_boxes
from frcnn.network import ops as frcnn_ops

# Ren et al. 2015 use 512 channels in the shared convolution, and draw new weights small, so that
# an untrained RPN starts undecided.
RPN_CHANNELS = 512
RPN_INITIAL_STD_DEV = 0.01


def rpn_graph(feature_map, anchors_per_location, anchor_stride, dtype=None):
    """The RPN on one level of the pyramid, as new layers.

    Source: Ren et al. 2015 (Faster R-CNN), section 3.1.

    Args:
        feature_map: `[B, h, w, depth]`.
        anchors_per_location: number of ratios.
        anchor_stride: 1 for anchors at every cell of the map, 2 for every other.

    Returns:
        logits `[B, A, 2]`, probabilities `[B, A, 2]` (background, object) and deltas `[B, A, 4]`,
        float32, with A = anchors_per_location · ceil(h / stride) · ceil(w / stride).
    """
    conv = functools.partial(
        layers.Conv2D, dtype=dtype,
        kernel_initializer=keras.initializers.RandomNormal(stddev=RPN_INITIAL_STD_DEV))
    shared = conv(RPN_CHANNELS, 3, strides=anchor_stride, padding="same", activation="relu",
                  name="rpn_conv_shared")(feature_map)
    logits = conv(2 * anchors_per_location, 1, name="rpn_class_raw")(shared)
    logits = layers.Reshape((-1, 2), dtype="float32")(logits)
    probabilities = layers.Activation("softmax", dtype="float32", name="rpn_class_xxx")(logits)
    deltas = conv(4 * anchors_per_location, 1, name="rpn_bbox_pred")(shared)
    return [logits, probabilities, layers.Reshape((-1, 4), dtype="float32")(deltas)]


def build_rpn_model(anchor_stride, anchors_per_location, depth, dtype=None):
    """The RPN as a model named `rpn_model`, shared by all levels of the pyramid.

    Args:
        depth: channels of the feature maps.

    Returns:
        keras.Model: `[B, h, w, depth]` → the three outputs of `rpn_graph`.
    """
    # In the format that the layers compute in, for the maps not to be cast there and back.
    feature_map = keras.Input((None, None, depth), name="input_rpn_feature_map",
                              dtype=keras.dtype_policies.get(dtype).compute_dtype)
    outputs = rpn_graph(feature_map, anchors_per_location, anchor_stride, dtype)
    return keras.Model(feature_map, outputs, name="rpn_model")


class Anchors(layers.Layer):
    """The anchors of a pyramid, normalized.

    Where the shapes are known when traced they are a constant, made once; else they are computed.

    Args:
        config: Config; the `RPN_ANCHOR_*` settings and `BACKBONE_STRIDES` are read.

    Call: `[image [B, H, W, C], P2, …, P6]` → float32 `[1, A, 4]`, in the order of the RPN's
    outputs: by level, row, column, ratio.
    """

    def __init__(self, config, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.config = config

    def call(self, inputs):
        image_shape, *level_shapes = (tuple(ops.shape(x)[1:3]) for x in inputs)
        if all(isinstance(side, int) for shape in (image_shape, *level_shapes) for side in shape):
            anchors = _constant_anchors(self.config, image_shape, level_shapes)
            return ops.convert_to_tensor(anchors, "float32")[None]
        levels = [self._level(i, shape) for i, shape in enumerate(level_shapes)]
        return frcnn_ops.norm_boxes_graph(ops.concatenate(levels), image_shape)[None]

    def _level(self, index, shape):
        """Anchors `[A, 4]` of one level, in pixels; the tensor twin of `generate_anchors`."""
        config = self.config
        ratios = np.sqrt(np.asarray(config.RPN_ANCHOR_RATIOS, float))
        scale, stride = config.RPN_ANCHOR_SCALES[index], config.BACKBONE_STRIDES[index]
        half = 0.5 * np.stack([scale / ratios, scale * ratios], axis=-1)
        corners = ops.convert_to_tensor(np.concatenate([-half, half], axis=-1), "float32")
        y, x = (ops.arange(0, side, config.RPN_ANCHOR_STRIDE) for side in shape)
        centers = ops.stack(ops.meshgrid(y, x, indexing="ij"), axis=-1)
        centers = ops.reshape(ops.cast(centers, "float32") * stride, (-1, 1, 2))
        return ops.reshape(ops.tile(centers, (1, 1, 2)) + corners[None], (-1, 4))

    def compute_output_shape(self, input_shape):
        return (1, None, 4)


def _constant_anchors(config, image_shape, level_shapes):
    anchors = generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES, config.RPN_ANCHOR_RATIOS, np.array(level_shapes),
        config.BACKBONE_STRIDES, config.RPN_ANCHOR_STRIDE)
    return norm_boxes(anchors, image_shape)
