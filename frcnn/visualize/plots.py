"""Curves and matrices: losses by epoch, precision against recall, overlaps of one image."""

import numpy as np

from frcnn.visualize.canvas import PALETTE, new_axes

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
    ax.set(xlabel="epoch", ylabel="loss", title="Losses")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(alpha=0.25, which="both")
    if heights:
        ax.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def plot_precision_recall(AP, precisions, recalls, ax=None):
    """Precision against recall of one image, as `compute_ap` gives them.

    Args:
        AP: float, shown in the title.
        precisions: `[N]` from 0 to 1.
        recalls: `[N]` from 0 to 1.
        ax: axes to draw on, or None for a new figure.

    Returns:
        Axes.
    """
    ax = new_axes((6, 5), ax)
    ax.plot(recalls, precisions, color=PALETTE[1], drawstyle="steps-pre")
    ax.set(xlim=(0, 1.02), ylim=(0, 1.05), xlabel="recall", ylabel="precision",
           title=f"Precision and recall, AP50 = {AP:.3f}")
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
