"""Contents of a data set: images, objects by class, sizes of images and boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from frcnn.arrays import Array, FloatArray, IntArray
from frcnn.data.resize import ResizePlan
from frcnn.evaluate.coco import class_labels, image_ids_of

if TYPE_CHECKING:
    from frcnn.config import Config
    from frcnn.data.dataset import Dataset

Statistics: TypeAlias = dict[str, Any]  # see `describe_dataset`

PERCENTILES = (5, 50, 95)


class SizeRange(NamedTuple):
    """One of COCO's ranges of an object's area in pixels, and the metric that is its AP."""

    name: str
    metric: str
    text: str
    lowest: float
    limit: float  # the first area above the range


SIZE_RANGES = (SizeRange("small", "APs", "below 32² pixels", 0, 32**2),
               SizeRange("medium", "APm", "32² to 96² pixels", 32**2, 96**2),
               SizeRange("large", "APl", "96² pixels and above", 96**2, float("inf")))


def describe_dataset(dataset: Dataset, image_ids: Iterable[int] | None = None,
                     config: Config | None = None) -> Statistics:
    """Counts images and objects, and measures them.

    A box's side is the square root of its area, in pixels. Crowd regions count as crowds only.

    Args:
        dataset: a prepared Dataset.
        image_ids: internal ids of the images; None takes them all.
        config: Config, for the sides in the images as the network gets them, resized; or None.

    Returns:
        dict:
        `images`, `empty` (images without objects), `objects`, `crowds`: int;
        `per_image`: (mean, most) objects an image, floats;
        `image_sizes`: list of (width, height, count), most frequent first, of the images whose
        `image_info` has their size;
        `by_size`: how many objects are in each of SIZE_RANGES: list of int;
        `class_ids` int `[N]`, `sides` float64 `[N]`, `resized` float64 `[N]` or None (no config, or
        an image's size is unknown): of each object;
        `classes`: list of dicts, one a class: `class_id`, `name`, `objects`, `images` (that have
        one), `sides` (5 %, median, 95 %, or None without objects).
    """
    counts: list[int] = []
    sizes: Counter[tuple[int, int]] = Counter()
    crowds = 0
    by_image: list[tuple[Array, ...]] = []  # class ids, sides, scales, image ids
    for image_id in image_ids_of(dataset, image_ids):
        boxes, ids = dataset.load_boxes(image_id)
        boxes, ids = np.asarray(boxes, float).reshape(-1, 4), np.asarray(ids, int)
        crowds += int(np.count_nonzero(ids < 0))
        boxes, ids = boxes[ids > 0], ids[ids > 0]
        size = _size(dataset, image_id)
        if size is not None:
            sizes[size] += 1
        counts.append(len(ids))
        by_image.append((ids, np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)),
                         np.full(len(ids), _scale(size, config)), np.full(len(ids), image_id)))
    empty = (np.zeros(0, int), np.zeros(0), np.zeros(0), np.zeros(0, int))
    class_ids, sides, scales, owners = map(np.concatenate, zip(empty, *by_image))
    return {
        "images": len(counts), "empty": counts.count(0), "objects": sum(counts), "crowds": crowds,
        "per_image": (float(np.mean(counts or [0])), max(counts, default=0)),
        "image_sizes": [(*size, count) for size, count in sizes.most_common()],
        "by_size": [int(np.count_nonzero((sides**2 >= area.lowest) & (sides**2 < area.limit)))
                    for area in SIZE_RANGES],
        "class_ids": class_ids, "sides": sides,
        "resized": sides * scales if np.isfinite(scales).all() else None,
        "classes": [_of_class(class_id, name, class_ids, sides, owners)
                    for class_id, name in enumerate(class_labels(dataset)) if class_id],
    }


def _of_class(class_id: int, name: str, class_ids: IntArray, sides: FloatArray, owners: IntArray
              ) -> dict[str, Any]:
    own = class_ids == class_id
    return {"class_id": class_id, "name": name, "objects": int(np.count_nonzero(own)),
            "images": len(np.unique(owners[own])),
            "sides": tuple(np.percentile(sides[own], PERCENTILES)) if own.any() else None}


def _size(dataset: Dataset, image_id: int) -> tuple[int, int] | None:
    """(width, height) of an image from `image_info`; None where that does not have it."""
    info = dataset.image_info[image_id]
    width, height = info.get("width"), info.get("height")
    return (int(width), int(height)) if width and height else None


def _scale(size: tuple[int, int] | None, config: Config | None) -> float:
    """The factor by which an image of (width, height) is resized; NaN where that is unknown."""
    if config is None or size is None:
        return float("nan")
    width, height = size
    return ResizePlan.for_detection((height, width), config).scale
