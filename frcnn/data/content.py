"""Which tiles of a large image have anything on them."""

import numpy as np

from frcnn.arrays import Image

# Blocks over which pixels are averaged, which removes noise and keeps all but tiny objects.
BLOCK = 4
# Gray values by which some block must differ from the usual one. Weakly stained objects, such as
# hyaline casts, differ from the ground by about 10.
CONTRAST = 4.0


def is_empty(tile: Image, contrast: float = CONTRAST) -> bool:
    """Whether all of an image is of one brightness, but for noise.

    Args:
        tile: uint8 `[h, w, C]`.
        contrast: gray values (of 255) between the median and the block of 4×4 pixels that differs
            most from it, in any channel, below which there is nothing to see.
    """
    height, width = (max(side // BLOCK, 1) for side in tile.shape[:2])
    tile = tile[:height * BLOCK, :width * BLOCK]
    sides = min(BLOCK, tile.shape[0]), min(BLOCK, tile.shape[1])
    blocks = tile.reshape(height, sides[0], width, sides[1], tile.shape[2]).mean(
        axis=(1, 3), dtype=np.float32)
    usual = np.median(blocks, axis=(0, 1))
    return bool(np.abs(blocks - usual).max() < contrast)
