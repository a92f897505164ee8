"""Which images a report shows, and their pictures."""

import random
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from frcnn.evaluate import confusion_matrix
from frcnn.evaluate.coco import class_labels, detections_of, image_ids_of
from frcnn.report.figures import as_jpeg
from frcnn.visualize import display_beside_truth

WIDTH, TALLEST = 6.0, 7.5  # inches of a picture
RIM = 0.03


@dataclass
class Score:
    """How well one image was detected: objects found under their own class, and what went wrong.

    `missed` are objects, `false` detections; an object that was found under another class's name
    counts as both.
    """

    image_id: int
    hits: int
    missed: int
    false: int

    @property
    def f1(self):
        """2·hits / (objects + detections); None where there is neither."""
        count = 2 * self.hits + self.missed + self.false
        return 2 * self.hits / count if count else None


def score_images(dataset, results, image_ids=None, *, iou_threshold=0.5, score_threshold=0.5):
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


def choose_examples(scores, count=3, seed=0):
    """The best, the worst and some random images, none of them twice.

    Images are ranked by F1; of equal ones the better has more hits, the worse more mistakes. An
    image without objects and detections has no rank, but may be among the random ones.

    Args:
        scores: list of Score.
        count: how many of each kind.
        seed: of the random choice.

    Returns:
        dict: "best", "worst" and "random" → list of Score, the best and the worst first.
    """
    ranked = sorted((score for score in scores if score.f1 is not None),
                    key=lambda score: (-score.f1, -score.hits, score.missed + score.false))
    best, worst = ranked[:count], ranked[count:][-count:][::-1]
    taken = {score.image_id for score in best + worst}
    rest = [score for score in scores if score.image_id not in taken]
    chosen = random.Random(seed).sample(rest, min(count, len(rest)))
    return {"best": best, "worst": worst, "random": chosen}


def draw_example(dataset, image_id, result, *, iou_threshold=0.5, score_threshold=0.5):
    """The pictures of one image: with its truth, and with its detections, as data URIs."""
    image = dataset.load_image(image_id)
    height, width = image.shape[:2]
    scale = min(WIDTH / width, TALLEST / height)
    axes = [_panel(width * scale, height * scale) for _ in range(2)]
    display_beside_truth(image, *dataset.load_boxes(image_id),
                         *detections_of(dataset, image_id, result), class_labels(dataset), axes,
                         iou_threshold=iou_threshold, score_threshold=score_threshold)
    for ax in axes:
        ax.set_title("")  # the page has its own
    return [as_jpeg(ax.figure) for ax in axes]


def _panel(width, height):
    """Axes that fill a figure but for a rim, in inches."""
    size = (width + 2 * RIM, height + 2 * RIM)
    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    return figure.add_axes([RIM / size[0], RIM / size[1], width / size[0], height / size[1]])
