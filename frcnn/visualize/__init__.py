"""Pictures and plots: images with boxes, matches, curves, tables.

Modules: `canvas` (figures, colors, labels), `reduction` (large images made smaller), `pictures`
(boxes on images), `differences` (truth against detections), `plots` (curves, matrices,
histograms), `tables` (rows as HTML or text), `reference` (for its scripts).
Nothing here loads Keras.

Functions that draw one picture take `ax`, make one if there is none, and return it. Without a
display or a notebook, figures are not registered with pyplot, so that they are freed with the last
reference to them.
"""

from frcnn.visualize.agreement import plot_bland_altman
from frcnn.visualize.canvas import class_color, default_style, random_colors, save_figure
from frcnn.visualize.differences import display_beside_truth, display_differences
from frcnn.visualize.pictures import (
    display_images,
    display_instances,
    draw_boxes,
    draw_detections_beside_truth,
    draw_rois,
)
from frcnn.visualize.plots import (
    plot_ap_by_epoch,
    plot_box_sizes,
    plot_confusion_matrix,
    plot_losses,
    plot_overlaps,
    plot_precision_recall,
    plot_precision_recall_by_class,
)
from frcnn.visualize.reference import apply_mask, display_top_masks, draw_box
from frcnn.visualize.tables import display_table, display_weight_stats, weight_stats

__all__ = [
    "apply_mask",
    "class_color",
    "default_style",
    "display_beside_truth",
    "display_differences",
    "display_images",
    "display_instances",
    "display_table",
    "display_top_masks",
    "display_weight_stats",
    "draw_box",
    "draw_boxes",
    "draw_detections_beside_truth",
    "draw_rois",
    "plot_ap_by_epoch",
    "plot_bland_altman",
    "plot_box_sizes",
    "plot_confusion_matrix",
    "plot_losses",
    "plot_overlaps",
    "plot_precision_recall",
    "plot_precision_recall_by_class",
    "random_colors",
    "save_figure",
    "weight_stats",
]
