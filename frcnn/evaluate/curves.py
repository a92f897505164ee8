"""Where a detector errs on a data set: precision against recall by class, and the confusion."""

import numpy as np

from frcnn.evaluate.coco import class_labels, detections_of, image_ids_of, run_coco
from frcnn.evaluate.matching import compute_matches, lies_in_crowd, match_leftovers


def precision_recall_curves(dataset, results, image_ids=None, max_detections=100,
                            iou_threshold=0.5):
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


def confusion_matrix(dataset, results, image_ids=None, *, iou_threshold=0.5, score_threshold=0.5):
    """Counts which classes are taken for which, over a data set.

    Detections first take objects of their own class, as `compute_matches` gives them; what is left
    on both sides is then paired across classes. Detections in a crowd of their class do not count.

    Args:
        dataset: a prepared Dataset.
        results: dict, internal image id → result of `detect`.
        image_ids: internal ids of the images; None takes them all.
        iou_threshold: least IoU of a pair.
        score_threshold: detections with a lower score do not count.

    Returns:
        int64 `[num_classes, num_classes]`: row = the object's class, column = the detection's;
        column 0 counts the objects that were missed, row 0 the detections where there is no object.
    """
    counts = np.zeros((dataset.num_classes, dataset.num_classes), np.int64)
    for image_id in image_ids_of(dataset, image_ids):
        boxes, class_ids = dataset.load_boxes(image_id)
        found = detections_of(dataset, image_id, results.get(image_id))
        order = np.flatnonzero(found[2] >= score_threshold)
        order = order[np.argsort(-found[2][order], kind="stable")]
        found = [column[order] for column in found]
        _count_pairs(counts, boxes, class_ids, *found, iou_threshold)
    return counts


def _count_pairs(counts, boxes, class_ids, pred_boxes, pred_class_ids, pred_scores, iou_threshold):
    """Adds one image; its detections come best first."""
    image = (boxes, class_ids, pred_boxes, pred_class_ids, pred_scores, iou_threshold)
    gt_match, pred_match, overlaps = compute_matches(*image)
    ignored = lies_in_crowd(*image)
    partner = match_leftovers(gt_match, pred_match, overlaps, class_ids, iou_threshold)
    pairs = np.where(pred_match >= 0, pred_match, partner).astype(int)
    for i, j in enumerate(pairs):
        if j >= 0 or not ignored[i]:
            counts[class_ids[j] if j >= 0 else 0, pred_class_ids[i]] += 1
    missed = np.setdiff1d(np.flatnonzero(class_ids > 0), pairs)
    np.add.at(counts[:, 0], class_ids[missed], 1)
