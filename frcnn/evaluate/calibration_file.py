"""What a detector's scores mean, as a file beside its weights: `calibration_<name>.json`.

The file holds the detections in images with known objects, and which of them are right; the
calibrations of the classes are computed from it, for detections of any least score. It belongs to
one weight file and to the settings that scores depend on, and is refused with others.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frcnn.config import Config
from frcnn.errors import CalibrationError, DatasetError
from frcnn.evaluate.calibration import ClassCalibration, calibrate
from frcnn.evaluate.counts import ImageCounts
from frcnn.files import expanded, read_json, replacing, to_plain_json

FORMAT = 1
MOST_OBJECTS = 1_000_000  # of an image
PREFIX, SUFFIX = "calibration_", ".json"
# The settings that scores of detections depend on, besides the weights and those that only the
# network's own file determines. DETECTION_MIN_CONFIDENCE is the least score, and stored as such.
SETTINGS = (
    "DETECTION_ALL_CLASSES", "DETECTION_BOX_VOTING", "DETECTION_FLIPS", "DETECTION_FUSION_IOU",
    "DETECTION_MAX_INSTANCES", "DETECTION_NMS_THRESHOLD", "DETECTION_SOFT_NMS_SIGMA",
    "IMAGE_INTENSITY_RANGE", "IMAGE_MAX_DIM", "IMAGE_MIN_DIM", "IMAGE_MIN_SCALE",
    "IMAGE_RESIZE_MODE", "MEAN_PIXEL", "POST_NMS_ROIS_INFERENCE", "PRE_NMS_LIMIT",
    "PROPOSALS_PER_LEVEL", "RPN_ANCHOR_SCALES", "RPN_ANCHOR_STRIDE", "RPN_NMS_THRESHOLD")
AGAIN = "make it again with frcnn count --calibrate DATA"


def calibration_path(checkpoint: str | os.PathLike[str]) -> Path:
    """Where the calibration of a weight file, or of an exported detector, lies."""
    path = Path(checkpoint)
    return path.with_name(f"{PREFIX}{path.stem}{SUFFIX}")


def score_settings(config: Config) -> dict[str, Any]:
    """The settings that scores depend on, in JSON's types."""
    values = json.loads(config.to_json())
    return {name: values[name] for name in SETTINGS}


