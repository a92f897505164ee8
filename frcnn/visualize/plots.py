"""Curves and matrices: losses by epoch, precision against recall, overlaps, confusion."""

import numpy as np
from matplotlib.ticker import LogLocator, StrMethodFormatter

from frcnn.visualize.canvas import PALETTE, class_color, new_axes

LOSS_LABELS = {"loss": "total", "rpn_class_loss": "RPN class", "rpn_bbox_loss": "RPN box",
               "mrcnn_class_loss": "head class", "mrcnn_bbox_loss": "head box"}


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
    values = getattr(history, "history", history)
    if epochs is None and getattr(history, "epoch", None):
        epochs = [epoch + 1 for epoch in history.epoch]
    for index, (name, label) in enumerate(LOSS_LABELS.items()):
        color = "black" if name == "loss" else PALETTE[index - 1]
        for prefix, style in (("", "solid"), ("val_", "dashed")):
            line = values.get(prefix + name)
            if line is not None and len(line):
                x = np.arange(1, len(line) + 1) if epochs is None else epochs[-len(line):]
                ax.plot(x, line, color=color, linestyle=style, markersize=3,
                        linewidth=2 if name == "loss" else 1.3,
                        marker="o" if len(line) < 30 else None,
                        label=f"{label}, validation" if prefix else label)
    heights = [height for line in ax.get_lines() for height in line.get_ydata()]
    if heights and min(heights) > 0:
        ax.set_yscale("log")
        ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        for pick in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
            pick(StrMethodFormatter("{x:g}"))  # 0.1 and 0.2, not powers of ten
    ax.set(xlabel="epoch", ylabel="loss", title="Losses")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(alpha=0.25, which="both")
    if heights:
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
    `wrong` where they do not.

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
    ax = new_axes((min(2.5 + 0.55 * columns, 40), min(2 + 0.45 * rows, 40)), ax)
    if overlaps.size:
        ax.imshow(overlaps, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, j in np.argwhere(overlaps > 0.01):
        over = overlaps[i, j] >= threshold
        word = ("\nmatch" if gt_class_ids[j] == pred_class_ids[i] else "\nwrong") if over else ""
        ax.text(j, i, f"{overlaps[i, j]:.2f}{word}", ha="center", va="center", fontsize=7,
                color="white" if overlaps[i, j] > 0.5 else "black",
                fontweight="bold" if over else "normal")
    ax.set_xticks(range(columns), [class_names[i] for i in gt_class_ids], rotation=90, fontsize=8)
    ax.set_yticks(range(rows), [f"{class_names[i]} {score:.2f}" for i, score in
                                zip(pred_class_ids, pred_scores, strict=True)], fontsize=8)
    ax.set(xlabel="objects", ylabel="detections", title="IoU of detections and objects")
    return ax


def plot_precision_recall_by_class(curves, ax=None):
    """Precision against recall over a data set, a line a class, the best AP first in the legend.

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
        ax.plot(curve["recalls"][:end], curve["precisions"][:end], linewidth=1.6,
                color=class_color(curve["class_id"]),
                label=f"{name}  {curve['AP']:.3f}")
    ax.set(xlim=(0, 1.02), ylim=(0, 1.05), xlabel="recall", ylabel="precision",
           title="Precision and recall by class")
    ax.grid(alpha=0.25)
    if curves:
        ax.legend(title="AP", fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def plot_confusion_matrix(counts, class_names, ax=None):
    """Which classes are taken for which, shaded by the share of the object's class.

    Args:
        counts: int `[C, C]`, as `frcnn.evaluate.confusion_matrix` gives them: row = object, column
            = detection, 0 = nothing there.
        class_names: `[C]` names by class id.
        ax: axes to draw on, or None for a new figure.

    Returns:
        Axes; "missed" is its last column, "no object" its last row, which has no shares.
    """
    order = [*range(1, len(counts)), 0]
    counts = np.asarray(counts)[np.ix_(order, order)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shares[-1] = 0
    side = 2 + 0.75 * len(counts)
    ax = new_axes((side + 0.5, side), ax)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.argwhere(counts > 0):
        share = f"\n{shares[i, j]:.0%}" if i < len(counts) - 1 else ""
        ax.text(j, i, f"{counts[i, j]}{share}", ha="center", va="center", fontsize=8,
                color="white" if shares[i, j] > 0.5 else "black",
                fontweight="bold" if i == j else "normal")
    names = [class_names[class_id] for class_id in order[:-1]]
    ax.set_xticks(range(len(order)), [*names, "missed"], rotation=45, ha="right",
                  rotation_mode="anchor")
    ax.set_yticks(range(len(order)), [*names, "no object"])
    for place in (ax.axhline, ax.axvline):
        place(len(order) - 1.5, color="0.4", linewidth=0.8)
    ax.set(xlabel="detected as", ylabel="truth", title="Confusion")
    return ax
