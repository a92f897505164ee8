"""Augmentation that moves boxes with pixels.

An augmentation is any callable

    (image, boxes, class_ids, rng) -> (image, boxes, class_ids)

with `image` uint8 `[H, W, C]`, `boxes` float32 `[N, 4]` (y1, x1, y2, x2) in its pixels with
(y2, x2) outside, `class_ids` int32 `[N]` (negative: a crowd region) and `rng` a
`numpy.random.Generator`, the only source of chance, so that one seed gives one result. It may
return an image of another size, and fewer boxes with as many class ids; it must not write into its
arguments. One that may swap an image's height and width has an attribute `turns` that is true.
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


# --- exact moves ----------------------------------------------------------------------------


def flip_left_right(image, boxes):
    """Mirrors an image `[H, W, C]` and its boxes `[N, 4]` about the vertical axis.

    Returns:
        image, a view, and boxes.
    """
    width = np.float32(image.shape[1])
    y1, x1, y2, x2 = boxes.T
    return image[:, ::-1], np.stack([y1, width - x2, y2, width - x1], axis=1)


def flip_up_down(image, boxes):
    """Mirrors an image `[H, W, C]` and its boxes `[N, 4]` about the horizontal axis.

    Returns:
        image, a view, and boxes.
    """
    height = np.float32(image.shape[0])
    y1, x1, y2, x2 = boxes.T
    return image[::-1], np.stack([height - y2, x1, height - y1, x2], axis=1)


def quarter_turn(image, boxes):
    """Turns an image `[H, W, C]` and its boxes `[N, 4]` by 90° counter-clockwise.

    Returns:
        image `[W, H, C]`, a view, and boxes.
    """
    width = np.float32(image.shape[1])
    y1, x1, y2, x2 = boxes.T
    return np.rot90(image), np.stack([width - x2, y1, width - x1, y2], axis=1)


def adjust(image, brightness, contrast):
    """Stretches gray levels about the middle by `contrast`, then adds `brightness` levels.

    Args:
        image: uint8 `[H, W, C]`.
        brightness: gray levels, 0 for no change.
        contrast: factor, 1 for no change.

    Returns:
        A new uint8 image, rounded, cut off at 0 and 255.
    """
    levels = (np.arange(256) - 127.5) * contrast + 127.5 + brightness
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)[image]


# --- presets --------------------------------------------------------------------------------


def flip(image, boxes, class_ids, rng):
    """The preset "flip": every second image, by chance, is mirrored left-right."""
    if rng.random() < 0.5:
        image, boxes = flip_left_right(image, boxes)
    return image, boxes, class_ids


def microscopy(image, boxes, class_ids, rng):
    """The preset "microscopy", for objects that lie any way round in uneven light.

    Left-right and up-down flips and quarter turns, all eight positions equally likely; brightness
    up to 25 gray levels up or down; contrast times 0.8 to 1.25.
    """
    if rng.random() < 0.5:
        image, boxes = flip_left_right(image, boxes)
    if rng.random() < 0.5:
        image, boxes = flip_up_down(image, boxes)
    if rng.random() < 0.5:
        image, boxes = quarter_turn(image, boxes)
    image = adjust(image, rng.uniform(-25, 25), np.exp(rng.uniform(-1, 1) * np.log(1.25)))
    return image, boxes, class_ids


# A turned image is as wide as it was high; a data set's common canvas must leave room for that.
microscopy.turns = True

PRESETS = {"flip": flip, "microscopy": microscopy}


def compose(*augmentations):
    """One augmentation that applies several, in this order.

    Args:
        *augmentations: each what `resolve` takes.
    """
    steps = [step for step in map(resolve, augmentations) if step is not None]

    def composed(image, boxes, class_ids, rng):
        for step in steps:
            image, boxes, class_ids = step(image, boxes, class_ids, rng)
        return image, boxes, class_ids

    composed.turns = any(getattr(step, "turns", False) for step in steps)
    return composed


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
