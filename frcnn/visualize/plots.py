"""Curves and matrices: losses by epoch, precision against recall, overlaps, confusion."""

import math

import numpy as np
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, StrMethodFormatter

from frcnn.visualize.canvas import PALETTE, class_color, new_axes, plain

MANY_OVERLAPS = 60  # objects or detections of one image
MANY_CLASSES = 20
LOSS_LABELS = {"loss": "total", "rpn_class_loss": "RPN class", "rpn_bbox_loss": "RPN box",
               "mrcnn_class_loss": "head class", "mrcnn_bbox_loss": "head box"}
LOSS_COLORS = dict(zip(LOSS_LABELS, ("black", *PALETTE)))
_FIGURES = {prefix + name for name in LOSS_LABELS for prefix in ("", "val_")}


def plot_losses(history, ax=None, *, epochs=None):
    """Total and the four losses by epoch; training solid, validation dashed.

    Args:
        history: what `fit` returned, or its dict: loss name → a value an epoch; `val_` names are
            validation's.
        ax: axes to draw on, or None for a new figure.
        epochs: number of each epoch; None takes the history's own, from 1.

    Returns:
        Axes, logarithmic upwards where all values are above 0.
    """
    ax = new_axes((9, 5.5), ax)
    values = {name: np.array(line, float)  # None stands for a figure that there was not
              for name, line in getattr(history, "history", history).items() if name in _FIGURES}
    if epochs is None and getattr(history, "epoch", None):
        epochs = [epoch + 1 for epoch in history.epoch]
    for name, label in LOSS_LABELS.items():
        color = LOSS_COLORS[name]
        for prefix, style in (("", "solid"), ("val_", "dashed")):
            line = values.get(prefix + name)
            if line is not None and len(line):
                x = np.arange(1, len(line) + 1) if epochs is None else epochs[-len(line):]
                ax.plot(x, line, color=color, linestyle=style, markersize=3 if len(line) > 1 else 6,
                        linewidth=2 if name == "loss" else 1.3,
                        marker="o" if len(line) < 30 else None,
                        markerfacecolor="white" if prefix else color,
                        label=f"{label}, validation" if prefix else label)
    heights = [height for line in ax.get_lines() for height in line.get_ydata()
               if np.isfinite(height)]
    if heights and min(heights) > 0:
        ax.set_yscale("log")
        ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        for pick in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
            pick(StrMethodFormatter("{x:g}"))  # 0.1 and 0.2, not powers of ten
    ax.set(xlabel="epoch", ylabel="loss", title="Losses")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(alpha=0.25, which="both")
    if heights:
        first, last = ax.dataLim.intervalx
        if first == last:  # a single epoch stands in the middle
            ax.set_xlim(first - 1, last + 1)
        ax.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def plot_precision_recall(ap, precisions, recalls, ax=None):
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
    ax.plot(recalls, precisions, color=PALETTE[1], drawstyle="steps-pre")
    ax.set(xlim=(0, 1.02), ylim=(0, 1.05), xlabel="recall", ylabel="precision",
           title=f"Precision and recall, AP = {ap:.3f}")
    ax.grid(alpha=0.25)
    return ax


