"""Random scales in training: whole images at other scales, or parts around an object enlarged.

The molded image keeps the shape of the data set's canvas whatever the scale, so that the network is
compiled once: a picture larger than the canvas is cropped, a smaller one is padded with zeros.
"""

import numpy as np

from frcnn.arrays import Boxes, ClassIds, Shape
from frcnn.config import SQUARE_MODES, Config
from frcnn.data.resize import ResizePlan

MAX_ZOOM = 2.0  # limit of the factor by which the surroundings of an object are enlarged


def draws_zoom(config: Config) -> bool:
    """Whether the config asks for random scales."""
    return config.MULTI_SCALE is not None or config.CROP_OBJECTS > 0


def zoomed_plan(shape: Shape, boxes: Boxes, class_ids: ClassIds, config: Config,
                rng: np.random.Generator, canvas: Shape | None = None) -> ResizePlan:
    """A resize plan with a random scale, by MULTI_SCALE and CROP_OBJECTS.

    With the probability CROP_OBJECTS an image with objects is enlarged by 1 to `MAX_ZOOM`, and a
    part that contains a random object is cut out; an object that would be larger than the canvas
    limits the factor. All other images are scaled by a factor from MULTI_SCALE, or, without it, as
    always. Factors are drawn log-uniformly and multiply the scale of the resize mode.

    Args:
        shape: `(height, width, ...)` of the image.
        boxes: float32 `[N, 4]` pixels of the image.
        class_ids: int32 `[N]`, negative for crowd regions.
        config: for the recipes and the resize mode.
        rng: the only source of randomness.
        canvas: `(height, width)` of the molded image; None for the mode's own size.
    """
    plan = ResizePlan.for_detection(shape, config)
    if canvas is None:
        canvas = config.IMAGE_SHAPE[:2] if config.IMAGE_RESIZE_MODE in SQUARE_MODES \
            else plan.molded_shape
    objects = boxes[class_ids > 0]
    if len(objects) and rng.random() < config.CROP_OBJECTS:
        target = objects[rng.integers(len(objects))]
        sides = np.maximum((target[2:] - target[:2]) * plan.scale, 1)
        limit = min(MAX_ZOOM, *(np.asarray(canvas[:2]) / sides))
        factor = _log_uniform(1, max(1.0, limit), rng)
        return plan.zoomed(factor, canvas, rng, target)
    if config.MULTI_SCALE is None:
        return ResizePlan.for_training(shape, config, rng)
    low, high = config.MULTI_SCALE
    return plan.zoomed(_log_uniform(low, high, rng), canvas, rng)


def _log_uniform(low: float, high: float, rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
