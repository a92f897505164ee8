"""What the sources of `frcnn count` have in common."""

import abc
import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from frcnn.errors import ArgumentError
from frcnn.evaluate.calibration_file import Calibration, calibration_path
from frcnn.evaluate.sample_counts import CountedImage, Scale
from frcnn.files import expanded


class Source(abc.ABC):
    """Detections of images.

    Attributes:
        prog: what messages begin with.
        names: of the images.
        files: that are read, besides the images.
        class_names: by class id, background first.
        calibration: what the scores mean, with its path; or None.
        score_limit: least score of a detection that is counted.
        min_score: least score of the detections.
        advice: how to get a calibration, for a message.
    """

    prog: str
    names: Sequence[str]
    files: Sequence[Any]
    class_names: Sequence[str]
    calibration: tuple[Path, Calibration] | None
    score_limit: float
    min_score: float
    advice: str

    @abc.abstractmethod
    def read(self, scale: Scale, output: Path) -> Iterator[CountedImage]:
        """The images, in the order of `names`; those that cannot be read are left out."""

    @abc.abstractmethod
    def finish(self) -> int:
        """Says what went wrong; returns the exit code."""


def no_detection(options: argparse.Namespace) -> None:
    """Raises ArgumentError where an option is for detection, and nothing will be detected."""
    for option in ("--flips", "--batch-size", "--precision", "--config", "--tile", "--range"):
        name = "intensity_range" if option == "--range" else option[2:].replace("-", "_")
        if getattr(options, name) is not None:
            raise ArgumentError(f"{option} is for detection, and {options.inputs[0]} has results "
                                "already; leave it out.")


def calibration_of(options: argparse.Namespace, checkpoint: Path | None
                 ) -> tuple[Path, Calibration] | None:
    """The calibration that is named, or that lies beside the weights."""
    if options.calibration is not None:
        path = expanded(options.calibration)
        return path, Calibration.load(path)
    if checkpoint is None:
        return None
    path = calibration_path(checkpoint)
    return (path, Calibration.load(path)) if path.is_file() else None


def check_scale(scale: Scale, without: Sequence[str]) -> None:
    """Checks that areas are known where depth or field need them.

    Args:
        scale: Scale.
        without: images that do not state how many microns a pixel has.

    Raises:
        ArgumentError: they are not.
    """
    for option, value in (("--depth", scale.depth), ("--field-area", scale.field_area)):
        if value is not None and scale.mpp is None and without:
            raise ArgumentError(f"{option} needs the area of the images, and {without[0]} does not "
                                "state how many microns a pixel has; give --mpp, too.")
