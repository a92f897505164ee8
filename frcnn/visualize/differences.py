"""Truth against detections on one image: in one picture, or side by side."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from frcnn.arrays import Array, ArrayLike, Image
from frcnn.compatibility import SINGULAR_NAMES, renamed, without_masks
from frcnn.evaluate.matching import IOU_THRESHOLD, ImageMatches, match_image
from frcnn.visualize.canvas import (
    MIN_PIXELS_PER_INCH,
    NEUTRAL,
    Annotator,
    LegendEntry,
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


class _Outline(NamedTuple):
    """A box as it is drawn; without text it has no label."""

    box: Array
    color: str
    style: str
    text: str


@without_masks(1, 3, 7)
@renamed(**SINGULAR_NAMES)
def display_differences(image: Image, gt_boxes: ArrayLike, gt_class_ids: ArrayLike,
                        pred_boxes: ArrayLike, pred_class_ids: ArrayLike, pred_scores: ArrayLike,
                        class_names: Sequence[str], title: str = "", ax: Axes | None = None, *,
                        iou_threshold: float = IOU_THRESHOLD, score_threshold: float = 0.5,
                        legend: bool = True, show_box: bool = True) -> Axes:
    """Truth against detections: hits (with score / IoU), missed objects, false detections.

    A hit's true box is dotted. Where there are many objects, the labels of hits give the class
    only, so that the errors stand out.

    Args:
        image: `[H, W, 3]`.
        gt_boxes: `[G, 4]` pixels.
        gt_class_ids: `[G]` int; crowd regions (negative) are drawn dim, and detections inside them
            are ignored.
        pred_boxes: `[P, 4]` pixels.
        pred_class_ids: `[P]` int.
        pred_scores: `[P]` float.
        class_names: names by class id.
        title: str above the image.
        ax: axes to draw on, or None for a new figure.
        iou_threshold: least IoU of a hit.
        score_threshold: detections with a lower score are left out.
        legend: whether to explain the colors, with counts, below the image.
        show_box: whether to draw the boxes, or only their labels.

    Returns:
        Axes.
    """
    made, ax = ax is None, image_axes(image, (14, 14), ax)
    show_image(ax, image, title)
    matches = match_image(gt_boxes, gt_class_ids, pred_boxes, pred_class_ids, pred_scores,
                          iou_threshold, score_threshold)
    brief = len(matches.boxes) >= LEGEND_FROM
    drawn = [*_truth_outlines(matches, class_names),
             *_detection_outlines(matches, class_names, brief)]
    annotator = Annotator(ax, sum(bool(outline.text) for outline in drawn))
    for outline in drawn if show_box else ():
        annotator.box(outline.box, outline.color, outline.style)
    for outline in drawn:
        if outline.text:
            annotator.label(outline.box, outline.text, outline.color)
    if legend:
        has_crowds = bool(np.any(matches.gt_class_ids < 0))
        add_legend(ax, _difference_entries(ax, has_crowds, brief))
    show_if_window(made)
    return ax


def _truth_outlines(matches: ImageMatches, class_names: Sequence[str]) -> Iterator[_Outline]:
    """Each object: dim if a crowd region, dotted if found, dashed with its name if missed."""
    for box, class_id, match in zip(matches.gt_boxes, matches.gt_class_ids, matches.gt_match):
        if class_id < 0:
            yield _Outline(box, NEUTRAL, "dotted", "")
        elif match >= 0:
            yield _Outline(box, HIT, "dotted", "")
        else:
            yield _Outline(box, MISSED, "dashed", class_names[class_id])


def _detection_outlines(matches: ImageMatches, class_names: Sequence[str], brief: bool
                        ) -> Iterator[_Outline]:
    """Each detection, best first; `brief` leaves the numbers out of the hits' labels."""
    for i, (box, class_id, score) in enumerate(zip(matches.boxes, matches.class_ids,
                                                   matches.scores)):
        text = caption(class_names, class_id, score)
        match, other = matches.pred_match[i], matches.confused_with[i]
        if match >= 0:
            yield _Outline(box, HIT, "solid", class_names[class_id] if brief else
                           f"{text} / {matches.overlaps[i, match]:.2f}")
        elif other >= 0:
            name = class_names[matches.gt_class_ids[other]]
            yield _Outline(box, FALSE, "solid", f"{text}, is {name}")
        else:
            yield _Outline(box, NEUTRAL if matches.in_crowd[i] else FALSE, "solid", text)


