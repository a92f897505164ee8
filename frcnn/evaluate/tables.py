"""Figures of an evaluation as a table of text and as a JSON file; columns of text, aligned."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frcnn.evaluate.coco import SUMMARY_KEYS, Metrics
from frcnn.files import write_json


def align_columns(rows: Sequence[Sequence[str]], left: int | None = None) -> list[str]:
    """Rows of cells as lines of text, columns two spaces apart, without trailing spaces.

    Args:
        rows: cells of each line; a short row is filled with empty cells.
        left: how many columns, from the first, are aligned to the left; the others are aligned to
            the right. None aligns all to the left.

    Returns:
        list of str, a line for each row.
    """
    columns = max(map(len, rows), default=0)
    filled = [[*row, *[""] * (columns - len(row))] for row in rows]
    widths = [max(len(row[i]) for row in filled) for i in range(columns)]
    left = columns if left is None else left
    return ["  ".join(cell.ljust(width) if i < left else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
            for row in filled]


def format_table(metrics: Metrics) -> str:
    """A table of text: the figures of all classes, then those of each class.

    Args:
        metrics: as `evaluate_detections` gives them.

    Returns:
        str of several lines without a line end; `-` is a figure that is not defined.
    """
    rows = [SUMMARY_KEYS, [_figure(metrics[key]) for key in SUMMARY_KEYS]]
    classes = [["class", "AP", "AP50", "objects"]]
    for name, figures in metrics["per_class"].items():
        classes.append([name, _figure(figures["AP"]), _figure(figures["AP50"]),
                        str(figures["objects"])])
    return "\n".join([_caption(metrics["settings"]), "", *align_columns(rows, left=0), "",
                      *align_columns(classes, left=1)])


def write_metrics(metrics: Metrics, path: str | Path) -> None:
    """Writes the figures as JSON, atomically: a reader sees the whole file or the one before.

    Args:
        metrics: as `evaluate_detections` gives them.
        path: file to write; its folder is made if missing.

    Raises:
        ValueError: a figure is NaN or infinite.
    """
    write_json(path, metrics)


def _caption(settings: dict[str, Any]) -> str:
    parts = [f"{settings[key]} {key if settings[key] != 1 else key[:-1]}"
             for key in ("images", "objects")]
    for name, key in (("score >=", "score_threshold"), ("NMS", "nms_threshold")):
        if settings[key] is not None:
            parts.append(f"{name} {settings[key]:g}")
    parts += describe_recipes(settings)
    parts.append(f"at most {settings['max_detections']} detections")
    return "COCO evaluation: " + ", ".join(parts)


def describe_recipes(settings: dict[str, Any]) -> list[str]:
    """The optional steps of a detector in the `settings` of metrics, as texts."""
    texts = []
    if settings.get("flips"):
        texts.append(f"flips {' + '.join(settings['flips'])} fused at IoU "
                     f"{settings['fusion_iou']:g}")
    if settings.get("tile"):
        texts.append(f"tiles of {settings['tile']} pixels overlapping by {settings['overlap']:g}")
    if settings.get("box_voting"):
        texts.append(f"box voting at IoU {settings['box_voting']:g}")
    return texts


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
