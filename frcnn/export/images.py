"""Pictures for the comparison of an exported file with its model: drawn ones, and a choice."""

from collections.abc import Sequence

import numpy as np

from frcnn.arrays import Image
from frcnn.config import Config
from frcnn.data.resize import ResizePlan

SHAPES = ((1.0, 1.0), (0.6, 1.0), (1.0, 0.45))  # of IMAGE_MAX_DIM


def drawn_images(config: Config, sides: tuple[int, int] | None = None) -> list[Image]:
    """Pictures of ellipses on a rough ground, the same every time, of several sizes.

    Args:
        config: for the channels and the size of images.
        sides: (height, width) of all pictures; None for sizes in proportion to IMAGE_MAX_DIM.
    """
    rng = np.random.default_rng(7)
    largest = int(config.IMAGE_MAX_DIM)
    return [_picture(*(sides or (max(8, int(height * largest)), max(8, int(width * largest)))),
                     int(config.IMAGE_CHANNEL_COUNT), rng) for height, width in SHAPES]


def images_of_shape(images: Sequence[Image], shape: tuple[int, int] | None,
                    config: Config) -> list[Image]:
    """Those of the images that are molded to a shape; all of them for None.

    The runtime pads smaller ones to the only size of a file, which changes what is found in them a
    little; so only these can be compared to the model's detections.
    """
    return [image for image in images
            if shape is None or ResizePlan.for_detection(image.shape, config).molded_shape == shape]


def sides_molded_to(shape: tuple[int, int], config: Config) -> tuple[int, int]:
    """(height, width) of an image that is molded to a shape; the shape if none was found.

    It is smaller than the molded image where IMAGE_MIN_DIM or IMAGE_MIN_SCALE enlarge it.
    """
    channels = int(config.IMAGE_CHANNEL_COUNT)
    height, width = ResizePlan.for_detection((*shape, channels), config).molded_shape
    smaller = max(1, shape[0] * shape[0] // height), max(1, shape[1] * shape[1] // width)
    is_found = ResizePlan.for_detection((*smaller, channels), config).molded_shape == shape
    return smaller if is_found else shape


def _picture(height: int, width: int, channels: int, rng: np.random.Generator) -> Image:
    y, x = np.mgrid[:height, :width]
    picture = 170 + 20 * np.sin(y / 37.0 + rng.uniform(0, 6))[..., None] \
        + rng.normal(0, 6, (height, width, channels))
    for _ in range(24):
        side = rng.uniform(0.02, 0.2, 2) * (height, width) + 3
        center = rng.uniform(0, 1, 2) * (height, width)
        distance = ((y - center[0]) / side[0])**2 + ((x - center[1]) / side[1])**2
        color = rng.uniform(20, 235, channels)
        part = rng.uniform(0.5, 0.95)
        inside = (distance < 1)[..., None]
        picture = np.where(inside, (1 - part) * picture + part * color, picture)
    return picture.clip(0, 255).astype(np.uint8)
