"""COCO evaluation, by pycocotools, of any Dataset; no annotation file is needed.

Objects and detections are passed to pycocotools under the data set's internal image and class ids,
so that data sets joined from several sources evaluate as well as one COCO folder does.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from frcnn.arrays import Array, ArrayLike, DetectionResult, FloatArray, IntArray
from frcnn.errors import ArgumentError, UnknownImageError
from frcnn.evaluate.class_numbers import exchanged_classes, warn_of_exchanged_classes
from frcnn.evaluate.matching import COCO_IOU_THRESHOLDS
from frcnn.files import to_plain_json
from frcnn.geometry.boxes import as_boxes

if TYPE_CHECKING:
    from frcnn.data.dataset import Dataset

Results: TypeAlias = Mapping[int, DetectionResult]  # by internal image id
Metrics: TypeAlias = dict[str, Any]  # see `evaluate_detections`

SUMMARY_KEYS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")
# Above this, the precision-recall curves end early and AP is too low.
HIGHEST_SCORE_THRESHOLD = 0.05


def evaluate_detections(dataset: Dataset, results: Results,
                        image_ids: Iterable[int] | None = None, max_detections: int = 100, *,
                        score_threshold: float | None = None,
                        nms_threshold: float | None = None,
                        recipes: Mapping[str, Any] | None = None) -> Metrics:
    """COCO metrics of detections, computed against a data set's boxes.

    An object's size is the area of its box in pixels of the original image. Crowd regions (negative
    class ids) are ignored as COCO ignores them, and so are detections of a class that the image's
    source has no labels for. Sub-pixel `boxes` are used where a result has them, else `rois`. Warns
    where the detections fit the objects except for exchanged classes.

    Args:
        dataset: a prepared Dataset.
        results: dict, internal image id → result of `detect`; an image without an entry counts as
            one without detections.
        image_ids: internal ids of the images to evaluate; None takes them all.
        max_detections: how many detections of each image and class count, those of highest score.
        score_threshold, nms_threshold: those of the detector; only stored in `settings`.
        recipes: further settings of the detector, see `detection_recipes`; also only stored.

    Returns:
        metrics: dict that can be written as JSON, with `AP` (IoU 0.50 to 0.95), `AP50`, `AP75`,
        then `APs`, `APm`, `APl` (area below 32², to 96², above) and `AR100`, floats from 0 to 1, or
        None where there are no objects; `per_class`, a dict: class name → `AP`, `AP50`, `objects`
        (their number, without crowd regions); and `settings`, a dict.

    Raises:
        ValueError: a detection has an unknown class, or a box or score that is NaN or infinite.
        UnknownImageError: `results` or `image_ids` holds an id of no image of the data set.
    """
    ids = image_ids_of(dataset, image_ids)
    pairs = ((*dataset.load_boxes(image_id), *detections_of(dataset, image_id,
                                                            results.get(image_id))[:2])
             for image_id in ids)
    warn_of_exchanged_classes(exchanged_classes(pairs, dataset.num_classes),
                              list(dataset.class_names), stacklevel=2)
    evaluation = run_coco(dataset, results, ids, max_detections)
    metrics: Metrics = _summary(evaluation)
    metrics["per_class"] = _per_class(evaluation, dataset)
    metrics["settings"] = {
        "score_threshold": to_plain_json(score_threshold),
        "nms_threshold": to_plain_json(nms_threshold),
        "max_detections": int(max_detections),
        "images": len(ids),
        "objects": sum(figures["objects"] for figures in metrics["per_class"].values()),
        "detections": len(evaluation.cocoDt.anns),
        **to_plain_json(dict(recipes or {})),
    }
    return metrics


def to_coco_results(dataset: Dataset, results: Results) -> list[dict[str, Any]]:
    """Detections in COCO's results format, under the source's own ids.

    Args:
        dataset: a prepared Dataset.
        results: dict, internal image id → result of `detect`.

    Returns:
        list of dicts: `image_id`, `category_id`, `bbox` (x, y, width, height in pixels, to a
        thousandth), `score`; by ascending image id, within an image in the order of its result.
        Classes that the image's source does not have are left out: they have no id there.
    """
    rows = []
    for image_id in sorted(results):
        info = dataset.image_info[image_id]
        found = detections_of(dataset, image_id, results[image_id])
        for box, class_id, score in zip(*found, strict=True):
            rows.append({
                "image_id": to_plain_json(info["id"]),
                "category_id": to_plain_json(dataset.get_source_class_id(class_id, info["source"])),
                "bbox": [round(side, 3) for side in _xywh(box)],
                "score": float(score),
            })
    return rows


def run_coco(dataset: Dataset, results: Results, image_ids: Sequence[int],
             max_detections: int = 100, iou_thresholds: ArrayLike = COCO_IOU_THRESHOLDS
             ) -> COCOeval:
    """The accumulated COCOeval of some images; its categories are internal class ids.

    `maxDets` ends with `max_detections` and begins with the lesser of that and 100, for AR100.
    """
    images = [{"id": image_id} for image_id in image_ids]
    categories = [{"id": class_id, "name": dataset.class_names[class_id]}
                  for class_id in range(1, dataset.num_classes)]
    truth, found = _truth(dataset, image_ids), _found(dataset, results, image_ids)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports on every step
        evaluation = COCOeval(_coco(images, categories, truth), _coco(images, categories, found),
                              "bbox")
        evaluation.params.maxDets = sorted({min(100, max_detections), max_detections})
        evaluation.params.iouThrs = np.array(iou_thresholds, float)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def image_ids_of(dataset: Dataset, image_ids: Iterable[int] | None = None) -> list[int]:
    """Internal image ids as a list of int, all of the data set's for None."""
    if image_ids is None:
        return [int(image_id) for image_id in dataset.image_ids]
    chosen = [int(image_id) for image_id in image_ids]
    unknown = set(chosen) - set(map(int, dataset.image_ids))
    if unknown:
        raise UnknownImageError(f"There is no image {min(unknown)}; the internal image ids of the "
                                f"data set run from 0 to {dataset.num_images - 1}.")
    return chosen


