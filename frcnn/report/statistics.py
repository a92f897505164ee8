"""What a data set holds: images, objects by class, sizes of images and boxes."""

from collections import Counter

import numpy as np

from frcnn.data.resize import ResizePlan
from frcnn.evaluate.coco import class_labels, image_ids_of

PERCENTILES = (5, 50, 95)
AREAS = ((0, 32**2), (32**2, 96**2), (96**2, float("inf")))  # COCO's small, medium and large


def describe_dataset(dataset, image_ids=None, config=None):
    """Counts images and objects, and measures them.

    A box's side is the square root of its area, in pixels. Crowd regions count as crowds only.

    Args:
        dataset: a prepared Dataset.
        image_ids: internal ids of the images; None takes them all.
        config: Config, for the sides as the network sees them, once images are resized; or None.

    Returns:
        dict:
        `images`, `empty` (images without objects), `objects`, `crowds`: int;
        `per_image`: (mean, most) objects an image, floats;
        `image_sizes`: list of (width, height, how many), most frequent first, of the images whose
        `image_info` tells their size;
        `by_size`: how many objects are small, medium and large as COCO draws the lines: 3 ints;
        `class_ids` int `[N]`, `sides` float64 `[N]`, `resized` float64 `[N]` or None (no config, or
        an image's size is unknown): of each object;
        `classes`: list of dicts, one a class: `class_id`, `name`, `objects`, `images` (that hold
        one), `sides` (5 %, median, 95 %, or None without objects).
    """
    counts, sizes, crowds = [], Counter(), 0
    class_ids, sides, scales, owners = [], [], [], []
    for image_id in image_ids_of(dataset, image_ids):
        boxes, ids = dataset.load_boxes(image_id)
        boxes, ids = np.asarray(boxes, float).reshape(-1, 4), np.asarray(ids, int)
        crowds += int(np.count_nonzero(ids < 0))
        boxes, ids = boxes[ids > 0], ids[ids > 0]
        info = dataset.image_info[image_id]
        size = (info.get("width"), info.get("height"))
        if all(size):
            sizes[size] += 1
        counts.append(len(ids))
        class_ids.append(ids)
        sides.append(np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)))
        scales.append(np.full(len(ids), _scale(size, config)))
        owners.append(np.full(len(ids), image_id))
    class_ids, owners = (_joined(each).astype(int) for each in (class_ids, owners))
    sides, scales = _joined(sides), _joined(scales)
    return {
        "images": len(counts), "empty": counts.count(0), "objects": sum(counts), "crowds": crowds,
        "per_image": (float(np.mean(counts or [0])), max(counts, default=0)),
        "image_sizes": [(*size, count) for size, count in sizes.most_common()],
        "by_size": [int(np.count_nonzero((sides**2 >= low) & (sides**2 < high)))
                    for low, high in AREAS],
        "class_ids": class_ids, "sides": sides,
        "resized": sides * scales if np.isfinite(scales).all() else None,
        "classes": [_of_class(class_id, name, class_ids, sides, owners)
                    for class_id, name in enumerate(class_labels(dataset)) if class_id],
    }


def _of_class(class_id, name, class_ids, sides, owners):
    own = class_ids == class_id
    return {"class_id": class_id, "name": name, "objects": int(np.count_nonzero(own)),
            "images": len(np.unique(owners[own])),
            "sides": tuple(np.percentile(sides[own], PERCENTILES)) if own.any() else None}


def _scale(size, config):
    """The factor by which an image of (width, height) is resized; NaN where that is unknown."""
    if config is None or not all(size):
        return np.nan
    return ResizePlan.for_detection((size[1], size[0]), config).scale


def _joined(arrays):
    return np.concatenate(arrays) if arrays else np.zeros(0)
