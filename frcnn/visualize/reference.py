"""Functions of the reference's `visualize` that are only kept so that its scripts work."""

from collections.abc import Sequence

import numpy as np

from frcnn.arrays import ArrayLike, Image
from frcnn.compatibility import left_out

LINE = 2  # pixels


def draw_box(image: Image, box: ArrayLike, color: Sequence[float]) -> Image:
    """Draws a box into an array, with lines of two pixels; `draw_boxes` makes a figure instead.

    Args:
        image: `[H, W, C]`, which is changed.
        box: `[4]` (y1, x1, y2, x2) in pixels.
        color: C values.

    Returns:
        The image.
    """
    y1, x1, y2, x2 = (int(max(side, 0)) for side in np.asarray(box))
    image[y1:y1 + LINE, x1:x2] = image[y2:y2 + LINE, x1:x2] = color
    image[y1:y2, x1:x1 + LINE] = image[y1:y2, x2:x2 + LINE] = color
    return image


display_top_masks = left_out("display_top_masks")
apply_mask = left_out("apply_mask")
