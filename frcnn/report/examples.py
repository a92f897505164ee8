"""Which images a report shows, and their pictures."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from frcnn.arrays import DetectionResult, IntArray
from frcnn.evaluate import confusion_matrix
from frcnn.evaluate.coco import Results, class_labels, detections_of, image_ids_of
from frcnn.evaluate.matching import IOU_THRESHOLD
from frcnn.report.figures import as_jpeg, figure_of
from frcnn.visualize import display_beside_truth

if TYPE_CHECKING:
    from frcnn.data.dataset import Dataset

MAX_WIDTH, MAX_HEIGHT = 6.0, 7.5  # inches of a picture
MARGIN = 0.03


@dataclass
class Score:
    """How well one image was detected.

    Attributes:
        image_id: internal id of the image.
        hits: objects found under their own class.
        missed: objects not found; one found under another class counts here and in `false`.
        false: detections that match no object of their class.
    """

    image_id: int
    hits: int
    missed: int
    false: int

    @property
    def f1(self) -> float | None:
        """2·hits / (objects + detections); None where there is neither."""
        count = 2 * self.hits + self.missed + self.false
        return 2 * self.hits / count if count else None


def score_images(dataset: Dataset, results: Results, image_ids: Iterable[int] | None = None, *,
                 iou_threshold: float = IOU_THRESHOLD, score_threshold: float = 0.5
                 ) -> tuple[list[Score], IntArray]:
    """Scores each image, and counts the confusion of all.

    Args:
        dataset: a prepared Dataset.
        results: dict, internal image id → result of `detect`.
        image_ids: internal ids of the images; None takes them all.
        iou_threshold: least IoU of a hit.
        score_threshold: detections with a lower score do not count.

    Returns:
        scores: list of Score, in the order of the images.
        counts: int64 `[num_classes, num_classes]`, as of `frcnn.evaluate.confusion_matrix`.
    """
    total = np.zeros((dataset.num_classes, dataset.num_classes), np.int64)
    scores = []
    for image_id in image_ids_of(dataset, image_ids):
        counts = confusion_matrix(dataset, results, [image_id], iou_threshold=iou_threshold,
                                  score_threshold=score_threshold)
        total += counts
        hits = int(np.trace(counts[1:, 1:]))
        scores.append(Score(image_id, hits, int(counts[1:].sum()) - hits,
                            int(counts[:, 1:].sum()) - hits))
    return scores, total


def choose_examples(scores: Sequence[Score], count: int = 3, seed: int = 0
                    ) -> dict[str, list[Score]]:
    """The best, the worst and some random images, none of them twice.

    Images are ranked by F1; of equal ones the better has more hits, the worse more errors. An
    image without objects and detections has no rank, but may be among the random ones.

    Args:
        scores: list of Score.
        count: how many of each kind.
        seed: of the random choice.

    Returns:
        dict: "best", "worst" and "random" → list of Score, the best and the worst first.
    """
    ranked = sorted((score for score in scores if score.f1 is not None),
                    key=lambda score: (-(score.f1 or 0), -score.hits, score.missed + score.false))
    best, worst = ranked[:count], ranked[count:][-count:][::-1]
    taken = {score.image_id for score in best + worst}
    rest = [score for score in scores if score.image_id not in taken]
    chosen = random.Random(seed).sample(rest, min(count, len(rest)))
    return {"best": best, "worst": worst, "random": chosen}


def draw_example(dataset: Dataset, image_id: int, result: DetectionResult | None, *,
                 iou_threshold: float = IOU_THRESHOLD, score_threshold: float = 0.5
                 ) -> tuple[str, str]:
    """Two pictures of one image, with its truth and with its detections, as data URIs."""
    image = dataset.load_image(image_id)
    height, width = image.shape[:2]
    scale = min(MAX_WIDTH / width, MAX_HEIGHT / height)
    truth, found = (_panel(width * scale, height * scale) for _ in range(2))
    gt_boxes, gt_class_ids = dataset.load_boxes(image_id)
    boxes, class_ids, scores = detections_of(dataset, image_id, result)
    display_beside_truth(image, gt_boxes, gt_class_ids, boxes, class_ids, scores,
                         class_labels(dataset), (truth, found), iou_threshold=iou_threshold,
                         score_threshold=score_threshold)
    for ax in (truth, found):
        ax.set_title("")  # the page has titles in HTML
    return as_jpeg(figure_of(truth)), as_jpeg(figure_of(found))


def _panel(width: float, height: float) -> Axes:
    """Axes that fill a figure except for a margin, in inches."""
    size = (width + 2 * MARGIN, height + 2 * MARGIN)
    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    return figure.add_axes((MARGIN / size[0], MARGIN / size[1], width / size[0],
                            height / size[1]))
