"""Attention on the levels of the feature pyramid, in the spirit of DFPN; `PYRAMID_ATTENTION`.

Liang, Tang, Yan and Liu 2018 (Object Detection Based on Deep Learning for Urine Sediment
Examination) add attention to a Faster R-CNN with a feature pyramid, since it confuses classes of
cells, and replace its ResNet by a DenseNet (DFPN). Of the paper only published summaries were
available. They name three attention modules that it compares, two of positions ("channel-wise" and
"channel-against") and a class-specific one, but give neither their equations nor where they are in
the network nor how they are trained. So this is not the paper's attention. Implemented of DFPN are:

- the DenseNet, by `BACKBONE = "densenet121"` and its like, independent of this module;
- attention on each of P2 to P5 (P6 is made from P5), by two gates, one after the other:
  1. squeeze-and-excitation (Hu et al. 2018, Squeeze-and-Excitation Networks, section 3): a factor
     for each channel of an image's level;
  2. our own reading of "class-specific": a 1×1 convolution with a channel for each class,
     background included, whose softmax is a map of the classes, and a second 1×1 convolution from
     that map to a factor for each channel at each position. Only the detector's losses train it;
     nothing forces a channel of the map to stand for the class of its number.

Not implemented are the paper's own attention modules, all three.

A gate multiplies by 2σ(x), where Hu et al. have σ(x), and x is 0 at first: a new attention pyramid
computes what the plain one does, so that the weights of a plain checkpoint fit it.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from frcnn.arrays import Tensor
from frcnn.network.precision import Policy
from frcnn.weights.recipes import ATTENTION_PREFIX

REDUCTION = 16  # Hu et al. 2018, section 3.4: channels for each unit of the squeezed layer


def level_attention(level: Tensor, number: int, num_classes: int, dtype: Policy = None) -> Tensor:
    """A level of the pyramid, gated by channel and by class.

    Args:
        level: `[B, h, w, C]`.
        number: of the level, 2 to 5; part of the layers' names.
        num_classes: background included.
        dtype: the layers' dtype policy.

    Returns:
        `[B, h, w, C]`.
    """
    name, channels = f"{ATTENTION_PREFIX}p{number}", level.shape[-1]
    x = layers.GlobalAveragePooling2D(keepdims=True, dtype="float32", name=f"{name}_mean")(level)
    x = layers.Dense(max(channels // REDUCTION, 1), activation="relu", dtype=dtype,
                     name=f"{name}_squeeze")(x)
    x = layers.Dense(channels, kernel_initializer="zeros", dtype=dtype, name=f"{name}_excite")(x)
    level = Gate(dtype=dtype, name=f"{name}_by_channel")([level, x])

    x = layers.Conv2D(num_classes, 1, activation="softmax", dtype=dtype,
                      name=f"{name}_class_maps")(level)
    x = layers.Conv2D(channels, 1, kernel_initializer="zeros", dtype=dtype,
                      name=f"{name}_class_gate")(x)
    return Gate(dtype=dtype, name=f"{name}_by_class")([level, x])


@keras.saving.register_keras_serializable(package="frcnn")
class Gate(layers.Layer):
    """`[maps [B, h, w, C], logits, broadcast to it]` → maps · 2σ(logits), of the maps' shape."""

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        maps, logits = inputs
        return maps * (2.0 * ops.sigmoid(logits))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape[0])

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config())  # Keras's own is only for layers that define one