def _difference_entries(ax: Axes, has_crowds: bool, brief: bool) -> list[LegendEntry]:
    """The legend of `display_differences`, with counts of what was drawn."""
    drawn = [(matplotlib.colors.to_hex(patch.get_edgecolor()), patch.get_linestyle())
             for patch in ax.patches]
    numbers = "" if brief else "score / IoU; "
    entries = [
        LegendEntry(HIT, f"{drawn.count((HIT, 'solid'))} hit ({numbers}truth dotted)", "solid"),
        LegendEntry(MISSED, f"{drawn.count((MISSED, 'dashed'))} missed", "dashed"),
        LegendEntry(FALSE, f"{drawn.count((FALSE, 'solid'))} false", "solid")]
    if has_crowds:
        inside = counted(drawn.count((NEUTRAL, "solid")), "detection")
        entries.append(LegendEntry(NEUTRAL, f"ignored region, {inside} in it", "dotted"))
    return entries


def display_beside_truth(image: Image, gt_boxes: ArrayLike, gt_class_ids: ArrayLike,
                         pred_boxes: ArrayLike, pred_class_ids: ArrayLike, pred_scores: ArrayLike,
                         class_names: Sequence[str], axes: Sequence[Axes] | None = None, *,
                         iou_threshold: float = IOU_THRESHOLD, score_threshold: float = 0.5
                         ) -> Sequence[Axes]:
    """An image twice: with its true boxes, and with its detections; errors are dashed.

    Colors are the classes'. On the left a dashed box is a missed object, and its label says so; on
    the right it is a false detection, with the class of the object there, if there is one. Dotted
    are crowd regions, and on the right the detections inside them, which do not count.

    Args:
        image: `[H, W, 3]`.
        gt_boxes: `[G, 4]` pixels.
        gt_class_ids: `[G]` int, negative for a crowd region.
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
    if axes is None:
        axes = _panels_side_by_side(image)
    matches = match_image(gt_boxes, gt_class_ids, pred_boxes, pred_class_ids, pred_scores,
                          iou_threshold, score_threshold)
    truth_ids = matches.gt_class_ids
    missed = (matches.gt_match < 0) & (truth_ids > 0)
    texts = [caption(class_names, class_id) for class_id in truth_ids]
    display_instances(
        image, matches.gt_boxes, truth_ids, class_names, ax=axes[0], title="truth",
        captions=[f"{text}, missed" if miss else text for text, miss in zip(texts, missed)],
        styles=np.where(truth_ids < 0, "dotted", np.where(missed, "dashed", "solid")))

    hits = matches.pred_match >= 0
    false = ~hits & ~matches.in_crowd
    texts = [caption(class_names, class_id, score)
             for class_id, score in zip(matches.class_ids, matches.scores)]
    reasons = [f", is {class_names[truth_ids[j]]}" if j >= 0 else ", false"
               for j in matches.confused_with]
    display_instances(
        image, matches.boxes, matches.class_ids, class_names, ax=axes[1], title="detections",
        captions=[text + reason if wrong else text
                  for text, reason, wrong in zip(texts, reasons, false)],
        styles=np.where(false, "dashed", np.where(hits, "solid", "dotted")))
    show_if_window(made)
    return axes


def _panels_side_by_side(image: Image) -> list[Axes]:
    """Two axes of a new figure, in the image's proportions."""
    height, width = np.shape(image)[:2]
    scale = min(7 / max(height, width), 1 / MIN_PIXELS_PER_INCH)
    size = width * scale, height * scale
    figure = new_figure((2 * size[0] + GAP, size[1] + TITLE))
    return [panel(figure, left, TITLE, *size) for left in (0, size[0] + GAP)]
