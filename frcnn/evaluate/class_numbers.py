"""Whether detections fit the objects but for their classes, as where these are numbered otherwise.
"""

import warnings
from collections.abc import Iterable

import numpy as np

from frcnn.arrays import Array, IntArray
from frcnn.geometry.boxes import compute_overlaps

_FEWEST_PAIRS = 10
_PAIR_IOU = 0.5
# The classes are exchanged where at most this share of the pairs agree, and where so many have the
# one class that takes the place of theirs.
_AGREEING, _EXCHANGED = 0.1, 0.9

# Boxes [N, 4] and class ids [N] of the objects of an image, and of its detections.
Pairing = tuple[Array, Array, Array, Array]


def exchanged_classes(images: Iterable[Pairing], num_classes: int) -> dict[int, int]:
    """Which class ids of the objects appear as which others in the detections.

    Each object is paired with the detection of the highest IoU, of any class.

    Args:
        images: boxes and class ids of objects, then of detections; crowd regions are ignored.
        num_classes: background included.

    Returns:
        `{class id of objects: class id of detections}`; empty unless nearly all pairs disagree, and
        each class is consistently replaced by one of its own.
    """
    counts: IntArray = np.zeros((num_classes, num_classes), int)
    for true_boxes, true_ids, boxes, class_ids in images:
        true_boxes, true_ids = np.asarray(true_boxes, float), np.asarray(true_ids, int)
        real = true_ids > 0
        if not real.any() or not len(boxes):
            continue
        overlaps = compute_overlaps(true_boxes[real], boxes)
        paired = overlaps.max(axis=1) >= _PAIR_IOU
        np.add.at(counts, (true_ids[real][paired], class_ids[overlaps.argmax(axis=1)][paired]), 1)
    total = counts.sum()
    if total < _FEWEST_PAIRS or counts.trace() > _AGREEING * total:
        return {}
    present = np.flatnonzero(counts.sum(axis=1))
    instead = counts[present].argmax(axis=1)
    consistent = counts[present, instead].sum() >= _EXCHANGED * total
    if len(present) < 2 or len(set(instead.tolist())) < len(present) or not consistent:
        return {}
    return dict(zip(present.tolist(), instead.tolist()))


def warn_of_exchanged_classes(exchanged: dict[int, int], names: list[str],
                              stacklevel: int = 1) -> None:
    """Warns of the result of `exchanged_classes`, if there is one."""
    if exchanged:
        listed = ", ".join(f"{names[ours]!r} as {names[theirs]!r}"
                           for ours, theirs in exchanged.items())
        warnings.warn(f"The detections fit the objects, but not their classes: {listed}. Does the "
                      "data set number its classes otherwise than the training data?",
                      stacklevel=stacklevel + 1)
