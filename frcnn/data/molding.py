"""Molding: from pixels to the network's input and back, by the mean pixel."""

import numpy as np

from frcnn.arrays import FloatArray, Image
from frcnn.compatibility import renamed
from frcnn.config import Config


def mold_image(images: Image, config: Config, *, out: FloatArray | None = None) -> FloatArray:
    """Subtracts the mean pixel.

    Args:
        images: `[..., H, W, C]`.
        config: for `MEAN_PIXEL`.
        out: optional float32 array of the same shape, contiguous, to write into.

    Returns:
        float32 of the same shape.
    """
    images = np.asarray(images)
    mean = np.broadcast_to(np.asarray(config.MEAN_PIXEL, np.float64), images.shape[-2:]).ravel()
    molded = np.empty(images.shape, np.float32) if out is None else out
    # Row by row: NumPy is slow over a last axis of three. Subtracted in float64, rounded once.
    rows = images.reshape(-1, mean.size)
    np.subtract(rows, mean, out=molded.reshape(rows.shape), casting="same_kind")
    return molded


@renamed(normalized_images="images")
def unmold_image(images: FloatArray, config: Config) -> Image:
    """Adds the mean pixel, the inverse of `mold_image`.

    Args:
        images: `[..., H, W, C]` floats.
        config: for `MEAN_PIXEL`.

    Returns:
        uint8 of the same shape, rounded.
    """
    pixels: FloatArray = np.asarray(images) + np.asarray(config.MEAN_PIXEL, np.float64)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
