"""Anchors against the objects of a data set: shapes, and the IoU of each object's best anchor."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from frcnn.arrays import Boxes, ClassIds, FloatArray
from frcnn.visualize.canvas import NEUTRAL, PALETTE, class_color, new_figure

_MOST_POINTS = 3000  # of the scatter plot; more only cover each other


def plot_anchor_fit(boxes: Boxes, class_ids: ClassIds, class_names: Sequence[str],
                    shapes: Sequence[FloatArray], ious: Sequence[FloatArray],
                    labels: Sequence[str] = ("present", "recommended")) -> Figure:
    """Two plots: sizes of objects and anchors, and how many objects have an anchor of each IoU.

    Args:
        boxes: `[N, 4]` of the objects, pixels of the molded images.
        class_ids: `[N]`.
        class_names: by class id.
        shapes: for each set of anchors `[K, 2]`, (height, width) in pixels.
        ious: for each set of anchors `[N]`, the IoU of each object's best anchor.
        labels: of the sets of anchors.

    Returns:
        Figure.
    """
    figure = new_figure((13, 5.5))
    sizes, shares = figure.subplots(1, 2)
    _draw_sizes(sizes, boxes, class_ids, class_names, shapes, labels)
    _draw_shares(shares, ious, labels)
    figure.tight_layout()
    return figure


def _draw_sizes(ax: Axes, boxes: Boxes, class_ids: ClassIds, class_names: Sequence[str],
                shapes: Sequence[FloatArray], labels: Sequence[str]) -> None:
    chosen = np.linspace(0, len(boxes) - 1, min(len(boxes), _MOST_POINTS)).astype(int)
    boxes, class_ids = boxes[chosen], class_ids[chosen]
    for class_id in np.unique(class_ids):
        own = boxes[class_ids == class_id]
        ax.scatter(own[:, 3] - own[:, 1], own[:, 2] - own[:, 0], s=7, alpha=0.35, linewidths=0,
                   color=class_color(class_id), label=class_names[class_id])
    for (marker, color), anchors, label in zip((("s", NEUTRAL), ("D", "black")), shapes, labels):
        ax.scatter(anchors[:, 1], anchors[:, 0], s=42, marker=marker, facecolors="none",
                   edgecolors=color, linewidths=1.4, label=f"anchors, {label}")
    ax.set(xscale="log", yscale="log", xlabel="width, pixels at the network's input",
           ylabel="height, pixels", title="Objects and anchors")
    ax.grid(alpha=0.25, which="both")
    ax.legend(fontsize=8, markerscale=1.2)


def _draw_shares(ax: Axes, ious: Sequence[FloatArray], labels: Sequence[str]) -> None:
    thresholds = np.linspace(0, 1, 101)
    for color, best, label in zip((NEUTRAL, PALETTE[1]), ious, labels):
        ax.plot(thresholds, [(best >= threshold).mean() for threshold in thresholds], color=color,
                linewidth=2, label=label)
    for threshold in (0.5, 0.7):
        ax.axvline(threshold, color="black", linewidth=0.8, linestyle="dotted")
    ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="IoU of the best anchor, at least",
           ylabel="share of the objects", title="Objects that an anchor fits")
    ax.grid(alpha=0.25)
    ax.legend(fontsize=9)
