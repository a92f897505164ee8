"""ResNets as the stages C1 to C5, with the reference's layer names, and their blocks."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from keras import layers

from frcnn.arrays import Tensor
from frcnn.errors import ArgumentError
from frcnn.network.layers import BatchNorm, Conv2D, conv_norm
from frcnn.network.precision import Policy

RESNET_BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3),
                 "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
BASIC_RESNETS = ("resnet18", "resnet34")  # blocks of two convolutions instead of bottlenecks

# A convolution and its BatchNorm, by the part of the block that ends their names.
_Branch = Callable[..., Tensor]


def resnet_graph(input_image: Tensor, architecture: str, stage5: bool = False,
                 train_bn: bool = True, dtype: Policy = None) -> list[Tensor | None]:
    """ResNet with the stride of a stage on its first convolution.

    Source: He et al. 2015, table 1; convolutions carry biases, as in the reference.

    Args:
        input_image: molded image `[B, H, W, 3]`.
        architecture: one of RESNET_BLOCKS. The reference has "resnet50" and "resnet101".
        stage5: whether C5 is built, else it is None.
        train_bn: see BatchNorm.
        dtype: the layers' dtype policy.

    Returns:
        `[C1, C2, C3, C4, C5]` with 64, 256, 512, 1024, 2048 channels at strides 4, 4, 8, 16, 32;
        of "resnet18" and "resnet34" with 64, 64, 128, 256, 512 channels.

    Raises:
        ValueError: there is no such architecture.
    """
    if architecture not in RESNET_BLOCKS:
        raise ArgumentError(f"architecture is {architecture!r}; allowed are "
                            + ", ".join(RESNET_BLOCKS) + ".")
    conv = functools.partial(Conv2D, dtype=dtype)
    norm = functools.partial(BatchNorm, train_bn=train_bn, dtype=dtype, epsilon=1e-3)
    relu = functools.partial(layers.Activation, "relu", dtype=dtype)
    is_basic = architecture in BASIC_RESNETS

    x = layers.ZeroPadding2D(3, dtype=dtype)(input_image)
    x = relu()(conv_norm(x, conv(64, 7, strides=2, name="conv1"), norm(name="bn_conv1")))
    stages = [layers.MaxPooling2D(3, strides=2, padding="same", dtype=dtype)(x)]
    for stage, blocks in enumerate(RESNET_BLOCKS[architecture], start=2):
        if stage == 5 and not stage5:
            return [*stages, None]
        x = stages[-1]
        width = 64 * 2 ** (stage - 2)
        for block in range(blocks):
            strides = 2 if block == 0 and stage > 2 else 1
            letter = chr(ord("a") + block)
            branch = _branch(stage, letter, conv, norm)
            if is_basic:
                x = _basic_block(x, branch, width, strides, stage, letter)
            else:
                x = _bottleneck(x, branch, (width, width, 4 * width), 3, strides, block == 0, stage,
                                letter)
        stages.append(x)
    return stages


def identity_block(input_tensor: Tensor, kernel_size: int, filters: Sequence[int], stage: int,
                   block: str, use_bias: bool = True, train_bn: bool = True) -> Tensor:
    """A bottleneck whose shortcut is its input, as `resnet_graph` has them.

    Args:
        input_tensor: `[B, H, W, filters[2]]`.
        kernel_size: of the convolution in the middle.
        filters: channels of the three convolutions.
        stage: number in the layers' names.
        block: letter in the layers' names.
        use_bias: whether the convolutions have biases.
        train_bn: see BatchNorm.

    Returns:
        `[B, H, W, filters[2]]`.
    """
    branch = _branch(stage, block, functools.partial(Conv2D, use_bias=use_bias),
                     functools.partial(BatchNorm, train_bn=train_bn, epsilon=1e-3))
    return _bottleneck(input_tensor, branch, filters, kernel_size, 1, False, stage, block)


def conv_block(input_tensor: Tensor, kernel_size: int, filters: Sequence[int], stage: int,
               block: str, strides: int | tuple[int, int] = (2, 2), use_bias: bool = True,
               train_bn: bool = True) -> Tensor:
    """A bottleneck with a convolution on its shortcut, as `resnet_graph` has them.

    Args: as of `identity_block`; `strides` are those of the first convolution and the shortcut.

    Returns:
        `[B, h, w, filters[2]]`.
    """
    branch = _branch(stage, block, functools.partial(Conv2D, use_bias=use_bias),
                     functools.partial(BatchNorm, train_bn=train_bn, epsilon=1e-3))
    return _bottleneck(input_tensor, branch, filters, kernel_size, strides, True, stage, block)


def _branch(stage: int, block: str, conv: Callable[..., Conv2D],
            norm: Callable[..., BatchNorm]) -> _Branch:
    def branch(x: Tensor, part: str, *args: Any, **kwargs: Any) -> Tensor:
        return conv_norm(x, conv(*args, name=f"res{stage}{block}_branch{part}", **kwargs),
                         norm(name=f"bn{stage}{block}_branch{part}"))
    return branch


def _bottleneck(x: Tensor, branch: _Branch, filters: Sequence[int], kernel_size: int,
                strides: int | tuple[int, int], widens: bool, stage: int, block: str) -> Tensor:
    y = _relu(branch(x, "2a", filters[0], 1, strides=strides))
    y = _relu(branch(y, "2b", filters[1], kernel_size, padding="same"))
    y = branch(y, "2c", filters[2], 1)
    if widens:
        x = branch(x, "1", filters[2], 1, strides=strides)
    return _relu(layers.Add(dtype=y.dtype)([y, x]), f"res{stage}{block}_out")


def _basic_block(x: Tensor, branch: _Branch, width: int, strides: int, stage: int,
                 block: str) -> Tensor:
    y = _relu(branch(x, "2a", width, 3, strides=strides, padding="same"))
    y = branch(y, "2b", width, 3, padding="same")
    if strides > 1:
        x = branch(x, "1", width, 1, strides=strides)
    return _relu(layers.Add(dtype=y.dtype)([y, x]), f"res{stage}{block}_out")


def _relu(x: Tensor, name: str | None = None) -> Tensor:
    return layers.Activation("relu", dtype=x.dtype, name=name)(x)
