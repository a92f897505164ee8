"""Detection in mirrored copies of the molded images, fused by weighted boxes fusion.

Source of the fusion: Solovyev et al. 2021 ("Weighted boxes fusion: Ensembling boxes from different
object detection models").
"""

from collections.abc import Sequence

import numpy as np

from frcnn.arrays import FloatArray, IntArray, Window
from frcnn.config import Config
from frcnn.data.image_meta import parse_image_meta
from frcnn.geometry.boxes import compute_overlaps
from frcnn.inference.stream import BatchDetector

# The axes of an image [H, W, C] that are reversed, for each of frcnn.config.FLIPS.
AXES: dict[str, tuple[int, ...]] = {"horizontal": (1,), "vertical": (0,), "both": (0, 1)}


class MirroredDetector:
    """Detects in each molded image and its mirrored copies, and fuses the results.

    The copies go through the detector one after the other, in batches of the same shape as the
    images themselves: no other shape is compiled, and one copy of a batch is in memory at a time.

    Args:
        detector: CompiledDetector.
        config: Config; `DETECTION_FLIPS`, `DETECTION_FUSION_IOU`, `DETECTION_MIN_CONFIDENCE` and
            `DETECTION_MAX_INSTANCES` are read.
    """

    def __init__(self, detector: BatchDetector, config: Config) -> None:
        self.detector, self.config = detector, config

    def __call__(self, molded: FloatArray, metas: FloatArray, most: int = 1) -> FloatArray:
        """Detects in one batch.

        Args:
            molded: float32 `[B, H, W, C]`.
            metas: float32 `[B, META]`; the picture is mirrored inside its window, so that the
                padding stays where it is and the metas serve all copies.
            most: as of CompiledDetector.

        Returns:
            float32 `[B, DETECTION_MAX_INSTANCES, 6]`: y1, x1, y2, x2 in pixels of the molded image,
            class id, fused score of `DETECTION_MIN_CONFIDENCE` or more; best first, zero rows after
            them.
        """
        windows = parse_image_meta(metas)["window"]
        copies = [self.detector(molded, metas, most)]
        for flip in self.config.DETECTION_FLIPS:
            rows = self.detector(mirrored_pictures(molded, windows, flip), metas, most)
            copies.append(mirrored_rows(rows, windows[:, None, :], flip))
        return np.stack([self._fused(of_image) for of_image in zip(*copies, strict=True)])

    def _fused(self, copies: Sequence[FloatArray]) -> FloatArray:
        """The rows of one image, from those of its copies."""
        rows = weighted_boxes_fusion(copies, self.config.DETECTION_FUSION_IOU).astype(np.float32)
        rows = rows[rows[:, 5] >= np.float32(self.config.DETECTION_MIN_CONFIDENCE)]
        fused = np.zeros((self.config.DETECTION_MAX_INSTANCES, 6), np.float32)
        rows = rows[:len(fused)]
        fused[:len(rows)] = rows
        return fused


def mirrored_pictures(molded: FloatArray, windows: IntArray | Sequence[Window],
                      flip: str) -> FloatArray:
    """Copies of molded images, mirrored inside their windows; the padding stays.

    Args:
        molded: `[B, H, W, C]`.
        windows: `[B, 4]` whole pixels: (y1, x1, y2, x2).
        flip: one of `frcnn.config.FLIPS`.
    """
    copies = molded.copy()
    for image, copy, (y1, x1, y2, x2) in zip(molded, copies, windows, strict=True):
        copy[y1:y2, x1:x2] = np.flip(image[y1:y2, x1:x2], AXES[flip])
    return copies


def mirrored_rows(rows: FloatArray, windows: IntArray, flip: str) -> FloatArray:
    """Detections whose boxes are mirrored inside a window; the inverse is the same again.

    Args:
        rows: `[..., 6]`: y1, x1, y2, x2 in pixels of the molded image, class id, score; rows of
            class 0 are padding, with boxes of no meaning.
        windows: `[..., 4]`, broadcast against the rows.
        flip: one of `frcnn.config.FLIPS`.

    Returns:
        float64 `[..., 6]`.
    """
    mirrored = rows.astype(np.float64)
    for axis in AXES[flip]:
        ends = windows[..., axis] + windows[..., axis + 2]
        mirrored[..., axis] = ends - rows[..., axis + 2]
        mirrored[..., axis + 2] = ends - rows[..., axis]
    return mirrored


def weighted_boxes_fusion(copies: Sequence[FloatArray], iou_threshold: float) -> FloatArray:
    """Fuses the detections that were made in several copies of one image.

    By descending score, each detection joins the cluster of its class whose fused box it overlaps
    most, if the IoU is above the threshold, or else begins a cluster. The fused box is the mean of
    the cluster's boxes weighted by score; the fused score is their mean score times min(T, N) / N
    for T boxes and N copies, so that what only some of the copies show scores less. Of equal scores
    the earlier copy's precedes.

    Other than in the paper, a cluster takes one detection of each copy, so that T is at most N: two
    detections of one copy that suppression kept are different objects, or, after Soft-NMS, one
    object and boxes of low scores around it, which would lower the mean score of every object.

    Args:
        copies: one array `[K, 6]` for each copy: y1, x1, y2, x2 in the same pixels for all, class
            id, score; rows of class 0 are padding. Rows with NaN or infinity are left out.
        iou_threshold: see above.

    Returns:
        float64 `[K, 6]`, best first.
    """
    rows = np.concatenate([np.asarray(copy, np.float64).reshape(-1, 6) for copy in copies])
    sources = np.repeat(np.arange(len(copies)), [len(copy) for copy in copies])
    order = np.argsort(-rows[:, 5], kind="stable")
    order = order[(rows[order, 4] > 0) & np.isfinite(rows[order]).all(axis=1)]
    rows, sources = rows[order], sources[order]
    fused = []
    for class_id in np.unique(rows[:, 4]):
        of_class = rows[:, 4] == class_id
        fused.append(_fused_class(rows[of_class], sources[of_class], iou_threshold, len(copies)))
    rows = np.concatenate([rows[:0], *fused])
    return rows[np.argsort(-rows[:, 5], kind="stable")]


def _fused_class(rows: FloatArray, sources: IntArray, iou_threshold: float,
                 copies: int) -> FloatArray:
    """One row for each cluster of the rows `[K, 6]` of one class, which are sorted by score.

    `sources` `[K]` are the numbers of the copies that the rows come from.
    """
    boxes, scores = np.zeros((len(rows), 4)), np.zeros(len(rows))
    has = np.zeros((len(rows), copies), bool)  # which copies a cluster has a box of
    clusters = 0
    for box, score, source in zip(rows[:, :4], rows[:, 5], sources, strict=True):
        overlaps = compute_overlaps(boxes[:clusters], box[None])[:, 0]
        overlaps[has[:clusters, source]] = -1
        cluster = int(overlaps.argmax()) if clusters else 0
        if not clusters or overlaps[cluster] <= iou_threshold:
            cluster, boxes[clusters] = clusters, box
            clusters += 1
        scores[cluster] += score
        has[cluster, source] = True
        if score > 0:
            boxes[cluster] += (box - boxes[cluster]) * (score / scores[cluster])
    # The mean of T scores times T / N is their sum over N.
    return np.column_stack([boxes[:clusters], np.full(clusters, rows[0, 4]),
                            scores[:clusters] / copies])
