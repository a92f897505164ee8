"""The reference's utility names, re-exported: a compatibility namespace.

Those for masks say what to write instead.

Names from modules that are slow to import or need Keras are imported when first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from frcnn.compatibility import left_out
from frcnn.data.resize import resize, resize_image
from frcnn.geometry.anchors import generate_anchors, generate_pyramid_anchors
from frcnn.geometry.boxes import (
    apply_box_deltas,
    box_refinement,
    compute_iou,
    compute_overlaps,
    denorm_boxes,
    extract_bboxes,
    non_max_suppression,
    norm_boxes,
    resize_bbox,
    trim_zeros,
)

if TYPE_CHECKING:  # for editors, linters and type checkers
    from frcnn.data.dataset import Dataset
    from frcnn.evaluate import compute_ap, compute_ap_range, compute_matches, compute_recall
    from frcnn.network.ops import batch_slice, box_refinement_graph
    from frcnn.weights.download import download_trained_weights

compute_overlaps_masks = left_out("compute_overlaps_masks")
resize_mask = left_out("resize_mask")
minimize_mask = left_out("minimize_mask")
expand_mask = left_out("expand_mask")
unmold_mask = left_out("unmold_mask")

_LAZY = {
    "Dataset": "frcnn.data",
    "batch_slice": "frcnn.network.ops",
    "box_refinement_graph": "frcnn.network.ops",
    "compute_ap": "frcnn.evaluate",
    "compute_ap_range": "frcnn.evaluate",
    "compute_matches": "frcnn.evaluate",
    "compute_recall": "frcnn.evaluate",
    "download_trained_weights": "frcnn.weights.download",
}

__all__ = [
    "Dataset",
    "apply_box_deltas",
    "batch_slice",
    "box_refinement",
    "box_refinement_graph",
    "compute_ap",
    "compute_ap_range",
    "compute_iou",
    "compute_matches",
    "compute_overlaps",
    "compute_overlaps_masks",
    "compute_recall",
    "denorm_boxes",
    "download_trained_weights",
    "expand_mask",
    "extract_bboxes",
    "generate_anchors",
    "generate_pyramid_anchors",
    "minimize_mask",
    "non_max_suppression",
    "norm_boxes",
    "resize",
    "resize_bbox",
    "resize_image",
    "resize_mask",
    "trim_zeros",
    "unmold_mask",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
