"""Everything on a report's page, as plain values."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import platform
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import frcnn
from frcnn.arrays import IntArray
from frcnn.config import Config
from frcnn.data.image_name import ImageName
from frcnn.evaluate import precision_recall_curves
from frcnn.evaluate.coco import Metrics, Results, class_labels, image_ids_of
from frcnn.evaluate.curves import Curve
from frcnn.evaluate.matching import COCO_IOU_THRESHOLDS
from frcnn.evaluate.tables import describe_recipes
from frcnn.files import read_json
from frcnn.report import figures
from frcnn.report.counts import gather_counts
from frcnn.report.examples import Score, choose_examples, draw_example, score_images
from frcnn.report.statistics import SIZE_RANGES, Statistics, describe_dataset
from frcnn.visualize import class_color
from frcnn.visualize.plots import LOSS_COLORS, LOSS_LABELS

if TYPE_CHECKING:
    from frcnn.data.dataset import Dataset

PACKAGES = ("keras", "numpy", "matplotlib", "pycocotools")
_MEAN_OF_IOU = f"mean of IoU {COCO_IOU_THRESHOLDS[0]:.2f} to {COCO_IOU_THRESHOLDS[-1]:.2f}"
TILES = (("AP", _MEAN_OF_IOU), ("AP50", "at IoU 0.50"), ("AP75", "at IoU 0.75"),
         ("AR100", f"recall, {_MEAN_OF_IOU}"))
HARD_TO_FIND = 10  # side in pixels of the resized image
EXAMPLE_TITLES = {"best": "Best images", "worst": "Worst images",
                  "random": "Images drawn at random"}


@dataclass
class Run:
    """Content of a report beside the figures; every part may be missing.

    Attributes:
        title: the page's heading.
        checkpoint: path of the weights.
        epoch: of the checkpoint, counted from 1; 0 if unknown.
        config: the Config that the checkpoint was evaluated with.
        history: losses, and AP of validation if it was evaluated while training, by name, a value
            an epoch, as in a run's `history.json`.
        subset: name of the evaluated images.
        others: further prepared Datasets by name, such as the training images.
        facts: further lines on how the report was made, by name, such as the command.
    """

    title: str = "Detection report"
    checkpoint: str | Path | None = None
    epoch: int = 0
    config: Config | None = None
    history: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    subset: str = "val"
    others: Mapping[str, Dataset] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def read_history(folder: str | Path) -> dict[str, list[Any]]:
    """The figures in a run folder's `history.json`; empty if it is missing or invalid."""
    try:
        history = read_json(Path(folder) / "history.json")
        lists = {name: [None if value is None else float(value) for value in values]
                 for name, values in history.items()}
        lengths = {len(values) for values in lists.values()}
        epochs = [int(epoch) for epoch in history["epoch"]]
        return {**lists, "epoch": epochs} if len(lengths) == 1 else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def gather(dataset: Dataset, results: Results, metrics: Metrics, run: Run,
           image_ids: Iterable[int] | None, iou_threshold: float, score_threshold: float,
           examples: int, seed: int) -> dict[str, Any]:
    """The page's content: dict for the template. Args: as of `write_report`."""
    ids = image_ids_of(dataset, image_ids)
    thresholds = {"iou_threshold": iou_threshold, "score_threshold": score_threshold}
    curves = precision_recall_curves(dataset, results, ids,
                                     metrics["settings"]["max_detections"], iou_threshold)
    scores, counts = score_images(dataset, results, ids, **thresholds)
    chosen = choose_examples(scores, examples, seed)
    statistics = describe_dataset(dataset, ids, run.config)
    labels = class_labels(dataset)
    return {
        "run": run, "metrics": metrics, **thresholds,
        "tiles": [{"name": name, "value": metrics[name], "text": text} for name, text in TILES],
        "sizes": [{"name": size.name, "range": size.text, "AP": metrics[size.metric],
                   "objects": objects}
                  for size, objects in zip(SIZE_RANGES, statistics["by_size"])],
        "classes": _classes(metrics, labels, counts, curves),
        "overall": _shares(int(np.trace(counts[1:, 1:])), counts[1:].sum(), counts[:, 1:].sum()),
        "curves": figures.precision_recall(curves) if curves else None,
        "confusion": _confusion(counts, labels),
        "counts": gather_counts(dataset, results, metrics, ids),
        "examples": _examples(dataset, results, chosen, thresholds),
        "colors": [(label, class_color(class_id)) for class_id, label in enumerate(labels)
                   if class_id],
        "losses": _losses(run),
        "data": [_data(run.subset, statistics, dataset, run.config)] + [
            _data(name, describe_dataset(other, None, run.config), other, run.config)
            for name, other in run.others.items()],
        "settings": _settings(run.config),
        "provenance": _provenance(run, metrics),
    }


