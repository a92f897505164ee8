"""Evaluation of a detector on a data set: it detects on each image, then the figures are made."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from tqdm import tqdm

from frcnn.arrays import DetectionResult, Image
from frcnn.config import Config
from frcnn.data.agreement import check_fits, check_same_classes
from frcnn.data.slides import is_slide
from frcnn.evaluate.coco import (
    HIGHEST_SCORE_THRESHOLD,
    Metrics,
    evaluate_detections,
    image_ids_of,
)
from frcnn.evaluate.recipes import detection_recipes

if TYPE_CHECKING:
    from frcnn.data.dataset import Dataset

ImageSource: TypeAlias = str | PathLike[str] | Callable[[], Image]


class Detector(Protocol):
    """What `detect_dataset` needs of a model."""

    def detect(self, images: Sequence[Image], verbose: int = 0) -> Sequence[DetectionResult]:
        """Detects on images; see `MaskRCNN.detect`."""
        ...


class ConfiguredDetector(Detector, Protocol):
    """What `evaluate_model` needs of a model."""

    config: Config


def detect_dataset(model: Detector, dataset: Dataset, image_ids: Iterable[int] | None = None,
                   progress: bool = True) -> dict[int, DetectionResult]:
    """Detects on images of a data set, few of which are in memory at once.

    Args:
        model: a MaskRCNN in inference mode, which reads ahead in threads; or anything with its
            `detect(images, verbose=0)`, which gets one image at a time.
        dataset: a prepared Dataset.
        image_ids: internal image ids; None takes them all.
        progress: whether to show a bar.

    Returns:
        dict: image id → the dict that `detect` returned for it: `rois` int32 `[N, 4]` and `boxes`
        float32 `[N, 4]` in the image's own pixels, `class_ids` int32 `[N]`, `scores` float32 `[N]`.

    Raises:
        DatasetError: the model's classes are known (`class_names`) and are not the data set's, or
            it has another number or another intensity range than the data set.
    """
    _check_fits(model, dataset)
    ids = image_ids_of(dataset, image_ids)
    images = (_source(dataset, image_id) for image_id in ids)
    if hasattr(model, "detect_stream"):
        found = model.detect_stream(images)
    else:
        found = (result for image in images for result in model.detect(
            [cast(Image, image() if callable(image) else image)], verbose=0))
    bar = tqdm(found, total=len(ids), desc="detect", unit="image", disable=not progress)
    return dict(zip(ids, bar, strict=True))


def _source(dataset: Dataset, image_id: int) -> ImageSource:
    """What a model reads an image from: a function, or the path of a slide, for one in tiles."""
    path = dataset.image_info[image_id].get("path")
    return path if path and is_slide(path) else partial(dataset.load_image, image_id)


def evaluate_model(model: ConfiguredDetector, dataset: Dataset,
                   image_ids: Iterable[int] | None = None, max_detections: int = 100,
                   progress: bool = True) -> Metrics:
    """`detect_dataset`, then `evaluate_detections` with the model's thresholds in `settings`.

    Warns when the model's DETECTION_MIN_CONFIDENCE is above 0.05, which cuts the curves off.

    Args: as of `detect_dataset` and `evaluate_detections`.

    Returns:
        metrics: as `evaluate_detections` gives them.
    """
    config = model.config
    if config.DETECTION_MIN_CONFIDENCE > HIGHEST_SCORE_THRESHOLD:
        warnings.warn(
            f"DETECTION_MIN_CONFIDENCE is {config.DETECTION_MIN_CONFIDENCE}: detections below it "
            f"are missing, so AP is too low; evaluate with {HIGHEST_SCORE_THRESHOLD} or "
            "less.", stacklevel=2)
    ids = image_ids_of(dataset, image_ids)
    results = detect_dataset(model, dataset, ids, progress)
    return evaluate_detections(
        dataset, results, ids, min(max_detections, config.DETECTION_MAX_INSTANCES),
        score_threshold=config.DETECTION_MIN_CONFIDENCE,
        nms_threshold=config.DETECTION_NMS_THRESHOLD, recipes=detection_recipes(config))


def _check_fits(model: Detector, dataset: Dataset) -> None:
    """Raises DatasetError where detections could not be compared with a data set's objects."""
    names, config = getattr(model, "class_names", None), getattr(model, "config", None)
    if isinstance(config, Config):
        check_fits(dataset, config)
    if names is not None:
        check_same_classes(names[:dataset.num_classes], dataset, "The model",
                           "Evaluate it on data with its classes, in their order.")
