"""How well anchors fit the objects of a data set, and which scales and ratios would fit better."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from frcnn.arrays import ClassIds, FloatArray
from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.data.resize import ResizePlan
from frcnn.errors import ArgumentError

# An object counts as covered by an anchor from this IoU on. Every object has one positive anchor,
# its best; one below this IoU differs so much that the RPN learns it late or never.
COVERED_IOU = 0.5
# From this IoU on an anchor is positive anyway, and a better one gains nothing.
ENOUGH_IOU = 0.7
# A class with a larger share of objects that are not covered is worth a warning, unless it has few.
MOST_UNCOVERED = 0.1
FEW_OBJECTS = 20
# Objects that the search looks at; more change the result by less than their choice does.
MOST_OBJECTS = 4000
_SCALE_STEPS = 4  # candidates for the smallest scale in each doubling
_SPREADS = (1.25, 1.5, 1.75, 2.0, 2.5, 3.0)  # candidates for the factor between two ratios


@dataclass(frozen=True)
class AnchorShapes:
    """The anchors of a pyramid, by what decides their IoU with an object.

    Attributes:
        scales: side length in pixels of a square anchor, one for each level.
        ratios: width over height, the same at every level.
        strides: pixels between two cells, one for each level.
        anchor_stride: cells between two anchors.
    """

    scales: tuple[float, ...]
    ratios: tuple[float, ...]
    strides: tuple[int, ...]
    anchor_stride: int = 1

    @classmethod
    def from_config(cls, config: Config) -> "AnchorShapes":
        """Those that a Config asks for."""
        return cls(tuple(map(float, config.RPN_ANCHOR_SCALES)),
                   tuple(map(float, config.RPN_ANCHOR_RATIOS)),
                   tuple(map(int, config.BACKBONE_STRIDES)), int(config.RPN_ANCHOR_STRIDE))


@dataclass(frozen=True)
class Objects:
    """The objects of a data set where the network sees them, crowds left out.

    Attributes:
        boxes: float64 `[N, 4]` (y1, x1, y2, x2), pixels of the molded images.
        image_shapes: float64 `[N, 2]`, (height, width) of the molded images.
        class_ids: int32 `[N]`.
    """

    boxes: FloatArray
    image_shapes: FloatArray
    class_ids: ClassIds

    def __len__(self) -> int:
        return len(self.boxes)

    def some(self, count: int, seed: int = 0) -> "Objects":
        """At most so many of them, drawn at random."""
        if len(self) <= count:
            return self
        chosen = np.random.default_rng(seed).choice(len(self), count, replace=False)
        return Objects(self.boxes[chosen], self.image_shapes[chosen], self.class_ids[chosen])


def molded_objects(dataset: Dataset, config: Config) -> Objects:
    """The objects of all images of a data set.

    Args:
        dataset: prepared.
        config: for the resize mode and the sizes.
    """
    boxes, shapes, classes = [np.zeros((0, 4))], [np.zeros((0, 2))], [np.zeros(0, np.int32)]
    for image_id in dataset.image_ids:
        found, class_ids = dataset.load_boxes(image_id)
        found, class_ids = found[class_ids > 0], class_ids[class_ids > 0]
        if not len(found):
            continue
        plan = ResizePlan.for_detection(_image_shape(dataset, image_id), config)
        boxes.append(plan.boxes_to_molded(found).astype(np.float64))
        shapes.append(np.broadcast_to(np.array(plan.molded_shape, float), (len(found), 2)))
        classes.append(class_ids)
    return Objects(np.concatenate(boxes), np.concatenate(shapes), np.concatenate(classes))


def _image_shape(dataset: Dataset, image_id: int) -> tuple[int, int]:
    info = dataset.image_info[image_id]
    if info.get("height") and info.get("width"):
        return info["height"], info["width"]
    shape = dataset.header_size(image_id) or np.shape(dataset.load_image(image_id))[:2]
    return int(shape[0]), int(shape[1])


def best_ious(objects: Objects, anchors: AnchorShapes) -> FloatArray:
    """Each object's IoU with its best anchor, level by level.

    The best anchor of a shape is the one whose centre is nearest, so that no other needs a look.

    Returns:
        float64 `[N, L, R]`, by object, level and ratio.
    """
    boxes, image_shapes = objects.boxes, objects.image_shapes
    sizes = boxes[:, 2:] - boxes[:, :2]
    centers = (boxes[:, 2:] + boxes[:, :2]) / 2
    roots = np.sqrt(np.asarray(anchors.ratios))
    ious = np.empty((len(boxes), len(anchors.scales), len(roots)))
    for level, (scale, stride) in enumerate(zip(anchors.scales, anchors.strides, strict=True)):
        step = stride * anchors.anchor_stride
        last = (np.ceil(np.ceil(image_shapes / stride) / anchors.anchor_stride) - 1) * step
        nearest = np.clip(np.rint(centers / step) * step, 0, last)
        offset = np.abs(centers - nearest)
        for place, root in enumerate(roots):
            sides = np.array([scale / root, scale * root])  # height, width
            shared = np.minimum(sizes, sides)
            overlap = np.clip((sizes + sides) / 2 - offset, 0, shared)
            inner = overlap.prod(axis=1)
            ious[:, level, place] = inner / (sizes.prod(axis=1) + sides.prod() - inner)
    return ious


def coverage(ious: FloatArray) -> float:
    """The share of objects whose best anchor reaches `COVERED_IOU`; NaN without objects."""
    return float((ious.max(axis=(1, 2)) >= COVERED_IOU).mean()) if len(ious) else float("nan")


def poorly_covered(objects: Objects, anchors: AnchorShapes) -> dict[int, float]:
    """The classes of whose objects more than `MOST_UNCOVERED` have no anchor of `COVERED_IOU`.

    Classes with fewer than `FEW_OBJECTS` are left out, as their shares are a matter of chance.

    Returns:
        Share of the objects without an anchor, by class id; the highest share first.
    """
    uncovered = best_ious(objects, anchors).max(axis=(1, 2)) < COVERED_IOU
    shares = {}
    for class_id in np.unique(objects.class_ids):
        own = uncovered[objects.class_ids == class_id]
        if len(own) >= FEW_OBJECTS and own.mean() > MOST_UNCOVERED:
            shares[int(class_id)] = float(own.mean())
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def fit_anchors(objects: Objects, anchors: AnchorShapes, seed: int = 0) -> AnchorShapes:
    """The scales and ratios with the best `anchor_score`, of some hundreds that are tried.

    Scales double from level to level, as the strides do; of ratios there are as many as before,
    each the same factor above the last.

    Args:
        objects: at least one.
        anchors: the present ones, for strides and numbers; they come back if nothing is better.
        seed: of the choice of `MOST_OBJECTS` objects where there are more.

    Raises:
        ValueError: there are no objects.
    """
    if not len(objects):
        raise ArgumentError("There are no objects to fit anchors to.")
    objects = objects.some(MOST_OBJECTS, seed)
    best, best_score = anchors, anchor_score(objects, anchors)
    for candidate in _candidates(objects.boxes, anchors):
        score = anchor_score(objects, candidate)
        if score > best_score + 1e-3:  # a gain that small is not worth other settings
            best, best_score = candidate, score
    return best


def anchor_score(objects: Objects, anchors: AnchorShapes) -> float:
    """How well the best anchors fit: their IoU, up to `ENOUGH_IOU`, less 1 for each object that is
    not covered; the mean of the classes' means, so that a rare class counts as much as a common
    one.
    """
    best = best_ious(objects, anchors).max(axis=(1, 2))
    values = np.minimum(best, ENOUGH_IOU) - (best < COVERED_IOU)
    return float(np.mean([values[objects.class_ids == class_id].mean()
                          for class_id in np.unique(objects.class_ids)]))


def _candidates(boxes: FloatArray, anchors: AnchorShapes) -> Iterator[AnchorShapes]:
    sizes = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
    middle = float(np.exp(np.median(np.log(sizes[:, 1] / sizes[:, 0]))))
    count, levels = len(anchors.ratios), len(anchors.scales)
    largest = float(np.sqrt(sizes.prod(axis=1)).max())
    smallest = 2.0 ** (np.arange(2 * _SCALE_STEPS, 8 * _SCALE_STEPS) / _SCALE_STEPS)
    for first in smallest[smallest <= max(largest, 4.0)]:
        scales = tuple(round(float(first * 2**level), 1) for level in range(levels))
        for centre in sorted({1.0, middle}):
            for spread in _SPREADS if count > 1 else (1.0,):
                powers = np.arange(count) - (count - 1) / 2
                ratios = tuple(round(float(centre * spread**power), 2) for power in powers)
                yield replace(anchors, scales=scales, ratios=ratios)
