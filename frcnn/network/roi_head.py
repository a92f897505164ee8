"""The head: class scores and box deltas for each region of interest."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from frcnn.arrays import Shape, Tensor
from frcnn.compatibility import renamed
from frcnn.network.layers import BatchNorm, RoiConv
from frcnn.network.precision import Policy
from frcnn.network.roi_align import PyramidROIAlign

# Girshick 2015 (Fast R-CNN), section 3.1: the outputs' weights are drawn small.
CLASS_INITIAL_STD_DEV, BBOX_INITIAL_STD_DEV = 0.01, 0.001


@keras.saving.register_keras_serializable(package="frcnn")
class RowMask(layers.Layer):
    """Which rows `[B, N, 4]` are boxes and not zero padding: bool `[B, N]`."""

    def call(self, inputs: Tensor) -> Tensor:
        return ops.any(ops.not_equal(inputs, 0.0), axis=-1)

    def compute_output_spec(self, inputs: Tensor) -> Tensor:
        return keras.KerasTensor(inputs.shape[:2], "bool")

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config())  # Keras's own is only for layers that define one


@renamed(image_meta="image_shape")
def fpn_classifier_graph(rois: Tensor, feature_maps: Sequence[Tensor],
                         image_shape: Shape | Tensor | None, pool_size: int, num_classes: int,
                         train_bn: bool = True, fc_layers_size: int = 1024,
                         dtype: Policy = None, align_samples: int = 0,
                         suffix: str = "") -> tuple[Tensor, Tensor, Tensor]:
    """Classifies and refines RoIs.

    Source: Lin et al. 2017 (FPN), section 4.2: two hidden layers of 1024, then two outputs.

    Args:
        rois: `[B, N, 4]` normalized; zero rows are padding.
        feature_maps: P2, P3, P4, P5.
        image_shape: (height, width, …) for the choice of level, or None, which takes it from P2;
            see PyramidROIAlign. In its place the reference's final release has `image_meta`
            `[B, META]`, which is recognized and not needed.
        pool_size: side of the patch that is sampled for each RoI.
        num_classes: C, background included.
        train_bn: see BatchNorm; padding does not count in the statistics.
        fc_layers_size: channels of the two hidden layers.
        dtype: the layers' dtype policy.
        align_samples: `ROI_ALIGN_SAMPLES`; see PyramidROIAlign.
        suffix: of the layers' names; not empty in a later stage of a cascade.

    Returns:
        logits `[B, N, C]`, probabilities `[B, N, C]`, deltas `[B, N, C, 4]`, all float32.
    """
    if len(getattr(image_shape, "shape", ())) == 2:  # image_meta
        image_shape = None
    norm = functools.partial(BatchNorm, train_bn=train_bn, dtype=dtype, epsilon=1e-3)
    x = PyramidROIAlign((pool_size, pool_size), image_shape, align_samples, dtype=dtype,
                        name="roi_align_classifier" + suffix)([rois, *feature_maps])
    is_roi = RowMask(name="rois_mask" + suffix)(rois) if train_bn else None
    x = RoiConv(fc_layers_size, dtype=dtype, name="mrcnn_class_conv1" + suffix)(x)
    x = norm(name="mrcnn_class_bn1" + suffix)(x, is_row=is_roi)
    x = layers.Activation("relu", dtype=dtype)(x)
    x = layers.Reshape((-1, 1, 1, fc_layers_size), dtype=dtype)(x)
    x = RoiConv(fc_layers_size, dtype=dtype, name="mrcnn_class_conv2" + suffix)(x)
    x = layers.Activation("relu", dtype=dtype, name="pool_squeeze" + suffix)(
        norm(name="mrcnn_class_bn2" + suffix)(x, is_row=is_roi))

    logits = layers.Dense(num_classes, dtype="float32", name="mrcnn_class_logits" + suffix,
                          kernel_initializer=_normal(CLASS_INITIAL_STD_DEV))(x)
    probabilities = layers.Activation("softmax", dtype="float32",
                                      name="mrcnn_class" + suffix)(logits)
    deltas = layers.Dense(4 * num_classes, dtype="float32", name="mrcnn_bbox_fc" + suffix,
                          kernel_initializer=_normal(BBOX_INITIAL_STD_DEV))(x)
    deltas = layers.Reshape((-1, num_classes, 4), dtype="float32",
                            name="mrcnn_bbox" + suffix)(deltas)
    return logits, probabilities, deltas


def _normal(std_dev: float) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=std_dev)
