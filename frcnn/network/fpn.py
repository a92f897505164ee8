"""The feature pyramid: P2 to P6 from the backbone's C2 to C5."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from frcnn.arrays import Tensor
from frcnn.network.precision import Policy


def fpn_graph(stages: Sequence[Tensor], channels: int = 256,
              dtype: Policy = None) -> list[Tensor]:
    """The top-down pathway with lateral connections.

    Source: Lin et al. 2017 (Feature Pyramid Networks), section 3; P6 is P5 subsampled by 2.

    Args:
        stages: the maps C2, C3, C4, C5.
        channels: of every level; `TOP_DOWN_PYRAMID_SIZE`.
        dtype: the layers' dtype policy.

    Returns:
        `[P2, P3, P4, P5, P6]`, each `[B, h, w, channels]`. The head reads P2 to P5 only.
    """

    def lateral(level: int) -> layers.Conv2D:
        return layers.Conv2D(channels, 1, dtype=dtype, name=f"fpn_c{level}p{level}")

    c2_to_c5 = dict(zip((2, 3, 4, 5), stages))
    merged = {5: lateral(5)(c2_to_c5[5])}
    for level in (4, 3, 2):
        up = Doubling(dtype=dtype, name=f"fpn_p{level + 1}upsampled")
        add = layers.Add(dtype=dtype, name=f"fpn_p{level}add")
        merged[level] = add([up(merged[level + 1]), lateral(level)(c2_to_c5[level])])
    pyramid = [layers.Conv2D(channels, 3, padding="same", dtype=dtype, name=f"fpn_p{level}")(
        merged[level]) for level in (2, 3, 4, 5)]
    p6 = layers.MaxPooling2D(1, strides=2, dtype=dtype, name="fpn_p6")(pyramid[-1])
    return [*pyramid, p6]


@keras.saving.register_keras_serializable(package="frcnn")
class Doubling(layers.Layer):
    """Each cell of `[B, h, w, C]` becomes four: `[B, 2h, 2w, C]`.

    As Keras's UpSampling2D, with half the operations. One axis after the other, since TensorFlow's
    gradient of a broadcast along two axes at once takes four times as long.
    """

    def call(self, inputs: Tensor) -> Tensor:
        _, height, width, channels = shape = ops.shape(inputs)
        rows = ops.reshape(ops.concatenate([inputs, inputs], axis=-1),
                           (-1, height, 1, 2 * width * channels))
        rows = ops.broadcast_to(rows, (shape[0], height, 2, 2 * width * channels))
        return ops.reshape(rows, (-1, 2 * height, 2 * width, channels))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        height, width = (None if side is None else 2 * side for side in (height, width))
        return (batch, height, width, channels)

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config())  # Keras's own is only for layers that define one