@dataclass(frozen=True, eq=False)
class Calibration:
    """Detections in images with known objects, and what they were made with.

    Attributes:
        checkpoint: name of the weight file.
        sha256: its sum, in hexadecimal digits.
        settings: as of `score_settings`; further ones must agree, too.
        class_names: by class id, background first.
        min_score: least score of the detections.
        score_limit: the configuration's DETECTION_MIN_CONFIDENCE.
        data: what the images are, for people.
        classes: from class 1, the images with labels for the class.
    """

    checkpoint: str
    sha256: str
    settings: Mapping[str, Any]
    class_names: Sequence[str]
    min_score: float
    score_limit: float
    data: str
    classes: Sequence[Sequence[ImageCounts]]

    def calibrations(self, min_score: float = 0.0
                     ) -> tuple[list[ClassCalibration | None], list[str]]:
        """The calibrations for detections of at least a score, from class 1.

        Args:
            min_score: of the detections that will be counted; `self.min_score` if that is higher.

        Returns:
            calibrations: None for a class with too few objects.
            notes: a sentence for each of these.
        """
        made: list[ClassCalibration | None] = []
        notes = []
        least = max(min_score, self.min_score)
        for name, images in zip(self.class_names[1:], self.classes):
            try:
                made.append(calibrate([image.above(least) for image in images], name))
            except DatasetError as error:
                made.append(None)
                notes.append(str(error))
        return made, notes

    def check_belongs(self, path: str | os.PathLike[str], checkpoint: str | os.PathLike[str] | None,
                      sha256: str, settings: Mapping[str, Any]) -> None:
        """Checks that detections are those of the weights and settings of the calibration.

        Args:
            path: of this calibration, for messages.
            checkpoint: what detects, for messages; None: what has detected.
            sha256, settings: of that; settings that only one of the two has are ignored.

        Raises:
            CalibrationError: they differ.
        """
        if sha256 != self.sha256:
            which = f"{checkpoint}" if checkpoint is not None else "those of the detections"
            raise CalibrationError(
                f"{path} is a calibration of other weights ({self.checkpoint}, SHA-256 "
                f"{self.sha256[:12]}…) than {which} ({sha256[:12]}…); {AGAIN}.")
        for name, value in self.settings.items():
            if name in settings and settings[name] != value:
                raise CalibrationError(
                    f"{path} was made with {name} {_shown(value)}, and detections with "
                    f"{_shown(settings[name])} have other scores; detect with the former, or "
                    f"{AGAIN}.")

    def check_classes(self, path: str | os.PathLike[str], class_names: Sequence[str]) -> None:
        """Checks that a detector has the classes of the calibration.

        Args:
            path: of this calibration, for messages.
            class_names: of the detector, by class id, background first.

        Raises:
            CalibrationError: it has others.
        """
        if list(class_names) != list(self.class_names):
            raise CalibrationError(
                f"{path} has the classes {', '.join(self.class_names[1:])}, and the detector has "
                f"{', '.join(class_names[1:])}; name the calibration of this detector, or {AGAIN}.")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file, atomically.

        Raises:
            OSError: it cannot be written.
        """
        content = {
            "format": FORMAT, "kind": "frcnn calibration of counts", "checkpoint": self.checkpoint,
            "sha256": self.sha256, "settings": dict(self.settings),
            "class_names": list(self.class_names), "min_score": self.min_score,
            "score_limit": self.score_limit, "data": self.data,
            "classes": [[{"objects": image.objects, "scores": image.scores.round(6).tolist(),
                          "right": image.right.astype(int).tolist()} for image in images]
                        for images in self.classes]}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(to_plain_json(content), allow_nan=False) + "\n",
                                 encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Calibration":
        """Reads a file that `save` wrote.

        Raises:
            FileNotFoundError: there is none.
            CalibrationError: it is damaged, or something else.
        """
        place = expanded(path)
        try:
            content = read_json(place)
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: there is no such calibration; {AGAIN}.") from None
        except (ValueError, IsADirectoryError) as error:
            raise CalibrationError(f"{path} cannot be read as a calibration ({error}); "
                                   f"{AGAIN}.") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise CalibrationError(f"{path} is no calibration of counts of format {FORMAT}; "
                                   f"{AGAIN}.")
        try:
            return cls._from(content)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else error
            raise CalibrationError(f"{path} is damaged ({reason}); {AGAIN}.") from error

    @classmethod
    def _from(cls, content: Mapping[str, Any]) -> "Calibration":
        checkpoint, sha256, data = (_checked(content[name], str, name)
                                    for name in ("checkpoint", "sha256", "data"))
        min_score, score_limit = (_share(content[name], name)
                                  for name in ("min_score", "score_limit"))
        names = [_checked(name, str, "class_names") for name in content["class_names"]]
        classes = [[_image(image) for image in _checked(images, list, "classes")]
                   for images in content["classes"]]
        if len(classes) != len(names) - 1:
            raise CalibrationError(f"it has {len(classes)} classes, and names of {len(names) - 1}")
        return cls(checkpoint, sha256, _checked(content["settings"], dict, "settings"), names,
                   min_score, score_limit, data, classes)


def _image(values: Any) -> ImageCounts:
    """An image of the file, checked."""
    objects, scores, right = (_checked(values, dict, "an image")[name]
                              for name in ("objects", "scores", "right"))
    if not isinstance(objects, int) or isinstance(objects, bool) or \
            not 0 <= objects <= MOST_OBJECTS:
        raise CalibrationError(f"an image has {str(objects)[:40]!r} objects")
    numbers = np.array([_share(score, "a score") for score in _checked(scores, list, "scores")])
    flags = np.array(_checked(right, list, "right"))
    if flags.shape != numbers.shape or not np.isin(flags, (0, 1)).all():
        raise CalibrationError(f"{len(numbers)} scores have other marks than 0 and 1")
    if np.count_nonzero(flags) > objects:
        raise CalibrationError(f"an image has {objects} objects and {np.count_nonzero(flags)} "
                               "right detections")
    return ImageCounts(numbers, flags.astype(bool), objects)


def _checked(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise CalibrationError(f"{name} is {str(value)[:40]!r}")
    return value


def _share(value: Any, name: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not (
            math.isfinite(value) and 0 <= value <= 1):
        raise CalibrationError(f"{name} is {str(value)[:40]!r}")
    return float(value)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
