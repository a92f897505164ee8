"""Every picture and plot: images with boxes, matches, curves, tables.

The rooms: `canvas` (figures, colours, labels), `pictures` (what is drawn on images),
`differences` (truth against detections), `plots` (curves, matrices, histograms), `tables` (rows as
HTML or text). This face only hands their names on; nothing here loads Keras.

What draws one picture takes `ax`, makes one if there is none, and returns it. Without a display or
a notebook, figures stay out of pyplot, so that they vanish with the last reference to them.
"""

from frcnn.visualize.canvas import class_color, random_colors, save_figure
from frcnn.visualize.differences import display_beside_truth, display_differences
from frcnn.visualize.pictures import (
    display_images,
    display_instances,
    draw_boxes,
    draw_detections_beside_truth,
    draw_rois,
)
from frcnn.visualize.plots import (
    plot_box_sizes,
    plot_confusion_matrix,
    plot_losses,
    plot_overlaps,
    plot_precision_recall,
    plot_precision_recall_by_class,
)
from frcnn.visualize.tables import display_table, display_weight_stats, weight_stats

__all__ = [
    "class_color",
    "display_beside_truth",
    "display_differences",
    "display_images",
    "display_instances",
    "display_table",
    "display_weight_stats",
    "draw_boxes",
    "draw_detections_beside_truth",
    "draw_rois",
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
