"""Weights trained on images of three channels, in a network for images of another number.

Of one channel, the first kernel is summed over its input channels: the network then computes of a
gray image what the original one computes of the same image in all three channels, where the mean
pixel is the same in all. Of n channels, the kernel's three are repeated, red, green, blue, red, …,
and scaled by 3/n, so that the responses keep their size. Source: `adapt_input_conv` of timm
(Wightman 2019).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frcnn.weights.load_report import Mismatch

# Of ImageNet's pixels from 0 to 255, by RGB channel; a DenseNet divides its input by it.
IMAGENET_STD_DEV = (58.395, 57.12, 57.375)
_COLORS = 3
_RESNETS, _DENSENETS = ("conv1", "kernel"), ("conv1_conv", "kernel")


def fit_channels(matches: Mapping[tuple[str, str], Any], layers: Mapping[str, Any]) -> str:
    """Has the match of the first kernel spread over the model's channels, where these are not 3.

    Args:
        matches: `frcnn.weights.matching.Match` by (layer name, variable name); changed in place.
        layers: `ModelLayer` by name.

    Returns:
        What was done, as text; empty where the channels agree.
    """
    for key in (_RESNETS, _DENSENETS):
        match = matches.get(key)
        shape = tuple(layers[key[0]].variables[key[1]].shape) if match else ()
        if match is None or len(shape) != 4 or match.shape[2:3] != (_COLORS,) \
                or shape[2] == _COLORS:
            continue
        count = shape[2]
        match.spread = spread_of(count, IMAGENET_STD_DEV if key == _DENSENETS else None)
        how = ("is summed over red, green and blue for images of one channel" if count == 1 else
               f"is repeated for images of {count} channels and scaled by {_COLORS}/{count}")
        return f"the first kernel, {key[0]}, {how}"
    return ""


def other_channels(mismatched: Sequence[Mismatch]) -> int | None:
    """The number of channels of a file, if it is all that does not fit; else None.

    Args:
        mismatched: weights, their shapes in the file and in the model.
    """
    if len(mismatched) != 1:
        return None
    name, in_file, in_model = mismatched[0]
    is_first = name in ("/".join(_RESNETS), "/".join(_DENSENETS))
    is_all = len(in_file) == 4 == len(in_model) and in_file[:2] == in_model[:2] \
        and in_file[3] == in_model[3]
    return in_file[2] if is_first and is_all else None


def spread_of(count: int, std_dev: tuple[float, ...] | None = None) -> NDArray[np.float32]:
    """The factors `[3, count]` of a kernel's channels in those of images of another number.

    Args:
        count: the number of channels of the images.
        std_dev: what the network divides the three channels by; those of another number it divides
            by the mean of these.
    """
    scales = np.ones(_COLORS) if std_dev is None else np.mean(std_dev) / np.asarray(std_dev)
    if count == 1:
        return scales[:, None].astype(np.float32)
    factors = np.zeros((_COLORS, count))
    channels = np.arange(count)
    factors[channels % _COLORS, channels] = _COLORS / count
    return (scales[:, None] * factors).astype(np.float32)
