"""How well numbers of objects agree with the true ones, by class, over the images of a data set.

Two numbers are compared with the truth: the detections of at least a score, and the number that is
expected by a calibration on the other images (see `calibration`), whose intervals are checked the
same way. Classes with too few objects have the first alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from frcnn.arrays import FloatArray
from frcnn.errors import DatasetError
from frcnn.evaluate.calibration import FOLDS, calibrate, check_enough, expected_by_others
from frcnn.evaluate.coco import Results, class_labels
from frcnn.evaluate.counts import Agreement, ImageCounts, dataset_counts, true_numbers
from frcnn.evaluate.tables import align_columns

if TYPE_CHECKING:
    from frcnn.data.dataset import Dataset

LEVEL = 0.9


@dataclass(frozen=True, eq=False)
class ClassNumbers:
    """Numbers of objects of one class in each image.

    Attributes:
        name: of the class.
        true: `[N]`.
        counted: detections of at least `score_threshold`, `[N]`.
        expected: by a calibration on the other images, `[N]`; None with too few objects.
        note: why there are no expected numbers, or empty.
    """

    name: str
    true: FloatArray
    counted: FloatArray
    expected: FloatArray | None
    note: str

    @property
    def best(self) -> FloatArray:
        """The expected numbers, or else the counted ones."""
        return self.counted if self.expected is None else self.expected


def class_numbers(dataset: Dataset, results: Results, image_ids: Iterable[int] | None = None, *,
                  score_threshold: float = 0.5) -> list[ClassNumbers]:
    """The numbers of each class that some image has labels for, from class 1.

    Args:
        dataset: a prepared Dataset.
        results: dict, internal image id → result of `detect`, with detections of low scores, too.
        image_ids: internal ids of the images; None takes them all.
        score_threshold: least score of a detection that is counted.
    """
    classes = dataset_counts(dataset, results, image_ids)
    return [_numbers(name, images, score_threshold)
            for name, images in zip(class_labels(dataset)[1:], classes) if images]


def evaluate_counts(dataset: Dataset, results: Results, image_ids: Iterable[int] | None = None, *,
                    score_threshold: float = 0.5, level: float = LEVEL) -> dict[str, Any]:
    """The agreement of numbers with the truth by class, and how often intervals contain it.

    Args: as of `class_numbers`; `level` is that of the intervals.

    Returns:
        dict that can be written as JSON: `score_threshold`, `level`, and `per_class`, a dict: class
        name → `objects`, `images`, `counted` and `expected` (an Agreement as a dict, the second
        None with too few objects), `coverage` (the share of the images whose interval, by
        calibrations on the other images, contains the true number; or None) and `note`.
    """
    classes = dataset_counts(dataset, results, image_ids)
    per_class = {}
    for name, images in zip(class_labels(dataset)[1:], classes):
        if not images:
            continue
        numbers = _numbers(name, images, score_threshold)
        expected = numbers.expected
        per_class[name] = {
            "objects": int(numbers.true.sum()), "images": len(images),
            "counted": _agreement(numbers.counted, numbers.true),
            "expected": None if expected is None else _agreement(expected, numbers.true),
            "coverage": None if expected is None else _coverage(images, level),
            "note": numbers.note}
    return {"score_threshold": score_threshold, "level": level, "per_class": per_class}


def format_counts(counts: dict[str, Any]) -> str:
    """A table of text of what `evaluate_counts` gives; `-` is a figure that is not defined."""
    rows = [["class", "number", "objects", "bias", "MAE", "r", "limits of agreement", "covered"]]
    notes = []
    for name, figures in counts["per_class"].items():
        for kind in ("counted", "expected"):
            agreement = figures[kind]
            if agreement is None:
                notes.append(figures["note"])
                continue
            covered = figures["coverage"] if kind == "expected" else None
            rows.append([name, kind, str(figures["objects"]), _signed(agreement["bias"]),
                         f"{agreement['mean_absolute_error']:.2f}",
                         _figure(agreement["correlation"], "{:.3f}"),
                         " to ".join(map(_signed, agreement["limits"])),
                         _figure(covered, "{:.0%}")])
    caption = (f"Numbers of objects in an image: counted from a score of "
               f"{counts['score_threshold']:g}, and expected by calibration on the other images, "
               f"with {counts['level']:.0%} intervals")
    return "\n".join([caption, "", *align_columns(rows, left=2), *notes])


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0:+.2f}"  # no -0.00


def _figure(value: float | None, text: str) -> str:
    return "-" if value is None else text.format(value)


def _numbers(name: str, images: Sequence[ImageCounts], score_threshold: float) -> ClassNumbers:
    counted = np.array([np.count_nonzero(image.scores >= score_threshold) for image in images],
                       float)
    try:
        check_enough(images, name)
        expected, note = expected_by_others(images), ""
    except DatasetError as error:
        expected, note = None, str(error)
    return ClassNumbers(name, true_numbers(images), counted, expected, note)


def _agreement(numbers: FloatArray, true: FloatArray) -> dict[str, Any]:
    values = dataclasses.asdict(Agreement.of(numbers, true))
    return {**values, "limits": list(values["limits"])}


def _coverage(images: Sequence[ImageCounts], level: float) -> float | None:
    """The share of images whose number is in its interval by calibration on the others."""
    inside = 0
    try:
        for fold in range(FOLDS):
            made = calibrate([image for place, image in enumerate(images)
                              if place % FOLDS != fold])
            part = images[fold::FOLDS]
            intervals = made.intervals([image.scores for image in part], level)
            inside += sum(low <= image.objects <= high
                          for image, (low, high) in zip(part, intervals))
    except DatasetError:  # another fold leaves too few
        return None
    return inside / len(images)
