"""Augmentation of images together with their boxes: the presets, and what else may be given.

An augmentation is any callable

    (image, boxes, class_ids, rng) -> (image, boxes, class_ids)

with `image` uint8 `[H, W, C]`, `boxes` float32 `[N, 4]` (y1, x1, y2, x2) in its pixels with
(y2, x2) outside, `class_ids` int32 `[N]` (negative: a crowd region) and `rng` a
`numpy.random.Generator`, the only source of randomness, so that one seed gives one result. It may
return an image of another size, and fewer boxes with as many class ids; it must not write into its
arguments, and is called in several threads at once. One that may swap an image's height and width
has an attribute `turns` that is true. Boxes that it moves beyond the frame are cut or dropped
afterwards, see `frcnn.data.clipping.keep_visible`.

Keras preprocessing layers are accepted too, see `augment_keras`, and, where they are installed,
the transforms of Albumentations and of torchvision v2, see `augment_foreign`; any other library can
be wrapped in a callable of five lines, if its random numbers can be drawn from `rng`.

The presets use Pillow (`augment_ops`), which the library needs in any case. As of 2026 the
alternatives did not fit: Keras's layers (3.15) take about 30 ms for each geometric transformation
of a 1280x720 image, draw from a state of their own, are off by one pixel in the boxes of a quarter
turn, and some fail on images without boxes; Albumentations has not been maintained since 2025, and
its successor AlbumentationsX is under the AGPL; imgaug stopped in 2020 and fails with current
NumPy; torchvision and Kornia need PyTorch.
"""

import sys
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import numpy as np

from frcnn.arrays import Boxes, ClassIds, Image
from frcnn.data.augment_foreign import adapted, library_of
from frcnn.data.augment_ops import (
    add_noise,
    blur,
    flip_left_right,
    flip_up_down,
    place,
    recolor,
    to_array,
    to_planes,
    turn,
)
from frcnn.errors import ConfigError

# (image, boxes, class_ids, rng) -> (image, boxes, class_ids), as described above.
Augmentation: TypeAlias = Callable[[Image, Boxes, ClassIds, np.random.Generator],
                                   tuple[Image, Boxes, ClassIds]]
# What `resolve` takes; a Keras layer is Any, since Keras need not be loaded here.
AugmentationLike: TypeAlias = str | Augmentation | Any | None

# --- presets --------------------------------------------------------------------------------


def flip(image: Image, boxes: Boxes, class_ids: ClassIds,
         rng: np.random.Generator) -> tuple[Image, Boxes, ClassIds]:
    """The preset "flip": an image is mirrored horizontally with a probability of one half."""
    if rng.random() < 0.5:
        image, boxes = flip_left_right(image, boxes)
    return image, boxes, class_ids


def flips(image: Image, boxes: Boxes, class_ids: ClassIds,
          rng: np.random.Generator) -> tuple[Image, Boxes, ClassIds]:
    """The preset "flips": mirrored horizontally and vertically, each with a probability of 1/2."""
    if rng.random() < 0.5:
        image, boxes = flip_left_right(image, boxes)
    if rng.random() < 0.5:
        image, boxes = flip_up_down(image, boxes)
    return image, boxes, class_ids


def microscopy(image: Image, boxes: Boxes, class_ids: ClassIds,
               rng: np.random.Generator) -> tuple[Image, Boxes, ClassIds]:
    """The preset "microscopy", for objects of any orientation, in varying light and focus.

    Horizontal and vertical flips and quarter turns, all eight positions equally likely. Half of
    the images are scaled by 0.8 to 1.25 (as likely up as down) and shifted by up to a tenth of
    their sides, in a frame of the same size. Brightness changes by up to 25 gray levels, contrast
    by 0.8 to 1.25, and, of images with three channels, the hue by up to 10°. A fifth of the images
    is blurred, over up to 3 pixels, and half of them get noise of up to 5 gray levels.
    """
    planes, boxes = turn(to_planes(image), boxes, rng.random() < 0.5,
                         int(rng.integers(4)))
    if rng.random() < 0.5:
        planes, boxes = place(planes, boxes, _around_one(1.25, rng), rng.uniform(-0.1, 0.1, 2))
    planes = recolor(planes, rng.uniform(-25, 25), _around_one(1.25, rng),
                     rng.uniform(-10, 10) / 360)
    if rng.random() < 0.2:
        planes = blur(planes, rng.uniform(0.2, 1))
    image = to_array(planes)
    if rng.random() < 0.5:
        image = add_noise(image, rng.uniform(0, 5), rng)
    return image, boxes, class_ids


# After a quarter turn height and width are swapped; the data set's common canvas must hold both.
cast(Any, microscopy).turns = True

PRESETS: dict[str, Augmentation] = {"flip": flip, "flips": flips, "microscopy": microscopy}


def _around_one(factor: float, rng: np.random.Generator) -> float:
    """A number from 1 / `factor` to `factor`, as likely above 1 as below."""
    return float(np.exp(rng.uniform(-1, 1) * np.log(factor)))


# --- choosing -------------------------------------------------------------------------------


def compose(*augmentations: AugmentationLike) -> Augmentation:
    """One augmentation that applies several, in this order.

    Args:
        *augmentations: whatever `resolve` accepts.
    """
    steps = [step for step in map(resolve, augmentations) if step is not None]

    def composed(image: Image, boxes: Boxes, class_ids: ClassIds,
                 rng: np.random.Generator) -> tuple[Image, Boxes, ClassIds]:
        for step in steps:
            image, boxes, class_ids = step(image, boxes, class_ids, rng)
        return image, boxes, class_ids

    cast(Any, composed).turns = any(getattr(step, "turns", False) for step in steps)
    return composed


def resolve(augmentation: AugmentationLike) -> Augmentation | None:
    """The callable for an `augmentation=` argument.

    Args:
        augmentation: None, the name of a preset, a callable as above, a Keras preprocessing
            layer (also a `keras.layers.Pipeline` of several) built with
            `bounding_box_format="xyxy"`, or a transform of Albumentations or torchvision v2.

    Returns:
        A callable, or None for no augmentation.

    Raises:
        ConfigError: there is no such preset, the layer or transform cannot transform boxes, or it
            is an augmenter of imgaug; the message says what to take instead.
    """
    if isinstance(augmentation, str) and augmentation in PRESETS:
        return PRESETS[augmentation]
    keras = sys.modules.get("keras")  # not imported here: without it there is no layer either
    if keras is not None and isinstance(augmentation, keras.layers.Layer):
        from frcnn.data.augment_keras import KerasLayer

        return KerasLayer(augmentation)
    library = library_of(augmentation)
    if library is not None:
        return cast(Augmentation, adapted(augmentation, library))
    if augmentation is None or callable(augmentation):
        return augmentation
    raise ConfigError(f"augmentation is {augmentation!r}; allowed are None, one of the presets "
                      f"{', '.join(PRESETS)}, a Keras preprocessing layer, or a callable (image, "
                      "boxes, class_ids, rng) -> (image, boxes, class_ids).")