# --- results --------------------------------------------------------------------------------


def _classes(metrics: Metrics, labels: Sequence[str], counts: IntArray,
             curves: Mapping[str, Curve]) -> list[dict[str, Any]]:
    """Rows of the table of classes, in the order of class ids."""
    rows = []
    for class_id, label in enumerate(labels):
        if class_id:
            best = _best_f1(curves[label]) if label in curves else (None, None)
            rows.append({
                "name": label, "color": class_color(class_id), **metrics["per_class"][label],
                **_shares(counts[class_id, class_id], counts[class_id].sum(),
                          counts[:, class_id].sum()),
                "best_f1": best[0], "best_score": best[1]})
    return rows


def _shares(hits: int, objects: int, detections: int) -> dict[str, float | None]:
    """Precision and recall; None where the divisor is 0."""
    return {"precision": float(hits / detections) if detections else None,
            "recall": float(hits / objects) if objects else None}


def _best_f1(curve: Curve) -> tuple[float, float | None]:
    """The highest F1 on a precision-recall curve, and the score threshold that reaches it."""
    precisions, recalls = curve["precisions"], curve["recalls"]
    f1 = 2 * precisions * recalls / np.maximum(precisions + recalls, 1e-12)
    best = int(np.argmax(f1))
    return (float(f1[best]), float(curve["scores"][best])) if f1[best] > 0 else (0.0, None)


def _confusion(counts: IntArray, labels: Sequence[str]) -> dict[str, Any]:
    """The matrix as rows of cells, "missed" in the last column and "no object" in the last row."""
    order = [*range(1, len(counts)), 0]
    rows = []
    for i in order:
        total = int(counts[i].sum())
        cells = [{"count": int(counts[i, j]), "share": counts[i, j] / total if total and i else 0,
                  "hit": i == j} for j in order]
        rows.append({"name": labels[i] if i else "no object", "total": total if i else None,
                     "cells": cells if i else cells[:-1]})
    return {"names": [labels[i] for i in order[:-1]], "rows": rows,
            "objects": int(counts[1:].sum()), "detections": int(counts[:, 1:].sum())}


def _examples(dataset: Dataset, results: Results, chosen: Mapping[str, list[Score]],
              thresholds: Mapping[str, float]) -> list[dict[str, Any]]:
    groups = []
    for kind, scores in chosen.items():
        pictures = []
        for score in scores:
            try:
                truth, found = draw_example(dataset, score.image_id, results.get(score.image_id),
                                            **thresholds)
            except (OSError, ValueError, MemoryError) as error:  # an ImageError is a ValueError
                warnings.warn(f"{ImageName(dataset, score.image_id)} is left out of the "
                              f"report: {error}", stacklevel=2)
                continue
            pictures.append({"name": _image_name(dataset, score.image_id), "score": score,
                             "truth": truth, "found": found})
        if pictures:
            groups.append({"title": EXAMPLE_TITLES[kind], "images": pictures})
    return groups


def _image_name(dataset: Dataset, image_id: int) -> str:
    """The file's name, and the source's id of the image where that is different."""
    info = dataset.image_info[image_id]
    name = Path(str(info["path"])).name if info.get("path") else ""
    own = str(info["id"])
    return own if not name or own in (name, Path(name).stem) else f"{name} (id {own})"


