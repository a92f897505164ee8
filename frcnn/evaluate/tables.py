"""Figures of an evaluation as a table of text and as a JSON file."""

from frcnn.evaluate.coco import SUMMARY_KEYS
from frcnn.files import write_json


def format_table(metrics):
    """A table for people: the figures of all classes, then those of each.

    Args:
        metrics: as `evaluate_detections` gives them.

    Returns:
        str of several lines without a line end; `-` stands for a figure that is not defined.
    """
    rows = [SUMMARY_KEYS, [_figure(metrics[key]) for key in SUMMARY_KEYS]]
    classes = [["class", "AP", "AP50", "objects"]]
    for name, figures in metrics["per_class"].items():
        classes.append([name, _figure(figures["AP"]), _figure(figures["AP50"]),
                        str(figures["objects"])])
    return "\n".join([_caption(metrics["settings"]), "", *_align(rows, left=0), "",
                      *_align(classes, left=1)])


def write_metrics(metrics, path):
    """Writes the figures as JSON, whole or not at all: a reader never sees half a file.

    Args:
        metrics: as `evaluate_detections` gives them.
        path: file to write; its folder is made if missing.
    """
    write_json(path, metrics)


def _caption(settings):
    parts = [f"{settings[key]} {key if settings[key] != 1 else key[:-1]}"
             for key in ("images", "objects")]
    for name, key in (("score >=", "score_threshold"), ("NMS", "nms_threshold")):
        if settings[key] is not None:
            parts.append(f"{name} {settings[key]:g}")
    parts.append(f"at most {settings['max_detections']} detections")
    return "COCO evaluation: " + ", ".join(parts)


def _figure(value):
    return "-" if value is None else f"{value:.3f}"


def _align(rows, left):
    """Rows of text as lines; the first `left` columns are flush left, the others flush right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) if i < left else text.rjust(width)
                      for i, (text, width) in enumerate(zip(row, widths, strict=True))).rstrip()
            for row in rows]
