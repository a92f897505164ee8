"""The section on numbers of objects: their agreement with the truth, a table and plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from frcnn.evaluate.coco import Metrics, Results, class_labels
from frcnn.evaluate.count_agreement import ClassNumbers, class_numbers
from frcnn.report import figures
from frcnn.visualize import class_color

if TYPE_CHECKING:
    from frcnn.data.dataset import Dataset

MOST_PLOTS = 12


def gather_counts(dataset: Dataset, results: Results, metrics: Metrics, image_ids: Sequence[int]
                  ) -> dict[str, Any] | None:
    """The section's content; None where the metrics have no `counts` or there are no images.

    Args: as of `write_report`; `metrics["counts"]` is what `evaluate_counts` gave.
    """
    counts = metrics.get("counts")
    if not counts or not counts["per_class"]:
        return None
    labels = class_labels(dataset)
    colors = {label: class_color(class_id) for class_id, label in enumerate(labels) if class_id}
    rows = []
    for name, found in counts["per_class"].items():
        for kind in ("counted", "expected"):
            if found[kind] is not None:
                rows.append({"name": name if kind == "counted" else "", "color": colors[name],
                             "kind": kind, "objects": found["objects"], **found[kind],
                             "coverage": found["coverage"] if kind == "expected" else None})
    numbers = class_numbers(dataset, results, image_ids, score_threshold=counts["score_threshold"])
    most = sorted(numbers, key=lambda one: -one.true.sum())[:MOST_PLOTS]
    shown = [one for one in numbers if one in most and (one.true.any() or one.best.any())]
    return {
        "rows": rows, "level": counts["level"], "score_threshold": counts["score_threshold"],
        "notes": [found["note"] for found in counts["per_class"].values() if found["note"]],
        "left_out": len(numbers) - len(most),
        "plots": [_plot(one, colors[one.name]) for one in shown]}


def _plot(numbers: ClassNumbers, color: str) -> dict[str, str]:
    kind = "counted" if numbers.expected is None else "expected"
    return {"name": numbers.name, "color": color, "kind": kind,
            "picture": figures.bland_altman(numbers.best, numbers.true, kind, color)}
