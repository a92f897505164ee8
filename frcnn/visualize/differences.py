"""Truth against detections on one image: in one picture, or side by side."""

import matplotlib
import numpy as np

from frcnn.evaluate.matching import compute_matches, lies_in_crowd, match_leftovers
from frcnn.visualize.canvas import (
    FINEST,
    NEUTRAL,
    Brush,
    add_legend,
    image_axes,
    new_figure,
    show_if_window,
    show_image,
)
from frcnn.visualize.pictures import (
    GAP,
    LEGEND_FROM,
    TITLE,
    caption,
    counted,
    display_instances,
    panel,
)

HIT, MISSED, FALSE = "#0b7d3b", "#1259c3", "#d81e1e"


def display_differences(image, gt_boxes, gt_class_ids, pred_boxes, pred_class_ids, pred_scores,
                        class_names, title="", ax=None, *, iou_threshold=0.5, score_threshold=0.5,
                        legend=True):
    """Truth against detections: hits (with score / IoU), missed objects, false detections.

    A hit's true box is dotted. Where there are many objects, the labels of hits give the class
    only, so that the mistakes stand out.

    Args:
        image: `[H, W, 3]`.
        gt_boxes: `[G, 4]` pixels.
        gt_class_ids: `[G]` int; crowds (negative) are drawn dim, what lies in them is ignored.
        pred_boxes: `[P, 4]` pixels.
        pred_class_ids: `[P]` int.
        pred_scores: `[P]` float.
        class_names: names by class id.
        title: str above the image.
        ax: axes to draw on, or None for a new figure.
        iou_threshold: least IoU of a hit.
        score_threshold: detections with a lower score are left out.
        legend: whether to explain the colours, with counts, below the image.

    Returns:
        Axes.
    """
    made, ax = ax is None, image_axes(image, (14, 14), ax)
    show_image(ax, image, title)
    truth, found = _sorted_by_score(gt_boxes, gt_class_ids, pred_boxes, pred_class_ids, pred_scores,
                                    score_threshold)
    brief = len(found[0]) >= LEGEND_FROM
    drawn = list(_differences(truth, found, class_names, iou_threshold, brief))
    brush = Brush(ax, sum(bool(text) for *_, text in drawn))
    for box, color, style, _ in drawn:
        brush.box(box, color, style)
    for box, color, _, text in drawn:
        if text:
            brush.label(box, text, color)
    if legend:
        add_legend(ax, _difference_entries(ax, np.any(truth[1] < 0), brief))
    show_if_window(made)
    return ax


def _differences(truth, found, class_names, iou_threshold, brief=False):
    """(box, colour, line style, text) of each object and each detection; these come best first.

    `brief` leaves the numbers out of the hits' labels.
    """
    gt_match, pred_match, overlaps = compute_matches(*truth, *found, iou_threshold)
    ignored = lies_in_crowd(*truth, *found, iou_threshold)
    partner = match_leftovers(gt_match, pred_match, overlaps, truth[1], iou_threshold)
    for j, (box, class_id) in enumerate(zip(*truth, strict=True)):
        if class_id < 0:
            yield box, NEUTRAL, "dotted", ""
        elif gt_match[j] >= 0:
            yield box, HIT, "dotted", ""
        else:
            yield box, MISSED, "dashed", class_names[class_id]
    for i, (box, class_id, score) in enumerate(zip(*found, strict=True)):
        text = caption(class_names, class_id, score)
        if pred_match[i] >= 0:
            overlap = overlaps[i, int(pred_match[i])]
            yield box, HIT, "solid", (class_names[class_id] if brief else f"{text} / {overlap:.2f}")
        elif partner[i] >= 0:
            yield box, FALSE, "solid", f"{text}, is {class_names[truth[1][partner[i]]]}"
        else:
            yield box, NEUTRAL if ignored[i] else FALSE, "solid", text


