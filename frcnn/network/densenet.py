"""DenseNet-121, -169 and -201 as the stages C1 to C5, with the layer names of
`keras.applications`."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import layers

from frcnn.arrays import Tensor
from frcnn.errors import ArgumentError
from frcnn.network.layers import BatchNorm, Conv2D, conv_norm
from frcnn.network.precision import Policy
from frcnn.weights.channels import IMAGENET_STD_DEV

DENSENET_BLOCKS = {"densenet121": (6, 12, 24, 16), "densenet169": (6, 12, 32, 32),
                   "densenet201": (6, 12, 48, 32)}
GROWTH_RATE = 32
DENSENET_EPSILON = 1.001e-5


def densenet_graph(input_image: Tensor, architecture: str, stage5: bool = True,
                   train_bn: bool = True, dtype: Policy = None) -> list[Tensor | None]:
    """DenseNet with growth rate 32 and compression 0.5.

    Source: Huang et al. 2017, table 1. Names, epsilon and numbers are `keras.applications`', and
    the molded image is divided by ImageNet's standard deviation, so that its weights fit.

    Args:
        input_image: molded image `[B, H, W, C]`.
        architecture: "densenet121", "densenet169" or "densenet201".
        stage5: whether C5 is built, else it is None.
        train_bn: see BatchNorm.
        dtype: the layers' dtype policy.

    Returns:
        `[C1, C2, C3, C4, C5]`; C2 to C5 are the layers `pool2_relu`, `pool3_relu`, `pool4_relu`
        and `relu` at strides 4, 8, 16, 32.

    Raises:
        ValueError: there is no such architecture.
    """
    if architecture not in DENSENET_BLOCKS:
        raise ArgumentError(f"architecture is {architecture!r}; allowed are "
                            + ", ".join(DENSENET_BLOCKS) + ".")
    conv = functools.partial(Conv2D, use_bias=False, dtype=dtype)
    norm = functools.partial(BatchNorm, train_bn=train_bn, dtype=dtype, epsilon=DENSENET_EPSILON)
    relu = functools.partial(layers.Activation, "relu", dtype=dtype)

    x = layers.Rescaling(_input_scale(input_image.shape[-1]), dtype="float32",
                         name="imagenet_scale")(input_image)
    x = layers.ZeroPadding2D(3, dtype=dtype)(x)
    x = conv_norm(x, conv(64, 7, strides=2, name="conv1_conv"), norm(name="conv1_bn"))
    x = relu(name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, dtype=dtype)(x)
    x = layers.MaxPooling2D(3, strides=2, dtype=dtype, name="pool1")(x)
    stages = [x]
    for stage, blocks in enumerate(DENSENET_BLOCKS[architecture], start=2):
        if stage == 5 and not stage5:
            return [*stages, None]
        for block in range(1, blocks + 1):
            x = _dense_layer(x, f"conv{stage}_block{block}", conv, norm, relu)
        end = "" if stage == 5 else f"pool{stage}_"
        x = relu(name=f"{end}relu")(norm(name=f"{end}bn")(x))
        stages.append(x)
        if stage < 5:
            x = conv(x.shape[-1] // 2, 1, name=f"pool{stage}_conv")(x)
            x = layers.AveragePooling2D(2, strides=2, dtype=dtype, name=f"pool{stage}_pool")(x)
    return stages


def _dense_layer(x: Tensor, name: str, conv: Callable[..., Conv2D],
                 norm: Callable[..., BatchNorm], relu: Callable[..., Any]) -> Tensor:
    """A bottleneck of `GROWTH_RATE` channels, appended to its input's."""
    y = relu(name=f"{name}_0_relu")(norm(name=f"{name}_0_bn")(x))
    y = conv_norm(y, conv(4 * GROWTH_RATE, 1, name=f"{name}_1_conv"), norm(name=f"{name}_1_bn"))
    y = relu(name=f"{name}_1_relu")(y)
    y = conv(GROWTH_RATE, 3, padding="same", name=f"{name}_2_conv")(y)
    return layers.Concatenate(dtype=y.dtype, name=f"{name}_concat")([x, y])


def _input_scale(channels: int) -> list[float]:
    mean = float(np.mean(IMAGENET_STD_DEV))
    std_dev = IMAGENET_STD_DEV if channels == 3 else [mean] * channels
    return [1.0 / value for value in std_dev]
