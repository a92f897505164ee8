"""A custom backbone: residual like ResNet, but small enough to learn shapes in minutes.

A callable BACKBONE replaces the networks that frcnn has by name:

    Config(BACKBONE=small_backbone, COMPUTE_BACKBONE_SHAPE=small_backbone_shapes)

Both are stored beside a checkpoint by their import paths, so they must be functions of a module.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import layers

from frcnn.arrays import IntArray, Shape, Tensor
from frcnn.network.layers import BatchNorm

STRIDES = (4, 8, 16, 32, 64)
WIDTHS = {2: 64, 3: 96, 4: 128, 5: 160}  # channels of C2 to C5


def small_backbone(input_image: Tensor, stage5: bool = True,
                   train_bn: bool = True) -> list[Tensor | None]:
    """The stages of a molded image `[B, H, W, C]`, as `frcnn.model.resnet_graph` gives them.

    Layers are named after ResNet's, so that "3+", "4+" and "5+" choose stages here, too.

    Returns:
        `[C1, C2, C3, C4, C5]` at strides 4, 4, 8, 16, 32; C5 is None without `stage5`.
    """
    norm = functools.partial(BatchNorm, train_bn=train_bn)
    x = layers.Rescaling(1 / 64)(input_image)  # molded pixels spread over ±128
    x = layers.Conv2D(32, 5, strides=2, padding="same", use_bias=False, name="conv1")(x)
    x = layers.ReLU()(norm(name="bn_conv1")(x))
    stages: list[Tensor | None] = [layers.MaxPooling2D(3, strides=2, padding="same")(x)]
    for stage, width in WIDTHS.items():
        if stage == 5 and not stage5:
            return [*stages, None]
        stages.append(_stage(stages[-1], stage, width, norm))
    return stages


def small_backbone_shapes(image_shape: Shape) -> IntArray:
    """Heights and widths `[5, 2]` of P2 to P6 for an image of that shape."""
    return np.ceil(np.asarray(image_shape[:2]) / np.array(STRIDES)[:, None]).astype(int)


def _stage(x: Tensor, stage: int, width: int, norm: Callable[..., Any]) -> Tensor:
    """One residual block of two 3 × 3 convolutions; from stage 3 on it halves the map."""
    def conv(x: Tensor, part: str, size: int, strides: int = 1) -> Tensor:
        x = layers.Conv2D(width, size, strides=strides, padding="same", use_bias=False,
                          name=f"res{stage}_{part}")(x)
        return norm(name=f"bn{stage}_{part}")(x)

    strides = 1 if stage == 2 else 2
    y = layers.ReLU()(conv(x, "a", 3, strides))
    y = conv(y, "b", 3)
    return layers.ReLU(name=f"res{stage}_out")(layers.Add()([y, conv(x, "shortcut", 1, strides)]))
