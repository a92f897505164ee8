"""Augmentation that moves boxes with pixels.

An augmentation is any callable

    (image, boxes, class_ids, rng) -> (image, boxes, class_ids)

with `image` uint8 `[H, W, C]`, `boxes` float32 `[N, 4]` (y1, x1, y2, x2) in its pixels with
(y2, x2) outside, `class_ids` int32 `[N]` (negative: a crowd region) and `rng` a
`numpy.random.Generator`, the only source of chance, so that one seed gives one result. It may
return an image of another size, and fewer boxes with as many class ids; it must not write into its
arguments, and is called in several threads at once. One that may swap an image's height and width
has an attribute `turns` that is true. Boxes that it moves beyond the frame are cut or dropped
afterwards, as `keep_visible` says.

Keras's own preprocessing layers are taken too, see `augment_keras`; and any other library fits
behind a callable of five lines, if its chance can be drawn from `rng`.

What the presets do to pixels is Pillow's work (`augment_ops`), which the library needs in
any case. What else there is did not fit, as of 2026: Keras's layers (3.15) take about 30 ms for
each move of a 1280x720 image, draw from a state of their own, put the boxes of a quarter turn one
pixel aside, and some fail on images without boxes; Albumentations has not been maintained since
2025, and its successor AlbumentationsX is under the AGPL; imgaug stopped in 2020 and breaks on
today's NumPy; torchvision and Kornia need PyTorch.
"""

import sys

import numpy as np

from frcnn.data.augment_ops import (
    add_noise,
    blur,
    flip_left_right,
    place,
    recolour,
    to_array,
    to_planes,
    turn,
)
from frcnn.errors import ConfigError

# --- presets --------------------------------------------------------------------------------


def flip(image, boxes, class_ids, rng):
    """The preset "flip": every second image, by chance, is mirrored left-right."""
    if rng.random() < 0.5:
        image, boxes = flip_left_right(image, boxes)
    return image, boxes, class_ids


def microscopy(image, boxes, class_ids, rng):
    """The preset "microscopy", for objects that lie any way round, in light and focus that vary.

    Left-right and up-down flips and quarter turns, all eight positions equally likely. Every
    second image is scaled by 0.8 to 1.25 (as likely up as down) and shifted by up to a tenth of
    its sides, in a frame that stays as large as it was. Brightness changes by up to 25 gray levels,
    contrast by 0.8 to 1.25, and, of images with three channels, the hue by up to 10°. Every fifth
    image is blurred, over up to 3 pixels, and every second one gets noise of up to 5 gray levels.
    """
    planes, boxes = turn(to_planes(image), boxes, rng.random() < 0.5, rng.integers(4))
    if rng.random() < 0.5:
        planes, boxes = place(planes, boxes, _around_one(1.25, rng), rng.uniform(-0.1, 0.1, 2))
    planes = recolour(planes, rng.uniform(-25, 25), _around_one(1.25, rng),
                      rng.uniform(-10, 10) / 360)
    if rng.random() < 0.2:
        planes = blur(planes, rng.uniform(0.2, 1))
    image = to_array(planes)
    if rng.random() < 0.5:
        image = add_noise(image, rng.uniform(0, 5), rng)
    return image, boxes, class_ids


# A turned image is as wide as it was high; a data set's common canvas must leave room for that.
microscopy.turns = True

PRESETS = {"flip": flip, "microscopy": microscopy}


def _around_one(factor, rng):
    """A number from 1 / `factor` to `factor`, as likely above 1 as below."""
    return float(np.exp(rng.uniform(-1, 1) * np.log(factor)))


# --- choosing -------------------------------------------------------------------------------


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
        augmentation: None, the name of a preset, a callable as above, or a Keras preprocessing
            layer (also a `keras.layers.Pipeline` of several) built with
            `bounding_box_format="xyxy"`.

    Returns:
        A callable, or None for none.

    Raises:
        ConfigError: there is no such preset, or the layer cannot move boxes.
    """
    if isinstance(augmentation, str) and augmentation in PRESETS:
        return PRESETS[augmentation]
    keras = sys.modules.get("keras")  # who has no layers need not load it
    if keras is not None and isinstance(augmentation, keras.layers.Layer):
        from frcnn.data.augment_keras import KerasLayer

        return KerasLayer(augmentation)
    if augmentation is None or callable(augmentation):
        return augmentation
    raise ConfigError(f"augmentation is {augmentation!r}; allowed are None, one of the presets "
                      f"{', '.join(PRESETS)}, a Keras preprocessing layer, or a callable (image, "
                      "boxes, class_ids, rng) -> (image, boxes, class_ids).")
