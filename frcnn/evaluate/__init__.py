"""Evaluation: matching, AP and recall of one image; COCO figures of a whole data set.

Modules: `matching` (one image, NumPy), `coco` (a data set, pycocotools),
`detector` (a model on a data set), `curves` (errors by
class), `tables` (figures as text and as JSON); of numbers of objects `counts` (beside the truth),
`calibration` (expected numbers and intervals), `calibration_file`, `count_agreement` (of a data
set) and `sample_counts` (by sample, area and volume). Nothing here loads Keras.
"""

from frcnn.evaluate.coco import evaluate_detections, to_coco_results
from frcnn.evaluate.count_agreement import evaluate_counts, format_counts
from frcnn.evaluate.curves import confusion_matrix, precision_recall_curves
from frcnn.evaluate.detector import detect_dataset, evaluate_model
from frcnn.evaluate.matching import (
    compute_ap,
    compute_ap_range,
    compute_matches,
    compute_recall,
)
from frcnn.evaluate.tables import format_table, write_metrics

__all__ = [
    "compute_ap",
    "compute_ap_range",
    "compute_matches",
    "compute_recall",
    "confusion_matrix",
    "detect_dataset",
    "evaluate_counts",
    "evaluate_detections",
    "evaluate_model",
    "format_counts",
    "format_table",
    "precision_recall_curves",
    "to_coco_results",
    "write_metrics",
]
