"""What AP50 is lost by: kinds of wrong detections, and AP50 without one of them.

    python -m benchmarks errors --model FILE --dataset DIR
    python -m benchmarks errors --model FILE FILE --dataset DIR      each, and all together

The kinds are those of Bolya et al. 2020 (TIDE), whose "both" counts as "no object" here: a
detection that matches no object of its class is another one of an object that has its detection
already, of the wrong class, badly placed, or where there is no annotated object. Together, the
detections of several models are fused by weighted boxes fusion (Solovyev et al. 2021), as those of
mirrored copies are.
"""

import argparse

import numpy as np

from benchmarks import report
from benchmarks.detected import detected

RIGHT, *KINDS = "right", "again", "wrong class", "badly placed", "no object"
MATCH = 0.5  # IoU of AP50
FAR = 0.1  # IoU of a detection with any object of its class, below which it is of no object
SURE = 0.5  # score of those that are counted


def main(arguments=None):
    """The program; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks errors", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, nargs="+", metavar="FILE",
                        help="weights, or exported detectors, of one data set")
    parser.add_argument("--dataset", required=True, metavar="DIR")
    parser.add_argument("--subset", default="val", help="default %(default)s")
    options = parser.parse_args(arguments)
    results = []
    for model in options.model:
        dataset, config, found = detected(model, options.dataset, options.subset)
        results.append(found)
        print("\n" + report.as_text(section(model, dataset, found)), flush=True)
    if len(results) > 1:
        together = {image_id: fused([found[image_id] for found in results],
                                    config.DETECTION_FUSION_IOU) for image_id in results[0]}
        print("\n" + report.as_text(section("all together", dataset, together)), flush=True)
    return 0


def section(name, dataset, results):
    """The table of one model: a line for each class."""
    kinds = {image_id: kinds_of(result, *dataset.load_boxes(image_id))
             for image_id, result in results.items()}
    figures = per_class(dataset, results)
    without = {kind: per_class(dataset, {
        image_id: kept(result, kinds[image_id] != kind) for image_id, result in results.items()})
        for kind in KINDS}
    lines = []
    for class_id, label in enumerate(dataset.class_names[1:], start=1):
        counts = {kind: sum(np.count_nonzero((kinds[image_id] == kind)
                                             & (result["class_ids"] == class_id)
                                             & (result["scores"] > SURE))
                            for image_id, result in results.items()) for kind in KINDS}
        found = sum(np.count_nonzero((kinds[image_id] == RIGHT)
                                     & (result["class_ids"] == class_id))
                    for image_id, result in results.items())
        objects = figures[label]["objects"]
        lines.append([label, str(objects), report.percent(found / objects) if objects else "–",
                      _ap(figures[label]),
                      *(f"{_ap(without[kind][label])} ({counts[kind]})" for kind in KINDS)])
    mean = np.mean([figures[label]["AP50"] for label in figures if figures[label]["objects"]])
    return report.Section(
        f"{name}: AP50 {mean:.3f}",
        ["class", "objects", "found", "AP50", *(f"without: {kind}" for kind in KINDS)], lines,
        ["Found: at an IoU of 0.5, at any score. In brackets: how many have a score above "
         f"{SURE}."])


def kinds_of(result, boxes, class_ids):
    """The kind of each detection of an image, an array of str; crowd regions count as objects."""
    from frcnn.evaluate.matching import match_image

    scores = np.asarray(result["scores"], float)
    matches = match_image(boxes, class_ids, result["boxes"], result["class_ids"], scores)
    kinds = np.full(len(scores), RIGHT, dtype=object)
    for row, place in enumerate(np.argsort(-scores, kind="stable")):  # as `match_image` sorts
        if matches.pred_match[row] < 0:
            overlaps = matches.overlaps[row]
            is_of_class = np.abs(matches.gt_class_ids) == matches.class_ids[row]
            kinds[place] = _kind(overlaps[is_of_class].max(initial=0), overlaps.max(initial=0))
    return kinds


def _kind(with_class, with_any):
    """The kind of a wrong detection, by its highest IoU with objects of its class and of any."""
    again, wrong_class, badly_placed, no_object = KINDS
    if with_class >= MATCH:
        return again
    if with_any >= MATCH:
        return wrong_class
    return badly_placed if with_class >= FAR else no_object


def kept(result, is_kept):
    """A result with some of its detections."""
    return {name: np.asarray(values)[is_kept] for name, values in result.items()}


def fused(results, iou_threshold):
    """The result of one image from those of several models."""
    from frcnn.inference.fusion import weighted_boxes_fusion
    from frcnn.inference.transform import as_result

    rows = weighted_boxes_fusion([np.column_stack([
        result["boxes"], result["class_ids"], result["scores"]]) for result in results],
        iou_threshold)
    return as_result(rows[:, :4].astype(np.float32), rows[:, 4].astype(np.int32),
                     rows[:, 5].astype(np.float32))


def per_class(dataset, results):
    """By name of the class its "AP50" and its number of "objects"."""
    from frcnn.evaluate import evaluate_detections

    return evaluate_detections(dataset, results)["per_class"]


def _ap(figures):
    return "–" if figures["AP50"] is None else f"{figures['AP50']:.3f}"
