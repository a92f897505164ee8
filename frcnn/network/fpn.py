"""The feature pyramid: P2 to P6 from the backbone's C2 to C5."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers, ops

from frcnn.arrays import Tensor
from frcnn.network.layers import BatchNorm, Conv2D, conv_norm
from frcnn.network.precision import Policy


def fpn_graph(stages: Sequence[Tensor], channels: int = 256, dtype: Policy = None,
              train_bn: bool | None = None,
              attention: Callable[[Tensor, int], Tensor] | None = None,
              levels: int = 5) -> list[Tensor]:
    """The top-down pathway with lateral connections.

    Source: Lin et al. 2017 (Feature Pyramid Networks), section 3; P6 is P5 subsampled by 2.

    Args:
        stages: the maps C2, C3, C4, C5.
        channels: of every level; `TOP_DOWN_PYRAMID_SIZE`.
        dtype: the layers' dtype policy.
        train_bn: None for no BatchNorm, as in the reference; else there is one behind each
            convolution, with this argument (He et al. 2019, Rethinking ImageNet Pre-training,
            section 3, normalizes the pyramid where the weights are random).
        attention: of a level's map and number, what replaces P2 to P5; see `attention`.
        levels: how many there are from P2 on; P2 to P5 are always there.

    Returns:
        `[P2, P3, P4, P5, P6]`, each `[B, h, w, channels]`, or more or fewer. The head reads P2 to
        P5 only.
    """

    def conv(x: Tensor, size: int, name: str) -> Tensor:
        if train_bn is None:
            return layers.Conv2D(channels, size, padding="same", dtype=dtype, name=name)(x)
        norm = BatchNorm(train_bn=train_bn, dtype=dtype, epsilon=1e-3, name=f"{name}_bn")
        return conv_norm(x, Conv2D(channels, size, padding="same", dtype=dtype, name=name), norm)

    def lateral(level: int) -> Tensor:
        return conv(c2_to_c5[level], 1, f"fpn_c{level}p{level}")

    c2_to_c5 = dict(zip((2, 3, 4, 5), stages))
    merged = {5: lateral(5)}
    for level in (4, 3, 2):
        up = Doubling(dtype=dtype, name=f"fpn_p{level + 1}upsampled")
        add = layers.Add(dtype=dtype, name=f"fpn_p{level}add")
        merged[level] = add([up(merged[level + 1]), lateral(level)])
    pyramid = [conv(merged[level], 3, f"fpn_p{level}") for level in (2, 3, 4, 5)]
    if attention is not None:
        pyramid = [attention(level, number) for level, number in zip(pyramid, (2, 3, 4, 5))]
    for number in range(6, 2 + levels):
        pyramid.append(layers.MaxPooling2D(1, strides=2, dtype=dtype, name=f"fpn_p{number}")(
            pyramid[-1]))
    return pyramid


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