def class_labels(dataset: Dataset) -> list[str]:
    """Class names by class id; where classes of two sources share a name, with the source."""
    names = list(dataset.class_names)
    return [f"{name} ({dataset.class_info[class_id]['source']})" if names.count(name) > 1 else name
            for class_id, name in enumerate(names)]


def boxes_of(result: DetectionResult) -> Array:
    """Boxes `[N, 4]` of one result: the sub-pixel `boxes` where it has them, else `rois`."""
    return as_boxes(result["boxes"] if "boxes" in result else result["rois"])


def detections_of(dataset: Dataset, image_id: int, result: DetectionResult | None
                  ) -> tuple[FloatArray, IntArray, FloatArray]:
    """Boxes float64 `[N, 4]`, class ids int `[N]` and scores float64 `[N]` of one result, checked.

    None means no detections. Classes that the image's source has no labels for are left out:
    whether they are right cannot be decided.

    Raises:
        ValueError: as of `evaluate_detections`, or the arrays differ in length.
    """
    if result is None:
        return np.zeros((0, 4)), np.zeros(0, int), np.zeros(0)
    boxes = boxes_of(result).astype(float)
    class_ids, scores = np.asarray(result["class_ids"], int), np.asarray(result["scores"], float)
    if not len(boxes) == len(class_ids) == len(scores):
        raise ArgumentError(f"The result of image {image_id} has {len(boxes)} boxes, "
                            f"{len(class_ids)} class ids and {len(scores)} scores.")
    if not np.isfinite(boxes).all() or not np.isfinite(scores).all():
        raise ArgumentError(f"The result of image {image_id} has a box or score that is NaN or "
                            "infinite.")
    unknown = class_ids[(class_ids < 1) | (class_ids >= dataset.num_classes)]
    if len(unknown):
        raise ArgumentError(f"The result of image {image_id} has class id {unknown[0]}; those of "
                            f"the data set run from 1 to {dataset.num_classes - 1}.")
    labelled = np.isin(class_ids, dataset.source_class_ids[dataset.image_info[image_id]["source"]])
    return boxes[labelled], class_ids[labelled], scores[labelled]


