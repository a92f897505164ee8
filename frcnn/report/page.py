"""A report's content as HTML, in one file that needs no other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from frcnn.evaluate.coco import Metrics, Results
from frcnn.evaluate.matching import IOU_THRESHOLD
from frcnn.files import expanded, replacing
from frcnn.report.content import Run, gather
from frcnn.visualize.plots import percent

if TYPE_CHECKING:
    from frcnn.data.dataset import Dataset

FOLDER = Path(__file__).parent


def write_report(path: str | Path, dataset: Dataset, results: Results, metrics: Metrics,
                 run: Run | None = None, image_ids: Iterable[int] | None = None, *,
                 iou_threshold: float = IOU_THRESHOLD, score_threshold: float = 0.5,
                 examples: int = 3, seed: int = 0) -> Path:
    """Writes a page of a detector's results: figures, curves, confusion, examples, data, settings.

    It does not detect: it takes the arguments and the metrics of `evaluate_detections`. All
    pictures are in the file, which loads nothing and runs no script.

    Args:
        path: file to write; its folder is made if missing.
        dataset: a prepared Dataset.
        results: dict, internal image id → result of `detect`.
        metrics: as `frcnn.evaluate.evaluate_detections` gave them for these.
        run: a Run, which describes the detector; or None.
        image_ids: internal ids of the images that were evaluated; None means all.
        iou_threshold: least IoU of a hit, in curves, confusion and examples.
        score_threshold: detections with a lower score do not count in confusion and examples.
        examples: how many of the best, the worst and of random images are shown.
        seed: of the random ones.

    Returns:
        Path of the file.

    Raises:
        ValueError, KeyError: as of `evaluate_detections`.
    """
    content = gather(dataset, results, metrics, run or Run(), image_ids, iou_threshold,
                     score_threshold, examples, seed)
    text = _environment().get_template("report.html").render(
        **content, style=Markup((FOLDER / "report.css").read_text("utf-8")))
    path = expanded(path)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return path


def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters.update(figure=_figure, count="{:,}".format, counted=_counted,
                               percent=percent, signed=_signed)
    return environment


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _figure(value: float | None, digits: int = 3) -> str:
    """A number with `digits` decimals; a dash where it is not defined."""
    return "–" if value is None else f"{value:.{digits}f}"


def _signed(value: float) -> str:
    """A number with its sign and two decimals; 0 is never negative."""
    return f"{round(value, 2) + 0:+.2f}".replace("-", "−")
