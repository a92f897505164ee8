"""Numbers of objects: detections beside the true objects of an image, and how numbers agree.

Agreement of two methods of measurement is given as clinical chemistry gives it: J. M. Bland,
D. G. Altman, Lancet 327 (1986) 307-310. What expected numbers and their intervals are made of is in
`calibration`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from frcnn.arrays import BoolArray, FloatArray
from frcnn.errors import ArgumentError
from frcnn.evaluate.coco import Results, detections_of, image_ids_of
from frcnn.evaluate.matching import match_image

if TYPE_CHECKING:
    from frcnn.data.dataset import Dataset


@dataclass(frozen=True)
class Agreement:
    """How numbers of objects, image by image, agree with the true ones.

    Attributes:
        images: how many.
        bias: mean of counted minus true.
        mean_absolute_error: of the same.
        correlation: Pearson's; None where either number is the same in all images.
        limits: bias minus and plus 1.96 standard deviations: where 95 % of the differences are
            expected.
    """

    images: int
    bias: float
    mean_absolute_error: float
    correlation: float | None
    limits: tuple[float, float]

    @classmethod
    def of(cls, counted: FloatArray, true: FloatArray) -> Agreement:
        """The agreement of two lists of numbers `[N]`, one an image.

        Raises:
            ArgumentError: there are none, or not as many of the one as of the other.
        """
        counted, true = np.asarray(counted, float), np.asarray(true, float)
        if counted.shape != true.shape or not counted.size:
            raise ArgumentError(f"{counted.size} counted and {true.size} true numbers; there must "
                                "be one of each for every image.")
        difference = counted - true
        spread = 1.96 * difference.std(ddof=1) if counted.size > 1 else 0.0
        varies = np.ptp(counted) > 0 and np.ptp(true) > 0
        return cls(counted.size, float(difference.mean()), float(np.abs(difference).mean()),
                   float(np.corrcoef(counted, true)[0, 1]) if varies else None,
                   (float(difference.mean() - spread), float(difference.mean() + spread)))


@dataclass(frozen=True, eq=False)
class ImageCounts:
    """The detections of one class in one image with known objects.

    Attributes:
        scores: of the detections, `[P]`.
        right: whether each of them is an object that no better one found, bool `[P]`.
        objects: the true number.
    """

    scores: FloatArray
    right: BoolArray
    objects: int

    def above(self, score: float) -> ImageCounts:
        """The same without the detections of a lower score."""
        kept = self.scores >= score
        return ImageCounts(self.scores[kept], self.right[kept], self.objects)


def image_counts(boxes: Any, class_ids: Any, result: Mapping[str, Any], num_classes: int
                 ) -> list[ImageCounts]:
    """The detections of each class in one image, beside its objects.

    A detection inside a crowd region of its class counts as little as the region's objects do.

    Args:
        boxes, class_ids: the objects, `[G, 4]` and `[G]`, negative ids for crowd regions.
        result: of `MaskRCNN.detect`.
        num_classes: background included.

    Returns:
        One entry a class, from class 1.
    """
    found = match_image(boxes, class_ids, result["boxes"], result["class_ids"], result["scores"])
    ids = np.asarray(class_ids)
    right = found.pred_match >= 0
    counts = ~found.in_crowd | right
    return [ImageCounts(found.scores[chosen], right[chosen],
                        int(np.count_nonzero(ids == class_id)))
            for class_id in range(1, num_classes)
            for chosen in [(found.class_ids == class_id) & counts]]


def dataset_counts(dataset: Dataset, results: Results, image_ids: Iterable[int] | None = None
                   ) -> list[list[ImageCounts]]:
    """The detections of each class in the images of a data set, beside the objects.

    Args:
        dataset: a prepared Dataset.
        results: dict, internal image id → result of `detect`.
        image_ids: internal ids of the images; None takes them all.

    Returns:
        A list for each class, from class 1: an ImageCounts of each image whose source has labels
        for the class.

    Raises:
        ArgumentError: as of `evaluate_detections`.
    """
    classes: list[list[ImageCounts]] = [[] for _ in range(1, dataset.num_classes)]
    for image_id in image_ids_of(dataset, image_ids):
        boxes, class_ids, scores = detections_of(dataset, image_id, results.get(image_id))
        result = {"boxes": boxes, "class_ids": class_ids, "scores": scores}
        labelled = dataset.source_class_ids[dataset.image_info[image_id]["source"]]
        counts = image_counts(*dataset.load_boxes(image_id), result, dataset.num_classes)
        for class_id in range(1, dataset.num_classes):
            if class_id in labelled:
                classes[class_id - 1].append(counts[class_id - 1])
    return classes


def true_numbers(images: Sequence[ImageCounts]) -> FloatArray:
    """The true numbers of the images, `[N]`."""
    return np.array([image.objects for image in images], float)
