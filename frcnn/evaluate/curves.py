"""Errors of a detector on a data set: precision against recall by class, and the confusion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from frcnn.arrays import IntArray
from frcnn.evaluate.coco import Results, class_labels, detections_of, image_ids_of, run_coco
from frcnn.evaluate.matching import IOU_THRESHOLD, ImageMatches, match_image

if TYPE_CHECKING:
    from frcnn.data.dataset import Dataset

Curve: TypeAlias = dict[str, Any]  # see `precision_recall_curves`


def precision_recall_curves(dataset: Dataset, results: Results,
                            image_ids: Iterable[int] | None = None, max_detections: int = 100,
                            iou_threshold: float = IOU_THRESHOLD) -> dict[str, Curve]:
    """Precision at 101 recalls for each class, as COCO interpolates it.

    Args:
        dataset: a prepared Dataset.
        results: dict, internal image id → result of `detect`, as for `evaluate_detections`.
        image_ids: internal ids of the images; None takes them all.
        max_detections: best detections of each image that count, for each class.
        iou_threshold: least IoU of a hit.

    Returns:
        dict: class name → `class_id`, `iou_threshold`, `AP` (float), `recalls`, `precisions`
        (float64 `[101]`, never rising, 0 beyond the highest recall) and `scores` (float64 `[101]`,
        the score threshold that reaches the recall, 0 beyond it). A class without objects is left
        out.

    Raises:
        ValueError, KeyError: as of `evaluate_detections`.
    """
    evaluation = run_coco(dataset, results, image_ids_of(dataset, image_ids), max_detections,
                          iou_thresholds=[iou_threshold])
    precisions = evaluation.eval["precision"][0, :, :, 0, -1]  # [recall, class]
    scores = evaluation.eval["scores"][0, :, :, 0, -1]
    curves, labels = {}, class_labels(dataset)
    for column, class_id in enumerate(evaluation.params.catIds):
        if (precisions[:, column] > -1).all():
            curves[labels[class_id]] = {
                "class_id": int(class_id),
                "iou_threshold": float(iou_threshold),
                "AP": float(precisions[:, column].mean()),
                "recalls": np.array(evaluation.params.recThrs),
                "precisions": precisions[:, column],
                "scores": scores[:, column],
            }
    return curves


def confusion_matrix(dataset: Dataset, results: Results, image_ids: Iterable[int] | None = None, *,
                     iou_threshold: float = IOU_THRESHOLD, score_threshold: float = 0.5
                     ) -> IntArray:
    """Counts which classes are taken for which, over a data set.

    Detections are first matched with objects of their own class, as by `compute_matches`; what is
    left on both sides is then paired across classes. Unmatched detections inside a crowd region of
    their class do not count.

    Args:
        dataset: a prepared Dataset.
        results: dict, internal image id → result of `detect`.
        image_ids: internal ids of the images; None takes them all.
        iou_threshold: least IoU of a pair.
        score_threshold: detections with a lower score do not count.

    Returns:
        int64 `[num_classes, num_classes]`: row = the object's class, column = the detection's;
        column 0 counts the objects that were missed, row 0 the detections where there is no object.

    Raises:
        ValueError: as of `evaluate_detections`.
    """
    counts = np.zeros((dataset.num_classes, dataset.num_classes), np.int64)
    for image_id in image_ids_of(dataset, image_ids):
        boxes, class_ids = dataset.load_boxes(image_id)
        matches = match_image(
            boxes, class_ids, *detections_of(dataset, image_id, results.get(image_id)),
            iou_threshold=iou_threshold, score_threshold=score_threshold)
        _count_pairs(counts, matches)
    return counts


def _count_pairs(counts: IntArray, matches: ImageMatches) -> None:
    """Adds one image to the counts."""
    class_ids = matches.gt_class_ids
    pairs = np.where(matches.pred_match >= 0, matches.pred_match, matches.confused_with)
    for i, j in enumerate(pairs):
        if j >= 0 or not matches.in_crowd[i]:
            counts[class_ids[j] if j >= 0 else 0, matches.class_ids[i]] += 1
    missed = np.setdiff1d(np.flatnonzero(class_ids > 0), pairs)
    np.add.at(counts[:, 0], class_ids[missed], 1)
