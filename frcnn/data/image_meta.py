"""The image meta: what the model needs to know of an image beside its pixels, as one vector."""

import numpy as np


def compose_image_meta(image_id, original_image_shape, image_shape, window, scale,
                       active_class_ids):
    """Everything about one image that the model needs beside its pixels, in one vector.

    Args:
        image_id: an integer.
        original_image_shape: `(H, W, C)` before resizing.
        image_shape: `(H, W, C)` of the molded image.
        window: `(y1, x1, y2, x2)` pixels: the picture without its padding.
        scale: of the picture to the original.
        active_class_ids: `[NUM_CLASSES]`, 1 for each class that the image's data set annotates.

    Returns:
        `[12 + NUM_CLASSES]` float64.
    """
    return np.array([image_id, *original_image_shape, *image_shape, *window, scale,
                     *active_class_ids], np.float64)


def parse_image_meta(meta):
    """Takes image metas apart.

    Args:
        meta: `[B, 12 + NUM_CLASSES]`, of `compose_image_meta`.

    Returns:
        A dict of arrays: `image_id` `[B]`, `original_image_shape` `[B, 3]`, `image_shape` `[B, 3]`,
        `window` `[B, 4]` pixels and `active_class_ids` `[B, NUM_CLASSES]`, all int32, and `scale`
        `[B]` float32.
    """
    meta = np.asarray(meta)
    return {
        "image_id": meta[:, 0].astype(np.int32),
        "original_image_shape": meta[:, 1:4].astype(np.int32),
        "image_shape": meta[:, 4:7].astype(np.int32),
        "window": meta[:, 7:11].astype(np.int32),
        "scale": meta[:, 11].astype(np.float32),
        "active_class_ids": meta[:, 12:].astype(np.int32),
    }
