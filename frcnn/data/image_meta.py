"""The image meta: what the model needs of an image besides its pixels, as one vector."""

import numpy as np

from frcnn.arrays import Array, ImageMeta, IntArray, Shape, Window
from frcnn.config import IMAGE_META_PARTS
from frcnn.errors import ArgumentError


def _places() -> dict[str, int | slice]:
    places: dict[str, int | slice] = {}
    start = 0
    for name, size in IMAGE_META_PARTS.items():
        places[name] = start if size == 1 else slice(start, start + size)
        start += size
    return {**places, "active_class_ids": slice(start, None)}


# Where each part is in the vector: an index for a single number, else a slice.
META_PLACES = _places()


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
    parts = {"image_id": image_id, "original_image_shape": original_image_shape,
             "image_shape": image_shape, "window": window, "scale": scale,
             "active_class_ids": active_class_ids}
    return np.concatenate([np.ravel(parts[name]) for name in META_PLACES]).astype(np.float64)


def parse_image_meta(meta: ImageMeta) -> dict[str, Array]:
    """Splits image metas into their named parts.

    Args:
        meta: `[B, 12 + NUM_CLASSES]`, of `compose_image_meta`.

    Returns:
        A dict of arrays: `image_id` `[B]`, `original_image_shape` `[B, 3]`, `image_shape` `[B, 3]`,
        `window` `[B, 4]` pixels and `active_class_ids` `[B, NUM_CLASSES]`, all int32, and `scale`
        `[B]` float32.

    Raises:
        ArgumentError: they have another shape.
    """
    meta = np.asarray(meta)
    if meta.ndim != 2 or meta.shape[1] <= sum(IMAGE_META_PARTS.values()):
        raise ArgumentError(f"The image metas have the shape {meta.shape}; give "
                            f"[B, {sum(IMAGE_META_PARTS.values())} + NUM_CLASSES].")
    return {name: meta[:, place].astype(np.float32 if name == "scale" else np.int32)
            for name, place in META_PLACES.items()}
