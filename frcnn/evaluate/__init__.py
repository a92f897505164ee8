"""Evaluation: matching, AP and recall of one image; COCO figures of a whole data set.

Modules: `matching` (one image, NumPy), `coco` (a data set, pycocotools), `curves` (errors by
class), `tables` (figures as text and as JSON). Nothing here loads Keras.
"""

from frcnn.evaluate.coco import (
    detect_dataset,
    evaluate_detections,
    evaluate_model,
    to_coco_results,
)
from frcnn.evaluate.curves import confusion_matrix, precision_recall_curves
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
    "evaluate_detections",
    "evaluate_model",
    "format_table",
    "precision_recall_curves",
    "to_coco_results",
    "write_metrics",
]