def _difference_entries(ax, crowds, brief):
    """The legend of `display_differences`, with counts of what was drawn."""
    drawn = [(matplotlib.colors.to_hex(patch.get_edgecolor()), patch.get_linestyle())
             for patch in ax.patches]
    numbers = "" if brief else "score / IoU; "
    entries = [(HIT, f"{drawn.count((HIT, 'solid'))} hit ({numbers}truth dotted)", "solid"),
               (MISSED, f"{drawn.count((MISSED, 'dashed'))} missed", "dashed"),
               (FALSE, f"{drawn.count((FALSE, 'solid'))} false", "solid")]
    if crowds:
        inside = counted(drawn.count((NEUTRAL, "solid")), "detection")
        entries.append((NEUTRAL, f"ignored region, {inside} in it", "dotted"))
    return entries


def display_beside_truth(image, gt_boxes, gt_class_ids, pred_boxes, pred_class_ids, pred_scores,
                         class_names, axes=None, *, iou_threshold=0.5, score_threshold=0.5):
    """An image twice: with its true boxes, and with its detections; mistakes are dashed.

    Colours are the classes'. On the left a dashed box is an object that was missed, and its label
    says so; on the right it is a false detection, with the class that the object there has, if
    one is. Dotted are crowds, and on the right the detections in them, which do not count.

    Args:
        image: `[H, W, 3]`.
        gt_boxes: `[G, 4]` pixels.
        gt_class_ids: `[G]` int, negative for a crowd.
        pred_boxes: `[P, 4]` pixels.
        pred_class_ids: `[P]` int.
        pred_scores: `[P]` float.
        class_names: names by class id.
        axes: two axes to draw on, or None for a new figure.
        iou_threshold: least IoU of a hit.
        score_threshold: detections with a lower score are left out.

    Returns:
        The two axes.
    """
    made = axes is None
    if made:
        height, width = np.shape(image)[:2]
        scale = min(7 / max(height, width), 1 / FINEST)
        size = width * scale, height * scale
        figure = new_figure((2 * size[0] + GAP, size[1] + TITLE))
        axes = [panel(figure, left, TITLE, *size) for left in (0, size[0] + GAP)]
    truth, found = _sorted_by_score(gt_boxes, gt_class_ids, pred_boxes, pred_class_ids, pred_scores,
                                    score_threshold)
    gt_match, pred_match, overlaps = compute_matches(*truth, *found, iou_threshold)
    partner = match_leftovers(gt_match, pred_match, overlaps, truth[1], iou_threshold)
    ignored = lies_in_crowd(*truth, *found, iou_threshold)

    texts = [caption(class_names, class_id) for class_id in truth[1]]
    missed = (gt_match < 0) & (truth[1] > 0)
    display_instances(
        image, *truth, class_names, ax=axes[0], title="truth",
        captions=[f"{text}, missed" if miss else text for text, miss in zip(texts, missed)],
        styles=np.where(truth[1] < 0, "dotted", np.where(missed, "dashed", "solid")))

    texts = [caption(class_names, class_id, score) for _, class_id, score in zip(*found)]
    false = (pred_match < 0) & ~ignored
    reasons = [f", is {class_names[truth[1][j]]}" if j >= 0 else ", false" for j in partner]
    display_instances(
        image, found[0], found[1], class_names, ax=axes[1], title="detections",
        captions=[text + reason if wrong else text
                  for text, reason, wrong in zip(texts, reasons, false)],
        styles=np.where(false, "dashed", np.where(pred_match < 0, "dotted", "solid")))
    show_if_window(made)
    return axes


def _sorted_by_score(gt_boxes, gt_class_ids, pred_boxes, pred_class_ids, pred_scores, threshold):
    """(boxes, class ids) of the truth; (boxes, class ids, scores) of the detections, best first."""
    scores = np.asarray(pred_scores, float)
    order = np.flatnonzero(scores >= threshold)
    order = order[np.argsort(-scores[order], kind="stable")]
    return ((np.asarray(gt_boxes).reshape(-1, 4), np.asarray(gt_class_ids, int)),
            (np.asarray(pred_boxes).reshape(-1, 4)[order], np.asarray(pred_class_ids, int)[order],
             scores[order]))
