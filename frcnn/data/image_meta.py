"""The image meta: what the model needs of an image besides its pixels, as one vector."""

import numpy as np

from frcnn.arrays import Array, ImageMeta, IntArray, Shape, Window


def compose_image_meta(image_id: int, original_image_shape: Shape, image_shape: Shape,
                       window: Window, scale: float, active_class_ids: IntArray) -> ImageMeta:
    """Everything about one image that the model needs besides its pixels, in one vector.

    Args:
        image_id: the data set's internal id; any integer without a data set.
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


def parse_image_meta(meta: ImageMeta) -> dict[str, Array]:
    """Splits image metas into their named parts.

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
