"""Numbers of objects by class: those found, and those to expect, with an interval."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from frcnn.arrays import Array
from frcnn.config import Config
from frcnn.errors import CalibrationError
from frcnn.formats.detections import Classes
from frcnn.serve.schemas import Count, Total

# Share of the intervals that contain the true number.
LEVEL = 0.9


class ScoreMeaning(Protocol):
    """What the scores of one class mean; see `frcnn.evaluate`."""

    def expected(self, scores: Array) -> float:
        """The number of objects to expect where detections have these scores, `[P]`."""

    def interval(self, images: Sequence[Array], level: float) -> tuple[float, float]:
        """An interval for the number of objects in images with detections of these scores."""


@dataclass(frozen=True)
class Calibration:
    """What the scores of a detector mean.

    Attributes:
        least: score from which on detections are those that it was made of.
        classes: by class id; expected numbers are given for these.
    """

    least: float = 0.0
    classes: Mapping[int, ScoreMeaning] = field(default_factory=dict)

    def total(self, class_id: int, images: Sequence[Array]) -> Total | None:
        """The number to expect in images with detections of these scores; None if unknown."""
        known = self.classes.get(class_id)
        if known is None:
            return None
        kept = [scores[scores >= self.least] for scores in images]
        expected = sum(known.expected(scores) for scores in kept)
        return Total(expected=expected, interval=known.interval(kept, LEVEL))


def load_calibration(checkpoint: Path, sha256: str, config: Config,
                     class_names: Sequence[str]) -> Calibration:
    """What `frcnn count --calibrate` wrote beside a checkpoint; without classes if there is none.

    Args:
        checkpoint: path of the weights.
        sha256: of that file.
        config: of the detector.
        class_names: by class id, background first.

    Raises:
        CalibrationError: it is damaged, or of other weights, settings or classes.
    """
    if not any(checkpoint.parent.glob("calibration_*.json")):
        return Calibration()  # without SciPy, which exported files do without
    from frcnn.evaluate.calibration_file import Calibration as Stored
    from frcnn.evaluate.calibration_file import calibration_path, score_settings

    path = calibration_path(checkpoint)
    if not path.is_file():
        return Calibration()
    stored = Stored.load(path)
    stored.check_belongs(path, checkpoint, sha256, score_settings(config))
    further = sorted(stored.settings.keys() - score_settings(config).keys())
    if further:
        raise CalibrationError(
            f"{path} was made with {', '.join(further)}, as which 'frcnn serve' does not detect; "
            "make one without, with frcnn count --calibrate DATA, or move it elsewhere.")
    stored.check_classes(path, class_names)
    least = max(stored.min_score, config.DETECTION_MIN_CONFIDENCE)
    made, notes = stored.calibrations(least)
    for note in notes:
        warnings.warn(f"{path}: {note}", stacklevel=2)
    return Calibration(least, {class_id: known for class_id, known in enumerate(made, start=1)
                               if known is not None})


def counts(class_ids: Array, scores: Array, least: float, classes: Classes,
           calibration: Calibration) -> list[Count]:
    """The numbers in one image, from class 1 on.

    Args:
        class_ids, scores: of all detections, `[N]`.
        least: score from which on detections are counted. Expected numbers are made of all.
        classes: of the detector.
        calibration: Calibration.
    """
    found = []
    for class_id in range(1, len(classes.names)):
        own = scores[class_ids == class_id]
        total = calibration.total(class_id, [own])
        found.append(Count(
            class_id=class_id, class_name=classes.name(class_id),
            detected=int((own >= least).sum()),
            expected=None if total is None else total.expected,
            interval=None if total is None else total.interval))
    return found


def totals(images: Sequence[tuple[Sequence[int], Sequence[float]]],
           calibration: Calibration) -> dict[int, Total]:
    """The numbers to expect in several images together, by class id.

    Args:
        images: class ids and scores of all detections in each.
        calibration: Calibration.
    """
    arrays = [(np.array(ids, np.int64), np.array(scores, np.float64)) for ids, scores in images]
    found = {class_id: calibration.total(class_id, [scores[ids == class_id]
                                                    for ids, scores in arrays])
             for class_id in calibration.classes}
    return {class_id: total for class_id, total in found.items() if total is not None}
