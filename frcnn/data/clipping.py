"""Clipping of true boxes to their image: one rule, applied at three points on the way to a batch.

1. A reader clips when it reads an annotation file (`clip_box`): only there does a message have the
   annotation's id, and a box that is dropped or clipped becomes a `Finding`.
2. `load_image_gt` clips what `Dataset.load_boxes` returned (`clip_to_image`): a subclass may
   return anything, and the size that a reader clipped to is the declared one, which may be wrong.
3. `load_image_gt` clips again after an augmentation and after a crop (`keep_visible`): both move
   boxes beyond the edge, and what is left of an object may be too little to learn from.

Resizing and padding move an image and its boxes alike, so nothing is clipped after them, nor when
targets are made.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from frcnn.arrays import BoolArray, Boxes, ClassIds, Shape
from frcnn.data.findings import Finding
from frcnn.geometry.boxes import clip_boxes

# A box thinner than this after clipping, in pixels, counts as empty: it cannot be learned.
MIN_BOX_SIDE = 0.1
# Boxes that overshoot the image by less than this, in pixels, are clipped without a finding.
CLIP_TOLERANCE = 0.01
# After a move, a box of which less than this part is left inside the frame is dropped.
MIN_VISIBLE = 0.25


def clip_box(full: Sequence[float], width: float, height: float, what: str,
             findings: list[Finding], **ids: Any) -> list[float] | None:
    """Clips one box of an annotation to its image, and adds a finding where that changes it.

    Args:
        full: `(y1, x1, y2, x2)`, four finite numbers in pixels.
        width: of the image, pixels; infinite where it is unknown.
        height: of the image, pixels; infinite where it is unknown.
        what: begins the message of a finding, such as "Annotation 3 (image 1): the box [1, 2]".
        findings: list that repairs are added to.
        **ids: `image_id` and `annotation_id` of the finding.

    Returns:
        The box `[y1, x1, y2, x2]` inside the image, or None when nothing is left of it.
    """
    # Not `clip_to_image`: an array for each box would make reading a large file much slower.
    limits = (height, width, height, width)
    box = [min(max(value, 0.0), limit) for value, limit in zip(full, limits)]

    def found(kind: str, text: str) -> None:
        findings.append(Finding(kind, f"{what} {text}", repairable=True, **ids))

    if min(full[2] - full[0], full[3] - full[1]) < MIN_BOX_SIDE:
        found("empty or inverted box", "is empty; dropped.")
        return None
    if min(box[2] - box[0], box[3] - box[1]) < MIN_BOX_SIDE:
        found("box outside the image", f"lies outside the image of {width}x{height} pixels; "
                                       "dropped.")
        return None
    if max(abs(a - b) for a, b in zip(full, box)) > CLIP_TOLERANCE:
        found("box beyond the image's edge", f"reaches beyond the image of {width}x{height} "
                                             "pixels; clipped.")
    return box


def clip_to_image(boxes: Boxes, shape: Shape | Sequence[float]) -> Boxes:
    """Boxes `[N, 4]` clipped to an image `(height, width, ...)`; those outside become empty."""
    return clip_boxes(boxes, (0, 0, shape[0], shape[1]))


def has_area(boxes: Boxes) -> BoolArray:
    """Which of the boxes `[N, 4]` are neither empty nor inverted, `[N]`."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def keep_visible(boxes: Boxes, class_ids: ClassIds, shape: Shape) -> tuple[Boxes, ClassIds]:
    """Clips boxes to the frame and drops those that have all but left it.

    The rule, for a crop, a shift or a rotation: what is left of an object must be at least one
    pixel high and wide and MIN_VISIBLE of its area. A crowd region stays as long as anything is
    left of it, so that nothing inside it counts as background.

    Args:
        boxes: float32 `[N, 4]` pixels, which may reach beyond the frame.
        class_ids: int32 `[N]`.
        shape: `(height, width, ...)` of the frame.

    Returns:
        boxes `[M, 4]` inside the frame and class ids `[M]`, in the same order.
    """
    cut = clip_to_image(boxes, shape)
    sides, full = cut[:, 2:] - cut[:, :2], boxes[:, 2:] - boxes[:, :2]
    left = sides.prod(axis=1)
    # An object smaller than a pixel before the cut need not be larger after it.
    visible = (sides >= np.minimum(1, full)).all(axis=1) & (left >= MIN_VISIBLE * full.prod(axis=1))
    kept = (left > 0) & (visible | (class_ids < 0))
    return cut[kept], class_ids[kept]
