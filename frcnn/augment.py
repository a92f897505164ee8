"""Augmentation that moves boxes with pixels.

An augmentation is any callable

    (image, boxes, class_ids, rng) -> (image, boxes, class_ids)

with `image` uint8 `[H, W, C]`, `boxes` float32 `[N, 4]` (y1, x1, y2, x2) in its pixels with
(y2, x2) outside, `class_ids` int32 `[N]` (negative: a crowd region) and `rng` a
`numpy.random.Generator`, the only source of chance, so that one seed gives one result. It may
return an image of another size, and fewer boxes with as many class ids; it must not write into its
arguments.
"""

import numpy as np

from frcnn.errors import ConfigError

# A box of which less than this part is left inside the frame is dropped.
MIN_VISIBLE = 0.25


def keep_visible(boxes, class_ids, shape):
    """Cuts boxes at the edge of the frame and drops those that have all but left it.

    The rule, for a crop, a shift or a turn: what is left of an object must be at least one pixel
    high and wide and MIN_VISIBLE of its area. A crowd region stays as long as anything is left of
    it, so that nothing inside it is taken for background.

    Args:
        boxes: float32 `[N, 4]` pixels, which may reach beyond the frame.
        class_ids: int32 `[N]`.
        shape: `(height, width, ...)` of the frame.

    Returns:
        boxes `[M, 4]` inside the frame and class ids `[M]`, in the same order.
    """
    height, width = shape[:2]
    cut = np.clip(boxes, 0, np.array([height, width, height, width], np.float32))
    sides, full = cut[:, 2:] - cut[:, :2], boxes[:, 2:] - boxes[:, :2]
    left = sides.prod(axis=1)
    # An object smaller than a pixel before the cut is not asked to be larger after it.
    visible = (sides >= np.minimum(1, full)).all(axis=1) & (left >= MIN_VISIBLE * full.prod(axis=1))
    kept = (left > 0) & (visible | (class_ids < 0))
    return cut[kept], class_ids[kept]


def flip_left_right(image, boxes):
    """Mirrors an image and its boxes about the vertical axis.

    Args:
        image: `[H, W, C]`.
        boxes: `[N, 4]` pixels.

    Returns:
        The mirrored image and boxes; the image is a view.
    """
    flipped = boxes.copy()
    flipped[:, 1] = image.shape[1] - boxes[:, 3]
    flipped[:, 3] = image.shape[1] - boxes[:, 1]
    return image[:, ::-1], flipped


def flip(image, boxes, class_ids, rng):
    """The preset "flip": a left-right flip of every second image, by chance."""
    if rng.random() < 0.5:
        image, boxes = flip_left_right(image, boxes)
    return image, boxes, class_ids


def compose(*augmentations):
    """One augmentation that applies several, in this order.

    Args:
        *augmentations: each what `resolve` takes.
    """
    steps = [resolve(augmentation) for augmentation in augmentations]

    def composed(image, boxes, class_ids, rng):
        for step in steps:
            if step is not None:
                image, boxes, class_ids = step(image, boxes, class_ids, rng)
        return image, boxes, class_ids

    return composed


PRESETS = {"flip": flip}


def resolve(augmentation):
    """The callable that an `augmentation=` argument stands for.

    Args:
        augmentation: None, the name of a preset, or a callable as above.

    Returns:
        A callable, or None for none.

    Raises:
        ConfigError: there is no such preset.
    """
    if augmentation is None or callable(augmentation):
        return augmentation
    if isinstance(augmentation, str) and augmentation in PRESETS:
        return PRESETS[augmentation]
    raise ConfigError(f"augmentation is {augmentation!r}; allowed are None, one of the presets "
                      f"{', '.join(PRESETS)}, or a callable (image, boxes, class_ids, rng) -> "
                      "(image, boxes, class_ids).")
