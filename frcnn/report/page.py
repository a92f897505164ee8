"""A report's content as HTML, in one file that needs no other."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from frcnn.files import replacing
from frcnn.report.content import Run, gather
from frcnn.visualize.plots import percent

HERE = Path(__file__).parent


def write_report(path, dataset, results, metrics, run=None, image_ids=None, *, iou_threshold=0.5,
                 score_threshold=0.5, examples=3, seed=0):
    """Writes a page on a detector's results: figures, curves, confusion, examples, data, settings.

    Nothing is detected anew: it takes what `evaluate_detections` took, and what it gave. All
    pictures are in the file, which loads nothing and runs no script.

    Args:
        path: file to write; its folder is made if missing.
        dataset: a prepared Dataset.
        results: dict, internal image id → result of `detect`.
        metrics: as `frcnn.evaluate.evaluate_detections` gave them for these.
        run: a Run, what is known of the detector; or None.
        image_ids: internal ids of the images that were evaluated; None means all.
        iou_threshold: least IoU of a hit, in curves, confusion and examples.
        score_threshold: detections with a lower score do not count in confusion and examples.
        examples: how many of the best, the worst and of random images are shown.
        seed: of the random ones.

    Returns:
        Path of the file.
    """
    content = gather(dataset, results, metrics, run or Run(), image_ids, iou_threshold,
                     score_threshold, examples, seed)
    text = _environment().get_template("report.html").render(
        **content, style=Markup((HERE / "report.css").read_text("utf-8")))
    path = Path(path)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _environment():
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters.update(figure=_figure, count="{:,}".format, counted=_counted,
                               percent=percent)
    return environment


def _counted(number, noun):
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _figure(value, digits=3):
    """A number to so many digits; a dash where it is not defined."""
    return "–" if value is None else f"{value:.{digits}f}"