def _truth(dataset: Dataset, image_ids: Sequence[int]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for image_id in image_ids:
        boxes, class_ids = dataset.load_boxes(image_id)
        for box, class_id in zip(np.asarray(boxes, float), class_ids, strict=True):
            rows.append(_annotation(image_id, abs(int(class_id)), box, len(rows),
                                    iscrowd=int(class_id < 0)))
    return rows


def _found(dataset: Dataset, results: Results, image_ids: Sequence[int]) -> list[dict[str, Any]]:
    unknown = set(results) - set(map(int, dataset.image_ids))
    if unknown:
        raise UnknownImageError(f"results hold image id {min(unknown)!r}, which the data set does "
                                "not have; they must be its internal image ids.")
    rows: list[dict[str, Any]] = []
    for image_id in image_ids:
        for box, class_id, score in zip(
                *detections_of(dataset, image_id, results.get(image_id)), strict=True):
            rows.append(_annotation(image_id, int(class_id), box, len(rows), iscrowd=0,
                                    score=float(score)))
    return rows


def _annotation(image_id: int, class_id: int, box: FloatArray, index: int, **more: float
                ) -> dict[str, Any]:
    bbox = _xywh(box)
    # ids start at 1: pycocotools reads 0 as "no match"
    return {"id": index + 1, "image_id": image_id, "category_id": class_id, "bbox": bbox,
            "area": bbox[2] * bbox[3], **more}


def _xywh(box: FloatArray) -> list[float]:
    y1, x1, y2, x2 = (float(side) for side in box)
    return [x1, y1, x2 - x1, y2 - y1]


def _coco(images: list[dict[str, Any]], categories: list[dict[str, Any]],
          annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {"images": images, "categories": categories, "annotations": annotations}
    coco.createIndex()
    return coco


def _summary(evaluation: COCOeval) -> dict[str, float | None]:
    areas = {label: index for index, label in enumerate(evaluation.params.areaRngLbl)}
    precision = evaluation.eval["precision"][..., -1]  # [IoU, recall, class, area]
    everything = precision[..., areas["all"]]
    return {
        "AP": _mean(everything),
        "AP50": _mean(everything[_threshold(evaluation, 0.5)]),
        "AP75": _mean(everything[_threshold(evaluation, 0.75)]),
        "APs": _mean(precision[..., areas["small"]]),
        "APm": _mean(precision[..., areas["medium"]]),
        "APl": _mean(precision[..., areas["large"]]),
        "AR100": _mean(evaluation.eval["recall"][:, :, areas["all"], 0]),
    }


def _per_class(evaluation: COCOeval, dataset: Dataset) -> dict[str, dict[str, Any]]:
    precision = evaluation.eval["precision"][..., 0, -1]  # [IoU, recall, class]
    figures, labels = {}, class_labels(dataset)
    for index, class_id in enumerate(evaluation.params.catIds):
        objects = evaluation.cocoGt.getAnnIds(catIds=[class_id], iscrowd=False)
        figures[labels[class_id]] = {
            "AP": _mean(precision[:, :, index]),
            "AP50": _mean(precision[_threshold(evaluation, 0.5), :, index]),
            "objects": len(objects),
        }
    return figures


def _threshold(evaluation: COCOeval, iou: float) -> int:
    """Index of an IoU threshold; compared within a tolerance, as they are sums of 0.05."""
    return int(np.argmin(np.abs(evaluation.params.iouThrs - iou)))


def _mean(values: FloatArray) -> float | None:
    """The mean where pycocotools has a value (it writes -1 where nothing is to be found)."""
    defined = values[values > -1]
    # pycocotools adds an epsilon to divisors, which makes 1 into 0.9999999999999998
    return round(float(np.mean(defined)), 10) if defined.size else None