def plot_overlaps(gt_class_ids, pred_class_ids, pred_scores, overlaps, class_names, threshold=0.5,
                  ax=None):
    """IoU of each detection (a row) with each object (a column) of one image.

    Cells at or above `threshold` are written in bold, marked `match` where the classes agree and
    `wrong` where they do not. With more than 60 objects or detections the other cells have no
    figures, and `×` stands for `wrong`.

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
    gt_class_ids, pred_class_ids = np.abs(gt_class_ids).astype(int), np.asarray(pred_class_ids, int)
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
        same = gt_class_ids[j] == pred_class_ids[i]
        words = ("", " ×") if many else ("\nmatch", "\nwrong")
        ax.text(j, i, f"{overlaps[i, j]:.2f}{words[not same] if over else ''}", ha="center",
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


def plot_precision_recall_by_class(curves, ax=None):
    """Precision against recall over a data set, a line a class, the best AP first in the legend.

    With several classes a black line is the mean of all; its AP is theirs.

    Args:
        curves: as `frcnn.evaluate.precision_recall_curves` gives them.
        ax: axes to draw on, or None for a new figure.

    Returns:
        Axes.
    """
    ax = new_axes((7, 5.5), ax)
    for name in sorted(curves, key=lambda name: -curves[name]["AP"]):
        curve = curves[name]
        # beyond the highest recall precision is 0 by definition: the line falls, and ends
        end = int(np.count_nonzero(curve["precisions"])) + 1
        ax.plot(curve["recalls"][:end], curve["precisions"][:end],
                linewidth=1.6 if len(curves) <= MANY_CLASSES else 1,
                color=class_color(curve["class_id"]),
                label=f"{curve['AP']:.3f}  {_brief(name)}")
    every = list(curves.values())
    if len(every) > 1:
        mean = np.mean([curve["precisions"] for curve in every], axis=0)
        end = int(np.count_nonzero(mean)) + 1
        ax.plot(every[0]["recalls"][:end], mean[:end], color="black", linewidth=2.4,
                linestyle=(0, (4, 1.5)),
                label=f"{np.mean([curve['AP'] for curve in every]):.3f}  mean")
    ax.set(xlim=(0, 1.02), ylim=(0, 1.05), xlabel="recall", ylabel="precision",
           title="Precision and recall by class")
    ax.grid(alpha=0.25)
    if every:
        iou = every[0].get("iou_threshold")
        ax.legend(title="AP" if iou is None else f"AP at IoU {iou:.2f}", alignment="left",
                  ncol=math.ceil(len(ax.lines) / (MANY_CLASSES + 2)), columnspacing=1.2,
                  fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def plot_confusion_matrix(counts, class_names, ax=None):
    """Which classes are taken for which, shaded by the share of the object's class.

    Args:
        counts: int `[C, C]`, as `frcnn.evaluate.confusion_matrix` gives them: row = object, column
            = detection, 0 = nothing there.
        class_names: `[C]` names by class id.
        ax: axes to draw on, or None for a new figure.

    Returns:
        Axes; "missed" is its last column, "no object" its last row, which has no shares. With more
        than 20 classes the shares are told by the shade alone.
    """
    order = [*range(1, len(counts)), 0]
    counts = np.asarray(counts)[np.ix_(order, order)]
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
    for place in (ax.axhline, ax.axvline):
        place(len(order) - 1.5, color="0.4", linewidth=0.8)
    ax.set(xlabel="detected as", ylabel="truth", title="Confusion")
    return ax


def plot_box_sizes(sides, class_ids, class_names, ax=None, *, anchors=None, unit="pixels"):
    """A histogram of the sizes of boxes, each bar divided by class.

    Args:
        sides: `[N]` float above 0, the square roots of the boxes' areas.
        class_ids: `[N]` int from 1.
        class_names: names by class id.
        ax: axes to draw on, or None for a new figure.
        anchors: side lengths to mark, such as RPN_ANCHOR_SCALES, in the same unit; or None.
        unit: what `sides` are measured in.

    Returns:
        Axes, logarithmic across.
    """
    ax = new_axes((7, 4), ax)
    sides, class_ids = np.asarray(sides, float), np.asarray(class_ids, int)
    handles, line = [], None
    ax.set(xlabel=f"side of the box (root of its area), {unit}", ylabel="objects",
           title="Sizes of the boxes")
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(alpha=0.25, axis="y")
    if len(sides):
        lowest, highest = np.log2(sides.min()), np.log2(sides.max())
        bins = 2.0 ** np.arange(np.floor(lowest * 4) / 4, highest + 0.26, 0.25)
        present = np.unique(class_ids)
        ax.hist([sides[class_ids == class_id] for class_id in present], bins, stacked=True,
                color=[class_color(class_id) for class_id in present])
        handles = [Patch(color=class_color(class_id), label=_brief(class_names[class_id]))
                   for class_id in present]
    for anchor in anchors if anchors is not None else []:
        line = ax.axvline(anchor, color="0.35", linestyle="--", linewidth=1, label="anchors")
    handles += [line] if line else []
    if handles:
        ax.legend(handles=handles, fontsize=9, frameon=False, loc="upper left",
                  bbox_to_anchor=(1, 1))
    return ax


def _brief(name, length=28):
    """A class name that leaves room for the plot beside it."""
    return plain(name if len(name) <= length else f"{name[:length - 1]}…")


def percent(share):
    """A share in whole percents; what is not quite nothing or not quite all does not read so."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"
