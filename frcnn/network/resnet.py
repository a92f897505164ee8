"""ResNet-50 and ResNet-101 as the stages C1 to C5, with the reference's layer names."""

import functools
from collections.abc import Callable
from typing import Any

from keras import layers

from frcnn.arrays import Tensor
from frcnn.network.layers import BatchNorm, Conv2D, conv_norm
from frcnn.network.precision import Policy

RESNET_BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


def resnet_graph(input_image: Tensor, architecture: str, stage5: bool = False,
                 train_bn: bool = True, dtype: Policy = None) -> list[Tensor | None]:
    """ResNet with the stride of a stage on its first 1×1 convolution.

    Source: He et al. 2015, table 1; convolutions carry biases, as in the reference.

    Args:
        input_image: molded image `[B, H, W, 3]`.
        architecture: "resnet50" or "resnet101".
        stage5: whether C5 is built, else it is None.
        train_bn: see BatchNorm.
        dtype: the layers' dtype policy.

    Returns:
        `[C1, C2, C3, C4, C5]` with 64, 256, 512, 1024, 2048 channels at strides 4, 4, 8, 16, 32.

    Raises:
        ValueError: there is no such architecture.
    """
    if architecture not in RESNET_BLOCKS:
        raise ValueError(f"architecture is {architecture!r}; allowed are "
                         + ", ".join(RESNET_BLOCKS) + ".")
    conv = functools.partial(Conv2D, dtype=dtype)
    norm = functools.partial(BatchNorm, train_bn=train_bn, dtype=dtype, epsilon=1e-3)
    relu = functools.partial(layers.Activation, "relu", dtype=dtype)

    x = layers.ZeroPadding2D(3, dtype=dtype)(input_image)
    x = relu()(conv_norm(x, conv(64, 7, strides=2, name="conv1"), norm(name="bn_conv1")))
    stages = [layers.MaxPooling2D(3, strides=2, padding="same", dtype=dtype)(x)]
    for stage, blocks in enumerate(RESNET_BLOCKS[architecture], start=2):
        if stage == 5 and not stage5:
            return [*stages, None]
        x = stages[-1]
        for block in range(blocks):
            x = _residual_block(x, stage, block, conv, norm, relu)
        stages.append(x)
    return stages


def _residual_block(x: Tensor, stage: int, block: int, conv: Callable[..., Conv2D],
                    norm: Callable[..., BatchNorm], relu: Callable[..., Any]) -> Tensor:
    """A bottleneck; the first of a stage halves the map (but in stage 2) and widens it."""
    letter = chr(ord("a") + block)
    width = 64 * 2 ** (stage - 2)
    strides = 2 if block == 0 and stage > 2 else 1

    def branch(x: Tensor, part: str, *args: Any, **kwargs: Any) -> Tensor:
        return conv_norm(x, conv(*args, name=f"res{stage}{letter}_branch{part}", **kwargs),
                         norm(name=f"bn{stage}{letter}_branch{part}"))

    y = relu()(branch(x, "2a", width, 1, strides=strides))
    y = relu()(branch(y, "2b", width, 3, padding="same"))
    y = branch(y, "2c", 4 * width, 1)
    if block == 0:
        x = branch(x, "1", 4 * width, 1, strides=strides)
    y = layers.Add(dtype=y.dtype)([y, x])
    return layers.Activation("relu", dtype=y.dtype, name=f"res{stage}{letter}_out")(y)
