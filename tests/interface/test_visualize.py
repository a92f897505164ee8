"""Public names: `frcnn.visualize`.

A row checks a name's parameters, and what one small call of it returns. Behaviour beyond that is
tested beside each module.
"""

import keras
import numpy as np
from interface_tools import BOXES, CLASS_IDS, FOUND, GRAY, NAMES, Table, printed, same
from keras import layers
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from frcnn import visualize

TABLE = Table()
row = TABLE.row


def check_axes(draw, *args, **options):
    """Draws on new axes, and on those that it is given."""
    assert isinstance(draw(*args, **options), Axes)
    ax = Figure().subplots()
    assert draw(*args, **options, ax=ax) is ax
    assert ax.has_data() or ax.patches
    return ax


@row(visualize, "display_images", "images")
def _(display_images):
    figure = display_images([GRAY, GRAY[:20]], titles=["one", "two"])
    assert [ax.get_title() for ax in figure.axes] == ["one", "two"]


@row(visualize, "display_instances", "image, boxes, class_ids, class_names, scores=None, title='', "
                                     "figsize=(16, 16), ax=None")
def _(display_instances):
    ax = check_axes(display_instances, GRAY, BOXES, CLASS_IDS, NAMES, FOUND[2], "objects")
    assert ax.get_title() == "objects" and len(ax.patches) >= 2
    assert {"red 0.90", "blue 0.80"} <= {text.get_text() for text in ax.texts}


@row(visualize, "random_colors", "N")
def _(random_colors):
    colors = random_colors(5)
    assert len(set(colors)) == 5 and np.shape(colors) == (5, 3)


@row(visualize, "draw_boxes", "image, boxes=None, refined_boxes=None, captions=None, "
                              "visibilities=None, title='', ax=None")
def _(draw_boxes):
    ax = check_axes(draw_boxes, GRAY, BOXES, BOXES + 2, ["a", "b"], [1, 2], "boxes")
    assert ax.get_title() == "boxes" and len(ax.patches) >= 4


@row(visualize, "draw_rois",
     "image, rois, refined_rois, class_ids, class_names, limit=10, ax=None")
def _(draw_rois):
    check_axes(draw_rois, GRAY, BOXES, BOXES + 2, [1, 0], NAMES)


@row(visualize, "display_differences",
     "image, gt_boxes, gt_class_ids, pred_boxes, pred_class_ids, pred_scores, class_names")
def _(display_differences):
    check_axes(display_differences, GRAY, BOXES, CLASS_IDS, *FOUND, NAMES)


@row(visualize, "plot_precision_recall", "ap, precisions, recalls")
def _(plot_precision_recall):
    ax = check_axes(plot_precision_recall, 0.5, [1, 1, 0], [0, 0.5, 1])
    same(ax.lines[0].get_xydata(), [[0, 1], [0.5, 1], [1, 0]])


@row(visualize, "plot_overlaps",
     "gt_class_ids, pred_class_ids, pred_scores, overlaps, class_names")
def _(plot_overlaps):
    check_axes(plot_overlaps, CLASS_IDS, CLASS_IDS, FOUND[2], np.eye(2), NAMES)


@row(visualize, "display_table", "table")
def _(display_table):
    assert printed(display_table, [["name", "value"], ["a", 3]]).split() == [
        "name", "value", "a", "3"]


@row(visualize, "display_weight_stats", "model")
def _(display_weight_stats):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(3, name="thick")])
    assert "thick/kernel" in printed(display_weight_stats, model)


test_each_name = TABLE.test()
