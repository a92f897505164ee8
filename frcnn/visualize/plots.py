"""Curves and matrices: losses and AP by epoch, precision against recall, overlaps, confusion."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, StrMethodFormatter

from frcnn.arrays import ArrayLike
from frcnn.compatibility import renamed
from frcnn.config import LOSS_NAMES
from frcnn.evaluate.curves import Curve
from frcnn.evaluate.matching import IOU_THRESHOLD
from frcnn.visualize.canvas import PALETTE, class_color, new_axes, plain

MANY_OVERLAPS = 60  # objects or detections of one image
MANY_CLASSES = 20
LOSS_LABELS = {"loss": "total"} | dict(zip(
    LOSS_NAMES, ("RPN class", "RPN box", "head class", "head box"), strict=True))
LOSS_COLORS = dict(zip(LOSS_LABELS, ("black", *PALETTE)))
_FIGURES = {prefix + name for name in LOSS_LABELS for prefix in ("", "val_")}


def plot_losses(history: Any, ax: Axes | None = None, *, epochs: Sequence[int] | None = None
                ) -> Axes:
    """The total loss and its four parts by epoch; training solid, validation dashed.

    Args:
        history: what `fit` returned, or its dict: loss name → a value an epoch (None or NaN leaves
            a gap); `val_` names are validation's.
        ax: axes to draw on, or None for a new figure.
        epochs: number of each epoch; None takes the history's own, from 1.

    Returns:
        Axes; the vertical axis is logarithmic where all values are above 0.
    """
    ax = new_axes((9, 5.5), ax)
    values = {name: np.array(line, float)
              for name, line in getattr(history, "history", history).items() if name in _FIGURES}
    if epochs is None and getattr(history, "epoch", None):
        epochs = [epoch + 1 for epoch in history.epoch]
    for name, label in LOSS_LABELS.items():
        color = LOSS_COLORS[name]
        for prefix, style in (("", "solid"), ("val_", "dashed")):
            line = values.get(prefix + name)
            if line is not None and len(line):
                x = range(1, len(line) + 1) if epochs is None else epochs[-len(line):]
                ax.plot(x, line, color=color, linestyle=style, markersize=3 if len(line) > 1 else 6,
                        linewidth=2 if name == "loss" else 1.3,
                        marker="o" if len(line) < 30 else None,
                        markerfacecolor="white" if prefix else color,
                        label=f"{label}, validation" if prefix else label)
    ax.set(xlabel="epoch", ylabel="loss", title="Losses")
    heights = [height for line in ax.lines for height in np.asarray(line.get_ydata())
               if np.isfinite(height)]
    _scale_loss_axes(ax, heights)
    if heights:
        ax.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def _scale_loss_axes(ax: Axes, heights: list[float]) -> None:
    """Whole epochs across; a logarithmic vertical axis where all `heights` are above 0."""
    if heights and min(heights) > 0:
        ax.set_yscale("log")
        ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        for set_formatter in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
            set_formatter(StrMethodFormatter("{x:g}"))  # 0.1 and 0.2, not powers of ten
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(alpha=0.25, which="both")
    first, last = ax.dataLim.intervalx
    if heights and first == last:  # a single epoch is drawn in the middle
        ax.set_xlim(first - 1, last + 1)


def plot_ap_by_epoch(history: Any, ax: Axes | None = None, *,
                     epochs: Sequence[int] | None = None) -> Axes:
    """COCO's AP, solid, and AP50, dashed, after the epochs that were evaluated while training.

    Args: as of `plot_losses`; the history's `val_AP` and `val_AP50` are drawn, from 0 to 1, None
        or NaN in epochs that were not evaluated.

    Returns:
        Axes; a dot marks the highest AP.
    """
    ax = new_axes((9, 3.5), ax)
    values = {name: np.array(line, float)
              for name, line in getattr(history, "history", history).items()
              if name in ("val_AP", "val_AP50")}
    if epochs is None and getattr(history, "epoch", None):
        epochs = [epoch + 1 for epoch in history.epoch]
    for name, style in (("val_AP", "solid"), ("val_AP50", "dashed")):
        line = values.get(name, np.zeros(0))
        x = np.array(range(1, len(line) + 1) if epochs is None else epochs[-len(line):])
        known = np.isfinite(line)
        if not known.any():
            continue
        ax.plot(x[known], line[known], color="black", linestyle=style, marker="o", markersize=4,
                markerfacecolor="white", label=name.removeprefix("val_"))
        if name == "val_AP":
            best = int(np.nanargmax(line))
            ax.plot(x[best], line[best], "o", color="black", markersize=7)
        margin = (x[-1] - x[0]) / 20 or 1  # as that of the losses, although epochs may be missing
        ax.set_xlim(x[0] - margin, x[-1] + margin)
    heights = [height for line in ax.lines for height in np.asarray(line.get_ydata())]
    ax.set(xlabel="epoch", ylabel="AP", title="AP of validation",
           ylim=(0, min(1.02, 1.1 * max(heights, default=0) or 1.02)))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(alpha=0.25)
    if heights:
        ax.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


@renamed(AP="ap")
def plot_precision_recall(ap: float, precisions: ArrayLike, recalls: ArrayLike,
                          ax: Axes | None = None) -> Axes:
    """Precision against recall of one image, as `compute_ap` gives them.

    Args:
        ap: float, shown in the title.
        precisions: `[N]` from 0 to 1.
        recalls: `[N]` from 0 to 1.
        ax: axes to draw on, or None for a new figure.

    Returns:
        Axes.
    """
    ax = new_axes((6, 5), ax)
    ax.plot(np.asarray(recalls), np.asarray(precisions), color=PALETTE[1], drawstyle="steps-pre")
    ax.set(xlim=(0, 1.02), ylim=(0, 1.05), xlabel="recall", ylabel="precision",
           title=f"Precision and recall, AP = {ap:.3f}")
    ax.grid(alpha=0.25)
    return ax


def plot_overlaps(gt_class_ids: ArrayLike, pred_class_ids: ArrayLike, pred_scores: ArrayLike,
                  overlaps: ArrayLike, class_names: Sequence[str],
                  threshold: float = IOU_THRESHOLD, ax: Axes | None = None) -> Axes:
    """IoU of each detection (a row) with each object (a column) of one image.

    Cells at or above `threshold` are bold, marked `match` where the classes agree and `wrong` where
    they do not. With more than 60 objects or detections the other cells have no figures, and `×`
    replaces `wrong`.

    Args:
        gt_class_ids: `[G]` int.
        pred_class_ids: `[P]` int.
        pred_scores: `[P]` float.
        overlaps: `[P, G]` float.
        class_names: names by class id.
        threshold: least IoU of a match.
        ax: axes to draw on, or None for a new figure.

    Returns:
        Axes.
    """
    gt_class_ids = np.asarray(np.abs(gt_class_ids), int)
    pred_class_ids = np.asarray(pred_class_ids, int)
    pred_scores = np.asarray(pred_scores, float)
    overlaps = np.asarray(overlaps, float).reshape(len(pred_class_ids), len(gt_class_ids))
    rows, columns = overlaps.shape
    many = max(rows, columns) > MANY_OVERLAPS  # cells too small for more than the matches
    cell = (0.3, 0.2) if many else (0.55, 0.45)
    ax = new_axes((min(max(2.5 + cell[0] * columns, 5), 60),
                   min(max(2 + cell[1] * rows, 4), 60)), ax)
    if overlaps.size:
        ax.imshow(overlaps, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, j in np.argwhere(overlaps > (min(threshold, 0.5) - 1e-9 if many else 0.01)):
        over = overlaps[i, j] >= threshold
        right, wrong = ("", " ×") if many else ("\nmatch", "\nwrong")
        mark = right if gt_class_ids[j] == pred_class_ids[i] else wrong
        ax.text(j, i, f"{overlaps[i, j]:.2f}{mark if over else ''}", ha="center",
                va="center", fontsize=6 if many else 7,
                color="white" if overlaps[i, j] > 0.5 else "black",
                fontweight="bold" if over else "normal")
    size = 7 if many else 8
    ax.set_xticks(range(columns), [_brief(class_names[i]) for i in gt_class_ids], rotation=90,
                  fontsize=size)
    ax.set_yticks(range(rows), [f"{_brief(class_names[i])} {score:.2f}" for i, score in
                                zip(pred_class_ids, pred_scores, strict=True)], fontsize=size)
    ax.set(xlabel="objects", ylabel="detections", title="IoU of detections and objects")
    return ax


def plot_precision_recall_by_class(curves: Mapping[str, Curve], ax: Axes | None = None) -> Axes:
    """Precision against recall over a data set, a line a class, the best AP first in the legend.

    With several classes a dashed black line is their mean.

    Args:
        curves: as `frcnn.evaluate.precision_recall_curves` gives them.
        ax: axes to draw on, or None for a new figure.

    Returns:
        Axes.
    """
    ax = new_axes((7, 5.5), ax)
    for name in sorted(curves, key=lambda name: -curves[name]["AP"]):
        curve = curves[name]
        # beyond the highest recall precision is 0 by definition: the line falls to it and ends
        end = int(np.count_nonzero(curve["precisions"])) + 1
        ax.plot(curve["recalls"][:end], curve["precisions"][:end],
                linewidth=1.6 if len(curves) <= MANY_CLASSES else 1,
                color=class_color(curve["class_id"]),
                label=f"{curve['AP']:.3f}  {_brief(name)}")
    drawn = list(curves.values())
    if len(drawn) > 1:
        mean = np.mean([curve["precisions"] for curve in drawn], axis=0)
        end = int(np.count_nonzero(mean)) + 1
        ax.plot(drawn[0]["recalls"][:end], mean[:end], color="black", linewidth=2.4,
                linestyle=(0, (4, 1.5)),
                label=f"{np.mean([curve['AP'] for curve in drawn]):.3f}  mean")
    ax.set(xlim=(0, 1.02), ylim=(0, 1.05), xlabel="recall", ylabel="precision",
           title="Precision and recall by class")
    ax.grid(alpha=0.25)
    if drawn:
        iou = drawn[0].get("iou_threshold")
        ax.legend(title="AP" if iou is None else f"AP at IoU {iou:.2f}", alignment="left",
                  ncol=math.ceil(len(ax.lines) / (MANY_CLASSES + 2)), columnspacing=1.2,
                  fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def plot_confusion_matrix(counts: ArrayLike, class_names: Sequence[str], ax: Axes | None = None
                          ) -> Axes:
    """Which classes are taken for which, shaded by the share of the object's class.

    Args:
        counts: int `[C, C]`, as `frcnn.evaluate.confusion_matrix` gives them: row = object, column
            = detection, 0 = none.
        class_names: `[C]` names by class id.
        ax: axes to draw on, or None for a new figure.

    Returns:
        Axes; "missed" is its last column, "no object" its last row, which has no shares. With more
        than 20 classes the shares are shown by the shade alone.
    """
    counts = np.asarray(counts)
    order = [*range(1, len(counts)), 0]
    counts = counts[np.ix_(order, order)]
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    shares[-1] = 0
    many = len(counts) > MANY_CLASSES
    side = 2 + (0.36 if many else 0.75) * len(counts)
    ax = new_axes((side + 0.5, side), ax)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.argwhere(counts > 0):
        share = "" if many or i == len(counts) - 1 else f"\n{percent(shares[i, j])}"
        ax.text(j, i, f"{counts[i, j]}{share}", ha="center", va="center",
                fontsize=7 if many else 9, color="white" if shares[i, j] > 0.5 else "black",
                fontweight="bold" if i == j else "normal")
    names = [_brief(class_names[class_id]) for class_id in order[:-1]]
    ax.set_xticks(range(len(order)), [*names, "missed"], rotation=45, ha="right",
                  rotation_mode="anchor")
    ax.set_yticks(range(len(order)), [*names, "no object"])
    for draw_line in (ax.axhline, ax.axvline):
        draw_line(len(order) - 1.5, color="0.4", linewidth=0.8)
    ax.set(xlabel="detected as", ylabel="truth", title="Confusion")
    return ax


def plot_box_sizes(sides: ArrayLike, class_ids: ArrayLike, class_names: Sequence[str],
                   ax: Axes | None = None, *, anchors: Sequence[float] | None = None,
                   unit: str = "pixels") -> Axes:
    """A histogram of the sizes of boxes, each bar divided by class.

    Args:
        sides: `[N]` float above 0, the square roots of the boxes' areas.
        class_ids: `[N]` int from 1.
        class_names: names by class id.
        ax: axes to draw on, or None for a new figure.
        anchors: side lengths to mark, such as RPN_ANCHOR_SCALES, in the same unit; or None.
        unit: the unit of `sides`.

    Returns:
        Axes; the horizontal axis is logarithmic.
    """
    ax = new_axes((7, 4), ax)
    sides, class_ids = np.asarray(sides, float), np.asarray(class_ids, int)
    handles: list[Any] = []
    ax.set(xlabel=f"side of the box (root of its area), {unit}", ylabel="objects",
           title="Sizes of the boxes")
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(alpha=0.25, axis="y")
    if len(sides):
        lowest, highest = np.log2(sides.min()), np.log2(sides.max())
        bins = list(2.0 ** np.arange(np.floor(lowest * 4) / 4, highest + 0.26, 0.25))
        present = np.unique(class_ids)
        ax.hist([sides[class_ids == class_id] for class_id in present], bins, stacked=True,
                color=[class_color(class_id) for class_id in present])
        handles = [Patch(color=class_color(class_id), label=_brief(class_names[class_id]))
                   for class_id in present]
    lines = [ax.axvline(anchor, color="0.35", linestyle="--", linewidth=1, label="anchors")
             for anchor in (anchors if anchors is not None else [])]
    handles += lines[-1:]
    if handles:
        ax.legend(handles=handles, fontsize=9, frameon=False, loc="upper left",
                  bbox_to_anchor=(1, 1))
    return ax


def _brief(name: str, length: int = 28) -> str:
    """A class name, shortened so that it fits beside a plot."""
    return plain(name if len(name) <= length else f"{name[:length - 1]}…")


def percent(share: float) -> str:
    """A share in whole percents; only exact 0 and 1 are written as 0% and 100%."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"
