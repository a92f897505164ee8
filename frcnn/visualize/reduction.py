"""Smaller copies of large images, for pictures."""

from collections.abc import Sequence

import numpy as np
import PIL.Image

from frcnn.arrays import Image

# Pixels of a side. Matplotlib takes some 60 bytes a pixel, and a picture has fewer than these.
MAX_SIDE = 2000


def reduction(shape: Sequence[int], side: int = MAX_SIDE) -> int:
    """The least whole factor by which an image of `shape` has to shrink to fit into `side`."""
    return max(1, -(-max(shape[:2]) // side))


def reduced(image: Image, factor: int, smooth: bool = True) -> Image:
    """An image with each side divided by `factor`, rounded up.

    Args:
        image: `[H, W]` or `[H, W, C]`.
        factor: 1 returns the image as it is.
        smooth: whether a pixel is the mean of those that it stands for (of uint8 only), or the
            first of them.
    """
    if factor == 1:
        return image
    if not smooth or image.dtype != np.uint8:
        return np.ascontiguousarray(image[::factor, ::factor])
    bands = image[..., None] if image.ndim == 2 else image
    small = [np.asarray(PIL.Image.fromarray(np.ascontiguousarray(bands[..., i])).reduce(factor))
             for i in range(bands.shape[2])]
    return small[0] if image.ndim == 2 else np.stack(small, axis=-1)