# --- training, data, configuration ------------------------------------------------------------


def _losses(run: Run) -> dict[str, Any] | None:
    """The curves, and the losses of the checkpoint's epoch; None without a history."""
    history = run.history
    epochs = list(history.get("epoch") or [])
    if not epochs or not any(name in history for name in LOSS_LABELS):
        return None
    epoch = run.epoch if run.epoch in epochs else epochs[-1]
    index = epochs.index(epoch)

    def value(name: str) -> float | None:
        figure = history.get(name, [None] * len(epochs))[index]
        return None if figure is None or not math.isfinite(figure) else float(figure)

    rows = [{"name": label, "color": LOSS_COLORS[name], "training": value(name),
             "validation": value("val_" + name)}
            for name, label in LOSS_LABELS.items() if name in history]
    validated = [(figure, number) for figure, number in
                 zip(history.get("val_loss", []), epochs) if figure is not None]
    return {"picture": figures.losses(history, epoch), "rows": rows, "epoch": epoch,
            "epochs": epochs[-1], "lowest": min(validated)[1] if validated else None,
            "ap": _ap_by_epoch(history, epoch)}


def _ap_by_epoch(history: Mapping[str, Sequence[Any]], epoch: int) -> dict[str, Any] | None:
    """The curve of AP, and its highest value; None if no epoch was evaluated."""
    evaluated = [(ap, -number) for ap, number in
                 zip(history.get("val_AP", []), history["epoch"]) if ap is not None]
    if not evaluated:
        return None
    ap, number = max(evaluated)
    return {"picture": figures.ap_by_epoch(history, epoch), "highest": ap, "epoch": -number,
            "count": len(evaluated)}


def _data(name: str, statistics: Statistics, dataset: Dataset, config: Config | None
          ) -> dict[str, Any]:
    resized = statistics["resized"]
    known = resized is not None and len(resized) > 0
    return {
        **statistics, "name": name,
        "colors": {row["class_id"]: class_color(row["class_id"]) for row in statistics["classes"]},
        "picture": figures.box_sizes(statistics, class_labels(dataset),
                                     getattr(config, "RPN_ANCHOR_SCALES", None))
        if statistics["objects"] else None,
        "median": float(np.median(resized)) if known else None,
        "hard": float(np.mean(resized < HARD_TO_FIND)) if known else None,
        "hard_limit": HARD_TO_FIND,
    }


def _settings(config: Config | None) -> list[tuple[str, str, bool]]:
    """All settings as (name, value, whether it differs from the library's default)."""
    if config is None:
        return []
    own, default = json.loads(config.to_json()), json.loads(Config().to_json())
    return [(name, _as_text(value), value != default.get(name)) for name, value in own.items()]


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_as_text(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(_as_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _provenance(run: Run, metrics: Metrics) -> list[tuple[str, str]]:
    """How the report was made: rows of (name, value)."""
    settings = metrics["settings"]
    rows = {"date": f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"}
    if run.checkpoint is not None:
        rows["weights"] = str(run.checkpoint)
    rows.update((name, str(value)) for name, value in run.facts.items())
    rows["versions"] = ", ".join([f"frcnn {frcnn.__version__}", *_versions()])
    rows["system"] = f"Python {platform.python_version()}, {platform.platform()}"
    thresholds = [("score", settings["score_threshold"], "or more"),
                  ("NMS at IoU", settings["nms_threshold"], "")]
    rows["evaluation"] = ", ".join(
        [f"{name} {value:g} {more}".strip() for name, value, more in thresholds
         if value is not None] + describe_recipes(settings)
        + [f"at most {settings['max_detections']} detections of an image"])
    return list(rows.items())


def _versions() -> Iterator[str]:
    """Packages with their versions; if Keras is loaded, its backend first."""
    keras = sys.modules.get("keras")
    backend = [keras.config.backend()] if keras else []
    for name in [*backend, *PACKAGES]:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield f"{name} {importlib.metadata.version(name)}"
